"""Figure 10 of the paper: how common the image of a pair is beside its text."""

# ruff: noqa: RUF001 (the minus sign is meant)

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from clipsoid.report import theme
from clipsoid.report.figure import Figure, Measure, Panel
from clipsoid.report.marks import bars, histogram_frame, number, rule, titled, values

if TYPE_CHECKING:
    import altair as alt
    import polars as pl

    from clipsoid.analysis import Analysis
    from clipsoid.analysis.figures import Histogram
    from clipsoid.analysis.parts import Differences
    from clipsoid.difference import ConformityDifference

#: Where an analysis has not counted them.
BINS = 50

#: Sides of 0, and their colours.
TEXT, NEITHER, IMAGE = "text higher", "near 0", "image higher"
SIDES = {
    TEXT: theme.MODALITY["text"],
    NEITHER: theme.GREY,
    IMAGE: theme.MODALITY["image"],
}


def difference_figure(found: Analysis | ConformityDifference) -> Figure | None:
    """Return the distributions of both differences, image minus text (Figure 10).

    None if the analysis left them out.
    """
    from clipsoid.analysis.compute import differences_of
    from clipsoid.difference import ConformityDifference

    if isinstance(found, ConformityDifference):
        return _figure(differences_of(found, BINS), float(found.difference.mean()))
    part = found.conformity_difference
    if part is None:
        return None
    return _figure(part, found.image.mean_conformity - found.text.mean_conformity)


def _figure(part: Differences, mean: float) -> Figure:
    percentiles = _panel(
        "percentiles", part.percentiles, "Difference of percentiles", "percentile, image − text"
    )
    raw = _panel("raw", part.raw, "Difference of conformities", "conformity, image − text")
    return Figure(
        "difference",
        "Figure 10",
        "How common an image is beside its text",
        "For each pair, how common its image is among the images, minus how common its text is "
        "among the texts. Percentiles can be compared: at 0.3, the share of images that are less "
        "common than this one exceeds that of the texts by 30 points. The dashed line is what "
        "pairs would show whose percentiles have nothing to do with each other. The conformities "
        "themselves lie on two scales, so that their difference need not be around 0.",
        (percentiles, raw),
        (*_extremes(part), Measure("mean difference of conformities", number(mean))),
        f"{part.percentiles.counts.sum():,} pairs",
    )


def _extremes(part: Differences) -> tuple[Measure, ...]:
    """Return the outermost pairs."""
    return tuple(
        Measure(f"{name}, by most (percentiles)", f"{number(ends.value[0], 3)}, pair {row:,}")
        for name, ends in ((IMAGE, part.image_higher), (TEXT, part.text_higher))
        for row in ends.row[:1].tolist()
    )


def _panel(key: str, histogram: Histogram, title: str, axis: str) -> Panel:
    import polars as pl

    frame = histogram_frame({key: histogram})
    side = (
        pl.when(pl.col("high") <= 0)
        .then(pl.lit(TEXT))
        .when(pl.col("low") >= 0)
        .then(pl.lit(IMAGE))
        .otherwise(pl.lit(NEITHER))
    )
    frame = frame.with_columns(series=side)
    present = {name: colour for name, colour in SIDES.items() if name in frame["series"]}
    chart = bars(frame, axis, present, legend=True, what="pairs") + rule(
        0, "no difference", colour=theme.GREY
    )
    if key == "percentiles":
        frame = frame.with_columns(share_if_independent=_by_chance(histogram))
        chart += _chance(frame)
    low, high = histogram.edges[0], histogram.edges[-1]
    return Panel(
        key,
        titled(chart, title),
        frame,
        f"Histogram of {histogram.counts.sum():,} pairs, {title.lower()}, image minus text: from "
        f"{number(low, 3)} to {number(high, 3)}.",
    )


def _by_chance(histogram: Histogram) -> np.ndarray:
    """Return each bin's share if both percentiles were uniform, and independent: a triangle."""
    x = histogram.edges.clip(-1, 1)
    below: np.ndarray = 0.5 + x - np.sign(x) * x**2 / 2
    return np.diff(below)


def _chance(frame: pl.DataFrame) -> alt.LayerChart:
    import altair as alt

    middle = ((frame["low"] + frame["high"]) / 2).alias("middle")
    chance = frame.select(middle, "share_if_independent")
    line = (
        alt.Chart(values(chance))
        .mark_line(color=theme.BLACK, strokeDash=list(theme.DASHED), strokeWidth=1.5, aria=False)
        .encode(
            x="middle:Q",
            y="share_if_independent:Q",
            tooltip=[
                alt.Tooltip("middle:Q", title="around", format=".3f"),
                alt.Tooltip("share_if_independent:Q", title="if independent", format=".2%"),
            ],
        )
    )
    # The outermost bins are low, and leave room for words.
    words = alt.Chart(values(chance.head(1))).encode(x="middle:Q", y="share_if_independent:Q")
    named = words.mark_text(
        text="if unrelated", align="left", baseline="bottom", dy=-12, aria=False
    )
    return alt.LayerChart(layer=[line, named])
