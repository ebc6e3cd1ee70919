"""Retrieval between two modalities: where each row's partner ranks among all candidates."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from clipsoid import _native
from clipsoid._checks import checked_count
from clipsoid._gather import gathered_pair, modalities, named
from clipsoid._part import PairsOptions, Part, check_part, digest, share
from clipsoid._shown import Drawn
from clipsoid._source import check_threads
from clipsoid.errors import DTypeError, MismatchError, ShapeError
from clipsoid.results import Made

Integers = NDArray[np.int64]

#: What may be missing where images and texts differ in number.
_ADVICE = "; text_to_image_index says which text belongs to which"


class Directions(NamedTuple):
    """One figure for each direction of retrieval."""

    image_to_text: float
    text_to_image: float


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class RetrievalRanks(Made, Drawn):
    """Where partners rank; 1 is the best, and tied candidates share the mean of their ranks.

    Attributes
    ----------
    image_to_text : ndarray of float64 of shape (n_image,)
        Of each image's text, or of the best-ranked of its texts, among the texts.
    text_to_image : ndarray of float64 of shape (n_text,)
        Of each text's image among the images.
    simd_level : str
        Instruction set; bits may differ between two.
    version : str
        Version of clipsoid.
    """

    image_to_text: NDArray[np.float64]
    text_to_image: NDArray[np.float64]

    def recall(self, k: int) -> Directions:
        """Fraction of the rows whose partner has rank `k` or better, in [0, 1]."""
        k = checked_count("k", k)
        return Directions(
            float((self.image_to_text <= k).mean()), float((self.text_to_image <= k).mean())
        )

    @property
    def median_rank(self) -> Directions:
        """Median of the ranks."""
        return Directions(
            float(np.median(self.image_to_text)), float(np.median(self.text_to_image))
        )

    @property
    def mean_rank(self) -> Directions:
        """Mean of the ranks."""
        return Directions(float(self.image_to_text.mean()), float(self.text_to_image.mean()))

    def __repr__(self) -> str:
        hits = self.recall(1)
        return (
            f"RetrievalRanks({len(self.image_to_text)} images, {len(self.text_to_image)} texts, "
            f"recall@1 {hits.image_to_text:.4f} and {hits.text_to_image:.4f})"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name."""
        return {name: getattr(self, name) for name in (field.name for field in fields(self))}


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrievalRanksOptions(PairsOptions):
    """What ranks were asked for, and of what rows.

    Attributes
    ----------
    counts : tuple of int
        Images and texts.
    dim, blocks : int
        Features, and blocks of images that the work can be cut into.
    dtype : str
        Element type of the rows.
    simd_level : str
        Instruction set; bits may differ between two.
    rows_digest, index_digest : str, optional
        Tell the rows, and the index, of one part from those of another.
    """

    index_digest: str | None = None


@dataclass(frozen=True, eq=False)
class RetrievalRanksPart(Part):
    """A part of the ranks: how partners compare with the candidates that were visited so far.

    Made by `retrieval_ranks_part`; parts of one work merge, in any order, and can be pickled.

    Attributes
    ----------
    options : RetrievalRanksOptions
    blocks : frozenset of int
        The blocks of images that it covers, of ``options.blocks``.
    """

    options: RetrievalRanksOptions
    # Candidates of each image; a text has every image but its own.
    _candidates: Integers = field(repr=False)
    # Candidates above the partner less those below, of the images and of the texts.
    _excess: tuple[Integers, Integers] = field(repr=False)

    def merge(self, other: RetrievalRanksPart) -> RetrievalRanksPart:
        """Return the part that covers the blocks of both.

        Raises
        ------
        MismatchError
            If they are parts of different work (rows, index, SIMD level), or both cover a block.
        """
        blocks = self._joined(other)
        (images, texts), (more_images, more_texts) = self._excess, other._excess
        excess = images + more_images, texts + more_texts
        return RetrievalRanksPart(self.options, blocks, self._candidates, excess)

    def result(self) -> RetrievalRanks:
        """Return the ranks, once all parts are merged.

        Raises
        ------
        UnavailableError
            If blocks are missing.
        """
        self._complete()
        images, texts = self._excess
        # Candidates are above, below or equal, and an equal one counts half.
        return RetrievalRanks(
            1 + (self._candidates + images) / 2,
            1 + (self.options.counts[0] - 1 + texts) / 2,
            simd_level=self.options.simd_level,
        )


def retrieval_ranks(
    image: Any,
    text: Any,
    *,
    text_to_image_index: ArrayLike | None = None,
    n_threads: int | None = None,
) -> RetrievalRanks:
    """Rank of every row's partner among the candidates of the other modality, both ways.

    Parameters
    ----------
    image : array, tensor, column, path or store of shape (n_image, d)
        Two rows or more: float16, bfloat16, float32 or float64; they need not be normalised.
    text : array, tensor, column, path or store of shape (n_text, d)
        Likewise. Without `text_to_image_index`, row `j` is the partner of row `j` of `image`.
    text_to_image_index : array of integers of shape (n_text,), optional
        Number of the image that each text belongs to, from 0; every image has a text or several.
    n_threads : int, optional
        Most threads to use; all that the process may use by default.

    Returns
    -------
    RetrievalRanks
        Ranks from 1 to the number of candidates, halves included, with ``recall(k)``,
        ``median_rank`` and ``mean_rank``.

    Raises
    ------
    ShapeError
        If a set has fewer than two rows, or the sets differ in rows and there is no index, or the
        index is not of shape (n_text,).
    MismatchError
        If the sets differ in features, an index points outside, or an image has no text.
    DTypeError
        If elements are of another type, or the index is not of integers.
    InvalidRowError
        If a row is missing, not finite or of zero norm; the message says in which set.

    Notes
    -----
    ``rank = 1 + (number greater) + (number equal) / 2``, by cosine, over all candidates but the
    partner. Identical rows tie exactly, so a constant embedding never hits. The rank of an image
    is that of its most similar text, and its other texts are no rivals. Cosines are float32
    products from rows narrower than float64 (error below 1e-6). ``O(n_image n_text d)`` time,
    ``O(n_image + n_text)`` memory and 3 MB per thread; rows that lie in several chunks or files
    are first gathered into one array, and sets of different types widened. ``recall(1)`` is the
    accuracy of Fig. 6 of [1]_, but for cosines that a loss rounds to a tie.

    References
    ----------
    .. [1] Levi & Gilboa, "The Double-Ellipsoid Geometry of CLIP", ICML 2025, arXiv 2411.14517.

    Examples
    --------
    >>> import numpy as np, clipsoid as cs
    >>> image = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    >>> text = np.array([[2.0, 1.0], [0.0, 3.0], [5.0, 4.0]])
    >>> ranks = cs.retrieval_ranks(image, text)
    >>> ranks.image_to_text.tolist(), ranks.text_to_image.tolist()
    ([1.0, 1.0, 1.0], [2.0, 1.0, 1.0])
    >>> round(ranks.recall(1).text_to_image, 4)
    0.6667
    >>> cs.retrieval_ranks(image[:2], text, text_to_image_index=[0, 1, 0]).image_to_text.tolist()
    [1.0, 1.0]
    """
    return _compute(image, text, text_to_image_index, n_threads).result()


def retrieval_ranks_part(
    image: Any,
    text: Any,
    i: int,
    n: int,
    *,
    text_to_image_index: ArrayLike | None = None,
    n_threads: int | None = None,
) -> RetrievalRanksPart:
    """Part `i` of `n` of `retrieval_ranks`, to be merged with the others.

    The parts of one work can be computed in any processes, on any machines, that have the rows.

    Parameters
    ----------
    image, text, text_to_image_index, n_threads
        As for `retrieval_ranks`.
    i : int
        Which part, counted from 0.
    n : int
        How many there are. Work is cut between blocks of 256 images: of more parts than blocks,
        some are empty.

    Returns
    -------
    RetrievalRanksPart
        It can be pickled: 16 bytes for each image, 8 for each text.

    Examples
    --------
    >>> import clipsoid as cs
    >>> image, text, _ = cs.double_ellipsoid(600, seed=0)
    >>> first, second = (cs.retrieval_ranks_part(image, text, i, 2) for i in (0, 1))
    >>> whole = cs.retrieval_ranks(image, text)
    >>> bool((first.merge(second).result().text_to_image == whole.text_to_image).all())
    True
    """
    return _compute(image, text, text_to_image_index, n_threads, check_part(i, n))


def _compute(
    image: Any,
    text: Any,
    text_to_image_index: ArrayLike | None,
    n_threads: int | None,
    part: tuple[int, int] | None = None,
) -> RetrievalRanksPart:
    """Compare all candidates, or those of one part of several, with the partners."""
    check_threads(n_threads)
    paired, is_part = text_to_image_index is None, part is not None
    images, texts = modalities(image, text, paired=paired, advice=_ADVICE)
    if text_to_image_index is None:
        image_of = np.arange(texts.count)
    else:
        image_of = _checked_index(text_to_image_index, images.count, texts.count)
    x, y = gathered_pair(images, texts)
    index_digest = digest(image_of) if is_part else None
    options = RetrievalRanksOptions.of(x, y, is_part=is_part, index_digest=index_digest)
    mine = share(options.blocks, part)
    with named(image=x, text=y):
        counts = _native.retrieval_counts(
            x.rows, y.rows, x.dtype, image_of, (mine.start, mine.stop), n_threads
        )
    of_images, of_texts = (greater - less for greater, less in counts)
    candidates = texts.count - np.bincount(image_of)
    return RetrievalRanksPart(options, frozenset(mine), candidates, (of_images, of_texts))


def _checked_index(value: ArrayLike, n_image: int, n_text: int) -> NDArray[np.int64]:
    name = "text_to_image_index"
    image_of = np.asarray(value)
    if image_of.dtype.kind not in "iu":
        raise DTypeError(f"{name}: elements are {image_of.dtype}; wanted integers")
    if image_of.shape != (n_text,):
        raise ShapeError(f"{name}: found shape {image_of.shape}; wanted ({n_text},)")
    outside = np.flatnonzero((image_of < 0) | (image_of >= n_image))
    if len(outside):
        row = outside[0]
        raise MismatchError(
            f"{name}: row {row} is {image_of[row]}; wanted an image from 0 to {n_image - 1}"
        )
    lonely = np.flatnonzero(np.bincount(image_of, minlength=n_image) == 0)
    if len(lonely):
        raise MismatchError(f"{name}: image {lonely[0]} has no text; wanted one or more for each")
    return np.ascontiguousarray(image_of, np.int64)
