"""What charts are made of: histograms, lines, rules, with tooltips."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from clipsoid._paper import NEITHER, PAPER
from clipsoid.report import theme

if TYPE_CHECKING:
    import altair as alt
    import polars as pl

    from clipsoid.analysis.figures import Histogram

Array = NDArray[np.float64]
Integers = NDArray[np.int64]

#: Most marks of a chart that draws rows.
MOST_MARKS = 5_000

#: Marks of a panel that are plenty; of more, some are drawn.
PLENTY = 2_000

#: Of a chart over ranks, the first that are all drawn: there the values change.
FIRST_RANKS = 200

#: Legends of lines: long enough to show a dash.
LINE_SYMBOLS: dict[str, Any] = {"symbolType": "stroke", "symbolSize": 300, "symbolStrokeWidth": 2}


def values(frame: pl.DataFrame) -> dict[str, list[dict[str, Any]]]:
    """Return the rows of a frame as chart data; what is not finite is None, which draws a gap."""
    columns = {
        name: [_known(x) for x in column] for name, column in frame.to_dict(as_series=False).items()
    }
    names = list(columns)
    return {
        "values": [
            dict(zip(names, row, strict=True)) for row in zip(*columns.values(), strict=True)
        ]
    }


def _known(x: Any) -> Any:
    return None if isinstance(x, float) and not math.isfinite(x) else x


def histogram_frame(series: dict[str, Histogram]) -> pl.DataFrame:
    """Return histograms as rows: `series`, `low`, `high`, `count`, `share` (of its own rows)."""
    import polars as pl

    frames = [
        pl.DataFrame(
            {
                "series": [name] * len(histogram.counts),
                "low": histogram.edges[:-1],
                "high": histogram.edges[1:],
                "count": histogram.counts,
                "share": histogram.counts / max(1, histogram.counts.sum()),
            }
        )
        for name, histogram in series.items()
    ]
    return pl.concat(frames)


def coarser(edges: Array, counts: Integers, most: int) -> Histogram:
    """Return a histogram of at most so many bins, in which neighbours are counted as one."""
    from clipsoid.analysis.figures import Histogram

    starts = np.arange(0, len(counts), -(-len(counts) // most))
    return Histogram(np.append(edges[starts], edges[-1]), np.add.reduceat(counts, starts))


def bars(
    frame: pl.DataFrame,
    x: str,
    colours: dict[str, str],
    *,
    legend: bool | None = None,
    what: str = "rows",
    ends: tuple[float, float] | None = None,
) -> alt.Chart:
    """Draw a `histogram_frame`, several series over one another.

    Parameters
    ----------
    frame : polars.DataFrame
    x : str
        Title of the axis, with its unit.
    colours : dict of str to str
        Of each series.
    legend : bool, optional
        By default where there is more than one series.
    what : str, default="rows"
        What is counted.
    ends : (float, float), optional
        Of the axis; by default those of the bins.
    """
    import altair as alt

    domain: dict[str, Any] = {"domain": list(ends)} if ends else {}
    shown = len(colours) > 1 if legend is None else legend
    # Over one another: where both have rows, both are seen.
    opacity = 0.55 if len(colours) > 1 else 0.85
    drawn: alt.Chart = (
        alt.Chart(values(frame))
        .mark_bar(opacity=opacity, binSpacing=0, aria=False)
        .encode(
            x=alt.X(
                "low:Q",
                title=x,
                scale=alt.Scale(zero=False, nice=False, **domain),
                axis=alt.Axis(labelSeparation=4),
            ),
            x2="high:Q",
            y=alt.Y("share:Q", title=f"share of {what}", stack=None, axis=alt.Axis(format="~%")),
            y2=alt.datum(0),
            color=alt.Color(
                "series:N",
                scale=alt.Scale(domain=list(colours), range=list(colours.values())),
                legend=alt.Legend(symbolType="square") if shown else None,
            ),
            tooltip=[
                alt.Tooltip("series:N", title="series"),
                alt.Tooltip("low:Q", title="from", format=".5~g"),
                alt.Tooltip("high:Q", title="to", format=".5~g"),
                alt.Tooltip("count:Q", title=what, format=","),
                alt.Tooltip("share:Q", title="share", format=".2%"),
            ],
        )
    )
    return drawn


def distributions(
    frame: pl.DataFrame,
    x: str,
    style: Mapping[str, tuple[str, tuple[int, int]]],
    *,
    y: str = "share of rows",
    of: str = "rows",
    ends: tuple[float, float] | None = None,
    top: float | None = None,
    root: bool = False,
    rules: Sequence[alt.Chart] = (),
) -> alt.LayerChart:
    """Draw a `histogram_frame` as filled bins under outlines, which dashes tell apart.

    Parameters
    ----------
    frame : polars.DataFrame
    x, y : str
        Titles of the axes.
    style : mapping of str to (str, (int, int))
        Colour and dash of each series.
    of : str
        What is counted.
    ends : (float, float), optional
        Of the axis; by default those of the bins.
    top : float, optional
        Of the other axis.
    root : bool, default=False
        Whether that axis is one of square roots, on which a long tail is seen.
    rules : sequence of altair.Chart
        Lines over the bins.
    """
    import altair as alt

    scale: dict[str, Any] = {"type": "sqrt"} if root else {}
    scale |= {"domain": [0, top]} if top else {}

    domain: dict[str, Any] = {"domain": list(ends)} if ends else {}
    across = alt.X("low:Q", title=x, scale=alt.Scale(zero=False, nice=False, **domain))
    up = alt.Y(
        "share:Q",
        title=y,
        axis=alt.Axis(format="~%"),
        scale=alt.Scale(**scale),
    )
    colours, dashes = zip(*style.values(), strict=True)
    outlines = alt.Chart({"values": _outlines(frame)}).mark_line(
        interpolate="step-after", strokeWidth=1.5, aria=False
    )
    legend = alt.Legend(**LINE_SYMBOLS) if len(style) > 1 else None
    names = list(style)
    layers: list[alt.Chart] = [
        outlines.encode(
            x=across,
            y=up,
            color=alt.Color(
                "series:N", scale=alt.Scale(domain=names, range=list(colours)), legend=legend
            ),
            strokeDash=alt.StrokeDash(
                "series:N",
                scale=alt.Scale(domain=names, range=[list(dash) for dash in dashes]),
                legend=legend,
            ),
        )
    ]
    for name, (colour, _) in style.items():
        some = frame.filter(frame["series"] == name)
        bins = alt.Chart(values(some)).mark_bar(opacity=0.3, binSpacing=0, aria=False, color=colour)
        tooltip = [
            alt.Tooltip("series:N", title="series"),
            alt.Tooltip("low:Q", title="from", format=".5~g"),
            alt.Tooltip("high:Q", title="to", format=".5~g"),
            alt.Tooltip("count:Q", title=of, format=","),
            alt.Tooltip("share:Q", title="share", format=".2%"),
        ]
        layers.append(bins.encode(x=across, x2="high:Q", y=up, y2=alt.datum(0), tooltip=tooltip))
    return alt.LayerChart(layer=[*layers, *rules])


def _outlines(frame: pl.DataFrame) -> list[dict[str, Any]]:
    """Return the corners of each series: up from 0 at its first bin, down to 0 after its last.

    The first and the last that hold anything.
    """
    corners: list[dict[str, Any]] = []
    for _, bins in frame.group_by("series", maintain_order=True):
        held = np.flatnonzero(bins["count"].to_numpy())
        if not len(held):
            continue
        some = bins[int(held[0]) : int(held[-1]) + 1]
        rows = some.select("series", "low", "share").rows(named=True)
        down = {"series": rows[0]["series"], "low": some["high"][-1], "share": 0.0}
        corners += [rows[0] | {"share": 0.0}, *rows, down]
    return corners


def ranks(count: int) -> Integers:
    """Return which of so many ranked values are drawn: the first, and some evenly of the rest."""
    if count <= PLENTY:
        return np.arange(count)
    rest = np.linspace(FIRST_RANKS, count - 1, PLENTY - FIRST_RANKS)
    return np.concatenate([np.arange(FIRST_RANKS), rest.round().astype(np.int64)])


def evenly(count: int, most: int) -> Integers:
    """Return `most` of so many numbers, evenly spread; all of them if they are fewer."""
    if count <= most:
        return np.arange(count)
    return np.linspace(0, count - 1, most).round().astype(np.int64)


def level(
    at: float, label: str, *, colour: str = theme.BLACK, dash: Sequence[int] = theme.DASHED
) -> alt.Chart:
    """Draw a horizontal line at a number, with a tooltip that says what it is."""
    import altair as alt

    drawn: alt.Chart = (
        alt.Chart({"values": [{"level": _known(float(at)), "label": label}]})
        .mark_rule(color=colour, strokeWidth=1.5, strokeDash=list(dash))
        .encode(
            y="level:Q",
            tooltip=[
                alt.Tooltip("label:N", title="line"),
                alt.Tooltip("level:Q", title="at", format=".5~g"),
            ],
        )
    )
    return drawn


def rule(
    at: float, label: str, *, colour: str = theme.BLACK, dash: Sequence[int] = ()
) -> alt.Chart:
    """Draw a vertical line at a number, with a tooltip that says what it is."""
    import altair as alt

    drawn: alt.Chart = (
        alt.Chart({"values": [{"at": _known(float(at)), "label": label}]})
        .mark_rule(color=colour, strokeWidth=1.5, strokeDash=list(dash) or [1, 0])
        .encode(
            x="at:Q",
            tooltip=[
                alt.Tooltip("label:N", title="line"),
                alt.Tooltip("at:Q", title="at", format=".5~g"),
            ],
        )
    )
    return drawn


def titled(chart: Any, title: str, subtitle: str | Sequence[str] = "") -> Any:
    """Return the chart with a title, and a subtitle if there is one."""
    import altair as alt

    words: dict[str, Any] = {"subtitle": subtitle} if subtitle else {}
    return chart.properties(title=alt.TitleParams(title, **words))


def number(value: float | None, decimals: int = 4) -> str:
    """Return a number as it is written in text: a true minus, an em dash for what is not known."""
    if value is None or math.isnan(value):
        return "—"
    if math.isinf(value):
        return "∞" if value > 0 else "\N{MINUS SIGN}∞"
    # Never minus zero, not even by rounding.
    return f"{round(value, decimals) + 0.0:,.{decimals}f}".replace("-", "\N{MINUS SIGN}")


def paper(name: str, modality: str = "image", write: Callable[[float], str] = "{:g}".format) -> str:
    """Return what the paper prints of a figure, as `write` does; empty if it has none."""
    of_image, of_text = PAPER.get(name, NEITHER)
    value = of_text if modality == "text" else of_image
    return "" if value is None else write(value)


def percent(share: float | None, decimals: int = 2) -> str:
    """Return a share as it is written in text; an em dash for what is not known."""
    if share is None or math.isnan(share):
        return "—"
    return f"{number(100 * share, decimals)}%"


def rows_drawn(some: int, of: int, what: str = "rows") -> str:
    """Return how many of the rows are drawn; nothing where these are all."""
    return f"{some:,} of {of:,} {what} are drawn." if some < of else ""


def padded(x: Array) -> tuple[float, float]:
    """Return the ends of an axis that leaves room on both sides of some numbers."""
    low, high = float(x.min()), float(x.max())
    room = 0.04 * (high - low) or 0.5
    return low - room, high + room
