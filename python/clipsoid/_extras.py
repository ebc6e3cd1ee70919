"""Packages that only some functions need: what is missing is said, and how to get it."""

from __future__ import annotations

from importlib.util import find_spec

from clipsoid.errors import UnavailableError

#: By the extra and the name to import, the name to install.
_PACKAGES = {
    "arrow": {"pyarrow": "pyarrow"},
    "cloud": {"obstore": "obstore"},
    "stats": {"scipy": "scipy", "sklearn": "scikit-learn"},
    "report": {
        "altair": "altair",
        "vl_convert": "vl-convert-python",
        "jinja2": "jinja2",
        "PIL": "pillow",
    },
    "embed": {"torch": "torch", "open_clip": "open_clip_torch", "PIL": "pillow"},
}


def check_stats(what: str, *modules: str) -> None:
    """Raise unless the modules of the extra ``stats`` that `what` needs are installed."""
    _check("stats", what, "needs", modules)


def check_report(what: str = "figures") -> None:
    """Raise unless all modules of the extra ``report`` are installed."""
    _check("report", what, "need", tuple(_PACKAGES["report"]))


def check_embed(what: str) -> None:
    """Raise unless the modules of the extra ``embed`` are installed."""
    _check("embed", what, "needs", tuple(_PACKAGES["embed"]))


def check_cloud(what: str) -> None:
    """Raise unless the modules of the extra ``cloud`` are installed."""
    _check("cloud", f"{what}: reading it", "needs", tuple(_PACKAGES["cloud"]))


def check_arrow(what: str) -> None:
    """Raise unless the modules of the extra ``arrow`` are installed."""
    _check("arrow", f"{what}: reading it", "needs", tuple(_PACKAGES["arrow"]))


def _check(extra: str, what: str, verb: str, modules: tuple[str, ...]) -> None:
    missing = [_PACKAGES[extra][name] for name in modules if not has_module(name)]
    if missing:
        raise UnavailableError(
            f"{what} {verb} {' and '.join(missing)}, not installed here: "
            f'pip install "clipsoid[{extra}]"'
        )


def has_module(name: str) -> bool:
    """Whether a module is installed; it is not imported."""
    try:
        return find_spec(name) is not None
    except ValueError:
        # A module whose place in sys.modules was blocked.
        return False
