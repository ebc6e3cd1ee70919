"""How far each coordinate of whitened rows is from a normal law."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clipsoid._checks import checked_count, checked_seed, checked_share
from clipsoid._shown import Drawn
from clipsoid.errors import ShapeError, UnavailableError

Array = NDArray[np.float64]

#: The approximations of both tests' laws want so many rows.
LEAST_ROWS = 20

#: Coordinates worked on together: their sorted copies stay below some 10 MB.
TOGETHER = 64


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Normality(Drawn):
    """Two tests of each coordinate against a normal law of unknown mean and variance.

    Attributes
    ----------
    anderson_darling, anderson_darling_p : ndarray of float64 of shape (k,)
        The statistic ``A^2`` of Anderson & Darling, which weighs the tails, and its p-value.
    dagostino_pearson, dagostino_pearson_p : ndarray of float64 of shape (k,)
        The statistic ``K^2`` of D'Agostino & Pearson, made of skewness and kurtosis, and its
        p-value. NaN for a coordinate that does not vary, here as above.
    count : int
        Rows tested.
    total : int
        Rows that they were drawn from.
    fit_count : int
        Rows that the whitening was fitted on.
    dim, rank : int
        Features of a row, and directions that the whitening kept.
    seed : int
        Of the draw; without effect where all rows were tested.
    level : float
        p-values of this or more pass.
    """

    anderson_darling: Array
    anderson_darling_p: Array
    dagostino_pearson: Array
    dagostino_pearson_p: Array
    count: int
    total: int
    fit_count: int
    dim: int
    rank: int
    seed: int
    level: float

    @property
    def anderson_darling_fraction(self) -> float:
        """Share of the coordinates that vary which pass the Anderson-Darling test."""
        return self._passing(self.anderson_darling_p)

    @property
    def dagostino_pearson_fraction(self) -> float:
        """Share of the coordinates that vary which pass the D'Agostino-Pearson test."""
        return self._passing(self.dagostino_pearson_p)

    def _passing(self, p: Array) -> float:
        return float((p[~np.isnan(p)] >= self.level).mean())

    def __repr__(self) -> str:
        return (
            f"Normality({len(self.anderson_darling)} coordinates, {self.count} of {self.total} "
            f"rows, whitened by {self.fit_count} of {self.dim} features; "
            f"pass at {self.level:g}: Anderson-Darling {self.anderson_darling_fraction:.1%}, "
            f"D'Agostino-Pearson {self.dagostino_pearson_fraction:.1%})"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the fields and the shares by name."""
        names = (
            *(field.name for field in fields(self)),
            "anderson_darling_fraction",
            "dagostino_pearson_fraction",
        )
        return {name: getattr(self, name) for name in names}


def check_options(sample: object, seed: object, level: object) -> None:
    """Raise unless the options of `Whitening.normality` are in range."""
    checked_count("sample", sample, LEAST_ROWS)
    checked_seed(seed)
    checked_share("level", level)


def normality_of(
    z: NDArray[Any],
    *,
    total: int,
    fit_count: int,
    dim: int,
    rank: int,
    seed: int,
    level: float,
) -> Normality:
    """Test each column of `z`."""
    count, columns = z.shape
    if count < LEAST_ROWS:
        raise ShapeError(f"normality: found {count} valid rows, wanted {LEAST_ROWS} or more")
    found = np.full((4, columns), np.nan)
    for start in range(0, columns, TOGETHER):
        part = slice(start, start + TOGETHER)
        some = np.asarray(z[:, part], np.float64)
        varies = np.flatnonzero(np.ptp(some, axis=0) > 0)
        if len(varies):
            found[:, start + varies] = _tested(some[:, varies])
    if np.isnan(found).all():
        raise UnavailableError("normality: no coordinate of the rows varies")
    a2, a2_p, k2, k2_p = found
    return Normality(
        anderson_darling=a2,
        anderson_darling_p=a2_p,
        dagostino_pearson=k2,
        dagostino_pearson_p=k2_p,
        count=count,
        total=total,
        fit_count=fit_count,
        dim=dim,
        rank=rank,
        seed=seed,
        level=level,
    )


def _tested(z: Array) -> tuple[Array, Array, Array, Array]:
    """Return both statistics of each column, each with its p-value."""
    from scipy.stats import normaltest

    a2 = anderson_darling(z)
    k2, k2_p = normaltest(z, axis=0)
    return a2, anderson_darling_p(a2, len(z)), k2, k2_p


def anderson_darling(z: Array) -> Array:
    """``A^2`` of each column, with its own mean and variance (ddof 1)."""
    from scipy.special import log_ndtr

    n = len(z)
    y = np.sort((z - z.mean(axis=0)) / z.std(axis=0, ddof=1), axis=0)
    weights = np.arange(1, 2 * n, 2)[:, None] / n
    # log F(y_i) + log(1 - F(y_{n + 1 - i})), weighted by 2 i - 1.
    return np.asarray(-n - (weights * (log_ndtr(y) + log_ndtr(-y)[::-1])).sum(axis=0))


def anderson_darling_p(a2: Array, n: int) -> Array:
    """p-value by D'Agostino & Stephens 1986, Table 4.9, of ``A^2 (1 + 0.75 / n + 2.25 / n^2)``.

    Their exponents turn upwards far beyond the table: above 10 the p-value is that at 10, 4e-24.
    """
    a = np.minimum(a2 * (1 + 0.75 / n + 2.25 / n**2), 10.0)
    return np.select(
        [a < 0.2, a < 0.34, a < 0.6],
        [
            -np.expm1(-13.436 + 101.14 * a - 223.73 * a**2),
            -np.expm1(-8.318 + 42.796 * a - 59.938 * a**2),
            np.exp(0.9177 - 4.279 * a - 1.38 * a**2),
        ],
        np.exp(1.2937 - 5.709 * a + 0.0186 * a**2),
    )
