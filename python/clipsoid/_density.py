"""Gaussian kernel densities of two samples on one grid, and how far apart they are."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

#: Added to every share, so that an empty place costs much and not everything.
FLOOR = 1e-10

#: Points of the grid.
POINTS = 2048

#: Bandwidths beyond the samples that the grid reaches.
MARGIN = 4

#: Resamples that are smoothed at once: some megabytes.
AT_ONCE = 100

#: Of a normal law, the distance of the quartiles in standard deviations.
QUARTILES = 1.349

_PLACES = np.arange(POINTS, dtype=np.float64)
_FREQUENCIES = np.fft.rfftfreq(2 * POINTS)


def kl_of_shares(p: NDArray[Any], q: NDArray[Any]) -> Any:
    """Kullback-Leibler divergence of shares along the last axis, each raised by `FLOOR`, in nats.

    Both are raised alike and neither is scaled to a sum of 1 again.
    """
    p, q = p + FLOOR, q + FLOOR
    return (p * np.log(p / q)).sum(axis=-1)


def silverman(values: Array) -> float:
    """Silverman's rule of thumb; the quartiles, where they differ, keep tails from widening it."""
    lower, upper = np.percentile(values, (25, 75))
    return float(_rule(values.std(), (upper - lower) / QUARTILES, len(values)))


def _rule(deviation: Any, quartiles: Any, count: int) -> Any:
    spread = np.where(quartiles > 0, np.minimum(deviation, quartiles), deviation)
    return 0.9 * spread * math.pow(count, -0.2)


@dataclass(frozen=True, slots=True, eq=False)
class GridSample:
    """A sample, each of its numbers shared out between its two neighbours on a grid.

    Attributes
    ----------
    shares : ndarray of float64 of shape (..., POINTS)
        Of each point; several samples of one size have a leading axis.
    width : float or ndarray
        Bandwidth of the density, in steps of the grid.
    count : int
        Numbers in the sample.
    """

    shares: Array
    width: Any
    count: int

    @classmethod
    def of(cls, values: Array, width: float, low: float, step: float) -> Self:
        """From numbers that the grid from `low` on holds, and a bandwidth in their unit."""
        place = (values - low) / step
        below = np.minimum(place.astype(np.intp), POINTS - 2)
        above = place - below
        shares = np.bincount(below, 1 - above, POINTS) + np.bincount(below + 1, above, POINTS)
        return cls(shares / len(values), width / step, len(values))

    def resampled(self, rng: np.random.Generator, times: int) -> GridSample:
        """Draw samples of the same size from this one; each gets a bandwidth of its own."""
        shares = rng.multinomial(self.count, self.shares / self.shares.sum(), times) / self.count
        mean = shares @ _PLACES
        deviation = np.sqrt(np.maximum(shares @ _PLACES**2 - mean**2, 0))
        below = np.cumsum(shares, axis=-1)
        lower, upper = ((below < part).sum(axis=-1) for part in (0.25, 0.75))
        width = _rule(deviation, (upper - lower) / QUARTILES, self.count)
        # Narrower than its steps the grid cannot tell.
        return GridSample(shares, np.maximum(width, 1.0), self.count)

    @property
    def density(self) -> Array:
        """Shares convolved with a normal law; what leaves the grid is below 1e-4."""
        width = np.asarray(self.width)[..., None]
        kernel = np.exp(-2 * (np.pi * _FREQUENCIES * width) ** 2)
        # Twice as long, so that what leaves one end does not come in at the other.
        spectrum = np.fft.rfft(self.shares, 2 * POINTS) * kernel
        smooth = np.fft.irfft(spectrum, 2 * POINTS)[..., :POINTS]
        # The transform leaves rounding below zero.
        smooth = np.maximum(smooth, 0.0)
        return np.asarray(smooth / smooth.sum(axis=-1, keepdims=True))

    @property
    def support(self) -> Array:
        """How many numbers the density at each point is made of: one bandwidth away counts 0.6."""
        return np.asarray(self.count * math.sqrt(2 * math.pi) * self.width * self.density)

    def smoothed_again(self) -> GridSample:
        """Return the sample with twice the smoothing: that of a normal law is its variance."""
        return GridSample(self.shares, self.width * math.sqrt(2), self.count)


def on_one_grid(
    p: Array, p_width: float, q: Array, q_width: float
) -> tuple[GridSample, GridSample]:
    """Two sorted samples, not all one number, on a grid that reaches beyond both."""
    low, high = min(p[0], q[0]), max(p[-1], q[-1])
    # A constant sample has no width of its own; a point of the grid is as narrow as can be seen.
    least = (high - low) / POINTS
    p_width, q_width = max(p_width, least), max(q_width, least)
    margin = MARGIN * max(p_width, q_width)
    low, high = low - margin, high + margin
    step = (high - low) / (POINTS - 1)
    return GridSample.of(p, p_width, low, step), GridSample.of(q, q_width, low, step)


def kl_both_ways(p: GridSample, q: GridSample) -> Array:
    """Kullback-Leibler divergence of the density of `p` from that of `q`, and the reverse."""
    p_density, q_density = p.density, q.density
    return np.stack([kl_of_shares(p_density, q_density), kl_of_shares(q_density, p_density)])


def unsupported_kl(p: GridSample, q: GridSample) -> Array:
    """Return the part of `kl_both_ways` where the law that is divided by has next to no number.

    It lies where the other sample has less than one within the reach of a kernel. What the density
    is there is a matter of the kernel and not of the sample, which no resample shows.
    """
    return np.stack([_where(p, q), _where(q, p)])


def _where(p: GridSample, q: GridSample) -> Any:
    thin = q.support < 1
    return kl_of_shares(p.density[thin], q.density[thin])


def smoothing_of_kl(p: GridSample, q: GridSample) -> Array:
    """Return by how much `kl_both_ways` changes if both are smoothed once more.

    Smoothing changes a density in proportion to the variance of the kernel: the second time does
    what the first has done.
    """
    return kl_both_ways(p, q) - kl_both_ways(p.smoothed_again(), q.smoothed_again())


def resampled_kl(p: GridSample, q: GridSample, times: int, seed: int) -> Array:
    """`kl_both_ways` of samples drawn anew from each of the two: an array of shape (2, times)."""
    rng = np.random.default_rng(seed)
    parts = [min(AT_ONCE, times - start) for start in range(0, times, AT_ONCE)]
    return np.concatenate(
        [kl_both_ways(p.resampled(rng, part), q.resampled(rng, part)) for part in parts], axis=1
    )
