"""Both distributions of conformity at each alpha: by a slider, and by their quantiles."""

# ruff: noqa: RUF001 (the alpha is meant)

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from clipsoid.report.charts.lines import Line, Lines, alpha_words, drawn
from clipsoid.report.figure import Panel
from clipsoid.report.marks import MOST_MARKS, coarser, evenly, number, titled, values
from clipsoid.report.theme import DASHED, MODALITY, SOLID

if TYPE_CHECKING:
    import polars as pl
    from numpy.typing import NDArray

    from clipsoid.matching import MatchHistogram

#: The parameter that the slider moves; a page keeps it when its theme changes.
STEP = "step"

#: Bins of a distribution; of more, neighbours are drawn as one.
MOST_BINS = 100

#: What is drawn around the median.
MIDDLE = (0.05, 0.95)

#: Where the words of an alpha stand, above its highest bin.
HEADROOM = 1.14

#: Places of the slider where alphas are not evenly spaced.
PLACES = 200


def chosen(histograms: Sequence[MatchHistogram]) -> list[MatchHistogram]:
    """Return the histograms that the slider shows: by alpha, each once, as many as can be drawn.

    The one nearest to 0 is always among them.
    """
    by_alpha = {one.alpha: one for one in reversed(histograms)}
    ordered = [by_alpha[alpha] for alpha in sorted(by_alpha)]
    bins = min(MOST_BINS, max(len(one.image) for one in ordered))
    kept = {ordered[i].alpha for i in evenly(len(ordered), max(1, MOST_MARKS // (2 * bins) - 1))}
    kept.add(_nearest(ordered).alpha)
    return [one for one in ordered if one.alpha in kept]


def _nearest(histograms: Sequence[MatchHistogram]) -> MatchHistogram:
    return min(histograms, key=lambda one: abs(one.alpha))


def slider_panel(histograms: Sequence[MatchHistogram], least: dict[float, float]) -> Panel:
    """Return both distributions at the alpha of a slider, which begins nearest to 0.

    Parameters
    ----------
    histograms : sequence of MatchHistogram
        Those of `chosen`.
    least : dict of float to float
        The divergence at each alpha, to be written beside it.
    """
    import altair as alt

    frame = _frame(histograms)
    bounds = _bounds([one.alpha for one in histograms])
    drawn_rows = frame.join(bounds, on="alpha").drop("alpha")
    words = _words(frame, least).join(bounds, on="alpha").drop("alpha")
    step = alt.param(
        name=STEP,
        value=_nearest(histograms).alpha + 0.0,
        **_range([one.alpha for one in histograms]),
    )
    at_step = f"datum.from <= {STEP} && {STEP} < datum.to"
    ends = [min(frame["low"]), max(frame["high"])]
    x = alt.X("low:Q", title="conformity", scale=alt.Scale(domain=ends, nice=False))
    bars = (
        alt.Chart(values(drawn_rows))
        .transform_filter(at_step)
        .mark_bar(opacity=0.55, binSpacing=0, aria=False)
        .encode(
            x=x,
            x2="high:Q",
            y=alt.Y(
                "share:Q",
                title="share of rows",
                stack=None,
                scale=alt.Scale(nice=False),
                axis=alt.Axis(format="~%"),
            ),
            y2=alt.datum(0),
            color=alt.Color(
                "series:N",
                scale=alt.Scale(domain=list(MODALITY), range=list(MODALITY.values())),
                legend=alt.Legend(symbolType="square", offset=9),
            ),
            tooltip=[
                alt.Tooltip("series:N", title="modality"),
                alt.Tooltip("low:Q", title="conformity from", format=".4f"),
                alt.Tooltip("high:Q", title="to", format=".4f"),
                alt.Tooltip("count:Q", title="rows", format=","),
                alt.Tooltip("share:Q", title="share", format=".2%"),
            ],
        )
    )
    # At a height of the data, so that there is room for it above the bars.
    label = (
        alt.Chart(values(words))
        .transform_filter(at_step)
        .mark_text(align="left", baseline="top", fontSize=13, aria=False)
        .encode(x=alt.value(4), y="height:Q", text="words:N")
    )
    first = _nearest(histograms)
    return Panel(
        "distributions",
        titled(
            (bars + label).add_params(step),
            "Both distributions at one α",
            "histograms of images and of texts",
        ),
        frame,
        f"Histograms of the conformity of images and of texts at each of {len(histograms)} values "
        f"of alpha, chosen by a slider; at first at {alpha_words(first.alpha)}.",
    )


def _frame(histograms: Sequence[MatchHistogram]) -> pl.DataFrame:
    """Return a row for each bin that is not empty, of either modality at each alpha."""
    import polars as pl

    frames = []
    for one in histograms:
        for series, all_counts in (("image", one.image), ("text", one.text)):
            drawn_bins = coarser(one.edges, all_counts, MOST_BINS)
            edges, counts = drawn_bins.edges, drawn_bins.counts
            frames.append(
                pl.DataFrame(
                    {
                        "alpha": [one.alpha] * len(counts),
                        "series": [series] * len(counts),
                        "low": edges[:-1],
                        "high": edges[1:],
                        "count": counts,
                        "share": counts / max(1, counts.sum()),
                    }
                )
            )
    return pl.concat(frames).filter(pl.col("count") > 0)


def _bounds(alphas: Sequence[float]) -> pl.DataFrame:
    """Return the places of the slider that mean each alpha: up to half-way to its neighbours."""
    import polars as pl

    half = [(a + b) / 2 for a, b in pairwise(alphas)]
    # Wherever a page sets it, some alpha is shown.
    far = 1 + 2 * max(map(abs, alphas))
    return pl.DataFrame({"alpha": alphas, "from": [-far, *half], "to": [*half, far]})


def _words(frame: pl.DataFrame, least: dict[float, float]) -> pl.DataFrame:
    """Return what is written at each alpha, and how high."""
    import polars as pl

    heights = frame.group_by("alpha", maintain_order=True).agg(height=pl.col("share").max())
    words = [
        f"α = {alpha_words(alpha)}: KL {number(least[alpha], 3)} nats" for alpha in heights["alpha"]
    ]
    return heights.with_columns(pl.col("height") * HEADROOM, words=pl.Series(words))


def _range(alphas: Sequence[float]) -> dict[str, Any]:
    """Return the slider; none for one alpha alone."""
    import altair as alt

    if len(alphas) < 2:
        return {}
    gaps = np.diff(alphas)
    whole = alphas[-1] - alphas[0]
    even = bool(np.ptp(gaps) <= 1e-9 * whole)
    width = whole / (len(alphas) - 1 if even else PLACES)
    # No more digits than a reader wants to see beside it.
    width = float(f"{width:.9g}")
    return {"bind": alt.binding_range(min=alphas[0], max=alphas[-1], step=width, name="α ")}


def places_panel(histograms: Sequence[MatchHistogram], axis: str) -> Panel:
    """Return where both distributions lie at every alpha: median, and the middle 90 %."""
    import polars as pl

    ordered = sorted(histograms, key=lambda one: one.alpha)
    alphas = [one.alpha for one in ordered]
    columns: dict[str, Any] = {"alpha": alphas}
    lines = []
    for series, dash in (("image", SOLID), ("text", DASHED)):
        found = np.array([_quantiles(one.edges, getattr(one, series)) for one in ordered])
        lower, median, upper = found.T.tolist()
        columns |= {f"{series}_lower": lower, f"{series}_median": median, f"{series}_upper": upper}
        lines.append(Line(series, median, MODALITY[series], dash, (lower, upper)))
    panel = Lines(
        "places",
        "Where they lie",
        "median, and the middle 90 % of the rows",
        "conformity",
        tuple(lines),
    )
    return Panel(
        panel.key,
        drawn(panel, alphas, axis),
        pl.DataFrame(columns),
        "Median and middle 90 % of the conformity of images and of texts over alpha, from "
        f"{alpha_words(alphas[0])} to {alpha_words(alphas[-1])}.",
    )


def _quantiles(edges: NDArray[np.float64], counts: NDArray[np.int64]) -> list[float]:
    """Return lower end, median and upper end, evenly spread within each bin."""
    low, high = MIDDLE
    below = np.concatenate([[0], np.cumsum(counts)]) / counts.sum()
    # From the last edge below the rows to the first above: elsewhere nothing rises.
    filled = np.flatnonzero(counts)
    within = slice(filled[0], filled[-1] + 2)
    return [float(np.interp(q, below[within], edges[within])) for q in (low, 0.5, high)]
