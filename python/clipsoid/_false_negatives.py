"""False negatives: candidates that score above a row's partner, and how they go with conformity."""

from __future__ import annotations

from typing import Any

from clipsoid import _native
from clipsoid._checks import checked_count, checked_number
from clipsoid._gather import gathered, gathered_pair, modalities, named
from clipsoid._part import check_part, share
from clipsoid._source import Source, as_source, check_threads
from clipsoid.ellipsoid import Ellipsoid
from clipsoid.rivals import (
    Centrality,
    FalseNegatives,
    FalseNegativesOptions,
    FalseNegativesPart,
    Found,
    Rivals,
    RivalsOptions,
    RivalsPart,
)


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
        How many of the best to name for each row; as many as there are texts, at most.
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
    return between(image, text, k, margin, n_threads).result()


def false_negatives_part(
    image: Any,
    text: Any,
    i: int,
    n: int,
    *,
    k: int = 10,
    margin: float = 0.0,
    n_threads: int | None = None,
) -> FalseNegativesPart:
    """Part `i` of `n` of `false_negatives`, to be merged with the others.

    The parts of one work can be computed in any processes, on any machines, that have the rows.

    Parameters
    ----------
    image, text, k, margin, n_threads
        As for `false_negatives`.
    i : int
        Which part, counted from 0.
    n : int
        How many there are. Work is cut between blocks of 256 images: of more parts than blocks,
        some are empty.

    Returns
    -------
    FalseNegativesPart
        It can be pickled: 56 bytes for each pair, and 16 for each rival that is named.

    Examples
    --------
    >>> import clipsoid as cs
    >>> image, text, _ = cs.double_ellipsoid(600, seed=0)
    >>> first, second = (cs.false_negatives_part(image, text, i, 2) for i in (0, 1))
    >>> whole = cs.false_negatives(image, text)
    >>> first.merge(second).result().image_spearman == whole.image_spearman
    True
    """
    return between(image, text, k, margin, n_threads, check_part(i, n))


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
        How many of the best to name for each row; as many as there are rows, at most.
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
    return _within(x, k, threshold, n_threads).result()


def false_negatives_within_part(
    x: Any, i: int, n: int, *, threshold: float, k: int = 10, n_threads: int | None = None
) -> RivalsPart:
    """Part `i` of `n` of `false_negatives_within`, to be merged with the others.

    The parts of one work can be computed in any processes, on any machines, that have the rows.

    Parameters
    ----------
    x, threshold, k, n_threads
        As for `false_negatives_within`.
    i : int
        Which part, counted from 0.
    n : int
        How many there are. Work is cut between blocks of 256 rows: of more parts than blocks, some
        are empty. The first parts have fewer blocks, because these meet more rows.

    Returns
    -------
    RivalsPart
        It can be pickled: 8 bytes for each row, and 16 for each rival that is named.

    Examples
    --------
    >>> import clipsoid as cs
    >>> image, text, _ = cs.double_ellipsoid(600, seed=0)
    >>> first, second = (
    ...     cs.false_negatives_within_part(image, i, 2, threshold=0.8) for i in (0, 1)
    ... )
    >>> whole = cs.false_negatives_within(image, threshold=0.8)
    >>> bool((first.merge(second).result().index == whole.index).all())
    True
    """
    return _within(x, k, threshold, n_threads, check_part(i, n))


def between(
    image: Any,
    text: Any,
    k: int,
    margin: float,
    n_threads: int | None,
    part: tuple[int, int] | None = None,
    *,
    known: tuple[Centrality, Centrality] | None = None,
) -> FalseNegativesPart:
    """Search all pairs of an image and a text, or those of one part of several.

    Where rows lie in their modalities may be `known`; otherwise these rows are all there are.
    """
    check_threads(n_threads)
    k, margin = checked_count("k", k), checked_number("margin", margin)
    images, texts = modalities(image, text)
    x, y = gathered_pair(images, texts)
    k = min(k, images.count)
    options = FalseNegativesOptions.of(x, y, is_part=part is not None, k=k, margin=margin)
    mine = share(options.blocks, part)
    with named(image=x, text=y):
        partner, (of_images, of_texts) = _native.false_negatives(
            x.rows, y.rows, x.dtype, k, margin, (mine.start, mine.stop), n_threads
        )
    found = Found(*of_images), Found(*of_texts)
    centrality = known or (_centrality(images, n_threads), _centrality(texts, n_threads))
    return FalseNegativesPart(options, frozenset(mine), found, partner, centrality)


def _within(
    x: Any,
    k: int,
    threshold: float,
    n_threads: int | None,
    part: tuple[int, int] | None = None,
) -> RivalsPart:
    """Search all pairs within one set, or those of one part of several."""
    check_threads(n_threads)
    k, threshold = checked_count("k", k), checked_number("threshold", threshold)
    source = as_source(x)
    source.expect_rows(2)
    rows = gathered(source)
    k = min(k, source.count)
    options = RivalsOptions.of(rows, is_part=part is not None, k=k, threshold=threshold)
    mine = share(options.blocks, part, triangle=True)
    with named(x=rows):
        found = _native.false_negatives_within(
            rows.rows, rows.dtype, k, threshold, (mine.start, mine.stop), n_threads
        )
    return RivalsPart(options, frozenset(mine), Found(*found))


def _centrality(source: Source, n_threads: int | None) -> Centrality:
    e = Ellipsoid.fit(source, covariance=False, n_threads=n_threads)
    return Centrality(
        e.conformity(source, member=True, n_threads=n_threads),
        e.cosine_to_mean(source, n_threads=n_threads),
    )
