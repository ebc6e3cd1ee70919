"""How well the conformities of two modalities match, as distributions and pair by pair."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from clipsoid._gather import modalities
from clipsoid._intervals import RESAMPLES, Estimator
from clipsoid._native import __version__, simd_level
from clipsoid._shown import Drawn
from clipsoid._source import Source, check_threads, joined_dtypes
from clipsoid._sweeping import Shift, check_shift, checked_alphas
from clipsoid.divergences import WITH_INTERVAL, Divergence, Sample, compared
from clipsoid.ellipsoid import Ellipsoid
from clipsoid.shifted import moved_conformity

if TYPE_CHECKING:
    import polars as pl

Array = NDArray[np.float64]

#: Columns of the table, by the field of `Divergence`: images are `p`, texts `q`.
COLUMNS = {
    "kl_pq": "kl_image_text",
    "kl_qp": "kl_text_image",
    "kde_kl_pq": "kde_kl_image_text",
    "kde_kl_qp": "kde_kl_text_image",
    "js": "js",
    "wasserstein": "wasserstein",
}

#: Conformities that are held at one time, of all alphas of a pass: half a gigabyte.
HELD = 1 << 26

#: Alphas of a pass at least: what the products of the core are made for.
LEAST_ALPHAS = 12


@dataclass(frozen=True, slots=True)
class MatchOptions:
    """What a `match_sweep` was asked for, and of what rows.

    Attributes
    ----------
    alphas : tuple of float
    shift : str
    bins : int
    interval : float or None
        Coverage of the intervals.
    seed, resamples : int
        As for `match_sweep`.
    image_count, text_count, dim : int
        Rows of either modality, and features.
    image_dtype, text_dtype : str
        Element types of the rows, joined by a plus where there are several.
    image_norms, text_norms : tuple of float
        Least and greatest norm.
    is_normalized : bool
        Whether every norm of both modalities lies within 1 +- 0.01.
    simd_level : str
        Instruction set; bits may differ between two.
    """

    alphas: tuple[float, ...]
    shift: str
    bins: int
    interval: float | None
    seed: int
    resamples: int
    image_count: int
    text_count: int
    dim: int
    image_dtype: str
    text_dtype: str
    image_norms: tuple[float, float]
    text_norms: tuple[float, float]
    is_normalized: bool
    simd_level: str


class MatchHistogram(NamedTuple):
    """Histograms of conformity at one alpha.

    Attributes
    ----------
    alpha : float
    edges : ndarray of float64 of shape (bins + 1,)
        Shared by both.
    image, text : ndarray of int64 of shape (bins,)
        Rows in each bin.
    """

    alpha: float
    edges: Array
    image: NDArray[np.int64]
    text: NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class MatchSweep(Drawn):
    """How far the conformities of two modalities are apart at each alpha.

    Attributes
    ----------
    table : polars.DataFrame
        One row per alpha, all float64: `alpha`, `kl_image_text`, `kl_text_image`,
        `kde_kl_image_text`, `kde_kl_text_image`, `js`, `wasserstein`, each as in `Divergence` with
        the images as `p`; where intervals were asked for also the columns
        `kde_kl_image_text_lower`, `kde_kl_image_text_upper` and so on for those figures that have
        one; null at an alpha where the samples do not tell enough for it.
    histograms : tuple of MatchHistogram
        In the order of the table.
    options : MatchOptions
        How it was made.
    version : str
        Version of clipsoid.
    """

    table: pl.DataFrame
    histograms: tuple[MatchHistogram, ...]
    options: MatchOptions
    version: str = field(default=__version__)

    @property
    def best_by(self) -> str:
        """Column that `best_alpha` is chosen by: that of Figure 11."""
        return COLUMNS["kl_pq"]

    @property
    def best_alpha(self) -> float:
        """Alpha of the least `kl_image_text`, on the grid; the first of several."""
        return float(self.table["alpha"][int(self.table[self.best_by].arg_min() or 0)])

    def __repr__(self) -> str:
        o = self.options
        return (
            f"MatchSweep({o.image_count} images, {o.text_count} texts, alphas={len(o.alphas)}, "
            f"shift={o.shift!r}, bins={o.bins}, best_alpha={self.best_alpha:g} by {self.best_by})"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return table, histograms and options as lists and dictionaries."""
        return {
            "table": self.table.to_dict(as_series=False),
            "histograms": [one._asdict() for one in self.histograms],
            "best_alpha": self.best_alpha,
            "best_by": self.best_by,
            "options": asdict(self.options),
            "version": self.version,
        }


def match_sweep(
    image: Any,
    text: Any,
    *,
    alphas: Iterable[float] | None = None,
    shift: Shift = "image",
    bins: int = 50,
    interval: float | None = None,
    seed: int = 0,
    resamples: int = RESAMPLES,
    n_threads: int | None = None,
) -> MatchSweep:
    """Match of the two distributions of conformity while the centre of a modality moves.

    Parameters
    ----------
    image, text : array, tensor, column, path or store of shape (n, d) and (m, d)
        Two rows or more each: float16, bfloat16, float32 or float64; they need not be normalised,
        nor be pairs. Rows that come in several batches or files are not gathered.
    alphas : iterable of float, optional
        Multiples of the mean that are taken from the rows: 0 leaves them where they are, 1 centres
        them. By default 41 from -1 to 1.
    shift : {"image", "text", "both"}, default="image"
        The modality that moves.
    bins : int, default=50
        Of the histograms, which share one range at each alpha.
    interval : float, optional
        Coverage of confidence intervals, such as 0.95; none by default.
    seed : int, default=0
        Of the resamples behind the intervals, at every alpha the same.
    resamples : int, default=200
        How many of them.
    n_threads : int, optional
        Most threads to use; all that the process may use by default.

    Returns
    -------
    MatchSweep

    Raises
    ------
    ShapeError
        If a modality has fewer than two rows.
    MismatchError
        If the two differ in dimension.
    InvalidRowError
        If a row is missing, not finite or of zero norm, or vanishes: it is `alpha` times the mean,
        to rounding. Also if its move leaves the range of float64.
    ValueError
        If an option is out of its range.

    See Also
    --------
    divergence : The figures, and what an interval covers.
    shifted_conformity : The conformities themselves.
    loss_sweep : The contrastive loss over the same grid.

    Notes
    -----
    Figure 11 of [1]_: a row `v` becomes ``v - alpha m``, with `m` the raw mean of its modality, and
    its conformity is that within its own modality, exact and float64. The figures depend on the
    estimator: see `divergence`. An interval covers the figure of the two laws that the conformities
    are taken for draws of; that all rows of a modality share its mean is not part of it.
    ``O((n + m) a (d + log(n + m)))`` time for `a` alphas. Half a gigabyte of conformities is held
    at a time, or those of 12 alphas; more alphas take further passes over the rows.

    References
    ----------
    .. [1] Levi & Gilboa, "The Double-Ellipsoid Geometry of CLIP", ICML 2025, arXiv 2411.14517.

    Examples
    --------
    >>> import clipsoid as cs
    >>> image, text, _ = cs.double_ellipsoid(1200, seed=0)
    >>> sweep = cs.match_sweep(image, text, alphas=[-0.5, 0, 0.5])
    >>> sweep.table.columns[:3]
    ['alpha', 'kl_image_text', 'kl_text_image']
    >>> sweep.best_alpha, sweep.best_by
    (0.0, 'kl_image_text')
    """
    check_threads(n_threads)
    check_shift(shift)
    grid = checked_alphas(alphas)
    how = Estimator.checked(bins, interval, seed, resamples)
    images, texts = modalities(image, text, paired=False)
    of_images = Conformities.of(images, shift in ("image", "both"), n_threads)
    of_texts = Conformities.of(texts, shift in ("text", "both"), n_threads)
    return matched(of_images, of_texts, grid, shift, how)


def matched(
    of_images: Conformities,
    of_texts: Conformities,
    grid: tuple[float, ...],
    shift: Shift,
    how: Estimator,
) -> MatchSweep:
    """As `match_sweep`, of modalities that are measured and options that are checked."""
    import polars as pl

    images, texts = of_images.source, of_texts.source
    rows, histograms = [], []
    step = max(LEAST_ALPHAS, HELD // (images.count + texts.count))
    for at in range(0, len(grid), step):
        part = grid[at : at + step]
        samples = zip(part, of_images.at(part), of_texts.at(part), strict=True)
        for alpha, p, q in samples:
            found = compared(p, q, how)
            rows.append({"alpha": alpha, **_figures(found)})
            histograms.append(MatchHistogram(alpha, found.edges, found.counts_p, found.counts_q))
    options = MatchOptions(
        alphas=grid,
        shift=shift,
        bins=how.bins,
        interval=how.interval,
        seed=how.seed,
        resamples=how.resamples,
        image_count=images.count,
        text_count=texts.count,
        dim=images.dim,
        image_dtype=of_images.dtype,
        text_dtype=of_texts.dtype,
        image_norms=of_images.norms,
        text_norms=of_texts.norms,
        is_normalized=of_images.fitted.is_normalized and of_texts.fitted.is_normalized,
        simd_level=simd_level(),
    )
    return MatchSweep(
        pl.DataFrame(rows, dict.fromkeys(rows[0], pl.Float64)), tuple(histograms), options
    )


def _figures(found: Divergence) -> dict[str, float | None]:
    """Columns of one alpha; those of the intervals come last."""
    row: dict[str, float | None] = {}
    for name, column in COLUMNS.items():
        row[column] = getattr(found, name)
    for name in WITH_INTERVAL if found.intervals else ():
        lower, upper = found.intervals[name] or (None, None)
        row |= {f"{COLUMNS[name]}_lower": lower, f"{COLUMNS[name]}_upper": upper}
    return row


@dataclass(frozen=True, slots=True)
class Conformities:
    """One modality: where its conformities come from at any alpha."""

    source: Source
    fitted: Ellipsoid
    #: Of a modality that stays: its sample, the same at every alpha.
    still: Sample | None
    n_threads: int | None

    @classmethod
    def of(cls, source: Source, moves: bool, n_threads: int | None) -> Conformities:
        """Measure the rows."""
        fitted = Ellipsoid.fit(source, covariance=False, n_threads=n_threads)
        still = None
        if not moves:
            values = fitted.conformity(source, member=True, n_threads=n_threads)
            still = Sample.of(values, source.name)
        return cls(source, fitted, still, n_threads)

    def at(self, alphas: tuple[float, ...]) -> Iterator[Sample]:
        """Yield samples of conformity, one for each alpha."""
        if self.still is not None:
            yield from [self.still] * len(alphas)
            return
        for values in moved_conformity(self.source, self.fitted, alphas, self.n_threads):
            yield Sample.of(values, self.source.name)

    @property
    def dtype(self) -> str:
        """Element types."""
        return joined_dtypes(self.source)

    @property
    def norms(self) -> tuple[float, float]:
        """Least and greatest norm."""
        return self.fitted.norms.min, self.fitted.norms.max
