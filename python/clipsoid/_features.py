"""Each feature of a set by itself: moments and range in one pass, counts in another."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from clipsoid._source import Located, Source
from clipsoid._wide import pieces, wide, wide_rows
from clipsoid.ellipsoid import Ellipsoid

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Features:
    """Moments and range of each feature; arrays of shape (d,), standard deviations with ddof 0."""

    mean: Array
    std: Array
    low: Array
    high: Array


def measured(source: Source, n_threads: int | None) -> Features:
    """Measure in one pass; rows that cannot be used are refused."""
    low, high = np.full(source.dim, np.inf), np.full(source.dim, -np.inf)

    def watched() -> Iterator[Located]:
        for located in source.read():
            for piece in pieces(located.batch):
                rows = wide(piece)
                # Rows with NaN get here too; the fit refuses them next.
                np.minimum(low, rows.min(axis=0), out=low)
                np.maximum(high, rows.max(axis=0), out=high)
            yield located
            del located

    e = Ellipsoid.fit(replace(source, read=watched), covariance=False, n_threads=n_threads)
    return Features(e.mean, e.std, low, high)


def sample_features(rows: Array) -> Features:
    """Measure rows that lie in memory, in float64."""
    low, high = rows.min(axis=0), rows.max(axis=0)
    # The mean of equal numbers may be rounded, and they then vary.
    same = low == high
    mean = np.where(same, low, rows.mean(axis=0))
    return Features(mean, np.where(same, 0.0, rows.std(axis=0)), low, high)


def separability_of(x: Features, y: Features) -> Array:
    """Return ``|m_x - m_y| / sqrt(var_x + var_y)`` (Eq. 5); NaN where both are one same number."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.abs(x.mean - y.mean) / np.hypot(x.std, y.std))


def histograms(source: Source, low: Array, high: Array, bins: int) -> NDArray[np.int64]:
    """Count rows in equal bins over a range of its own for each feature, shape (d, bins).

    As `numpy.histogram`: a bin holds its lower edge, the last one its upper edge too. A feature
    that does not vary falls into its first bin.
    """
    high = np.where(high > low, high, low + np.maximum(np.abs(low), 1))
    edges = np.linspace(low, high, bins + 1).T.ravel()
    # Places are quotients; so near an edge, rounding may have moved one across it.
    with np.errstate(over="ignore"):
        magnitude = bins * (1 + np.maximum(np.abs(low), np.abs(high)) / (high - low))
    doubt = 8 * np.finfo(np.float64).eps * magnitude
    dim = source.dim
    counts = np.zeros(dim * bins, np.int64)
    for rows in wide_rows(source):
        place = (rows - low) / (high - low) * bins
        within = np.minimum(place.astype(np.intp), bins - 1)
        row, feature = np.nonzero(np.abs(place - np.rint(place)) <= doubt)
        x, found = rows[row, feature], within[row, feature]
        edge = found + feature * (bins + 1)
        up = (x >= edges[edge + 1]) & (found < bins - 1)
        within[row, feature] += up.astype(np.intp) - (x < edges[edge])
        within += np.arange(dim) * bins
        counts += np.bincount(within.ravel(), minlength=dim * bins)
    return counts.reshape(dim, bins)
