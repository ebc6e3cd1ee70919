"""How far the whitened rows are from a normal law."""

# ruff: noqa: RUF001 (the dashes between two names are meant)

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from clipsoid.report import theme
from clipsoid.report.figure import Figure, Measure, Panel
from clipsoid.report.marks import (
    distributions,
    histogram_frame,
    level,
    percent,
    rows_drawn,
    titled,
    values,
)

if TYPE_CHECKING:
    from clipsoid.analysis.parts import Normalities
    from clipsoid.normality import Normality

Array = NDArray[np.float64]

#: Each test by the names of its fields, and as it is called.
TESTS = {
    "anderson_darling": "Anderson–Darling",
    "dagostino_pearson": "D'Agostino–Pearson",
}

#: Of the p-values: the first bin holds those below the usual level, 0.05.
BINS = 20

#: Share from which a column has room for its number.
ROOM = 0.3


def normality_figure(normality: Normalities | Normality) -> Figure | None:
    """Return how many whitened coordinates pass, and the p-values of each test.

    None where no modality varies.
    """
    from clipsoid.normality import Normality

    if isinstance(normality, Normality):
        both = {"rows": normality}
    else:
        of_two = {"image": normality.image, "text": normality.text}
        both = {name: one for name, one in of_two.items() if one is not None}
    if not both:
        return None
    first = next(iter(both.values()))
    expected = 1 - first.level
    panels = [_passing(both, expected)]
    for field, test in TESTS.items():
        of_both = {name: getattr(one, f"{field}_p") for name, one in both.items()}
        panels.append(_p_values(field, test, of_both))
    measures = [
        Measure(
            f"share of coordinates that pass {test}, {name}",
            percent(getattr(one, f"{field}_fraction"), 1),
        )
        for field, test in TESTS.items()
        for name, one in both.items()
    ]
    measures.append(Measure("share expected under a normal law", percent(expected, 1)))
    return Figure(
        "normality",
        "Supplement",
        "Whitened coordinates beside a normal law",
        f"Each coordinate of the whitened rows is tested against a normal law. If it were one, "
        f"{expected:.0%} of them would pass (the dashed line), and all p-values would be equally "
        "frequent; a tall first bin means that many coordinates are not normal. The more rows are "
        "tested, the smaller the departures that are seen.",
        tuple(panels),
        tuple(measures),
        drawn=rows_drawn(first.count, first.total),
        columns=3,
    )


def _passing(both: dict[str, Normality], expected: float) -> Panel:
    """Return the shares that pass, beside what is expected."""
    import altair as alt
    import polars as pl

    frame = pl.DataFrame(
        [
            {
                "test": test,
                "modality": name,
                "share": getattr(one, f"{field}_fraction"),
                "coordinates": int(np.count_nonzero(~np.isnan(getattr(one, f"{field}_p")))),
            }
            for field, test in TESTS.items()
            for name, one in both.items()
        ]
    )
    colours = {name: colour for name, (colour, _) in theme.styles(both).items()}
    base = alt.Chart(values(frame)).encode(
        x=alt.X(
            "test:N",
            title=None,
            # Without the format of numbers; a line for each name.
            axis=alt.Axis(
                labelAngle=0, ticks=False, format="", labelExpr="split(datum.value, '–')"
            ),
            sort=None,
        ),
        xOffset=alt.XOffset("modality:N", sort=None),
        y=alt.Y(
            "share:Q",
            title="share of coordinates",
            scale=alt.Scale(domain=[0, 1], nice=False),
            axis=alt.Axis(format="~%", values=[0, 0.25, 0.5, 0.75, 1]),
        ),
    )
    columns = base.mark_bar(aria=False, opacity=0.85).encode(
        color=alt.Color(
            "modality:N",
            scale=alt.Scale(domain=list(colours), range=list(colours.values())),
            legend=alt.Legend(symbolType="square") if len(colours) > 1 else None,
        ),
        tooltip=[
            alt.Tooltip("test:N", title="test"),
            alt.Tooltip("modality:N", title="modality"),
            alt.Tooltip("share:Q", title="pass", format=".1%"),
            alt.Tooltip("coordinates:Q", title="of coordinates", format=","),
        ],
    )
    # Within the columns, where these are high enough, and below the line even at 100 %.
    text = alt.Text("share:Q", format=".0%")
    within = base.transform_filter(alt.datum.share >= ROOM).mark_text(
        color=theme.PAPER, baseline="top", dy=14, aria=False
    )
    above = base.transform_filter(alt.datum.share < ROOM).mark_text(
        baseline="bottom", dy=-3, aria=False
    )
    chart = alt.LayerChart(
        layer=[
            columns,
            level(expected, "expected under a normal law"),
            within.encode(text=text),
            above.encode(text=text),
        ]
    )
    said = "; ".join(
        f"{line['test']}, {line['modality']}: {line['share']:.1%}"
        for line in frame.rows(named=True)
    )
    return Panel(
        "passing",
        titled(chart, "Coordinates that pass"),
        frame,
        f"Share of whitened coordinates that pass each test. {said}; expected {expected:.0%}.",
    )


def _p_values(field: str, test: str, both: dict[str, Array]) -> Panel:
    """Return the distribution of p-values of one test."""
    from clipsoid.analysis.figures import Histogram

    edges = np.linspace(0, 1, BINS + 1)
    frame = histogram_frame(
        {
            name: Histogram(edges, np.histogram(p[~np.isnan(p)], edges)[0])
            for name, p in both.items()
        }
    )
    chart = distributions(
        frame,
        "p-value",
        theme.styles(both),
        y="share of coordinates",
        of="coordinates",
        ends=(0, 1),
        rules=[level(1 / BINS, "expected under a normal law")],
    )
    first = frame.filter(frame["low"] == 0)
    said = "; ".join(f"{line['series']}: {line['share']:.1%}" for line in first.rows(named=True))
    return Panel(
        field.replace("_", "-"),
        titled(chart, f"p-values, {test}"),
        frame,
        f"Histograms of the p-values of {test}. Below {1 / BINS:g}: {said}.",
    )
