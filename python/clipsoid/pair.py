"""Two modalities, or any two sets, feature by feature."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from clipsoid._checks import checked_count, checked_number
from clipsoid._density import kl_of_shares
from clipsoid._features import Features, fitted, histograms, separability_of
from clipsoid._gather import modalities
from clipsoid._shown import Drawn
from clipsoid._source import Source, as_source, check_threads
from clipsoid.ellipsoid import Ellipsoid
from clipsoid.results import Made

if TYPE_CHECKING:
    import polars as pl

Array = NDArray[np.float64]

#: Separability of a tag: a row of one modality exceeds one of the other in 99.9 % of pairs.
TAG = 3.0


def separability(
    image: Any, text: Any, *, bins: int = 50, n_threads: int | None = None
) -> pl.DataFrame:
    """How well each feature tells two modalities apart by itself (Eq. 5, Figures 2 and 3).

    Parameters
    ----------
    image, text : array, tensor, column, path or store of shape (n, d) and (m, d)
        Two rows or more of each, which need not be pairs, nor normalised.
    bins : int, default=50
        Of the histograms.
    n_threads : int, optional
        Most threads to use; all that the process may use by default.

    Returns
    -------
    polars.DataFrame
        One row per feature, the most separable first, ties by the number of the feature:

        - `feature`, counted from 0;
        - `separability`, ``|m_i - m_t| / sqrt(var_i + var_t)`` with ddof 0: null where neither
          modality varies and both are the same number, infinite where these numbers differ;
        - `mean_image`, `mean_text`, `std_image`, `std_text`, in the units of the embeddings, with
          ddof 0;
        - `kl_gaussian_image_text`, `kl_gaussian_text_image`: Kullback-Leibler divergence in nats
          between the normal laws of these moments; null where one of them does not vary, for there
          is no such law;
        - `kl_histogram_image_text`, `kl_histogram_text_image`: the same between two histograms
          over the joint range of the feature, as in `divergence`; 0 where all rows are one number.

    Raises
    ------
    ShapeError
        If there are fewer than two rows of either.
    MismatchError
        If the two differ in dimension.
    InvalidRowError
        If a row is missing, not finite or of zero norm.
    ValueError
        If `bins` is below 1.

    See Also
    --------
    tags : The features above a threshold.
    linear_separability : How well features together tell the modalities apart.

    Notes
    -----
    For normal laws, ``Phi(separability)`` is the probability that a row of the higher modality
    exceeds one of the lower. The closed form of the divergence grows without bound with the
    distance of the means; that of the histograms, of shares ``count / n + 1e-10``, cannot exceed
    23 nats (``-log 1e-10``), so that the value of about 301 in Figure 2 of [1]_ is none of these.
    Two passes over the rows, batch by batch: ``O(n d)`` time, ``O(d bins)`` memory.

    References
    ----------
    .. [1] Levi & Gilboa, "The Double-Ellipsoid Geometry of CLIP", ICML 2025, arXiv 2411.14517.

    Examples
    --------
    >>> import clipsoid as cs
    >>> image, text, _ = cs.double_ellipsoid(2000, seed=0)
    >>> table = cs.separability(image, text)
    >>> table.columns[:4]
    ['feature', 'separability', 'mean_image', 'mean_text']
    >>> int((table["separability"] > 3).sum())
    9
    """
    bins = checked_count("bins", bins)
    images, texts = two_sets(image, text, n_threads)
    (_, i), (_, t) = (fitted(source, n_threads) for source in (images, texts))
    return separability_table(images, texts, i, t, bins, n_threads)


def separability_table(
    images: Source, texts: Source, i: Features, t: Features, bins: int, n_threads: int | None
) -> pl.DataFrame:
    """Compare two sets whose features are measured: a pass over the rows for the histograms."""
    low, high = np.minimum(i.low, t.low), np.maximum(i.high, t.high)
    shares_i, shares_t = (
        histograms(source, low, high, bins, n_threads) / source.count for source in (images, texts)
    )
    figures = {
        "separability": separability_of(i, t),
        "mean_image": i.mean,
        "mean_text": t.mean,
        "std_image": i.std,
        "std_text": t.std,
        "kl_gaussian_image_text": _normal_kl(i, t),
        "kl_gaussian_text_image": _normal_kl(t, i),
        "kl_histogram_image_text": kl_of_shares(shares_i, shares_t),
        "kl_histogram_text_image": kl_of_shares(shares_t, shares_i),
    }
    return _sorted({"feature": np.arange(images.dim)} | figures)


def tags(
    image: Any, text: Any, *, threshold: float = TAG, n_threads: int | None = None
) -> pl.DataFrame:
    """Find the features that tell two modalities apart by themselves (Figure 3).

    Parameters
    ----------
    image, text
        As for `separability`.
    threshold : float, default=3.0
        Separability that a tag exceeds.
    n_threads : int, optional
        Most threads to use; all that the process may use by default.

    Returns
    -------
    polars.DataFrame
        One row per tag, the most separable first: `feature`, `separability`, `higher` ("image" or
        "text": the modality with the greater mean), `mean_image`, `mean_text`.

    Raises
    ------
    ShapeError, MismatchError, InvalidRowError
        As for `separability`.
    ValueError
        If the threshold is not a number of 0 or more.

    Notes
    -----
    At a separability of 3, a row of the higher modality exceeds one of the lower in 99.9 % of
    pairs, if features are normal: no other feature is needed. The paper counts nine tags in CLIP
    ViT-B/32. How many there are depends on the model and on the threshold: see the method. Which
    they are belongs to one model. One pass over the rows, ``O(n d)``.

    Examples
    --------
    >>> import clipsoid as cs
    >>> image, text, _ = cs.double_ellipsoid(2000, seed=0)
    >>> found = cs.tags(image, text)
    >>> len(found), sorted(found["higher"].unique())
    (9, ['image', 'text'])
    """
    import polars as pl

    threshold = checked_number(
        "threshold", threshold, "a number of 0 or more", lambda least: least >= 0
    )
    images, texts = two_sets(image, text, n_threads)
    i, t = (
        Ellipsoid.fit(source, covariance=False, n_threads=n_threads) for source in (images, texts)
    )
    table = _sorted(
        {
            "feature": np.arange(images.dim),
            "separability": separability_of(i, t),
            "higher": np.where(i.mean > t.mean, "image", "text"),
            "mean_image": i.mean,
            "mean_text": t.mean,
        }
    )
    return table.filter(pl.col("separability") > threshold)


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class StrongestFeatures(Made, Drawn):
    """The features whose mean is far from zero, the strongest first.

    Attributes
    ----------
    by_ratio, by_mean : polars.DataFrame
        By ``|m_l| / sigma_l`` and by ``|m_l|``. Columns: `feature` (counted from 0), `mean` and
        `ratio` (both with the sign of the mean), `std` (ddof 0). The ratio is infinite where a
        feature is one number other than 0, and null where it is 0 in every row.
    simd_level : str
        Instruction set; bits may differ between two.
    version : str
        Version of clipsoid.
    """

    by_ratio: pl.DataFrame
    by_mean: pl.DataFrame

    def __repr__(self) -> str:
        ratio, mean = self.by_ratio["feature"].to_list(), self.by_mean["feature"].to_list()
        return f"StrongestFeatures(by_ratio={ratio}, by_mean={mean})"

    def to_dict(self) -> dict[str, Any]:
        """Return the rows of both tables as dictionaries, and the other fields."""
        return {
            "by_ratio": self.by_ratio.rows(named=True),
            "by_mean": self.by_mean.rows(named=True),
            "simd_level": self.simd_level,
            "version": self.version,
        }


def strongest_features(x: Any, *, k: int = 10, n_threads: int | None = None) -> StrongestFeatures:
    """Find the features that dominate the mean of a set (Figure 3).

    Parameters
    ----------
    x : Ellipsoid, or array, tensor, column, path or store of shape (n, d)
        A fitted set, or its rows.
    k : int, default=10
        How many features to name.
    n_threads : int, optional
        Most threads to use; all that the process may use by default.

    Returns
    -------
    StrongestFeatures
        `k` features each by two measures, or all `d` if there are fewer; ties by the number.

    Raises
    ------
    ShapeError
        If there is no row.
    InvalidRowError
        If a row is missing, not finite or of zero norm.
    ValueError
        If `k` is below 1.

    Notes
    -----
    ``O(n d)`` time for rows, ``O(d log d)`` for an ellipsoid.

    Examples
    --------
    >>> import numpy as np, clipsoid as cs
    >>> x = np.array([[1.0, -9.0, 0.1], [1.2, -3.0, -0.1]])
    >>> cs.strongest_features(x, k=2)
    StrongestFeatures(by_ratio=[0, 1], by_mean=[1, 0])
    """
    import polars as pl

    k = checked_count("k", k)
    check_threads(n_threads)
    e = x
    if not isinstance(e, Ellipsoid):
        e = Ellipsoid.fit(as_source(x).without_policies(), covariance=False, n_threads=n_threads)
    mean, std = e.mean, e.std
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = mean / std
    table = pl.DataFrame({"feature": np.arange(e.dim), "mean": mean, "std": std, "ratio": ratio})
    table = table.with_columns(pl.col("ratio").fill_nan(None))
    by_ratio, by_mean = (
        table.sort(pl.col(name).abs(), "feature", descending=[True, False], nulls_last=True)
        for name in ("ratio", "mean")
    )
    return StrongestFeatures(by_ratio.head(k), by_mean.head(k))


def two_sets(image: Any, text: Any, n_threads: int | None) -> tuple[Source, Source]:
    """Open two sets of two rows or more and of as many features."""
    check_threads(n_threads)
    return modalities(image, text, paired=False)


def _sorted(columns: dict[str, NDArray[Any]]) -> pl.DataFrame:
    """Return a table by separability, in which what is undefined is null."""
    import polars as pl

    table = pl.DataFrame(columns).with_columns(pl.selectors.float().fill_nan(None))
    return table.sort("separability", "feature", descending=[True, False], nulls_last=True)


def _normal_kl(p: Features, q: Features) -> Array:
    """Divergence of one normal law from another; NaN where either has no width."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        gap, ratio = (p.mean - q.mean) / q.std, p.std / q.std
        found = (ratio**2 + gap**2 - 1) / 2 - np.log(ratio)
    return np.where((p.std > 0) & (q.std > 0), found, np.nan)
