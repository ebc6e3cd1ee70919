"""How common each item is: Figures 8, 9 and 10."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from clipsoid.report import theme
from clipsoid.report.figure import Figure, Measure, Panel
from clipsoid.report.marks import bars, histogram_frame, number, rule, titled

if TYPE_CHECKING:
    from clipsoid.analysis import Analysis
    from clipsoid.analysis.figures import Histogram

#: Before the name of a series, the name of the selection that a page listens to.
RANGE = "range_"


def conformity_histogram(
    histogram: Histogram,
    mean: float,
    series: str,
    colour: str,
    ends: tuple[float, float] | None = None,
) -> Panel:
    """Return a distribution of conformity of which a range can be chosen.

    `ends` are those of the axis, by default those of the histogram.
    """
    import altair as alt

    frame = histogram_frame({series: histogram})
    drawn = bars(frame, "conformity (mean cosine to all others)", {series: colour}, ends=ends)
    chosen = alt.selection_interval(name=RANGE + series, encodings=["x"])
    chart: Any = drawn.add_params(chosen) + rule(mean, "mean")
    low, high = histogram.edges[0], histogram.edges[-1]
    words = f"{series.capitalize()}s" if series in theme.MODALITY else series.capitalize()
    return Panel(
        f"conformity-{series}",
        titled(chart, words, f"mean {number(mean)}"),
        frame,
        f"Histogram of the conformity of {histogram.counts.sum():,} rows ({series}): from "
        f"{number(low)} to {number(high)}, mean {number(mean)}.",
    )


def conformity_figure(found: Analysis) -> Figure:
    """Return the distributions of both modalities (Figure 8)."""
    # One axis for both, so that they can be compared.
    edges = [m.conformity.edges for m in (found.image, found.text)]
    ends = (float(min(e[0] for e in edges)), float(max(e[-1] for e in edges)))
    panels = tuple(
        conformity_histogram(m.conformity, m.mean_conformity, m.name, theme.MODALITY[m.name], ends)
        for m in (found.image, found.text)
    )
    measures = tuple(
        Measure(f"{what}, {m.name}", number(value))
        for m in (found.image, found.text)
        for what, value in (
            ("mean conformity", m.mean_conformity),
            ("standard deviation", m.std_conformity),
        )
    )
    return Figure(
        "conformity",
        "Figure 8",
        "Conformity: how common each item is",
        "The mean cosine of each row to all other rows of its modality. High: what many rows "
        "resemble; low: what is rare. The line marks the mean. In a report, drag over a "
        "histogram to choose a range: its rows are below.",
        panels,
        measures,
    )
