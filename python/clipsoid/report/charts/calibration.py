"""Figure 9 of the paper: conformity against the cosine to the mean."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from clipsoid.report import theme
from clipsoid.report.figure import Figure, Measure, Panel
from clipsoid.report.marks import PLENTY, evenly, number, paper, rows_drawn, titled, values

if TYPE_CHECKING:
    import altair as alt
    import polars as pl

    from clipsoid.analysis import Analysis
    from clipsoid.analysis.parts import Modality
    from clipsoid.results import Calibration

#: What a row of the data is: a row of the modality, or an end of a line.
ROW, FORWARD, INVERSE = "row", "conformity on cosine", "cosine on conformity"

#: The columns of a dot.
COLUMNS = ("cosine_to_mean", "conformity")


def calibration_figure(found: Analysis) -> Figure:
    """Return conformity over the cosine to the mean, with both regressions (Figure 9).

    A panel per modality. A modality in which one of the two does not vary has dots alone.
    """
    modalities = (found.image, found.text)
    panels = tuple(_panel(one) for one in modalities)
    drawn = [rows_drawn(min(PLENTY, one.count), one.count) for one in modalities]
    return Figure(
        "calibration",
        "Figure 9",
        "Conformity, and the cosine to the mean",
        "Each dot is a row. Where the dots lie on a line, the cosine to the mean of the modality, "
        "one product per row, tells how common a row is. Both regressions are drawn: of conformity "
        "on the cosine, whose slope is about the length of the unit mean, and of the cosine on "
        "conformity, which the slopes in the paper belong to.",
        panels,
        tuple(measure for one in modalities for measure in _measures(one)),
        drawn=next(filter(None, drawn), ""),
    )


def calibration_lines_figure(line: Calibration) -> Figure:
    """Return both regressions alone: the rows that they were made of are not kept."""
    import altair as alt
    import polars as pl

    ends = [
        *((FORWARD, x, line.slope * x + line.intercept) for x in _box(line.slope, line.intercept)),
        *(
            (INVERSE, line.inverse_slope * y + line.inverse_intercept, y)
            for y in _box(line.inverse_slope, line.inverse_intercept)
        ),
    ]
    frame = pl.DataFrame(ends, ["mark", *COLUMNS], orient="row")
    scale = alt.Scale(domain=[-1, 1], nice=False)
    x = alt.X("cosine_to_mean:Q", title="cosine to the mean", scale=scale)
    y = alt.Y("conformity:Q", title="conformity", scale=scale)
    words = f"Pearson correlation {number(line.pearson, 5)}"
    return Figure(
        "calibration",
        "Figure 9",
        "Conformity, and the cosine to the mean",
        "Both regressions. Where rows lie on a line, the two are one; they cross at the mean of "
        "the rows.",
        (
            Panel(
                "lines",
                titled(_lines(frame, x, y, line), "Both regressions", words),
                frame,
                f"Lines of conformity over the cosine to the mean: slope {number(line.slope)} of "
                f"the one on the other, {number(line.inverse_slope)} of the reverse; {words}.",
                height=220,
            ),
        ),
        (
            Measure("slope, conformity on cosine", number(line.slope)),
            Measure("slope, cosine on conformity", number(line.inverse_slope)),
            Measure("Pearson correlation", number(line.pearson)),
        ),
        f"{line.count:,} rows",
    )


def _box(slope: float, intercept: float) -> tuple[float, float]:
    """Return the ends of a line within -1 and 1 both ways: no cosine is beyond."""
    if slope == 0:
        return -1.0, 1.0
    ends = sorted((end - intercept) / slope for end in (-1.0, 1.0))
    return max(-1.0, ends[0]), min(1.0, ends[1])


def _measures(modality: Modality) -> tuple[Measure, ...]:
    line = modality.calibration
    figures = (
        ("slope", "slope, conformity on cosine"),
        ("inverse_slope", "slope, cosine on conformity"),
        ("pearson", "Pearson correlation"),
    )
    return tuple(
        Measure(
            f"{label}, {modality.name}",
            number(None if line is None else getattr(line, name)),
            paper(name, modality.name),
        )
        for name, label in figures
    )


def _frame(modality: Modality) -> pl.DataFrame:
    """Return the rows that are drawn, and both ends of each line."""
    import polars as pl

    sample = modality.sample
    chosen = evenly(len(sample.row), PLENTY)
    rows = pl.DataFrame(
        {
            "mark": [ROW] * len(chosen),
            "row": sample.row[chosen],
            "cosine_to_mean": sample.cosine_to_mean[chosen],
            "conformity": sample.conformity[chosen],
        }
    )
    line = modality.calibration
    if line is None:
        return rows
    cosines, conformities = ((min(rows[name]), max(rows[name])) for name in COLUMNS)
    ends: list[tuple[str, None, Any, Any]] = [
        *((FORWARD, None, x, line.slope * x + line.intercept) for x in cosines),
        *(
            (INVERSE, None, line.inverse_slope * y + line.inverse_intercept, y)
            for y in conformities
        ),
    ]
    return pl.concat([rows, pl.DataFrame(ends, rows.schema, orient="row")])


def _panel(modality: Modality) -> Panel:
    import altair as alt
    import polars as pl

    frame = _frame(modality)
    # Of a mean of zero no cosine is known, and no dot is drawn.
    known = frame.select(pl.all_horizontal(pl.col(*COLUMNS).is_finite()))
    scale = alt.Scale(zero=False) if known.to_series().any() else alt.Scale(domain=[-1, 1])
    x = alt.X("cosine_to_mean:Q", title="cosine to the mean", scale=scale)
    y = alt.Y("conformity:Q", title="conformity", scale=scale)
    dots = (
        alt.Chart(values(frame.filter(pl.col("mark") == ROW).drop("mark")))
        .mark_circle(
            size=22, opacity=0.35, color=theme.MODALITY[modality.name], aria=False, clip=True
        )
        .encode(
            x=x,
            y=y,
            tooltip=[
                alt.Tooltip("row:Q", title="row", format=",d"),
                alt.Tooltip("cosine_to_mean:Q", title="cosine to the mean", format=".5f"),
                alt.Tooltip("conformity:Q", title="conformity", format=".5f"),
            ],
        )
    )
    chart: Any = dots
    line = modality.calibration
    words = "one of the two does not vary: no line"
    if line is not None:
        chart = _lines(frame.filter(pl.col("mark") != ROW), x, y, line) + dots
        words = f"Pearson correlation {number(line.pearson, 5)}"
    shown = frame.filter(pl.col("mark") == ROW).height
    return Panel(
        modality.name,
        titled(chart, f"{modality.name.capitalize()}s", words),
        frame,
        f"Scatter plot of {shown:,} rows ({modality.name}): conformity over the cosine to the "
        f"mean, from {_span(modality.sample.cosine_to_mean)}; {words}.",
        height=220,
    )


def _lines(frame: pl.DataFrame, x: alt.X, y: alt.Y, line: Any) -> alt.Chart:
    """Draw the regressions; the one is dashed, because it mostly lies on the other."""
    import altair as alt

    slopes = {FORWARD: line.slope, INVERSE: line.inverse_slope}
    labels = {name: f"{name}: slope {number(slope, 3)}" for name, slope in slopes.items()}
    named = frame.drop("row", strict=False).with_columns(mark=frame["mark"].replace_strict(labels))
    domain = list(labels.values())
    legend = alt.Legend(
        direction="vertical", columns=1, symbolType="stroke", symbolSize=420, labelLimit=0
    )
    made: alt.Chart = (
        alt.Chart(values(named))
        .mark_line(strokeWidth=1.5, aria=False)
        .encode(
            x=x,
            y=y,
            color=alt.Color(
                "mark:N",
                scale=alt.Scale(domain=domain, range=[theme.BLACK, theme.ORANGE]),
                legend=legend,
            ),
            strokeDash=alt.StrokeDash(
                "mark:N",
                scale=alt.Scale(domain=domain, range=[list(theme.SOLID), list(theme.DASHED)]),
                legend=legend,
            ),
            tooltip=[alt.Tooltip("mark:N", title="regression")],
        )
    )
    return made


def _span(values: Any) -> str:
    """Return the least and the greatest number, in words."""
    return f"{number(float(values.min()))} to {number(float(values.max()))}"
