"""The exact distribution of all pairwise cosines, without ever holding them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clipsoid import _native
from clipsoid._gather import gathered, gathered_pair, named
from clipsoid._source import Source, as_source, check_threads
from clipsoid.ellipsoid import Ellipsoid
from clipsoid.retrieval import checked_count

#: Counters of this many bins still fit a core's cache.
MAX_BINS = 65_536

#: Narrower bins would be as wide as the rounding of their edges.
LEAST_WIDTH = 1e-9


@dataclass(frozen=True, slots=True, repr=False)
class SimilarityHistogram:
    """Counts of cosines in equal bins.

    Attributes
    ----------
    edges : ndarray of float64 of shape (bins + 1,)
        Bin `i` holds ``edges[i] <= cosine < edges[i + 1]``, the last one its upper edge too.
    counts : ndarray of int64 of shape (bins,)
        Cosines in each bin.
    below, above : int
        Cosines below the first edge, and above the last.
    mean : float
        Mean of all cosines, those outside the edges included.
    """

    edges: NDArray[np.float64]
    counts: NDArray[np.int64]
    below: int
    above: int
    mean: float

    @property
    def total(self) -> int:
        """All cosines, inside the edges and outside."""
        return int(self.counts.sum()) + self.below + self.above

    def __repr__(self) -> str:
        low, high = self.edges[0], self.edges[-1]
        return (
            f"SimilarityHistogram({self.total} cosines, {len(self.counts)} bins "
            f"from {low:g} to {high:g}, mean {self.mean:.4f})"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the fields and the total by name."""
        names = ("edges", "counts", "below", "above", "total", "mean")
        return {name: getattr(self, name) for name in names}


def similarity_histogram(
    x: Any,
    y: Any = None,
    *,
    bins: int = 200,
    range: tuple[float, float] = (-1.0, 1.0),
    n_threads: int | None = None,
) -> SimilarityHistogram:
    """Histogram of the cosines of all pairs: within one set, or between two.

    Parameters
    ----------
    x : array, tensor, column, path or store of shape (n, d)
        Rows of float16, bfloat16, float32 or float64; they need not be normalised.
    y : array, tensor, column, path or store of shape (m, d), optional
        Every row of `x` against every row of `y`; without it, every pair ``j < k`` within `x`,
        which then has two rows or more.
    bins : int, default=200
        Number of bins, at most 65,536.
    range : (float, float), default=(-1.0, 1.0)
        The first and the last edge. Cosines outside are counted apart.
    n_threads : int, optional
        Most threads to use; all that the process may use by default.

    Returns
    -------
    SimilarityHistogram
        Exact counts, and the mean.

    Raises
    ------
    ShapeError
        If there are too few rows.
    MismatchError
        If the sets differ in features.
    ValueError
        If `bins` is not from 1 to 65,536, or `range` not ascending, not finite or too narrow.
    DTypeError
        If elements are of another type.
    InvalidRowError
        If a row is missing, not finite or of zero norm; the message says in which set.

    Notes
    -----
    Cosines are float32 products from rows narrower than float64 (error below 1e-6), clamped to
    [-1, 1], and placed exactly. The mean is linear in the unit vectors, as in Eq. 10 of [1]_, and
    float64. ``O(n m d)`` time, half of ``O(n^2 d)`` within one set; nothing of the size of all
    pairs is stored.

    References
    ----------
    .. [1] Levi & Gilboa, "The Double-Ellipsoid Geometry of CLIP", ICML 2025, arXiv 2411.14517.

    Examples
    --------
    >>> import numpy as np, clipsoid as cs
    >>> x = np.array([[1.0, 0.0], [0.0, 2.0], [3.0, 4.0]])
    >>> h = cs.similarity_histogram(x, bins=4)
    >>> h.counts.tolist(), h.total, round(h.mean, 6)
    ([0, 0, 1, 2], 3, 0.466667)
    """
    check_threads(n_threads)
    edges = _edges(bins, range)
    rows = as_source(x)
    if y is None:
        rows.expect_rows(2)
        left = gathered(rows)
        with named(x=left):
            counts = _native.similarity_histogram(left.rows, None, left.dtype, edges, n_threads)
        mean = _fitted(rows, n_threads).mean_conformity
    else:
        others = as_source(y, "y")
        others.expect_dim(rows.dim, rows.name)
        rows.expect_rows(1)
        others.expect_rows(1)
        left, right = gathered_pair(rows, others)
        with named(x=left, y=right):
            counts = _native.similarity_histogram(
                left.rows, right.rows, left.dtype, edges, n_threads
            )
        means = (_fitted(source, n_threads).unit_mean for source in (rows, others))
        mean = float(np.dot(*means))
    return SimilarityHistogram(edges, *counts, mean)


def _edges(bins: object, limits: tuple[float, float]) -> NDArray[np.float64]:
    count = checked_count("bins", bins)
    if count > MAX_BINS:
        raise ValueError(f"bins={bins!r}; wanted {MAX_BINS} or fewer")
    try:
        low, high = (float(limit) for limit in limits)
    except (TypeError, ValueError):
        low = high = math.nan
    if not (low < high and math.isfinite(high - low)):
        raise ValueError(f"range={limits!r}; wanted two finite numbers, the lower first")
    if not (high - low) / count >= LEAST_WIDTH * max(1.0, abs(low), abs(high)):
        raise ValueError(f"range={limits!r}: {count} bins are too narrow to tell apart")
    return np.linspace(low, high, count + 1)


def _fitted(source: Source, n_threads: int | None) -> Ellipsoid:
    return Ellipsoid.fit(source, covariance=False, n_threads=n_threads)
