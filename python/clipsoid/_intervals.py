"""How samples are compared, and how sure that is: options, checked, and confidence intervals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from clipsoid._checks import checked_count, checked_seed, checked_share

Array = NDArray[np.float64]

#: Resamples behind an interval.
RESAMPLES = 200


class Interval(NamedTuple):
    """A confidence interval of one figure.

    Attributes
    ----------
    lower, upper : float
    """

    lower: float
    upper: float


@dataclass(frozen=True, slots=True)
class Estimator:
    """How samples are compared, checked.

    Attributes
    ----------
    bins : int
        Of the histograms.
    interval : float or None
        Nominal coverage.
    seed, resamples : int
        Of what is drawn for the intervals.
    """

    bins: int
    interval: float | None
    seed: int
    resamples: int

    @classmethod
    def checked(cls, bins: object, interval: object, seed: object, resamples: object) -> Self:
        """From what a caller gave."""
        return cls(
            checked_count("bins", bins),
            None if interval is None else checked_share("interval", interval),
            checked_seed(seed),
            checked_count("resamples", resamples, 2),
        )

    def about(self, centre: float, deviation: float) -> Interval:
        """Return the normal interval; no figure is below zero."""
        from statistics import NormalDist

        reach = NormalDist().inv_cdf((1 + (self.interval or 0.0)) / 2) * deviation
        return Interval(max(centre - reach, 0.0), max(centre + reach, 0.0))

    def corrected(self, found: float, drawn: Array) -> Interval:
        """Return the one about an estimate less its bias; `drawn` shows bias and deviation."""
        return self.about(float(2 * found - drawn.mean()), float(drawn.std(ddof=1)))
