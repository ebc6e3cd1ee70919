"""How far a result may lie from the oracle's: derived where the arithmetic is float64, else stated.

Every linear statistic is float64 arithmetic on exactly widened rows, in the library as in the
oracle. A sum of `k` rounded terms, in any order, is within ``k u`` of the sum of their magnitudes,
with u = 2^-53 (Higham, *Accuracy and Stability of Numerical Algorithms*, 2002, section 4.2). Each
figure sums over n rows what was summed over d features, on both sides: ``4 (n + d) u`` of the
magnitudes that enter it, and the classes below say what these are.

Products in float32 (covariances and pairwise cosines of rows narrower than float64) have the
stated accuracy of 1e-6: see `SINGLE`.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

#: Half the spacing of float64 at 1.
UNIT = 2.0**-53

#: What float32 products may add, relative to ``sqrt(C_ii C_jj)`` and to a cosine of 1.
SINGLE = 1e-6

#: Two orders of merging the same parts, relative to the natural size of the figure.
REORDERED = 1e-12

NARROW = ("float16", "bfloat16", "float32")


def stated(dtype: str, want: ArrayLike) -> Array:
    """The accuracy that is promised for any figure: 1e-6 from float32, 1e-10 from float64."""
    relative = 1e-6 if dtype in NARROW else 1e-10
    return relative * np.maximum(1.0, np.abs(want))


def stated_conformity(dtype: str) -> float:
    """The accuracy that is promised for conformity, absolute."""
    return 1e-6 if dtype in NARROW else 1e-12


def eigenvalues(covariance: ArrayLike, entrywise: float) -> float:
    """Weyl's bound when entries are within ``entrywise sqrt(C_ii C_jj)``: ``entrywise tr C``.

    A change E moves no eigenvalue by more than ``|E|_2 <= |E|_F <= entrywise * sum_i C_ii``.
    """
    return float(entrywise * np.trace(np.asarray(covariance)))


def excess(got: ArrayLike, want: ArrayLike, bound: ArrayLike) -> Array:
    """``|got - want| / bound`` of each entry; infinite where only one is NaN."""
    got, want = np.asarray(got, np.float64), np.asarray(want, np.float64)
    same = (got == want) | (np.isnan(got) & np.isnan(want))
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(same, 0.0, np.abs(got - want) / np.asarray(bound, np.float64))
    return np.where(np.isnan(ratio), np.inf, ratio)


def assert_within(got: ArrayLike, want: ArrayLike, bound: ArrayLike, what: str) -> None:
    """Fail unless every entry lies within its bound; `got` has the shape of `want`."""
    got, want = np.asarray(got), np.broadcast_to(want, np.shape(got))
    found = excess(got, want, bound)
    at = np.unravel_index(found.argmax(), found.shape)
    message = f"{what}{list(map(int, at))}: got {got[at]!r}, wanted {want[at]!r}"
    assert found[at] <= 1, f"{message}, {found[at]:.3g} times the bound off"


class Bounds:
    """Bounds for the figures of a set of rows, each from the magnitudes that enter it."""

    def __init__(self, x: ArrayLike, dtype: str = "float64") -> None:
        self.x = np.asarray(x).astype(np.float64)
        self.n, self.d = self.x.shape
        self.eps = 4 * (self.n + self.d) * UNIT
        #: What float32 products add: nothing where they are float64.
        self.product = SINGLE if dtype in NARROW else 0.0

    @cached_property
    def center(self) -> Array:
        return self.x.mean(axis=0)

    @cached_property
    def peak(self) -> Array:
        """The largest magnitude of each feature."""
        return np.abs(self.x).max(axis=0)

    @cached_property
    def span(self) -> Array:
        """The largest deviation of each feature; the library's origin is one of the rows."""
        return np.abs(self.x - self.center).max(axis=0)

    @cached_property
    def sigma(self) -> Array:
        return self.x.std(axis=0)

    @cached_property
    def mean(self) -> Array:
        return self.eps * self.peak

    @property
    def unit_mean(self) -> float:
        return self.eps

    @cached_property
    def std(self) -> Array:
        """From ``sqrt(s^2 + v) - s``, v being the error of the variance."""
        v = self.eps * (2 * self.span) ** 2
        tiny = np.finfo(np.float64).tiny
        return v / (np.sqrt(self.sigma**2 + v) + self.sigma + tiny) + self.mean

    @cached_property
    def covariance(self) -> Array:
        """Of an entry: the sum's own error, and a centre that is off by the error of the mean."""
        s = self.sigma * np.sqrt(self.n / max(self.n - 1, 1))
        shifted = np.outer(self.mean, s)
        own = (self.eps + self.product) * np.outer(s, s)
        return own + shifted + shifted.T + np.outer(self.mean, self.mean)

    @cached_property
    def lengths(self) -> Array:
        return np.sqrt((self.x**2).sum(axis=1))

    @cached_property
    def norm(self) -> float:
        """Of the mean, the least and the greatest norm."""
        return float(self.eps * self.lengths.max())

    @cached_property
    def norm_variance(self) -> float:
        return self._variance(np.ptp(self.lengths), self.norm)

    def _variance(self, spread: float, error: float) -> float:
        """Of numbers that spread over `spread` and are each wrong by up to `error`."""
        return float(self.eps * spread**2 + 2 * error * spread + error**2)

    @property
    def conformity(self) -> float:
        """A dot product with the unit mean, times N / (N - 1), which is 2 at most."""
        return 4 * self.eps

    @property
    def pairwise(self) -> float:
        return self.conformity + self.product

    @cached_property
    def cosine_to_mean(self) -> float:
        """The error of the mean counts relative to its length."""
        return float(2 * self.eps * (1 + self._norm(self.peak) / self._norm(self.center)))

    @cached_property
    def center_ratio(self) -> float:
        distance, radius = self._norm(self.center), self._norm(self.sigma)
        relative = self._norm(self.mean) / distance + self._norm(self.std) / radius
        return float((relative + self.eps) * distance / radius)

    @cached_property
    def radius(self) -> float:
        """Of the mean, the least, the greatest and the rms distance from the mean."""
        reach = self._norm(self.span)
        return float(2 * self._norm(self.mean) + self.eps * reach)

    @cached_property
    def shell_variance(self) -> float:
        return self._variance(self._norm(self.span), self.radius)

    @cached_property
    def shell_relative_error(self) -> float:
        return float(4 * self.radius / self._norm(self.sigma))

    @cached_property
    def _variances(self) -> Array:
        return self.sigma**2 * self.n / (self.n - 1)

    def dominance(self, want: Array) -> Array:
        """Of ``sum |C_lk| / C_ll``: the entries' errors over C_ll, and C_ll's own."""
        own = np.diag(self.covariance) / self._variances
        return self.covariance.sum(axis=1) / self._variances + want * (own + self.eps)

    def dominance_null(self, want: Array) -> Array:
        """Of ``sqrt(2 / (pi N)) (sum sigma_k - sigma_l) / sigma_l``."""
        error = np.diag(self.covariance) / (2 * np.sqrt(self._variances))
        factor = np.sqrt(2 / (np.pi * self.n))
        sigma = np.sqrt(self._variances)
        return factor * error.sum() / sigma + want * (error / sigma + self.eps)

    def slope(self, cosine: Array, conformity: Array, *, inverse: bool = False) -> float:
        """Of a regression: the scores' errors over the spread of the regressor."""
        regressor, other = (conformity, cosine) if inverse else (cosine, conformity)
        error = self.cosine_to_mean + self.conformity
        slope = other.std() / regressor.std()
        return float(4 * error * (1 + slope) / regressor.std())

    def intercept(self, cosine: Array, conformity: Array, *, inverse: bool = False) -> float:
        regressor = conformity if inverse else cosine
        slope = self.slope(cosine, conformity, inverse=inverse)
        return float(slope * (np.abs(regressor).max() + 1) + self.cosine_to_mean)

    def pearson(self, cosine: Array, conformity: Array) -> float:
        error = self.cosine_to_mean + self.conformity
        return float(4 * error * (1 / cosine.std() + 1 / conformity.std()))

    @staticmethod
    def _norm(vector: Array) -> float:
        return float(np.sqrt((vector**2).sum()))
