"""Variances, axes and tilt of each modality, or of one ellipsoid: Figure 5."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray

from clipsoid.report import theme
from clipsoid.report.charts.ranked import over_rank
from clipsoid.report.figure import Figure, Measure, Panel
from clipsoid.report.marks import (
    distributions,
    histogram_frame,
    number,
    ranks,
    titled,
)

if TYPE_CHECKING:
    from clipsoid.analysis import Analysis
    from clipsoid.analysis.figures import Histogram
    from clipsoid.analysis.parts import Modality
    from clipsoid.ellipsoid import Ellipsoid

Array = NDArray[np.float64]

#: Bins of the variances of an ellipsoid.
BINS = 50

#: Of the longest axis: nothing shorter is on the logarithmic axis.
LEAST_RADIUS = 1e-6


@dataclass(frozen=True)
class Shape:
    """What is drawn of one set of rows.

    Attributes
    ----------
    name : str
        ``"image"``, ``"text"`` or ``"rows"``.
    std : ndarray of float64 of shape (d,)
    variances : Histogram
    radii : ndarray of float64, or None
        Of the axes that the rows span, descending; None where there is no covariance, as below.
    dominance, dominance_null : ndarray of float64 of shape (d,), or None
    variance_score : float, or None
        How far the variances spread beyond a sphere's; None where that is not known.
    dominance_ratio : float
        Median of the dominance over its null.
    """

    name: str
    std: Array
    variances: Histogram
    radii: Array | None = None
    dominance: Array | None = None
    dominance_null: Array | None = None
    variance_score: float | None = None
    dominance_ratio: float = math.nan

    @classmethod
    def of_modality(cls, m: Modality) -> Self:
        """Take it from an analysis."""
        # So many rows span one axis fewer; the others have no width but that of rounding.
        radii = m.radii_of_axes[: min(m.dim, m.distinct - 1)]
        return cls(
            m.name,
            m.std,
            m.variances,
            radii,
            m.dominance,
            m.dominance_null,
            m.variance_score,
            m.dominance_ratio,
        )

    @classmethod
    def of_ellipsoid(cls, e: Ellipsoid) -> Self:
        """Measure an ellipsoid; without covariance, its variances alone."""
        from clipsoid.analysis.figures import Histogram

        std = e.std
        variances = Histogram.of(std**2, BINS)
        if not e.has_covariance or e.count < 2:
            return cls("rows", std, variances)
        squares = np.linalg.eigvalsh(e.covariance)[::-1][: min(e.dim, e.count - 1)]
        dominance, null = e.off_diagonal_dominance, e.off_diagonal_dominance_null
        with np.errstate(invalid="ignore", divide="ignore"):
            ratio = _median(dominance / null)
        return cls(
            "rows",
            std,
            variances,
            np.sqrt(squares.clip(min=0.0)),
            dominance,
            null,
            dominance_ratio=ratio,
        )


def ellipsoid_figure(found: Analysis | Ellipsoid) -> Figure:
    """Return variances, radii of the axes, and off-diagonal dominance (Figure 5).

    Of an analysis, those of both modalities; of an ellipsoid without covariance, its variances
    alone.
    """
    from clipsoid.ellipsoid import Ellipsoid

    if isinstance(found, Ellipsoid):
        kind = "normalised" if found.is_normalized else "raw"
        made = f"{found.count:,} {kind} rows of {found.dim:,} features"
        return _figure([Shape.of_ellipsoid(found)], made)
    return _figure([Shape.of_modality(m) for m in (found.image, found.text)])


def _figure(shapes: list[Shape], made: str = "") -> Figure:
    variances = histogram_frame({shape.name: shape.variances for shape in shapes})
    spanned = {shape.name: shape.radii for shape in shapes if shape.radii is not None}
    names = ", ".join(shape.name for shape in shapes)
    panels = [
        Panel(
            "variances",
            titled(
                distributions(
                    variances,
                    "variance of a feature (squared units)",
                    theme.styles(shape.name for shape in shapes),
                    y="share of features (root scale)",
                    of="features",
                    root=True,
                ),
                "Variances of the features",
            ),
            variances,
            f"Histograms of the variances of the features: {names}.",
        ),
        *([_axes(spanned)] if spanned else []),
        *(panel for shape in shapes for panel in _dominance(shape)),
    ]
    return Figure(
        "ellipsoid",
        "Figure 5",
        f"The ellipsoid: variances{', axes and tilt' if spanned else ' of the features'}",
        "A sphere has one variance for all features, and one radius for all axes. Off-diagonal "
        "dominance is how much a feature varies with the others: the sum of the sizes of its "
        "covariances over its own variance. Dashed is what independent features show by chance "
        "with as many rows, sorted likewise: the further above it, the more the ellipsoid is "
        "tilted against the features.",
        tuple(panels),
        tuple(_measures(shapes)),
        made,
        columns=2 if len(shapes) > 1 else 3,
    )


def _measures(shapes: list[Shape]) -> Iterator[Measure]:
    """Yield what tells the ellipsoid from a sphere, and from one along the features."""
    found = []
    for shape in shapes:
        variances = shape.std**2
        one = {"greatest variance over the median": _times(variances.max(), variances)}
        if shape.variance_score is not None:
            what = "standard deviations by which variances spread beyond a sphere's"
            one[what] = number(shape.variance_score, 0)
        if shape.radii is not None and shape.dominance is not None:
            # Of fewer rows than features, the median axis is as long as chance makes it.
            spans = len(shape.radii) == len(shape.std) > 0
            longest = shape.radii[0] if spans else math.nan
            one |= {
                "longest axis over the median": _times(longest, shape.radii),
                "median off-diagonal dominance": number(_median(shape.dominance), 2),
                "median off-diagonal dominance over chance": number(shape.dominance_ratio, 2),
            }
        found.append(one)
    papers = {"median off-diagonal dominance": "well above 1"}
    for what in found[0]:
        for shape, one in zip(shapes, found, strict=True):
            yield Measure(f"{what}, {shape.name}", one[what], papers.get(what, ""))


def _axes(spanned: dict[str, Array]) -> Panel:
    """Return the radii of the axes over their rank."""
    import polars as pl

    types = {"series": pl.String, "rank": pl.Int64, "radius": pl.Float64}
    frame = pl.concat(
        pl.DataFrame([[name] * len(at), at + 1, radii[at]], types)
        for name, radii in spanned.items()
        for at in [ranks(len(radii))]
    )
    longest = {name: float(radii.max(initial=0.0)) for name, radii in spanned.items()}
    least = max(longest.values()) * LEAST_RADIUS
    frame = frame.with_columns(pl.when(pl.col("radius") > least).then(pl.col("radius")))
    style = theme.styles(spanned)
    chart = over_rank(frame, "radius", "radius (units of the embedding)", "rank of the axis", style)
    words = "; ".join(f"{name}: the longest is {number(end)}" for name, end in longest.items())
    return Panel(
        "axes",
        titled(chart, "Radii of the axes"),
        frame,
        f"Radii of the axes, the longest first. {words.capitalize()}.",
    )


def _dominance(shape: Shape) -> Iterator[Panel]:
    """Yield the dominance of the features and its null, each sorted; nothing if it is not known."""
    import polars as pl

    if shape.dominance is None or shape.dominance_null is None:
        return
    known = np.isfinite(shape.dominance) & np.isfinite(shape.dominance_null)
    if not known.any():
        return
    at = ranks(int(known.sum()))
    both = (shape.dominance, shape.dominance_null)
    measured, untilted = (np.sort(x[known])[::-1][at] for x in both)
    alone = shape.name not in theme.MODALITY
    style = {
        "measured": (theme.MODALITY.get(shape.name, theme.BLUE), theme.SOLID),
        "untilted, by chance": (theme.GREY, theme.DASHED),
    }
    frame = pl.concat(
        pl.DataFrame({"series": [name] * len(at), "rank": at + 1, "dominance": sums})
        for name, sums in zip(style, (measured, untilted), strict=True)
    )
    # A single feature has no others.
    frame = frame.with_columns(pl.when(pl.col("dominance") > 0).then(pl.col("dominance")))
    chart = over_rank(frame, "dominance", "off-diagonal dominance", "rank of the feature", style)
    title = "Off-diagonal dominance"
    yield Panel(
        "dominance" if alone else f"dominance-{shape.name}",
        titled(chart, title if alone else f"{shape.name.capitalize()}: {title.lower()}"),
        frame,
        f"Off-diagonal dominance of {int(known.sum()):,} features, sorted: median "
        f"{number(_median(shape.dominance), 2)}; of untilted features "
        f"{number(_median(shape.dominance_null), 2)}.",
    )


def _median(x: Array) -> float:
    known = x[np.isfinite(x)]
    return float(np.median(known)) if len(known) else math.nan


def _times(x: float, of: Array) -> str:
    median = _median(of)
    return number(float(x) / median if median > 0 else math.nan, 1)
