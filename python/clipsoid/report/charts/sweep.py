"""Figure 6 of the paper: the loss and its parts as the centre of a modality moves."""

# ruff: noqa: RUF001 (the alpha and the minus sign are meant)

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from clipsoid.report.figure import WIDTH, Figure, Measure, Panel
from clipsoid.report.marks import number
from clipsoid.report.theme import (
    BLACK,
    BLUE,
    DASHED,
    DOTTED,
    GREEN,
    GREY,
    ORANGE,
    PAPER,
    PURPLE,
    SKY,
    SOLID,
    VERMILION,
)

if TYPE_CHECKING:
    import altair as alt

    from clipsoid.sweep import LossSweep

#: Grids of more alphas are drawn without dots.
DOTS = 15

#: Room below the lines for the text at the least loss, as a share of their range.
ROOM = 0.2

#: CSS pixels of half that text.
HALF_TEXT = 58


@dataclass(frozen=True)
class Line:
    """A line of a panel; it has a gap where a value is None."""

    label: str
    values: Sequence[float | None]
    colour: str
    dash: tuple[int, int]

    def dot(self, i: int) -> float:
        """Return how opaque the dot at value `i` is: 1 where there are few, or between gaps."""
        around = (*self.values[max(i - 1, 0) : i], *self.values[i + 1 : i + 2])
        return float(len(self.values) <= DOTS or all(value is None for value in around))


@dataclass(frozen=True)
class Lines:
    """Lines over alpha, and what is written around them."""

    key: str
    title: str
    subtitle: str
    unit: str
    lines: tuple[Line, ...]


def sweep_figure(sweep: LossSweep) -> Figure:
    """Return a sweep of the contrastive loss in four panels, as Figure 6 of the paper.

    The loss and its two directions, with the least marked; alignment and uniformity, as their
    change from the alpha nearest 0, because they are of opposite sign and far larger; the mean loss
    of pairs that are matched correctly and of those that are not; the accuracy in both directions.
    Where a class of pairs is empty, its line has a gap.
    """
    import polars as pl

    columns: dict[str, list[Any]] = sweep.table.sort("alpha").to_dict(as_series=False)
    alphas: list[float] = columns["alpha"]
    loss, *others = (
        Lines(
            "loss",
            "Loss",
            "the mean of its two directions",
            "loss (nats)",
            (
                Line("image to text", columns["loss_image_to_text"], BLUE, DASHED),
                Line("text to image", columns["loss_text_to_image"], VERMILION, DOTTED),
                Line("mean", columns["loss"], BLACK, SOLID),
            ),
        ),
        _parts(alphas, columns),
        _classes(sweep, columns),
        Lines(
            "accuracy",
            "Accuracy",
            "no other candidate is as near as the partner",
            "share of pairs",
            (
                Line("image to text", columns["accuracy_image_to_text"], BLUE, DASHED),
                Line("text to image", columns["accuracy_text_to_image"], VERMILION, DOTTED),
            ),
        ),
    )
    moved = "" if sweep.shift == "both" else f"{sweep.shift} "
    axis = f"α ({moved}means subtracted)"
    charts = [_first(loss, sweep, alphas, axis), *(_drawn(one, alphas, axis) for one in others)]
    panels = tuple(
        Panel(
            lines.key,
            chart,
            pl.DataFrame({"alpha": alphas, **{line.label: line.values for line in lines.lines}}),
            f"{lines.title} over alpha from {_alpha(alphas[0])} to {_alpha(alphas[-1])}: "
            f"{lines.subtitle}.",
        )
        for lines, chart in zip((loss, *others), charts, strict=True)
    )
    moves = {
        "image": ("image centre moves", "each image v becomes v − αm, m their mean"),
        "text": ("text centre moves", "each text t becomes t − αm, m their mean"),
        "both": ("centres move", "each row v becomes v − αm, m its modality's mean"),
    }
    what, how = moves[sweep.shift]
    rows = "normalised" if sweep.options.is_normalized else "raw"
    least = min(value for value in columns["loss"] if value is not None)
    return Figure(
        "loss-sweep",
        "Figure 6",
        f"Contrastive loss as the {what}",
        "If the loss is least near α = 0, the modality lies where the contrastive loss wants it: "
        "moving its centre towards the origin (α = 1) or away from it would cost.",
        panels,
        (
            Measure("α of the least loss", number(sweep.best_alpha, 2), "0"),
            Measure("least loss (nats)", number(least)),
        ),
        f"{sweep.count:,} pairs of {rows} rows, temperature {sweep.temperature:g}; {how}",
    )


def _parts(alphas: list[float], columns: dict[str, list[Any]]) -> Lines:
    """Alignment and uniformity, each from its value at the alpha nearest 0."""
    near = min(range(len(alphas)), key=lambda i: abs(alphas[i]))
    start = {name: columns[name][near] for name in ("alignment", "uniformity", "loss")}
    lines = tuple(
        Line(name, [value - start[name] for value in columns[name]], colour, dash)
        for name, colour, dash in (("alignment", GREEN, SOLID), ("uniformity", PURPLE, DASHED))
    )
    alignment, uniformity, loss = start.values()
    far = alignment < 0 < uniformity and min(-alignment, uniformity) > 2 * loss
    kind = "opposite and far larger" if far else "they add up to the loss"
    sign = "-+"[uniformity >= 0]
    return Lines(
        "parts",
        f"Its parts: change from α = {_alpha(alphas[near])}",
        _signed(f"{kind}: {alignment:.2f} {sign} {abs(uniformity):.2f} = {loss:.2f}"),
        "change (nats)",
        lines,
    )


def _classes(sweep: LossSweep, columns: dict[str, list[Any]]) -> Lines:
    """Pairs that are matched correctly and those that are not; how many, where that is fixed."""
    labels = ["matched", "not matched"]
    where = "each α"
    if sweep.partition == "fixed":
        where = "α = 0"
        correct = columns["count_correct"][0]
        labels = [f"{labels[0]} ({correct:,})", f"{labels[1]} ({sweep.count - correct:,})"]
    return Lines(
        "classes",
        "Mean loss of matched pairs, and of others",
        f"matched: an image finds its text at {where}",
        "loss (nats)",
        (
            Line(labels[0], columns["loss_correct"], SKY, SOLID),
            Line(labels[1], columns["loss_misclassified"], ORANGE, DASHED),
        ),
    )


def _drawn(
    panel: Lines, alphas: list[float], axis: str, domain: tuple[float, float] | None = None
) -> alt.LayerChart:
    """Draw lines with a legend above, and a rule at 0."""
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
    y_scale = alt.Scale(zero=False) if domain is None else alt.Scale(domain=domain, nice=False)
    base = alt.Chart({"values": values}).encode(
        x=alt.X("alpha:Q", title=axis, scale=alt.Scale(domain=_ends(alphas), nice=False)),
        y=alt.Y("value:Q", title=panel.unit, scale=y_scale),
        color=alt.Color("line:N", scale=scales[0]),
        tooltip=[
            alt.Tooltip("line:N", title="line"),
            alt.Tooltip("alpha:Q", title="α"),
            alt.Tooltip("value:Q", title=panel.unit, format=".5~g"),
        ],
    )
    dash = alt.StrokeDash("line:N", scale=scales[1])
    # Those that are not seen carry tooltips, too.
    dots = base.mark_circle(size=25, aria=False).encode(
        opacity=alt.Opacity("dot:Q", scale=None, legend=None)
    )
    layers = [base.mark_line(strokeWidth=2).encode(strokeDash=dash), dots]
    if alphas[0] <= 0 <= alphas[-1]:
        zero = alt.Chart({"values": [{"alpha": 0}]}).mark_rule(color=GREY)
        layers.insert(0, zero.encode(x="alpha:Q"))
    title = alt.TitleParams(panel.title, subtitle=panel.subtitle)
    return alt.LayerChart(layer=layers, title=title)


def _first(panel: Lines, sweep: LossSweep, alphas: list[float], axis: str) -> alt.LayerChart:
    """Draw the loss, the least of the grid marked, and its alpha below it."""
    import altair as alt

    start, stop = _ends(alphas)
    best = sweep.best_alpha
    known = [value for line in panel.lines for value in line.values if value is not None]
    low, high = min(known), max(known)
    span = (high - low) or abs(high) or 1.0
    # The text is below every line that it is as wide as, and within the panel.
    at = (best - start) / (stop - start) * WIDTH
    centre = min(max(at, HALF_TEXT), WIDTH - HALF_TEXT)
    below = min(
        value
        for line in panel.lines
        for alpha, value in zip(alphas, line.values, strict=True)
        if value is not None
        and (alpha == best or abs((alpha - start) / (stop - start) * WIDTH - centre) <= HALF_TEXT)
    )
    loss = min(value for value in panel.lines[-1].values if value is not None)
    at_least = {"alpha": best, "loss": loss, "below": below - 0.06 * span}
    mark = alt.Chart({"values": [at_least]}).encode(x="alpha:Q", y="loss:Q")
    words: dict[str, Any] = {"text": f"{loss:.4g} at α = {_alpha(best)}", "dx": centre - at}
    words |= {"baseline": "top", "fontSize": 13}
    layers = [
        _drawn(panel, alphas, axis, (low - ROOM * span, high + 0.03 * span)),
        mark.mark_rule().encode(y2="below:Q"),
        mark.mark_point(size=70, color=BLACK, fill=PAPER, opacity=1, strokeWidth=2),
        # A halo, where the rule at 0 or the grid is behind the letters.
        mark.mark_text(**words, stroke=PAPER, strokeWidth=4).encode(y="below:Q"),
        mark.mark_text(**words).encode(y="below:Q"),
    ]
    return alt.LayerChart(layer=layers)


def _ends(alphas: list[float]) -> tuple[float, float]:
    """Return the ends of the axis; a single alpha has room on either side."""
    start, stop = alphas[0], alphas[-1]
    return (start, stop) if start < stop else (start - 0.5, stop + 0.5)


def _signed(number: str) -> str:
    return number.replace("-", "\N{MINUS SIGN}")


def _alpha(value: float) -> str:
    """Return an alpha with no more digits than it needs; never minus zero."""
    return _signed(f"{value + 0.0:.4g}")
