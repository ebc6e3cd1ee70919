"""Figure 6 of the paper: the loss and its parts as the centre of a modality moves."""

# ruff: noqa: RUF001 (the alpha and the minus sign are meant)

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from clipsoid.report.charts.lines import (
    AXES,
    MOVED,
    MOVES,
    Line,
    Lines,
    alpha_words,
    drawn,
    signed,
    with_least,
)
from clipsoid.report.figure import Figure, Measure, Panel
from clipsoid.report.marks import number
from clipsoid.report.theme import (
    BLACK,
    BLUE,
    DASHED,
    DOTTED,
    GREEN,
    ORANGE,
    PURPLE,
    SKY,
    SOLID,
    VERMILION,
)

if TYPE_CHECKING:
    from clipsoid.sweep import LossSweep


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
    axis = AXES[sweep.shift]
    least = min(value for value in columns["loss"] if value is not None)
    charts = [
        with_least(loss, alphas, axis, sweep.best_alpha, least),
        *(drawn(one, alphas, axis) for one in others),
    ]
    panels = tuple(
        Panel(
            lines.key,
            chart,
            pl.DataFrame({"alpha": alphas, **{line.label: line.values for line in lines.lines}}),
            f"{lines.title} over alpha from {alpha_words(alphas[0])} to {alpha_words(alphas[-1])}: "
            f"{lines.subtitle}.",
        )
        for lines, chart in zip((loss, *others), charts, strict=True)
    )
    rows = "normalised" if sweep.options.is_normalized else "raw"
    return Figure(
        "loss-sweep",
        "Figure 6",
        f"Contrastive loss as the {MOVED[sweep.shift]}",
        "If the loss is least near α = 0, the modality lies where the contrastive loss wants it: "
        "moving its centre towards the origin (α = 1) or away from it would cost.",
        panels,
        (
            Measure("α of the least loss", number(sweep.best_alpha, 2), "0"),
            Measure("least loss (nats)", number(least)),
        ),
        f"{sweep.count:,} pairs of {rows} rows, temperature {sweep.temperature:g}; "
        f"{MOVES[sweep.shift]}",
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
        f"Its parts: change from α = {alpha_words(alphas[near])}",
        signed(f"{kind}: {alignment:.2f} {sign} {abs(uniformity):.2f} = {loss:.2f}"),
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
