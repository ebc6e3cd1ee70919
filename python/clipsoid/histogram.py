"""The exact distribution of all pairwise cosines, without ever holding them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clipsoid import _native
from clipsoid._checks import checked_count
from clipsoid._gather import gathered, gathered_pair, named
from clipsoid._part import PairsOptions, Part, check_part, share
from clipsoid._shown import Drawn
from clipsoid._source import as_source, check_threads
from clipsoid.ellipsoid import Ellipsoid
from clipsoid.results import Made

#: Counters of this many bins still fit a core's cache.
MAX_BINS = 65_536

#: Narrower bins would be as wide as the rounding of their edges.
LEAST_WIDTH = 1e-9


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class SimilarityHistogram(Made, Drawn):
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
    simd_level : str
        Instruction set; bits may differ between two.
    version : str
        Version of clipsoid.
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
        names = (*(field.name for field in fields(self)), "total")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True, slots=True, kw_only=True)
class SimilarityHistogramOptions(PairsOptions):
    """What a histogram was asked for, and of what rows.

    Attributes
    ----------
    bins, range
        As for `similarity_histogram`.
    counts : tuple of int
        Rows of each set, or of the one.
    dim, blocks : int
        Features, and blocks of rows of `x` that the work can be cut into.
    dtype : str
        Element type of the rows.
    simd_level : str
        Instruction set; bits may differ between two.
    rows_digest : str, optional
        Tells the rows of one part from those of another.
    """

    bins: int
    range: tuple[float, float]

    @property
    def edges(self) -> NDArray[np.float64]:
        """Edges of the bins, shape (bins + 1,)."""
        return np.linspace(*self.range, self.bins + 1)


@dataclass(frozen=True, eq=False)
class SimilarityHistogramPart(Part):
    """A part of a histogram: the cosines that some blocks of rows have with the others.

    Made by `similarity_histogram_part`; parts of one work merge, in any order, and can be pickled.

    Attributes
    ----------
    options : SimilarityHistogramOptions
    blocks : frozenset of int
        The blocks of rows of `x` that it covers, of ``options.blocks``.
    """

    options: SimilarityHistogramOptions
    _counts: NDArray[np.int64] = field(repr=False)
    _below: int = field(repr=False)
    _above: int = field(repr=False)
    # Of all cosines, whatever the part.
    _mean: float = field(repr=False)

    def merge(self, other: SimilarityHistogramPart) -> SimilarityHistogramPart:
        """Return the part that covers the blocks of both.

        Raises
        ------
        MismatchError
            If they are parts of different work (rows, bins, SIMD level), or both cover a block.
        """
        return SimilarityHistogramPart(
            self.options,
            self._joined(other),
            self._counts + other._counts,
            self._below + other._below,
            self._above + other._above,
            self._mean,
        )

    def result(self) -> SimilarityHistogram:
        """Return the histogram, once all parts are merged.

        Raises
        ------
        UnavailableError
            If blocks are missing.
        """
        self._complete()
        return SimilarityHistogram(
            self.options.edges,
            self._counts,
            self._below,
            self._above,
            self._mean,
            simd_level=self.options.simd_level,
        )


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
    return count_cosines(x, y, bins, range, n_threads).result()


def similarity_histogram_part(
    x: Any,
    i: int,
    n: int,
    *,
    y: Any = None,
    bins: int = 200,
    range: tuple[float, float] = (-1.0, 1.0),
    n_threads: int | None = None,
) -> SimilarityHistogramPart:
    """Part `i` of `n` of a `similarity_histogram`, to be merged with the others.

    The parts of one work can be computed in any processes, on any machines, that have the rows.

    Parameters
    ----------
    x, y, bins, range, n_threads
        As for `similarity_histogram`.
    i : int
        Which part, counted from 0.
    n : int
        How many there are. Work is cut between blocks of 256 rows of `x`: of more parts than
        blocks, some are empty. Within one set the first parts have fewer blocks, because these
        meet more rows.

    Returns
    -------
    SimilarityHistogramPart
        It can be pickled: 8 bytes for each bin.

    Examples
    --------
    >>> import clipsoid as cs
    >>> image, text, _ = cs.double_ellipsoid(600, seed=0)
    >>> first, second = (cs.similarity_histogram_part(image, i, 2) for i in (0, 1))
    >>> whole = cs.similarity_histogram(image)
    >>> bool((first.merge(second).result().counts == whole.counts).all())
    True
    """
    return count_cosines(x, y, bins, range, n_threads, check_part(i, n))


def count_cosines(
    x: Any,
    y: Any,
    bins: object,
    limits: tuple[float, float],
    n_threads: int | None,
    part: tuple[int, int] | None = None,
    *,
    known: Sequence[Ellipsoid] = (),
) -> SimilarityHistogramPart:
    """Count all cosines, or those of one part of several; ellipsoids of the rows may be `known`."""
    check_threads(n_threads)
    count, ends = _checked_bins(bins, limits)
    within = y is None
    sources = [as_source(x)] if within else [as_source(x), as_source(y, "y")]
    sources[-1].expect_dim(sources[0].dim, sources[0].name)
    for source in sources:
        source.expect_rows(2 if within else 1)
    sets = [gathered(sources[0])] if within else gathered_pair(*sources)
    options = SimilarityHistogramOptions.of(*sets, is_part=part is not None, bins=count, range=ends)
    mine = share(options.blocks, part, triangle=within)
    with named(**dict(zip("xy", sets, strict=False))):
        counts, below, above = _native.similarity_histogram(
            sets[0].rows,
            None if within else sets[1].rows,
            options.dtype,
            options.edges,
            (mine.start, mine.stop),
            n_threads,
        )
    fitted = known or [Ellipsoid.fit(one, covariance=False, n_threads=n_threads) for one in sources]
    if within:
        mean = fitted[0].mean_conformity
    else:
        mean = float(np.dot(fitted[0].unit_mean, fitted[1].unit_mean))
    return SimilarityHistogramPart(options, frozenset(mine), counts, below, above, mean)


def _checked_bins(bins: object, limits: tuple[float, float]) -> tuple[int, tuple[float, float]]:
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
    return count, (low, high)
