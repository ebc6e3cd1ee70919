"""Lines over alpha: what the charts of both sweeps share."""

# ruff: noqa: RUF001 (the alpha is meant)

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from clipsoid.report.figure import WIDTH
from clipsoid.report.theme import BLACK, GREY, PAPER

if TYPE_CHECKING:
    import altair as alt

#: Grids of more alphas are drawn without dots.
DOTS = 15

#: Room below the lines for the text at the least value, as a share of their range.
ROOM = 0.2

#: CSS pixels of half that text.
HALF_TEXT = 58

#: Axis titles of a sweep, by the modality that moves.
AXES = {
    "image": "α (image means subtracted)",
    "text": "α (text means subtracted)",
    "both": "α (means subtracted)",
}

#: How the rows move, likewise.
MOVES = {
    "image": "each image v becomes v − αm, m their mean",
    "text": "each text t becomes t − αm, m their mean",
    "both": "each row v becomes v − αm, m its modality's mean",
}

#: What moves, likewise.
MOVED = {"image": "image centre moves", "text": "text centre moves", "both": "centres move"}


@dataclass(frozen=True)
class Line:
    """A line of a panel; it has a gap where a value is None.

    Attributes
    ----------
    label : str
    values : sequence of float or None
    colour : str
    dash : tuple of int
    band : tuple of two sequences, optional
        Lower and upper ends of what is drawn around the line.
    """

    label: str
    values: Sequence[float | None]
    colour: str
    dash: tuple[int, int]
    band: tuple[Sequence[float | None], Sequence[float | None]] | None = None

    def dot(self, i: int) -> float:
        """Return how opaque the dot at value `i` is: 1 where there are few, or between gaps."""
        around = (*self.values[max(i - 1, 0) : i], *self.values[i + 1 : i + 2])
        return float(len(self.values) <= DOTS or all(value is None for value in around))

    @property
    def known(self) -> Iterator[float]:
        """Every number of it, its band's too."""
        for values in (self.values, *(self.band or ())):
            yield from (value for value in values if value is not None)


@dataclass(frozen=True)
class Lines:
    """Lines over alpha, and what is written around them.

    Attributes
    ----------
    key, title, subtitle : str
    unit : str
        Title of the axis.
    lines : tuple of Line
    is_log : bool
        Whether the axis is logarithmic; every value is then above 0.
    """

    key: str
    title: str
    subtitle: str
    unit: str
    lines: tuple[Line, ...]
    is_log: bool = False


def drawn(
    panel: Lines, alphas: Sequence[float], axis: str, domain: tuple[float, float] | None = None
) -> alt.LayerChart:
    """Draw lines with a legend above, a band around those that have one, and a rule at 0.

    Parameters
    ----------
    panel : Lines
    alphas : sequence of float
        Ascending.
    axis : str
        Title of the axis of alpha.
    domain : (float, float), optional
        Of the other axis; by default what the lines need.
    """
    import altair as alt

    values = [
        {"alpha": alpha, "line": line.label, "value": line.values[i], "dot": line.dot(i)}
        for line in panel.lines
        for i, alpha in enumerate(alphas)
    ]
    labels = [line.label for line in panel.lines]
    scales = (
        alt.Scale(domain=labels, range=[line.colour for line in panel.lines]),
        alt.Scale(domain=labels, range=[list(line.dash) for line in panel.lines]),
    )
    # A single line is what the title says.
    legend = alt.Legend(symbolType="stroke", symbolSize=300) if len(labels) > 1 else None
    kind: dict[str, Any] = {"type": "log"} if panel.is_log else {"zero": False}
    if domain is not None:
        kind = {"domain": domain, "nice": False} | ({"type": "log"} if panel.is_log else {})
    x = alt.X("alpha:Q", title=axis, scale=alt.Scale(domain=ends(alphas), nice=False))
    # Of more values than the count, every other one would be dropped.
    at = _ticks(panel) if panel.is_log else []
    ticks: dict[str, Any] = {"axis": alt.Axis(values=at, tickCount=len(at))} if at else {}
    y = alt.Y("value:Q", title=panel.unit, scale=alt.Scale(**kind), **ticks)
    base = alt.Chart({"values": values}).encode(
        x=x,
        y=y,
        color=alt.Color("line:N", scale=scales[0], legend=legend),
        tooltip=[
            alt.Tooltip("line:N", title="line"),
            alt.Tooltip("alpha:Q", title="α"),
            alt.Tooltip("value:Q", title=panel.unit, format=".5~g"),
        ],
    )
    dash = alt.StrokeDash("line:N", scale=scales[1], legend=legend)
    # Those that are not seen carry tooltips, too.
    dots = base.mark_circle(size=25, aria=False).encode(
        opacity=alt.Opacity("dot:Q", scale=None, legend=None)
    )
    layers = [base.mark_line(strokeWidth=2).encode(strokeDash=dash), dots]
    layers[:0] = [
        alt.Chart({"values": rows})
        .mark_area(opacity=0.2, color=line.colour, aria=False)
        .encode(
            x=x,
            y=alt.Y("lower:Q", title=panel.unit, scale=alt.Scale(**kind), **ticks),
            y2="upper:Q",
        )
        for line in panel.lines
        if (rows := _band(line, alphas))
    ]
    if alphas[0] <= 0 <= alphas[-1]:
        zero = alt.Chart({"values": [{"alpha": 0}]}).mark_rule(color=GREY)
        layers.insert(0, zero.encode(x="alpha:Q"))
    title = alt.TitleParams(panel.title, subtitle=panel.subtitle)
    return alt.LayerChart(layer=layers, title=title)


def with_least(
    panel: Lines, alphas: Sequence[float], axis: str, best: float, least: float
) -> alt.LayerChart:
    """Draw lines as `drawn`, the least value marked at alpha `best`, and written below it."""
    import altair as alt

    start, stop = ends(alphas)
    known = [value for line in panel.lines for value in line.known]
    # Along a logarithmic axis, the distances are those of the logarithms.
    along, back = (math.log, math.exp) if panel.is_log else (float, float)
    low, high = along(min(known)), along(max(known))
    span = (high - low) or abs(high) or 1.0
    # The text is below every line that it is as wide as, and within the panel.
    at = (best - start) / (stop - start) * WIDTH
    centre = min(max(at, HALF_TEXT), WIDTH - HALF_TEXT)
    below = along(
        min(
            value
            for line in panel.lines
            for alpha, value in zip(alphas, line.values, strict=True)
            if value is not None
            and (
                alpha == best or abs((alpha - start) / (stop - start) * WIDTH - centre) <= HALF_TEXT
            )
        )
    )
    at_least = {"alpha": best, panel.key: least, "below": back(below - 0.06 * span)}
    mark = alt.Chart({"values": [at_least]}).encode(x="alpha:Q", y=f"{panel.key}:Q")
    words: dict[str, Any] = {"text": f"{least:.4g} at α = {alpha_words(best)}", "dx": centre - at}
    words |= {"baseline": "top", "fontSize": 13}
    domain = (back(low - ROOM * span), back(high + 0.03 * span))
    layers = [
        drawn(panel, alphas, axis, domain),
        mark.mark_rule().encode(y2="below:Q"),
        mark.mark_point(size=70, color=BLACK, fill=PAPER, opacity=1, strokeWidth=2),
        # A halo, where the rule at 0 or the grid is behind the letters.
        mark.mark_text(**words, stroke=PAPER, strokeWidth=4).encode(y="below:Q"),
        mark.mark_text(**words).encode(y="below:Q"),
    ]
    return alt.LayerChart(layer=layers)


def _ticks(panel: Lines) -> list[float]:
    """Return the ones and threes of a logarithmic axis: all that is between would be a wall."""
    known = [value for line in panel.lines for value in line.known]
    low, high = (math.floor(math.log10(end)) for end in (min(known), max(known)))
    return [factor * 10.0**k for k in range(low, high + 1) for factor in (1, 3)]


def _band(line: Line, alphas: Sequence[float]) -> list[dict[str, float | None]]:
    """Return the rows of a band; none if the line has no band."""
    if line.band is None:
        return []
    return [
        {"alpha": alpha, "lower": lower, "upper": upper}
        for alpha, lower, upper in zip(alphas, *line.band, strict=True)
    ]


def ends(alphas: Sequence[float]) -> tuple[float, float]:
    """Return the ends of the axis; a single alpha has room on either side."""
    start, stop = alphas[0], alphas[-1]
    return (start, stop) if start < stop else (start - 0.5, stop + 0.5)


def signed(number: str) -> str:
    """Return a number, or words with numbers, with true minus signs."""
    return number.replace("-", "\N{MINUS SIGN}")


def alpha_words(value: float) -> str:
    """Return an alpha with no more digits than it needs; never minus zero."""
    return signed(f"{value + 0.0:.4g}")
