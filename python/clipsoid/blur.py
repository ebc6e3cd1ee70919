"""The blur experiment: why a shifted sphere has an average that everything is near (Figure 7)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clipsoid._checks import checked_count, checked_seed
from clipsoid._shown import Drawn, Shown
from clipsoid.synthetic import shifted_sphere

Array = NDArray[np.float64]
Integers = NDArray[np.int64]

#: The experiment of the paper.
COUNT = 1000
DIM = 512
SHIFT = (10.0, 5.0, 5.0)


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class BlurSample(Shown):
    """Cosines of a sample to its mean, and to the row that is least similar to the mean.

    Attributes
    ----------
    center : ndarray of float64 of shape (d,)
        What the rows were drawn around; `m` is the mean that they have.
    to_mean : ndarray of float64 of shape (n,)
        ``cos(m, x_j)`` of each row.
    far : int
        Number of the row for which that is least.
    to_far : ndarray of float64 of shape (n - 1,)
        ``cos(x_far, x_j)`` of every other row.
    to_mean_counts, to_far_counts : ndarray of int64 of shape (bins,)
        Their histograms, in the bins of the experiment.
    """

    center: Array
    to_mean: Array
    far: int
    to_far: Array
    to_mean_counts: Integers
    to_far_counts: Integers

    def __repr__(self) -> str:
        return (
            f"BlurSample({len(self.to_mean)} rows x {len(self.center)} features: mean cosine "
            f"{self.to_mean.mean():.3f} to the mean, {self.to_far.mean():.3f} to row {self.far})"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class BlurExperiment(Drawn):
    """A sphere around the origin and the same sphere shifted (Figure 7).

    Attributes
    ----------
    centered, shifted : BlurSample
        The same vectors around 0, and around (10, 5, 5, 0, ...).
    edges : ndarray of float64 of shape (bins + 1,)
        Of all four histograms: equal bins from the least to the greatest cosine.
    seed : int
    """

    centered: BlurSample
    shifted: BlurSample
    edges: Array
    seed: int

    def __repr__(self) -> str:
        means = (self.centered.to_mean.mean(), self.shifted.to_mean.mean())
        return (
            f"BlurExperiment(mean cosine to the mean {means[0]:.3f} centred, {means[1]:.3f} "
            f"shifted; seed={self.seed})"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name, the samples as dictionaries."""
        return {
            "centered": self.centered.to_dict(),
            "shifted": self.shifted.to_dict(),
            "edges": self.edges,
            "seed": self.seed,
        }


def blur_experiment(*, seed: int = 0, bins: int = 50) -> BlurExperiment:
    """Compare a sphere around the origin with one that is shifted (Figure 7).

    Parameters
    ----------
    seed : int, default=0
        Of the vectors, which are the same around both centres.
    bins : int, default=50
        Of the four histograms.

    Returns
    -------
    BlurExperiment

    Raises
    ------
    ValueError
        If `bins` is below 1, or `seed` no whole number of 0 or more.

    Notes
    -----
    As in [1]_: 1000 normal vectors of variance 1 in 512 dimensions, around 0 and around
    (10, 5, 5, 0, ...). Around the origin no vector is similar to all others, not even the mean.
    Off the origin the mean is similar to all of them, and more so than any of them: an embedding
    of what is generic, or blurred, is near everything, and the mean is the place for it. The row
    that is least similar to the mean is far from the others in both, but less so when shifted.

    References
    ----------
    .. [1] Levi & Gilboa, "The Double-Ellipsoid Geometry of CLIP", ICML 2025, arXiv 2411.14517.

    Examples
    --------
    >>> import clipsoid as cs
    >>> found = cs.blur_experiment()
    >>> bool(found.centered.to_mean.max() < found.shifted.to_mean.min())
    True
    """
    bins, seed = checked_count("bins", bins), checked_seed(seed)
    centers = np.zeros((2, DIM))
    centers[1, : len(SHIFT)] = SHIFT
    cosines = [_cosines(shifted_sphere(COUNT, center, seed=seed)) for center in centers]
    values = np.concatenate([part for _, *parts in cosines for part in parts])
    edges = np.linspace(values.min(), values.max(), bins + 1)
    centered, shifted = (
        BlurSample(
            center, to_mean, far, to_far, *(np.histogram(x, edges)[0] for x in (to_mean, to_far))
        )
        for center, (far, to_mean, to_far) in zip(centers, cosines, strict=True)
    )
    return BlurExperiment(centered, shifted, edges, seed)


def _cosines(x: Array) -> tuple[int, Array, Array]:
    """Return the row least similar to the mean, and the cosines to the mean and to that row."""
    units = x / np.linalg.norm(x, axis=1, keepdims=True)
    m = x.mean(axis=0)
    to_mean = units @ m / np.linalg.norm(m)
    far = int(to_mean.argmin())
    return far, to_mean, np.delete(units, far, axis=0) @ units[far]
