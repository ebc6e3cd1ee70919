"""``import clipsoid`` loads little; every public name is there all the same."""

from __future__ import annotations

import ast
import pickle
import pkgutil
import pydoc
from importlib import import_module
from pathlib import Path

import pytest

import clipsoid as cs
from unit.samples import run_python

LATER = (
    "PIL",
    "altair",
    "argparse",
    "clipsoid.analysis",
    "clipsoid.cli",
    "clipsoid.embed",
    "clipsoid.report",
    "clipsoid.store",
    "concurrent.futures",
    "json",
    "open_clip",
    "polars",
    "safetensors",
    "scipy",
    "sklearn",
    "torch",
    "tqdm",
)

#: Every module but the doors of the command line, which run it.
MODULES = [
    module.name
    for module in pkgutil.walk_packages(cs.__path__, "clipsoid.")
    if not module.name.endswith("__main__")
]


def test_import_loads_little() -> None:
    script = f"""
import sys, numpy
numpy_loads = set(sys.modules)
import clipsoid
loaded = set(sys.modules) - numpy_loads
print(*(name for name in {LATER!r} if name in loaded))
print(sum(name.startswith("clipsoid") for name in loaded))
"""
    heavy, modules = run_python(script).stdout.splitlines()
    assert heavy == ""
    # What one ellipsoid needs: a fifth of the package.
    assert int(modules) < len(MODULES) / 5


@pytest.mark.parametrize("first", ["names", "modules"])
def test_every_name_is_there_whatever_is_imported_first(first: str) -> None:
    # A module that is imported becomes an attribute of the package: it must not hide a name.
    script = f"""
from importlib import import_module
from types import ModuleType
import clipsoid
if {first == "modules"}:
    for name in {MODULES!r}:
        import_module(name)
for name in clipsoid.__all__:
    found = getattr(clipsoid, name)
    assert not isinstance(found, ModuleType), name
    assert getattr(found, "__name__", name) == name, name
    assert getattr(found, "__module__", "clipsoid").startswith("clipsoid"), name
"""
    run_python(script)


def test_star_import_gives_the_public_names() -> None:
    script = """
from clipsoid import *
import clipsoid
mine = {name for name in globals() if not name.startswith("__")} - {"clipsoid"}
assert mine | {"__version__"} == set(clipsoid.__all__), mine ^ set(clipsoid.__all__)
"""
    run_python(script)


def test_what_type_checkers_see_is_what_there_is() -> None:
    tree = ast.parse(Path(cs.__file__).read_text())
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    seen = {
        alias.name: node.module
        for node in imports
        if node.module.startswith("clipsoid")
        for alias in node.names
    }
    assert sorted(seen) == sorted(cs.__all__) == cs.__all__
    for name, module in seen.items():
        assert getattr(import_module(module), name) is getattr(cs, name), name
    for name, module in cs._MODULE_OF.items():
        assert seen[name] == f"clipsoid.{module}"


def test_listed_and_documented() -> None:
    assert set(cs.__all__) | {"analysis", "embed", "report", "store"} <= set(dir(cs))
    text = pydoc.plain(pydoc.render_doc(cs))
    assert "analyze(image: 'Any', text: 'Any'" in text
    assert "class Whitening" in text


@pytest.mark.parametrize("name", ["analysis", "blur", "report", "store", "synthetic"])
def test_modules_are_attributes(name: str) -> None:
    script = f"import clipsoid; print(clipsoid.{name}.__name__)"
    assert run_python(script).stdout == f"clipsoid.{name}\n"


def test_unknown_names_are_refused() -> None:
    with pytest.raises(AttributeError, match="module 'clipsoid' has no attribute 'conformities'"):
        cs.conformities  # noqa: B018
    with pytest.raises(ImportError, match="cannot import name 'conformities' from 'clipsoid'"):
        exec("from clipsoid import conformities")
    assert not hasattr(cs, "__wrapped__")


def test_a_name_is_looked_up_once() -> None:
    script = """
import clipsoid
assert "analyze" not in vars(clipsoid)
assert clipsoid.analyze is vars(clipsoid)["analyze"]
"""
    run_python(script)


def test_a_result_is_unpickled_where_nothing_was_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "result"
    path.write_bytes(pickle.dumps([cs.divergence([1.0, 2.0], [1.0, 4.0]), cs.compare]))
    script = f"""
import pickle
from pathlib import Path
print(pickle.loads(Path({str(path)!r}).read_bytes())[0])
"""
    assert run_python(script).stdout.startswith("Divergence(kl_pq=")
