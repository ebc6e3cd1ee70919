"""Reports and figures on disk: what they hold, and what is refused."""

from __future__ import annotations

import gzip
import os
import resource
import signal
from pathlib import Path

import polars as pl
import pytest

import clipsoid as cs
from clipsoid.errors import OutputError, StoreError
from clipsoid.report import FIGURE_SUFFIXES, is_figure, is_page, page_payload
from clipsoid.report.analysis import analysis_page
from clipsoid.report.page import html


def test_the_analysis_comes_out_of_its_report(report: Path, analysis: cs.Analysis) -> None:
    kind, text = page_payload(report)
    assert kind == "clipsoid.analysis" and text == analysis.to_json()
    again = cs.Analysis.from_json(text)
    assert again.to_frame().equals(analysis.to_frame())


def test_equal_analyses_are_equal_files(analysis: cs.Analysis, tmp_path: Path) -> None:
    for name in ("a.html", "b.html"):
        analysis.report(tmp_path / name)
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()


def test_without_pictures_it_is_small(analysis: cs.Analysis) -> None:
    assert len(html(analysis_page(analysis)).encode()) < 5_000_000


def test_a_report_is_replaced_and_other_files_are_not(
    analysis: cs.Analysis, report: Path, tmp_path: Path
) -> None:
    path = tmp_path / "report.html"
    path.write_text("<html>mine</html>")
    with pytest.raises(OutputError, match=r"report\.html: is there already and is no report"):
        analysis.report(path)
    assert path.read_text() == "<html>mine</html>"
    path.write_bytes(report.read_bytes()[:5_000])
    assert is_page(path)
    analysis.report(path)
    assert page_payload(path)[1] == analysis.to_json()


def test_places_where_no_report_can_be(analysis: cs.Analysis, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="is a folder; wanted the name of a file"):
        analysis.report(tmp_path)
    with pytest.raises(OutputError, match=r"there is no folder .*/none"):
        analysis.report(tmp_path / "none" / "report.html")
    assert list(tmp_path.iterdir()) == []


def test_a_pipe_is_not_replaced(analysis: cs.Analysis, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OutputError, match="pipe: is no regular file"):
        analysis.report(tmp_path / "pipe")
    assert (tmp_path / "pipe").is_fifo()


def test_a_full_disk_leaves_nothing(
    analysis: cs.Analysis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(OutputError, match=r"report\.html: cannot be written: File too large"):
            analysis.report(tmp_path / "report.html")
        assert list(tmp_path.iterdir()) == []
        with pytest.raises(OutputError, match="cannot be written: File too large"):
            analysis.save_figures(tmp_path / "figures")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b"clipsoid-payload", b"something-else", "is no report of clipsoid, or holds no data"),
        (b'analysis">H4sI', b'analysis">H4sA', "the data in it is damaged"),
        (b'analysis">H4sI', b'analysis">AAAA', "the data in it is damaged"),
    ],
)
def test_damaged_reports(
    report: Path, tmp_path: Path, old: bytes, new: bytes, message: str
) -> None:
    contents = report.read_bytes()
    assert old in contents
    path = tmp_path / "report.html"
    path.write_bytes(contents.replace(old, new))
    with pytest.raises(StoreError, match=f"report\\.html: {message}"):
        page_payload(path)


def test_payloads_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="cannot be read: No such file"):
        page_payload(tmp_path / "none.html")
    assert not is_page(tmp_path / "none.html")
    assert gzip.decompress(gzip.compress(b"x", mtime=0)) == b"x"


def test_a_folder_of_figures(analysis: cs.Analysis, tmp_path: Path) -> None:
    folder = tmp_path / "new" / "figures"
    written = analysis.save_figures(folder)
    assert sorted(written) == sorted(folder.iterdir())
    figures = analysis.figures()
    for figure in figures:
        for suffix in (".svg", ".png", ".pdf"):
            contents = (folder / f"{figure.key}{suffix}").read_bytes()
            assert is_figure(contents, suffix)
            assert [other for other in FIGURE_SUFFIXES if is_figure(contents, other)] == [suffix]
        for panel in figure.panels:
            path = folder / f"{figure.key}-{panel.key}.parquet"
            assert pl.read_parquet(path).equals(panel.data)
            assert '"seed": 0' in pl.read_parquet_metadata(path)["clipsoid"]
    before = {path: path.read_bytes() for path in written if path.suffix != ".pdf"}
    analysis.save_figures(folder)
    assert before == {path: path.read_bytes() for path in before}


@pytest.mark.parametrize("name", ["loss-sweep.svg", "loss-sweep-loss.parquet"])
def test_foreign_files_among_figures_are_kept(
    analysis: cs.Analysis, tmp_path: Path, name: str
) -> None:
    if name.endswith(".svg"):
        (tmp_path / name).write_text("<svg/>")
    else:
        pl.DataFrame({"a": [1]}).write_parquet(tmp_path / name)
    with pytest.raises(OutputError, match=rf"{name}: is there already"):
        analysis.save_figures(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    with pytest.raises(OutputError, match="is no folder; wanted one for figures"):
        analysis.save_figures(tmp_path / name)
