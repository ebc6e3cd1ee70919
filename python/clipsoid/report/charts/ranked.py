"""Lines over a rank: radii of axes, dominance of features, eigenvalues, losses."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from clipsoid.report.marks import LINE_SYMBOLS, values

if TYPE_CHECKING:
    import altair as alt
    import polars as pl


def over_rank(
    frame: pl.DataFrame,
    column: str,
    y: str,
    x: str,
    style: Mapping[str, tuple[str, tuple[int, int]]],
) -> alt.Chart:
    """Draw lines of positive numbers over their rank, on a logarithmic axis.

    Parameters
    ----------
    frame : polars.DataFrame
        `series`, `rank` and the column; null where nothing is drawn.
    column : str
    y, x : str
        Titles of the axes.
    style : dict of str to (str, (int, int))
        Colour and dash of each series.
    """
    import altair as alt

    names = list(style)
    colours, dashes = zip(*style.values(), strict=True)
    # A single line is what the title says.
    legend = alt.Legend(**LINE_SYMBOLS) if len(style) > 1 else None
    known = frame[column].drop_nulls().to_list()
    scale, axis = log_scale(min(known), max(known)) if known else (alt.Scale(), alt.Axis())
    last = max([2, *frame["rank"]])
    drawn: alt.Chart = (
        alt.Chart(values(frame))
        .mark_line(strokeWidth=2, aria=False, point={"opacity": 0, "size": 60})
        .encode(
            x=alt.X(
                "rank:Q",
                title=x,
                scale=alt.Scale(domain=[1, last], nice=False),
                axis=alt.Axis(tickMinStep=1),
            ),
            y=alt.Y(f"{column}:Q", title=y, scale=scale, axis=axis),
            color=alt.Color(
                "series:N", scale=alt.Scale(domain=names, range=list(colours)), legend=legend
            ),
            strokeDash=alt.StrokeDash(
                "series:N",
                scale=alt.Scale(domain=names, range=[list(dash) for dash in dashes]),
                legend=legend,
            ),
            tooltip=[
                alt.Tooltip("series:N", title="series"),
                alt.Tooltip("rank:Q", title="rank", format=","),
                alt.Tooltip(f"{column}:Q", title=column, format=".4~g"),
            ],
        )
    )
    return drawn


def log_scale(low: float, high: float) -> tuple[alt.Scale, alt.Axis]:
    """Return a logarithmic scale of positive numbers, and an axis whose lines are few."""
    import altair as alt

    low, high = low / 1.15, high * 1.15
    scale = alt.Scale(type="log", domain=[low, high], nice=False)
    if high < 5 * low:
        return scale, alt.Axis()
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    steps: tuple[int, ...] = (1,) if last - first > 3 else (1, 3) if last - first > 1 else (1, 2, 5)
    ticks = [float(f"{step}e{power}") for power in range(first, last + 1) for step in steps]
    axis = alt.Axis(values=[tick for tick in ticks if low <= tick <= high])
    return scale, axis
