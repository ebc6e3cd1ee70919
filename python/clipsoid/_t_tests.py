"""Student's t for two means, one mean and pairs, from counts, means and variances."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


#: Conformities are sums: those of equal rows agree to some units in the last place.
ROUNDING = 16 * 2.0**-52


class Sample(NamedTuple):
    """What a t test needs of numbers; variance with ddof 1, 0 where all are equal to rounding."""

    size: int
    mean: float
    variance: float

    @classmethod
    def of(cls, values: Array, scale: float = 0.0) -> Sample:
        """From two numbers or more; differences are rounded as what they are made of, `scale`."""
        greatest = max(scale, float(np.abs(values).max()))
        if np.ptp(values) <= ROUNDING * greatest:
            return cls(len(values), float(values[0]), 0.0)
        return cls(len(values), float(values.mean()), float(values.var(ddof=1)))


class TTest(NamedTuple):
    """A difference, its interval, and how it lies to 0; None where nothing varies."""

    difference: float
    lower: float | None
    upper: float | None
    statistic: float | None
    degrees_of_freedom: float | None
    p_value: float | None


def welch(x: Sample, y: Sample, interval: float) -> TTest:
    """Test the difference of two means whose variances may differ (Welch-Satterthwaite)."""
    parts = x.variance / x.size, y.variance / y.size
    squares = sum(parts)
    degrees = math.nan
    if squares > 0:
        shares = (part / squares for part in parts)
        degrees = 1 / sum(
            share**2 / (sample.size - 1) for share, sample in zip(shares, (x, y), strict=True)
        )
    return _student(x.mean - y.mean, math.sqrt(squares), degrees, interval)


def one_sample(x: Sample, mean: float, interval: float) -> TTest:
    """Test the difference of a mean from a number that is known."""
    error = math.sqrt(x.variance / x.size)
    return _student(x.mean - mean, error, x.size - 1, interval)


def _student(difference: float, error: float, degrees: float, interval: float) -> TTest:
    from scipy.special import stdtr, stdtrit

    if error == 0:
        return TTest(difference, None, None, None, None, None)
    statistic = difference / error
    reach = float(stdtrit(degrees, (1 + interval) / 2)) * error
    p = 2 * float(stdtr(degrees, -abs(statistic)))
    return TTest(difference, difference - reach, difference + reach, statistic, degrees, p)


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Correct p-values for their number by Holm's step-down method; None stays, and is no test."""
    order = sorted((p, i) for i, p in enumerate(p_values) if p is not None)
    corrected: list[float | None] = [None] * len(p_values)
    greatest = 0.0
    for done, (p, i) in enumerate(order):
        greatest = max(greatest, min(1.0, (len(order) - done) * p))
        corrected[i] = greatest
    return corrected


def hedges_g(x: Sample, y: Sample) -> float | None:
    """Difference of means in pooled standard deviations, corrected for small samples."""
    degrees = x.size + y.size - 2
    pooled = ((x.size - 1) * x.variance + (y.size - 1) * y.variance) / degrees
    if pooled == 0:
        return None
    return (x.mean - y.mean) / math.sqrt(pooled) * (1 - 3 / (4 * degrees - 1))


def cohens_dz(differences: Sample) -> float | None:
    """Mean of differences in their own standard deviation."""
    if differences.variance == 0:
        return None
    return differences.mean / math.sqrt(differences.variance)
