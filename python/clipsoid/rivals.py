"""False negatives: candidates that score above a row's partner, and how they go with conformity."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from clipsoid import _native
from clipsoid._gather import gathered, gathered_pair, named
from clipsoid._ranks import average_ranks
from clipsoid._source import Source, as_source, check_threads
from clipsoid.ellipsoid import Ellipsoid
from clipsoid.retrieval import check_pair, check_partners, checked_count

Array = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True, repr=False)
class Rivals:
    """Candidates above each row's partner or above a threshold; the best come first.

    Attributes
    ----------
    count : ndarray of int64 of shape (n,)
        All of them.
    index : ndarray of int64 of shape (n, k)
        Row numbers of the best `k`, ties by the lower number; -1 where there are fewer.
    similarity : ndarray of float64 of shape (n, k)
        Their cosines; NaN where there are fewer.
    margin : ndarray of float64 of shape (n, k)
        The cosines minus that of the partner, or minus the threshold; NaN likewise.
    """

    count: Integers
    index: Integers
    similarity: Array
    margin: Array

    def __len__(self) -> int:
        return len(self.count)

    def __repr__(self) -> str:
        rows = int(np.count_nonzero(self.count))
        return f"Rivals({len(self)} rows, {rows} with rivals, {int(self.count.sum())} in all)"

    def to_dict(self) -> dict[str, Any]:
        """Return the arrays by name."""
        return {name: getattr(self, name) for name in ("count", "index", "similarity", "margin")}


class Spearman(NamedTuple):
    """Rank correlations of a row's count of false negatives, in [-1, 1]; None where one is flat.

    Attributes
    ----------
    conformity : float or None
        With its exact conformity within its own modality.
    cosine_to_mean : float or None
        With its cosine to the raw mean of its modality.
    """

    conformity: float | None
    cosine_to_mean: float | None


@dataclass(frozen=True, slots=True, repr=False)
class FalseNegatives:
    """Candidates that score above the partner, in both directions.

    Attributes
    ----------
    image_to_text : Rivals
        Texts above the image's own.
    text_to_image : Rivals
        Images above the text's own.
    image_spearman, text_spearman : Spearman
        How the counts of the images, and of the texts, go with their place in their modality.
    """

    image_to_text: Rivals
    text_to_image: Rivals
    image_spearman: Spearman
    text_spearman: Spearman

    def __repr__(self) -> str:
        texts, images = int(self.image_to_text.count.sum()), int(self.text_to_image.count.sum())
        return (
            f"FalseNegatives({len(self.image_to_text)} pairs, "
            f"{texts} texts and {images} images above partners)"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the parts by name, as dictionaries."""
        return {
            "image_to_text": self.image_to_text.to_dict(),
            "text_to_image": self.text_to_image.to_dict(),
            "image_spearman": self.image_spearman._asdict(),
            "text_spearman": self.text_spearman._asdict(),
        }


def false_negatives(
    image: Any, text: Any, *, k: int = 10, margin: float = 0.0, n_threads: int | None = None
) -> FalseNegatives:
    """Candidates that score above each row's partner, both ways, and the paper's central link.

    Parameters
    ----------
    image, text : array, tensor, column, path or store of shape (n, d)
        Two pairs or more, row `j` with row `j`: float16, bfloat16, float32 or float64; they need
        not be normalised.
    k : int, default=10
        How many of the best to name for each row.
    margin : float, default=0.0
        A candidate counts where its cosine exceeds the partner's by more than this, in
        [-2, 2] to any effect.
    n_threads : int, optional
        Most threads to use; all that the process may use by default.

    Returns
    -------
    FalseNegatives
        With `image_to_text` and `text_to_image`, each a `Rivals`, and the Spearman correlations
        of the counts with conformity and with the cosine to the mean, for both modalities.

    Raises
    ------
    ShapeError
        If there are fewer than two rows, or the sets differ in rows.
    MismatchError
        If the sets differ in features.
    ValueError
        If `k` is below 1 or `margin` not finite.
    DTypeError
        If elements are of another type.
    InvalidRowError
        If a row is missing, not finite or of zero norm; the message says in which set.

    Notes
    -----
    Prediction 1 and section 6 of [1]_: common items, those of high conformity, have many false
    negatives. The correlations give tied values their average rank. Cosines are as in
    `retrieval_ranks`: identical rows tie exactly, and a tie is not above. ``O(n^2 d)`` time,
    ``O(n k)`` memory.

    References
    ----------
    .. [1] Levi & Gilboa, "The Double-Ellipsoid Geometry of CLIP", ICML 2025, arXiv 2411.14517.

    Examples
    --------
    >>> import numpy as np, clipsoid as cs
    >>> image = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    >>> text = np.array([[2.0, 1.0], [0.0, 3.0], [5.0, 4.0]])
    >>> found = cs.false_negatives(image, text, k=2)
    >>> found.text_to_image.count.tolist()
    [1, 0, 0]
    >>> found.text_to_image.index.tolist()
    [[2, -1], [-1, -1], [-1, -1]]
    >>> found.text_to_image.margin.round(4).tolist()
    [[0.0543, nan], [nan, nan], [nan, nan]]
    """
    check_threads(n_threads)
    k, margin = checked_count("k", k), _checked_finite("margin", margin)
    images, texts = as_source(image, "image"), as_source(text, "text")
    check_pair(images, texts)
    check_partners(images, texts)
    x, y = gathered_pair(images, texts)
    with named(image=x, text=y):
        found = _native.false_negatives(
            x.rows, y.rows, x.dtype, min(k, images.count), margin, n_threads
        )
    image_rivals, text_rivals = (_rivals(*parts, k) for parts in found)
    return FalseNegatives(
        image_rivals,
        text_rivals,
        _spearman(image_rivals.count, images, n_threads),
        _spearman(text_rivals.count, texts, n_threads),
    )


def false_negatives_within(
    x: Any, *, threshold: float, k: int = 10, n_threads: int | None = None
) -> Rivals:
    """Rows of one set whose cosine to a row exceeds a threshold: its near-duplicates.

    Parameters
    ----------
    x : array, tensor, column, path or store of shape (n, d)
        Two rows or more: float16, bfloat16, float32 or float64; they need not be normalised.
    threshold : float
        A cosine, in [-1, 1] to any effect.
    k : int, default=10
        How many of the best to name for each row.
    n_threads : int, optional
        Most threads to use; all that the process may use by default.

    Returns
    -------
    Rivals
        Of each row, which is no candidate for itself.

    Raises
    ------
    ShapeError
        If there are fewer than two rows.
    ValueError
        If `k` is below 1 or `threshold` not finite.
    DTypeError
        If elements are of another type.
    InvalidRowError
        If a row is missing, not finite or of zero norm.

    Notes
    -----
    Items of one modality that are this similar are false negatives of each other's pairs, as in
    section 6 of [1]_. ``O(n^2 d / 2)`` time, ``O(n k)`` memory; cosines as in `retrieval_ranks`.

    References
    ----------
    .. [1] Levi & Gilboa, "The Double-Ellipsoid Geometry of CLIP", ICML 2025, arXiv 2411.14517.

    Examples
    --------
    >>> import numpy as np, clipsoid as cs
    >>> x = np.array([[1.0, 0.0], [0.0, 2.0], [4.0, 0.5]])
    >>> cs.false_negatives_within(x, threshold=0.9, k=1).index.tolist()
    [[2], [-1], [0]]
    """
    check_threads(n_threads)
    k, threshold = checked_count("k", k), _checked_finite("threshold", threshold)
    source = as_source(x)
    source.expect_rows(2)
    rows = gathered(source)
    with named(x=rows):
        found = _native.false_negatives_within(
            rows.rows, rows.dtype, min(k, source.count), threshold, n_threads
        )
    return _rivals(*found, k)


def _checked_finite(name: str, value: float) -> float:
    if not isinstance(value, (int, float, np.floating, np.integer)) or not math.isfinite(value):
        raise ValueError(f"{name}={value!r}; wanted a finite number")
    return float(value)


def _rivals(partner: Array, count: Integers, index: Integers, similarity: Array, k: int) -> Rivals:
    """From what was found row after row to `k` places for each."""
    there = np.arange(k) < count[:, None]
    places = np.full(there.shape, -1, np.int64)
    cosines = np.full(there.shape, np.nan)
    places[there], cosines[there] = index, similarity
    return Rivals(count, places, cosines, cosines - partner[:, None])


def _spearman(count: Integers, source: Source, n_threads: int | None) -> Spearman:
    e = Ellipsoid.fit(source, covariance=False, n_threads=n_threads)
    conformity = e.conformity(source, member=True, n_threads=n_threads)
    cosine = e.cosine_to_mean(source, n_threads=n_threads)
    return Spearman(_correlation(count, conformity), _correlation(count, cosine))


def _correlation(p: NDArray[Any], q: NDArray[Any]) -> float | None:
    """Pearson correlation of average ranks; None if either is constant, or not there at all."""
    if np.isnan(q).any() or (p == p[0]).all() or (q == q[0]).all():
        return None
    p, q = (ranks - ranks.mean() for ranks in (average_ranks(p), average_ranks(q)))
    return float((p @ q) / math.sqrt((p @ p) * (q @ q)))
