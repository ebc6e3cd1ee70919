"""The spectrum that a whitening was made of: what is kept of it, changed, and dropped."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from clipsoid.report import theme
from clipsoid.report.charts.ranked import over_rank
from clipsoid.report.figure import Figure, Measure, Panel
from clipsoid.report.marks import number, percent, ranks, titled

if TYPE_CHECKING:
    from clipsoid.whitening import Whitening

Array = NDArray[np.float64]

#: Of the greatest: nothing less is on the logarithmic axis.
LEAST = 1e-20

STYLE = {
    "found": (theme.GREY, theme.DASHED),
    "used": (theme.BLUE, theme.SOLID),
}


def spectrum_figure(whitening: Whitening) -> Figure:
    """Return the eigenvalues of the covariance beside the variances that whitening uses."""
    import polars as pl

    found, used = whitening.eigenvalues, _used(whitening)
    at = ranks(whitening.dim)
    frame = pl.concat(
        pl.DataFrame({"series": [name] * len(at), "rank": at + 1, "variance": variances[at]})
        for name, variances in zip(STYLE, (found, used), strict=True)
    )
    least = LEAST * float(max(found[0], whitening.variances[0]))
    known = pl.col("variance").is_finite() & (pl.col("variance") > least)
    frame = frame.with_columns(pl.when(known).then(pl.col("variance")))
    style = {
        f"found ({whitening.dim:,})": STYLE["found"],
        f"used ({whitening.rank:,})": STYLE["used"],
    }
    named = frame.with_columns(
        series=frame["series"].replace_strict(dict(zip(STYLE, style, strict=True)))
    )
    chart = over_rank(
        named, "variance", "variance along an axis (log scale)", "rank of the axis", style
    )
    kept = np.isfinite(used)
    total = found.clip(min=0.0).sum()
    share = float(found[kept].clip(min=0.0).sum() / total)
    dropped = f"{whitening.dropped:,} of {whitening.dim:,} directions are dropped"
    return Figure(
        "spectrum",
        "",
        "The spectrum of a whitening",
        "Eigenvalues of the covariance, in descending order, and the variances that rows are "
        "divided by the roots of. Where the two part, eigenvalues were raised or shrunk; where the "
        "second is missing, they cannot be told from rounding, or are beyond the rank asked for.",
        (
            Panel(
                "spectrum",
                titled(chart, "Variances", _changes(whitening)),
                named,
                f"Eigenvalues of the covariance from {found[0]:.3g} to {found[-1]:.3g}; variances "
                f"used from {whitening.variances[0]:.3g} to {whitening.variances[-1]:.3g}. "
                f"{dropped}.",
                200,
            ),
        ),
        (
            Measure("directions that are kept", f"{whitening.rank:,}"),
            Measure("directions that are dropped", f"{whitening.dropped:,}"),
            Measure("share of the variance in those kept", percent(share, 4)),
            Measure("greatest over least variance used", number(whitening.condition, 1)),
        ),
        f"{whitening.kind}, {whitening.count:,} rows",
        f"{dropped}." if whitening.dropped else "",
    )


def _used(whitening: Whitening) -> Array:
    """Return the variance that is used in place of each eigenvalue; NaN where it is dropped."""
    used = np.full(whitening.dim, np.nan)
    if whitening.floor is None and whitening.shrinkage is None:
        # Taken as they were found, but not always the first: the limit differs from axis to axis.
        kept = np.isin(whitening.eigenvalues, whitening.variances)
        used[kept] = whitening.eigenvalues[kept]
    else:
        used[: whitening.rank] = whitening.variances
    return used


def _changes(whitening: Whitening) -> str:
    """Return what was done to the eigenvalues."""
    if whitening.floor is not None:
        return f"{whitening.floored:,} raised to {whitening.floor:g} of the greatest"
    if whitening.shrinkage is not None:
        by = " (Ledoit-Wolf)" if whitening.ledoit_wolf else ""
        return f"shrunk by {whitening.shrinkage:.3g}{by}"
    return f"greatest over least {whitening.condition:.3g}"
