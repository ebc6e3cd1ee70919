"""The report of a scored set, from its files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import clipsoid as cs
from clipsoid.cli import main
from clipsoid.errors import ShapeError
from clipsoid.report import is_page, page_payload
from clipsoid.report.blocks import Explorer, Galleries, Pair
from clipsoid.report.figure import Figure
from clipsoid.report.scores import BINS, GALLERY, scores_page

ROWS = 6_000


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two shards of scored rows, with ids, and two rows that have no score."""
    folder = tmp_path_factory.mktemp("scored")
    rows = cs.double_ellipsoid(ROWS, dim=32, seed=3).image.copy()
    rows[17] = 0
    rows[4_000, 2] = np.nan
    (folder / "rows").mkdir()
    for shard, part in enumerate(np.array_split(np.arange(ROWS), 2)):
        pl.DataFrame(
            {
                "embedding": pl.Series(rows[part]),
                "uid": [f"u{i}" for i in part],
                "caption": [f"<b>caption</b> {i}" for i in part],
            },
        ).write_parquet(folder / "rows" / f"{shard}.parquet")
    main(
        [
            "score",
            str(folder / "rows"),
            "--key=embedding",
            "--out",
            str(folder / "scores"),
            "--on-invalid=null",
            "--id-column=uid",
            "--id-column=caption",
            "--report",
            str(folder / "report.html"),
            "--quiet",
        ]
    )
    return folder


def made(folder: Path) -> dict[str, object]:
    file = folder / "scores" / "0.parquet"
    found: dict[str, object] = json.loads(pl.read_parquet_metadata(file)["clipsoid"])
    return found


def blocks(folder: Path) -> tuple[Figure, Explorer, Galleries]:
    page = scores_page(sorted((folder / "scores").glob("*.parquet")), made(folder))
    figure, pair, galleries = page.sections[0].blocks
    assert isinstance(figure, Figure) and isinstance(pair, Pair)
    assert isinstance(galleries, Galleries)
    return figure, pair.explorers[0], galleries


def frame(folder: Path) -> pl.DataFrame:
    return pl.read_parquet(folder / "scores" / "*.parquet").filter(pl.col("status") == "ok")


def test_the_page_is_written_and_holds_its_figures(scored: Path) -> None:
    path = scored / "report.html"
    assert is_page(path)
    kind, text = page_payload(path)
    found, rows = json.loads(text), frame(scored)
    assert kind == found["format"] == "clipsoid.scores"
    assert found["rows"] == ROWS - 2
    assert found["status"] == {"ok": ROWS - 2, "non_finite": 1, "zero_norm": 1}
    for name in ("conformity", "cosine_to_mean", "norm"):
        column = rows[name].to_numpy().astype(np.float64)
        want = {"min": column.min(), "max": column.max(), "mean": column.mean()}
        want["std"] = column.std()
        for end, value in want.items():
            assert found["figures"][f"{name}_{end}"] == pytest.approx(value, rel=1e-6)


def test_histograms_count_every_row(scored: Path) -> None:
    figure, _, _ = blocks(scored)
    rows = frame(scored)
    names = ("conformity", "cosine_to_mean", "norm")
    for panel, name in zip(figure.panels, names, strict=True):
        assert panel.data["count"].sum() == ROWS - 2 and panel.data.height == BINS
        edges = [*panel.data["low"], panel.data["high"][-1]]
        want, _ = np.histogram(rows[name].to_numpy().astype(np.float64), edges)
        # Where rounding moves a number across an edge, two bins differ by it.
        assert np.abs(panel.data["count"].to_numpy() - want).sum() <= 4


def test_both_ends_are_shown(scored: Path) -> None:
    _, _, galleries = blocks(scored)
    rows = frame(scored)
    for gallery, descending in zip(galleries.galleries, (True, False), strict=True):
        want = rows.sort("conformity", "shard", "row", descending=[descending, False, False])
        want = want.head(GALLERY)
        assert [item.row for item in gallery.items] == want["row"].to_list()
        assert [item.caption for item in gallery.items] == want["caption"].to_list()


def test_a_sample_is_looked_through(scored: Path) -> None:
    _, explorer, _ = blocks(scored)
    rows = frame(scored)
    columns = explorer.columns
    assert list(columns)[:4] == ["row", "conformity", "cosine_to_mean", "norm"]
    assert len(columns["row"]) == 5_000 and explorer.total == ROWS - 2
    assert len(set(columns["uid"])) == 5_000
    known = dict(zip(rows["uid"], rows["conformity"], strict=True))
    for uid, value in zip(columns["uid"][:50], columns["conformity"][:50], strict=True):
        assert value == pytest.approx(known[uid], rel=1e-5)
    again = blocks(scored)[1]
    assert again.columns["uid"] == columns["uid"]


def test_ids_are_text_on_the_page(scored: Path) -> None:
    text = (scored / "report.html").read_text(encoding="utf-8")
    assert "<b>caption</b>" not in text and "&lt;b&gt;caption&lt;/b&gt;" in text


def test_what_is_wrong_is_said(scored: Path) -> None:
    page = scores_page(sorted((scored / "scores").glob("*.parquet")), made(scored))
    assert "1 rows have no score: zero norm" in page.warnings
    normalised = scores_page(
        sorted((scored / "scores").glob("*.parquet")), made(scored) | {"is_normalized": True}
    )
    assert any("normalised" in warning for warning in normalised.warnings)


def test_no_row_has_a_score(tmp_path: Path) -> None:
    pl.DataFrame(
        {
            "shard": ["a"],
            "row": [0],
            "conformity": [None],
            "cosine_to_mean": [None],
            "norm": [None],
            "status": ["missing"],
        },
        {"shard": pl.String, "row": pl.UInt32, "status": pl.String}
        | dict.fromkeys(("conformity", "cosine_to_mean", "norm"), pl.Float32),
        strict=False,
    ).write_parquet(tmp_path / "a.parquet")
    with pytest.raises(ShapeError, match="a report of scores: no row has one"):
        scores_page([tmp_path / "a.parquet"], {})


def test_a_report_that_cannot_be_is_refused_before_the_work(
    scored: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.html").write_text("mine")
    arguments = ["score", str(scored / "rows"), "--key=embedding", "--out", str(tmp_path / "s")]
    assert main([*arguments, "--report", str(tmp_path / "mine.html")]) != 0
    assert "mine.html: is there already and is no report of clipsoid" in capsys.readouterr().err
    assert main([*arguments, "--report", str(tmp_path)]) != 0
    assert "is a folder" in capsys.readouterr().err
    assert not (tmp_path / "s").exists()
