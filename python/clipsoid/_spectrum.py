"""The spectrum of a covariance, and what whitening takes of it: kept, floored or shrunk."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from clipsoid import _native
from clipsoid._checks import checked_count, checked_number
from clipsoid._scoring import measured
from clipsoid._source import OnInvalid, as_source
from clipsoid.ellipsoid import Ellipsoid
from clipsoid.errors import MismatchError, UnavailableError

Array = NDArray[np.float64]
Kind = Literal["zca", "pca", "cholesky"]

#: Accuracy of the entries of a covariance of float32 products, relative to ``sqrt(C_ii C_jj)``.
SINGLE = 1e-6

#: Eigenvalues are told from rounding where they exceed the most negative one so many times.
NEGATIVE = 10.0

#: Scatters of the same rows, summed in two ways, agree to this: ten times `SINGLE`.
SAME_ROWS = 1e-5


@dataclass(frozen=True, slots=True)
class Spectrum:
    """Axes and variances that whitening uses, and how they came about.

    Attributes
    ----------
    covariance : ndarray of shape (d, d)
        As the ellipsoid has it.
    eigenvalues : ndarray of shape (d,)
        Of it, descending.
    variances : ndarray of shape (r,)
        Those that are used, descending; floored or shrunk where that was asked for.
    axes : ndarray of shape (d, r)
        Their eigenvectors, in columns; the entry of greatest magnitude of each is positive.
    floored : int
        How many were raised to the floor.
    tolerance : float
        Relative to the greatest: what rounding leaves of an eigenvalue in float64.
    noise : float
        Relative to the variance of the features along an axis: what float32 products leave.
    shrinkage : float or None
    """

    covariance: Array
    eigenvalues: Array
    variances: Array
    axes: Array
    floored: int
    tolerance: float
    noise: float
    shrinkage: float | None


def spectrum_of(
    e: Ellipsoid,
    *,
    floor: float | None,
    shrinkage: float | Literal["ledoit-wolf"] | None,
    rank: int | None,
    rows: Any,
    n_threads: int | None,
) -> Spectrum:
    """Take the spectrum of an ellipsoid's covariance by the options of `Whitening`."""
    covariance = e.covariance
    dim = e.dim
    found, axes = np.linalg.eigh(covariance)
    found, axes = found[::-1].copy(), axes[:, ::-1]
    greatest = np.abs(axes).argmax(axis=0)
    axes = np.ascontiguousarray(axes * np.sign(axes[greatest, np.arange(dim)]))
    # A covariance of n rows has n - 1 directions at most: the others are rounding, of either sign.
    values = found.clip(min=0.0)
    values[e.count - 1 :] = 0.0
    tolerance = dim * float(np.finfo(np.float64).eps)
    noise = SINGLE if _of_single_products(e) else 0.0
    limits = noise * (axes**2 * np.diag(covariance)[:, None]).sum(axis=0)
    # A covariance has no negative eigenvalue: the most negative one shows what rounding has made
    # of those that are zero.
    limits = np.maximum(limits, max(tolerance * values[0], -NEGATIVE * found[-1]))
    floored = 0
    if shrinkage is not None:
        if shrinkage == "ledoit-wolf":
            shrinkage = _ledoit_wolf(e, covariance, rows, n_threads)
        values = (1 - shrinkage) * values + shrinkage * (values.sum() / dim)
    if floor is not None:
        least = floor * values[0]
        floored = int(np.count_nonzero(values < least))
        values = np.maximum(values, least)
    kept = np.flatnonzero(values > limits)
    if not len(kept):
        raise UnavailableError("whitening: the rows of the ellipsoid do not vary")
    if floor is not None and len(kept) < dim:
        needed = float((limits / values[0]).max())
        raise ValueError(
            f"floor={floor!r}: {dim - len(kept)} of {dim} eigenvalues would still be too small to "
            f"tell from rounding; wanted more than {needed:.2g}"
        )
    if rank is not None:
        if rank > len(kept):
            raise UnavailableError(
                f"rank={rank}: {len(kept)} of {dim} eigenvalues can be told from rounding; wanted "
                f"that or fewer{_advice(noise)}"
            )
        kept = kept[:rank]
    return Spectrum(
        covariance,
        found,
        values[kept],
        np.ascontiguousarray(axes[:, kept]),
        floored,
        tolerance,
        noise,
        shrinkage,
    )


def matrices(kind: Kind, spectrum: Spectrum) -> tuple[Array, Array]:
    """Return the whitening matrix and its inverse, or pseudo-inverse."""
    axes, variances = spectrum.axes, spectrum.variances
    if kind == "pca":
        return pca(axes, variances)
    if kind == "zca":
        radii = np.sqrt(variances)
        return (axes / radii) @ axes.T, (axes * radii) @ axes.T
    dim, rank = axes.shape
    if rank < dim:
        raise UnavailableError(
            f"kind='cholesky' needs every direction, and {rank} of {dim} eigenvalues can be told "
            "from rounding: give floor= or shrinkage=, or take kind='zca' or 'pca'"
            + _advice(spectrum.noise)
        )
    changed = spectrum.floored or spectrum.shrinkage
    covariance = (axes * variances) @ axes.T if changed else spectrum.covariance
    # From C = R R^T with R upper triangular, the factor of C with its features in reverse order:
    # R^-1 is the transpose of the lower factor of C^-1, and C is never inverted.
    reverse = np.linalg.cholesky(covariance[::-1, ::-1])
    upper = reverse[::-1, ::-1]
    return np.triu(np.linalg.solve(upper, np.eye(dim))), np.ascontiguousarray(upper)


def pca(axes: Array, variances: Array) -> tuple[Array, Array]:
    """Return the coordinates along the axes, in radii, and back."""
    radii = np.sqrt(variances)
    return np.ascontiguousarray((axes / radii).T), np.ascontiguousarray(axes * radii)


def checked_method(
    kind: object, floor: object, shrinkage: object, rank: object, rows: object, dim: int
) -> tuple[float | None, float | Literal["ledoit-wolf"] | None, int | None]:
    """Return the options of `Whitening.from_ellipsoid`, if they are in range and go together."""
    if kind not in get_args(Kind):
        raise ValueError(f"kind={kind!r}; wanted 'zca', 'pca' or 'cholesky'")
    options = {"floor": floor, "shrinkage": shrinkage, "rank": rank}
    given = [f"{name}={value!r}" for name, value in options.items() if value is not None]
    if len(given) > 1:
        raise ValueError(f"{' and '.join(given)}; wanted one of floor, shrinkage and rank")
    if (isinstance(shrinkage, str) and shrinkage == "ledoit-wolf") != (rows is not None):
        raise ValueError(
            "rows= and shrinkage='ledoit-wolf' go together; found one without the other"
        )
    if floor is not None:
        wanted = "a number above 0, up to 1"
        return checked_number("floor", floor, wanted, lambda share: 0 < share <= 1), None, None
    if rows is not None:
        return None, "ledoit-wolf", None
    if shrinkage is not None:
        wanted = "a number from 0 to 1, or 'ledoit-wolf'"
        weight = checked_number("shrinkage", shrinkage, wanted, lambda weight: 0 <= weight <= 1)
        return None, weight, None
    return None, None, None if rank is None else checked_count("rank", rank, most=dim)


def _advice(noise: float) -> str:
    return ' (an ellipsoid fitted with precision="float64" may have more)' if noise else ""


def _of_single_products(e: Ellipsoid) -> bool:
    """Whether any of the covariance was made of float32 products."""
    return not e._state["float64"] and e.dtypes != {"float64"}


def _ledoit_wolf(e: Ellipsoid, covariance: Array, rows: Any, n_threads: int | None) -> float:
    """Shrinkage of Ledoit & Wolf 2004, by one more pass over the rows.

    Their sum of squared deviations of ``(x_j - m)(x_j - m)^T`` from the covariance is made of
    fourth powers of the distances from the mean.
    """
    source = as_source(rows, "rows").without_policies()
    source.expect_dim(e.dim, "the ellipsoid")
    mean, count = e.mean, 0
    seconds: list[float] = []
    fourths: list[float] = []
    policy: OnInvalid = "skip" if e.invalid.total else "error"
    for radii, status in measured(
        source, policy, lambda b: _native.distances(b.rows, b.dtype, mean, n_threads)
    ):
        squares = radii[status == 0] ** 2
        count += len(squares)
        # Exact sums, so that batches do not show.
        seconds = [math.fsum([*seconds, *squares.tolist()])]
        fourths = [math.fsum([*fourths, *(squares**2).tolist()])]
    n, d = e.count, e.dim
    trace = float(np.trace(covariance)) * (n - 1) / n
    total = math.fsum(seconds) / n
    if count != n or abs(total - trace) > SAME_ROWS * trace:
        raise MismatchError(
            f"{source.name}: {count} valid rows at a mean squared distance of {total:.6g} from the "
            f"centre; the ellipsoid was fitted on {n} at {trace:.6g}; wanted the same rows"
        )
    squared = float((covariance**2).sum()) * ((n - 1) / n) ** 2
    beta = (math.fsum(fourths) / n - squared) / (n * d)
    delta = squared / d - (trace / d) ** 2
    return min(max(beta / delta, 0.0), 1.0) if delta > 0 else 0.0
