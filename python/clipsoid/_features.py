"""Each feature of a set by itself: moments and range in one pass, counts in another."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from clipsoid import _native
from clipsoid._source import Located, Source
from clipsoid.ellipsoid import Ellipsoid

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Features:
    """Moments and range of each feature; arrays of shape (d,), standard deviations with ddof 0."""

    mean: Array
    std: Array
    low: Array
    high: Array


def fitted(
    source: Source, n_threads: int | None, *, covariance: bool = False
) -> tuple[Ellipsoid, Features]:
    """Fit an ellipsoid, and measure its features, in one pass; unusable rows are refused."""
    low, high = np.full(source.dim, np.inf), np.full(source.dim, -np.inf)

    def watched() -> Iterator[Located]:
        for located in source.read():
            batch = located.batch
            # Rows with NaN get here too; the fit refuses them next.
            least, greatest = _native.feature_ranges(batch.rows, batch.dtype, n_threads)
            np.minimum(low, least, out=low)
            np.maximum(high, greatest, out=high)
            yield located
            del located, batch

    e = Ellipsoid.fit(replace(source, read=watched), covariance=covariance, n_threads=n_threads)
    return e, Features(e.mean, e.std, low, high)


def sample_features(rows: Array) -> Features:
    """Measure rows that lie in memory, in float64."""
    low, high = rows.min(axis=0), rows.max(axis=0)
    # The mean of equal numbers may be rounded, and they then vary.
    same = low == high
    mean = np.where(same, low, rows.mean(axis=0))
    return Features(mean, np.where(same, 0.0, rows.std(axis=0)), low, high)


def separability_of(x: Features | Ellipsoid, y: Features | Ellipsoid) -> Array:
    """Return ``|m_x - m_y| / sqrt(var_x + var_y)`` (Eq. 5); NaN where both are one same number."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.abs(x.mean - y.mean) / np.hypot(x.std, y.std))


def bin_edges(low: Array, high: Array, bins: int) -> Array:
    """Return edges of equal bins over a range of its own for each feature, shape (d, bins + 1).

    To the bit those of `numpy.histogram` for each feature alone, where it varies.
    """
    high = np.where(high > low, high, low + np.maximum(np.abs(low), 1))
    edges = np.empty((len(low), bins + 1))
    # One step that underflows would have numpy compute the edges of all features in another way.
    vanishes = (high - low) / bins == 0
    for part in (vanishes, ~vanishes):
        edges[part] = np.linspace(low[part], high[part], bins + 1, axis=1)
    return edges


def histograms(
    source: Source, low: Array, high: Array, bins: int, n_threads: int | None
) -> NDArray[np.int64]:
    """Count rows in equal bins over a range of its own for each feature, shape (d, bins).

    As `numpy.histogram`: a bin holds its lower edge, the last one its upper edge too. A feature
    that does not vary falls into its first bin.
    """
    found = _native.FeatureHistograms(bin_edges(low, high, bins))
    for located in source.read():
        found.update(located.batch.rows, located.batch.dtype, n_threads)
        del located
    return found.counts().reshape(source.dim, bins)
