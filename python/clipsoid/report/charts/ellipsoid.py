"""Variances, axes and tilt of each modality: Figure 5."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from clipsoid.report import theme
from clipsoid.report.figure import Figure, Measure, Panel
from clipsoid.report.marks import (
    LINE_SYMBOLS,
    distributions,
    histogram_frame,
    log_scale,
    number,
    ranks,
    titled,
    values,
)

if TYPE_CHECKING:
    import altair as alt
    import polars as pl

    from clipsoid.analysis import Analysis
    from clipsoid.analysis.parts import Modality

Array = NDArray[np.float64]

#: Of the longest axis: nothing shorter is on the logarithmic axis.
LEAST_RADIUS = 1e-6


def ellipsoid_figure(found: Analysis) -> Figure:
    """Return variances, radii of the axes, and off-diagonal dominance (Figure 5)."""
    modalities = (found.image, found.text)
    variances = histogram_frame({m.name: m.variances for m in modalities})
    panels = [
        Panel(
            "variances",
            titled(
                distributions(
                    variances,
                    "variance of a feature (squared units)",
                    theme.STYLE,
                    y="share of features (root scale)",
                    of="features",
                    root=True,
                ),
                "Variances of the features",
            ),
            variances,
            "Histograms of the variances of the features, both modalities.",
        ),
        _axes(modalities),
        *(_dominance(m) for m in modalities if np.isfinite(m.dominance).any()),
    ]
    return Figure(
        "ellipsoid",
        "Figure 5",
        "The ellipsoid: variances, axes and tilt",
        "A sphere has one variance for all features, and one radius for all axes. Off-diagonal "
        "dominance is how much a feature varies with the others: the sum of the sizes of its "
        "covariances over its own variance. Dashed is what independent features show by chance "
        "with as many rows, sorted likewise: the further above it, the more the ellipsoid is "
        "tilted against the features.",
        tuple(panels),
        _measures(modalities),
    )


def _measures(modalities: tuple[Modality, ...]) -> tuple[Measure, ...]:
    """Return what tells the ellipsoid from a sphere, and from one along the features."""
    found = []
    for m in modalities:
        variances = m.std**2
        found.append(
            {
                "greatest variance over the median": _times(variances.max(), variances),
                "standard deviations by which variances spread beyond a sphere's": number(
                    m.variance_score, 0
                ),
                "longest axis over the median": _times(m.radii_of_axes[0], m.radii_of_axes),
                "median off-diagonal dominance": number(_median(m.dominance), 2),
                "median off-diagonal dominance over chance": number(m.dominance_ratio, 2),
            }
        )
    papers = {"median off-diagonal dominance": "well above 1"}
    return tuple(
        Measure(f"{what}, {m.name}", one[what], papers.get(what, ""))
        for what in found[0]
        for m, one in zip(modalities, found, strict=True)
    )


def _axes(modalities: tuple[Modality, ...]) -> Panel:
    """Return the radii of the axes over their rank."""
    import polars as pl

    types = {"series": pl.String, "rank": pl.Int64, "radius": pl.Float64}
    frame = pl.concat(
        pl.DataFrame([[m.name] * len(at), at + 1, m.radii_of_axes[at]], types)
        for m in modalities
        # So many rows span one axis fewer; the others have no width but that of rounding.
        for at in [ranks(min(m.dim, m.distinct - 1))]
    )
    least = max(m.radii_of_axes[0] for m in modalities) * LEAST_RADIUS
    frame = frame.with_columns(pl.when(pl.col("radius") > least).then(pl.col("radius")))
    chart = _over_rank(
        frame, "radius", "radius (units of the embedding)", "rank of the axis", theme.STYLE
    )
    words = "; ".join(f"{m.name}: the longest is {number(m.radii_of_axes[0])}" for m in modalities)
    return Panel(
        "axes",
        titled(chart, "Radii of the axes"),
        frame,
        f"Radii of the axes, the longest first, both modalities. {words}.",
    )


def _dominance(m: Modality) -> Panel:
    """Return the dominance of the features and its null, each sorted."""
    import polars as pl

    known = np.isfinite(m.dominance) & np.isfinite(m.dominance_null)
    at = ranks(int(known.sum()))
    measured, untilted = (np.sort(x[known])[::-1][at] for x in (m.dominance, m.dominance_null))
    style = {
        "measured": (theme.MODALITY[m.name], theme.SOLID),
        "untilted, by chance": (theme.GREY, theme.DASHED),
    }
    frame = pl.concat(
        pl.DataFrame({"series": [name] * len(at), "rank": at + 1, "dominance": sums})
        for name, sums in zip(style, (measured, untilted), strict=True)
    )
    # A single feature has no others.
    frame = frame.with_columns(pl.when(pl.col("dominance") > 0).then(pl.col("dominance")))
    chart = _over_rank(frame, "dominance", "off-diagonal dominance", "rank of the feature", style)
    return Panel(
        f"dominance-{m.name}",
        titled(chart, f"{m.name.capitalize()}: off-diagonal dominance"),
        frame,
        f"Off-diagonal dominance of {int(known.sum()):,} features, sorted: median "
        f"{number(_median(m.dominance), 2)}; of untilted features "
        f"{number(_median(m.dominance_null), 2)}.",
    )


def _over_rank(
    frame: pl.DataFrame, column: str, y: str, x: str, style: dict[str, Any]
) -> alt.Chart:
    """Draw lines of positive numbers over their rank, on a logarithmic axis."""
    import altair as alt

    names = list(style)
    colours, dashes = zip(*style.values(), strict=True)
    legend = alt.Legend(**LINE_SYMBOLS)
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


def _median(x: Array) -> float:
    known = x[np.isfinite(x)]
    return float(np.median(known)) if len(known) else math.nan


def _times(x: float, of: Array) -> str:
    median = _median(of)
    return number(float(x) / median if median > 0 else math.nan, 1)
