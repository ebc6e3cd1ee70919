"""Reports from the command line."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import clipsoid as cs
from clipsoid.cli import main
from clipsoid.report import is_page, page_payload

FAST = [f"--leave-out={part}" for part in ("linear_separability", "normality", "blur")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("sets")
    image, text, _ = cs.double_ellipsoid(120, dim=32, seed=0)
    np.save(found / "images.npy", image)
    np.save(found / "texts.npy", text)
    paths = {"caption": [f"no {i}" for i in range(120)]}
    paths |= {"image_path": [f"pictures/{i}.png" for i in range(120)]}
    pl.DataFrame(paths).write_csv(found / "captions.csv")
    from PIL import Image

    (found / "pictures").mkdir()
    for i in range(120):
        Image.new("RGB", (8, 8), (i, i, i)).save(found / "pictures" / f"{i}.png")
    return found


def analyze(folder: Path, *words: str) -> int:
    sets = [f"--images={folder / 'images.npy'}", f"--texts={folder / 'texts.npy'}"]
    return main(["analyze", *sets, *FAST, *words])


def test_a_report_and_its_data(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "report.html"
    metadata = f"--metadata={folder / 'captions.csv'}"
    assert analyze(folder, metadata, f"--report={path}", "--title=My <set>") == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"written  {path}"
    contents = path.read_text(encoding="utf-8")
    assert "<title>My &lt;set&gt;</title>" in contents
    # Relative paths begin beside the metadata.
    assert "data:image/jpeg;base64," in contents and "could not be read" not in contents
    assert main(["info", str(path)]) == 0
    assert capsys.readouterr().out.startswith("report  ")
    assert main(["info", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads(page_payload(path)[1])


def test_another_root_of_pictures(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    words = (f"--metadata={folder / 'captions.csv'}", f"--image-root={tmp_path}", "--quiet")
    assert analyze(folder, *words, f"--report={path}") == 0
    assert "pictures could not be read" in path.read_text(encoding="utf-8")


def test_figures(folder: Path, tmp_path: Path) -> None:
    words = ("--leave-out=match_sweep", "--leave-out=similarities", "--leave-out=vslerp")
    assert analyze(folder, *words, f"--figures={tmp_path / 'figures'}", "--quiet") == 0
    names = {path.name for path in (tmp_path / "figures").iterdir()}
    for suffix in (".svg", ".png", ".pdf", "-loss.parquet"):
        assert f"loss-sweep{suffix}" in names


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--report={}/none/r.html"], "there is no folder"),
        (["--report={}"], "is a folder; wanted the name of a file"),
        (["--report={}/mine.html"], "is there already and is no report of clipsoid"),
        (["--figures={}/mine.html"], "is no folder; wanted one for figures"),
        (["--title=x"], "--title needs --report"),
        (["--image-root=x"], "--image-root needs --report"),
    ],
)
def test_what_is_refused_before_the_work(
    folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    message: str,
) -> None:
    (tmp_path / "mine.html").write_text("mine")
    try:
        status: object = analyze(folder, *(word.format(tmp_path) for word in words))
    except SystemExit as error:  # how the options are used
        status = error.code
    assert status != 0
    said = capsys.readouterr()
    assert message in said.err and "analyze: modalities" not in said.err
    assert (tmp_path / "mine.html").read_text() == "mine"


def test_a_report_of_a_comparison(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "compare.html"
    sets = (str(folder / "images.npy"), f"texts={folder / 'texts.npy'}")
    assert main(["compare", *sets, f"--report={path}", "--quiet"]) == 0
    assert is_page(path)
    kind, text = page_payload(path)
    assert kind == "clipsoid.comparison"
    assert [one["name"] for one in json.loads(text)["candidates"]] == ["texts"]


def test_without_the_extra(
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(sys.modules, "jinja2", None)
    assert analyze(folder, f"--report={tmp_path / 'r.html'}") != 0
    message = 'reports need jinja2, not installed here: pip install "clipsoid[report]"'
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
