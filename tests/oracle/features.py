"""The histogram of each feature by itself, by numpy.

Nothing here is shared with the library. ``x`` is N x d.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from oracle.reference import Array, wide


def ranges(x: ArrayLike) -> tuple[Array, Array]:
    """Least and greatest number of each feature."""
    return wide(x).min(axis=0), wide(x).max(axis=0)


def histograms(x: ArrayLike, low: Array, high: Array, bins: int) -> NDArray[np.int64]:
    """Counts of each feature over its own range, d x bins."""
    found = [
        np.histogram(column, bins, limits)[0]
        for column, *limits in zip(wide(x).T, low, high, strict=True)
    ]
    return np.array(found)


def by_definition(x: Array, edges: Array) -> NDArray[np.int64]:
    """Counts of one feature: each number in the last bin whose lower edge is not above it."""
    counts = np.zeros(len(edges) - 1, np.int64)
    for number in x:
        counts[max(i for i, edge in enumerate(edges[:-1]) if i == 0 or edge <= number)] += 1
    return counts
