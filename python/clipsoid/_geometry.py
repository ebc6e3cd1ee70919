"""The geometry of an ellipsoid: what its sums say, before any row is held against it."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from clipsoid import _native
from clipsoid._accumulator import Accumulator
from clipsoid._summary import squares_are_safe
from clipsoid.errors import UnavailableError
from clipsoid.results import Norms

Array = NDArray[np.float64]

#: Norms within 1 +- this are those of normalised rows: half precision gives 0.9995 to 1.0005.
NORMALIZED_WITHIN = 0.01


def are_normalized(least: float, greatest: float) -> bool:
    """Whether norms from the least to the greatest are those of normalised rows."""
    return bool(least >= 1 - NORMALIZED_WITHIN and greatest <= 1 + NORMALIZED_WITHIN)


class Geometry(Accumulator):
    """What `Ellipsoid` is without rows: see there."""

    def _need_squares(self, what: str) -> None:
        greatest = self._state["norm_max"]
        if not squares_are_safe(greatest):
            raise UnavailableError(
                f"{what} cannot be had: norms reach {greatest:.3g}, and squares of such numbers "
                "leave the range of float64; scale the rows"
            )

    @property
    def mean(self) -> Array:
        """Raw mean `m`, shape (d,): the centre of the ellipsoid."""
        self._need(1, "the mean")
        return self._state["mean"].copy()

    @property
    def unit_mean(self) -> Array:
        """Unit mean `s`, shape (d,): the mean of ``x_j / |x_j|``, of length 0 to 1."""
        self._need(1, "the unit mean")
        return np.asarray(self._state["unit_sum"] / self.count)

    @property
    def std(self) -> Array:
        """Standard deviation of each feature, shape (d,), ddof 0."""
        self._need(1, "the standard deviation")
        self._need_squares("the standard deviation")
        return np.sqrt(self._state["squares"] / self.count)

    @property
    def norms(self) -> Norms:
        """Statistics of the norms ``|x_j|``; variance with ddof 0.

        The variance is NaN where squares of the norms leave the range of float64.
        """
        self._need(1, "the norms")
        s = self._state
        safe = squares_are_safe(s["norm_max"])
        variance = s["norm_squares"] / self.count if safe else math.nan
        return Norms(s["norm_mean"], variance, s["norm_min"], s["norm_max"])

    @property
    def covariance(self) -> Array:
        """Covariance matrix, shape (d, d), ddof 1."""
        self._need(2, "the covariance")
        self._need_squares("the covariance")
        with self._lock:
            scatter = self._moments.scatter()
        if scatter is None:
            reason = (
                "it was dropped by a merge with an ellipsoid that has none"
                if "covariance" in self._dropped
                else "it was fitted with covariance=False"
            )
            raise UnavailableError(f"this ellipsoid has no covariance: {reason}")
        return np.asarray(scatter.reshape(self.dim, self.dim) / (self.count - 1))

    @property
    def center_ratio(self) -> float:
        """Distance of the centre from the origin over the radius, ``|m| / |sigma|``.

        The paper finds 0.94 for images and 1.03 for texts. Infinite when no feature varies.
        """
        radius = float(np.linalg.norm(self.std))
        distance = float(np.linalg.norm(self.mean))
        return distance / radius if radius > 0 else math.inf

    @property
    def mean_conformity(self) -> float:
        """Mean of the exact conformity over the set, ``(N |s|^2 - 1) / (N - 1)``."""
        self._need(2, "the mean conformity")
        n, s = self.count, self.unit_mean
        return float((n * (s @ s) - 1) / (n - 1))

    @property
    def is_normalized(self) -> bool:
        """Whether every norm lies within 1 +- 0.01.

        Conformity stands for such rows; shell, centre ratio and tilt then describe the sphere.
        """
        norms = self.norms
        return are_normalized(norms.min, norms.max)

    @property
    def off_diagonal_dominance(self) -> Array:
        """``sum over k != l of |C_lk| / C_ll`` of each feature (Eq. 6), shape (d,).

        NaN for a feature that does not vary. Untilted features reach
        `off_diagonal_dominance_null` in a finite sample; compare with that.
        """
        return self._dominance_and_null[0].copy()

    @property
    def off_diagonal_dominance_null(self) -> Array:
        """Off-diagonal dominance that independent features would show at this count, shape (d,).

        ``sqrt(2 / (pi N)) (sum_k sigma_k - sigma_l) / sigma_l``.
        """
        return self._dominance_and_null[1].copy()

    @property
    def _dominance_and_null(self) -> tuple[Array, Array]:
        # Both come out of one walk over a covariance made for it: kept for whoever asks for both.
        with self._lock:
            if self._dominance is None:
                self._dominance = _native.off_diagonal_dominance(self.covariance, self.count)
            return self._dominance
