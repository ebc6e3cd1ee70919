"""The page of a scored set: distributions, and the rows at their ends, from its score files."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from clipsoid.analysis.figures import Histogram
from clipsoid.errors import ShapeError
from clipsoid.report.blocks import Explorer, Galleries, Gallery, Item, Page, Pair, Section, cut
from clipsoid.report.charts.conformity import RANGE, conformity_histogram
from clipsoid.report.charts.rows import SCORES, score_panel
from clipsoid.report.figure import Figure
from clipsoid.report.galleries import pictures_of
from clipsoid.report.marks import MOST_MARKS, number
from clipsoid.report.theme import BLUE
from clipsoid.report.thumbnails import Thumbnails

if TYPE_CHECKING:
    import polars as pl

#: The format of what can be taken out of the page.
FORMAT = "clipsoid.scores"

BINS = 50

#: Rows at each end of a distribution.
GALLERY = 24


def scores_page(
    files: Sequence[Path],
    made: Mapping[str, Any],
    *,
    title: str | None = None,
    root: Path | None = None,
    seed: int = 0,
) -> Page:
    """Return all that a report of score files says.

    The files are read by streaming queries: memory does not grow with their rows.

    Parameters
    ----------
    files : sequence of Path
        Score files of one set. Of their id columns, ``caption`` and ``image_path`` are shown as
        such.
    made : mapping
        How they were made.
    title : str, optional
    root : Path, optional
        Where image paths begin that are not absolute.
    seed : int, default=0
        Of the sample of rows.

    Raises
    ------
    ShapeError
        If no row has a score.
    """
    import polars as pl

    rows = pl.scan_parquet(list(files))
    status = dict(rows.group_by("status").len().collect(engine="streaming").iter_rows())
    scored = rows.filter(pl.col("status") == "ok").drop("status")
    count = status.get("ok", 0)
    if count == 0:
        raise ShapeError("a report of scores: no row has one")
    columns = set(rows.collect_schema().names())
    names = tuple(name for name in SCORES if name in columns)
    known = scored.select(
        *(pl.col(name).min().alias(f"{name}_min") for name in names),
        *(pl.col(name).max().alias(f"{name}_max") for name in names),
        *(pl.col(name).cast(pl.Float64).mean().alias(f"{name}_mean") for name in names),
        *(pl.col(name).cast(pl.Float64).std(ddof=0).alias(f"{name}_std") for name in names),
    )
    figures = known.collect(engine="streaming").row(0, named=True)
    pictures = Thumbnails(root)
    histogram = _figure(scored, names, figures)
    ends = [_gallery(scored, end, pictures) for end in ("highest", "lowest")]
    explorer = _explorer(scored, count, histogram, pictures, seed)
    text = {"format": FORMAT, **made, "rows": count, "status": status, "figures": figures}
    return Page(
        title or "Conformity of a set",
        _summary(made, count),
        (),
        tuple(_key_figures(figures, count)),
        tuple(_warnings(made, status, pictures)),
        (
            Section(
                "common",
                "Common and rare",
                "Conformity is the mean cosine of an item to all others: high for what is common.",
                (
                    histogram,
                    Pair("rows", (explorer,)),
                    Galleries("ends", "", "Most and least conforming rows", tuple(ends)),
                ),
            ),
        ),
        tuple(_made(made)),
        tuple(pictures.made),
        {"format": FORMAT, "text": json.dumps(text)},
    )


def _figure(scored: pl.LazyFrame, names: Sequence[str], figures: Mapping[str, Any]) -> Figure:
    histograms = _histograms(scored, names, figures)
    mean = figures["conformity_mean"]
    first = conformity_histogram(histograms["conformity"], mean, "rows", BLUE)
    others = [
        score_panel(name, histograms[name], figures[f"{name}_mean"])
        for name in names[1:]
        if name in histograms
    ]
    return Figure(
        "conformity",
        "Figure 8",
        "Conformity, direction and length",
        "The line marks the mean. What is rare often has a larger norm.",
        (first, *others),
        columns=3,
    )


def _histograms(
    scored: pl.LazyFrame, names: Sequence[str], figures: Mapping[str, Any]
) -> dict[str, Histogram]:
    """Count all scores in one pass each; a score that no row has is left out."""
    import polars as pl

    edges = {}
    for name in names:
        low, high = figures[f"{name}_min"], figures[f"{name}_max"]
        if low is None or not np.isfinite([low, high]).all():
            continue
        wide = high if high > low else low + max(abs(low), 1.0)
        edges[name] = np.linspace(low, wide, BINS + 1)
    counts = pl.collect_all(
        [
            scored.filter(pl.col(name).is_finite())
            .select(
                ((pl.col(name).cast(pl.Float64) - edge[0]) / (edge[-1] - edge[0]) * BINS)
                .floor()
                .clip(0, BINS - 1)
                .cast(pl.Int32)
                .alias("bin")
            )
            .group_by("bin")
            .len()
            for name, edge in edges.items()
        ],
        engine="streaming",
    )
    found = {}
    for (name, edge), frame in zip(edges.items(), counts, strict=True):
        filled = np.zeros(BINS, np.int64)
        filled[frame["bin"].to_numpy()] = frame["len"].to_numpy()
        found[name] = Histogram(edge, filled)
    return found


def _gallery(scored: pl.LazyFrame, end: str, pictures: Thumbnails) -> Gallery:
    frame = (
        scored.sort("conformity", "shard", "row", descending=[end == "highest", False, False])
        .head(GALLERY)
        .collect(engine="streaming")
    )
    items = tuple(
        Item(
            row["row"],
            number(row["conformity"]),
            cut(row.get("caption")) or _names(row),
            pictures.add(row.get("image_path")),
        )
        for row in frame.iter_rows(named=True)
    )
    words = {"highest": "What many resemble.", "lowest": "What is rare."}
    return Gallery(end, f"{end.capitalize()} conformity", words[end], items)


def _names(row: Mapping[str, Any]) -> str:
    """Return the shard of a row, and what its id columns hold."""
    apart = {*SCORES, "group_rows", "row"}
    return cut(", ".join(str(value) for name, value in row.items() if name not in apart))


def _explorer(
    scored: pl.LazyFrame, count: int, figure: Figure, pictures: Thumbnails, seed: int
) -> Explorer:
    import polars as pl

    rows = scored
    if count > MOST_MARKS:
        rng = np.random.default_rng(seed)
        chosen = np.sort(rng.choice(count, MOST_MARKS, replace=False, shuffle=False))
        picked = pl.Series(chosen).cast(pl.UInt32)
        rows = scored.with_row_index().filter(pl.col("index").is_in(picked.implode())).drop("index")
    frame = rows.collect(engine="streaming").sort("shard", "row")
    names = [name for name in SCORES if name in frame.columns]
    apart = {*SCORES, "group_rows", "row", "image_path"}
    texts = [name for name in frame.columns if name not in apart]
    shown = frame.select(
        "row",
        *(pl.col(name).cast(pl.Float64).round_sig_figs(6) for name in names),
        *(pl.col(name).cast(pl.String) for name in texts),
    )
    columns = {
        name: [cut(x) for x in values] if name in texts else values
        for name, values in shown.to_dict(as_series=False).items()
    }
    pictured: list[tuple[int, int]] = []
    if "image_path" in frame.columns:
        paths = frame["image_path"].cast(pl.String).to_list()
        pictured = pictures_of(frame["conformity"].to_numpy(), paths, pictures)
    return Explorer(
        "explorer",
        f"{figure.key}-{figure.panels[0].key}",
        RANGE + "rows",
        "Rows of a range",
        "conformity",
        columns,
        tuple(pictured),
        count,
    )


def _summary(made: Mapping[str, Any], count: int) -> str:
    kind = "normalised" if made["is_normalized"] else "raw"
    against = "each left out of its own mean" if made["member"] else "none of them among these"
    return (
        f"{count:,} rows of {made['dim']} features, {', '.join(made['dtypes'])}, {kind}; scored "
        f"against {made['ellipsoid_rows']:,} rows, {against}"
    )


def _key_figures(figures: Mapping[str, Any], count: int) -> Iterator[tuple[str, str]]:
    yield "rows", f"{count:,}"
    for name in SCORES:
        if figures.get(f"{name}_mean") is not None:
            mean, std = figures[f"{name}_mean"], figures[f"{name}_std"]
            yield f"{name.replace('_', ' ')}, mean", f"{number(mean)} ± {number(std)}"
            low, high = figures[f"{name}_min"], figures[f"{name}_max"]
            yield f"{name.replace('_', ' ')}, range", f"{number(low)} to {number(high)}"


def _warnings(
    made: Mapping[str, Any], status: Mapping[str, int], pictures: Thumbnails
) -> Iterator[str]:
    if made["is_normalized"]:
        yield "the rows are normalised: norms and the cosine to the mean describe the unit sphere"
    for name, rows in sorted(status.items()):
        if name != "ok":
            yield f"{rows:,} rows have no score: {name.replace('_', ' ')}"
    if pictures.missing:
        yield pictures.missing_words


def _made(made: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "version of clipsoid", made["clipsoid_version"]
    members = "of the ellipsoid, each left out of its own mean", "not of the ellipsoid"
    yield "rows that were scored", members[0 if made["member"] else 1]
    yield "rows of the ellipsoid", f"{made['ellipsoid_rows']:,}"
    yield "features", f"{made['dim']:,}"
    yield "element types", ", ".join(made["dtypes"])
    yield "lengths of the ellipsoid's rows", "normalised" if made["is_normalized"] else "raw"
    yield "encoder", made["encoder"] or "not known"
    without = {"error": "none", "skip": "left out", "null": "written without a score"}
    yield "rows that cannot be scored", without[made["on_invalid"]]
    yield "instructions of the scores", made["simd"]
    yield "instructions of the ellipsoid", ", ".join(made["ellipsoid_simd"])
    more = {
        "partner": "digest of the partners",
        "whitening": "digest of the whitening",
        "by": "column of the groups",
    }
    for name, words in more.items():
        if made.get(name) is not None:
            yield words, made[name]
