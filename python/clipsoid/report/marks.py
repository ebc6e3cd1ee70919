"""What charts are made of: histograms, lines, rules, with tooltips."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from clipsoid.report import theme

if TYPE_CHECKING:
    import altair as alt
    import polars as pl

    from clipsoid.analysis.parts import Histogram

#: Most marks of a chart that draws rows.
MOST_MARKS = 5_000


#: Marks of a scatter plot: more cover each other.
SCATTERED = 2_000


def evenly(count: int, most: int) -> list[int]:
    """Return at most so many places of `count`, evenly spaced, both ends among them."""
    if count <= most:
        return list(range(count))
    return [round(i * (count - 1) / max(1, most - 1)) for i in range(most)]


def share_drawn(drawn: int, total: int, what: str = "rows") -> str:
    """Return how many are drawn, where these are not all: "5,000 of 1,000,000 rows"."""
    return "" if drawn == total else f"{drawn:,} of {total:,} {what} are drawn."


def values(frame: pl.DataFrame) -> dict[str, list[dict[str, Any]]]:
    """Return the rows of a frame as chart data; what is not finite is None, which draws a gap."""
    columns = {
        name: [_known(x) for x in column] for name, column in frame.to_dict(as_series=False).items()
    }
    names = list(columns)
    return {"values": [dict(zip(names, row, strict=True)) for row in zip(*columns.values())]}


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


def bars(
    frame: pl.DataFrame,
    x: str,
    colours: dict[str, str],
    *,
    legend: bool | None = None,
    what: str = "rows",
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
    """
    import altair as alt

    shown = len(colours) > 1 if legend is None else legend
    # Over one another: where both have rows, both are seen.
    opacity = 0.55 if len(colours) > 1 else 0.85
    return (
        alt.Chart(values(frame))
        .mark_bar(opacity=opacity, binSpacing=0, aria=False)
        .encode(
            x=alt.X("low:Q", title=x, scale=alt.Scale(zero=False, nice=False)),
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


def rule(
    at: float, label: str, *, colour: str = theme.BLACK, dash: Sequence[int] = ()
) -> alt.Chart:
    """Draw a vertical line at a number, with a tooltip that says what it is."""
    import altair as alt

    return (
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


def titled(chart: Any, title: str, subtitle: str | Sequence[str] = "") -> Any:
    """Return the chart with a title, and a subtitle if there is one."""
    import altair as alt

    words: dict[str, Any] = {"subtitle": subtitle} if subtitle else {}
    return chart.properties(title=alt.TitleParams(title, **words))


def number(value: float | None, decimals: int = 4) -> str:
    """Return a number as it is written in text: a true minus, an em dash for what is not known."""
    if value is None or math.isnan(value):
        return "—"
    return f"{value + 0.0:,.{decimals}f}".replace("-", "\N{MINUS SIGN}")
