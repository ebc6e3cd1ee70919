"""Every Python block and every command of the README and the docs runs, page by page, in order."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from clipsoid.cli import main
from clipsoid.cli.demo import PERCENT, label_of

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]

_BLOCK = re.compile(r"^```(python|console)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_NUMBER = re.compile(r"(?<![\w.])\d+\.\d{4}\b")


def blocks(page: Path) -> list[tuple[str, str]]:
    """Language and text of each example of a page; a shell's prompt marks a command to run."""
    return [(match[1], match[2]) for match in _BLOCK.finditer(page.read_text("utf-8"))]


def commands(text: str) -> Iterator[list[str]]:
    for line in text.splitlines():
        if line.startswith("$ "):
            program, *arguments = shlex.split(line[2:], comments=True)
            assert program == "clipsoid"
            yield arguments


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_examples_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": "__main__"}
    for language, text in blocks(page):
        if language == "python":
            exec(compile(text, str(page), "exec"), names)
        else:
            for arguments in commands(text):
                assert main([*arguments, "--quiet"]) == 0, arguments


def test_examples_are_found() -> None:
    found = [(page.stem, language) for page in PAGES for language, _ in blocks(page)]
    assert ("README", "python") in found
    assert ("curation", "console") in found
    assert sum(1 for page in PAGES for _, text in blocks(page) for _ in commands(text)) >= 10


def test_the_table_of_the_readme_is_what_the_demo_gives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["demo", "--json", "--quiet"]) == 0
    result = json.loads(capsys.readouterr().out)
    readme = (ROOT / "README.md").read_text("utf-8")
    shown = readme.partition("<!-- demo:start -->")[2].partition("<!-- demo:end -->")[0]
    for name, (paper_image, paper_text) in result["paper"].items():
        image, text = (result[modality]["figures"][name] for modality in ("image", "text"))
        factor = 100 if name in PERCENT else 1
        wanted = [factor * x for x in (image, paper_image, text, paper_text) if x is not None]
        (line,) = (line for line in shown.splitlines() if line.startswith(f"{label_of(name)}  "))
        found = [float(number) for number in _NUMBER.findall(line)]
        # The data are the same up to the rounding of the machine's matrix product.
        assert found == pytest.approx(wanted, abs=2e-4), name


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CONTRIBUTING.md"], ids=lambda page: page.stem)
def test_links_to_files_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text("utf-8")):
        assert (page.parent / target).exists(), target
