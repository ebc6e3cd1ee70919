"""What a search for false negatives gives: mergeable parts, and the results."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from clipsoid._part import PairsOptions, Part
from clipsoid._ranks import average_ranks
from clipsoid._shown import Drawn
from clipsoid.results import Made

Array = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Rivals(Drawn):
    """Candidates above each row's partner or above a threshold; the best come first.

    There are as many columns as were asked for, at most one for each of the `m` candidates: the
    rows of the other side, or of the set.

    Attributes
    ----------
    count : ndarray of int64 of shape (n,)
        All of them.
    index : ndarray of int64 of shape (n, min(k, m))
        Row numbers of the best `k`, ties by the lower number; -1 where there are fewer.
    similarity : ndarray of float64 of shape (n, min(k, m))
        Their cosines; NaN where there are fewer.
    margin : ndarray of float64 of shape (n, min(k, m))
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


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class FalseNegatives(Made, Drawn):
    """Candidates that score above the partner, in both directions.

    Attributes
    ----------
    image_to_text : Rivals
        Texts above the image's own.
    text_to_image : Rivals
        Images above the text's own.
    image_spearman, text_spearman : Spearman
        How the counts of the images, and of the texts, go with their place in their modality.
    simd_level : str
        Instruction set; bits may differ between two.
    version : str
        Version of clipsoid.
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
            "simd_level": self.simd_level,
            "version": self.version,
        }


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """The rivals of each row among some of the candidates.

    Attributes
    ----------
    count : ndarray of int64 of shape (n,)
        All of them.
    index, similarity : ndarray of int64, of float64
        Row after row, the numbers and the cosines of the best.
    """

    count: Integers
    index: Integers
    similarity: Array

    def merged(self, other: Found, k: int) -> Found:
        """Return the rivals among the candidates of both, and the best `k` of each row."""
        row = np.concatenate([one._rows(k) for one in (self, other)])
        index = np.concatenate([self.index, other.index])
        similarity = np.concatenate([self.similarity, other.similarity])
        order = np.lexsort((index, -similarity, row))
        row = row[order]
        held = np.bincount(row, minlength=len(self.count))
        place = np.arange(len(row)) - np.repeat(np.cumsum(held) - held, held)
        best = order[place < k]
        return Found(self.count + other.count, index[best], similarity[best])

    def rivals(self, bar: Array | float, k: int) -> Rivals:
        """Return them in `k` places for each row, with what they exceed `bar` by."""
        there = np.arange(k) < self.count[:, None]
        places = np.full(there.shape, -1, np.int64)
        cosines = np.full(there.shape, np.nan)
        places[there], cosines[there] = self.index, self.similarity
        return Rivals(self.count, places, cosines, cosines - np.reshape(bar, (-1, 1)))

    def _rows(self, k: int) -> Integers:
        return np.repeat(np.arange(len(self.count)), np.minimum(self.count, k))


class Centrality(NamedTuple):
    """Where each row lies in its modality: what counts of false negatives are compared with."""

    conformity: Array
    cosine_to_mean: Array


@dataclass(frozen=True, slots=True, kw_only=True)
class FalseNegativesOptions(PairsOptions):
    """What false negatives were asked for, and of what rows.

    Attributes
    ----------
    k : int
        How many of the best are named for each row: no more than there are rows.
    margin : float
        As for `false_negatives`.
    counts : tuple of int
        Images and texts: as many.
    dim, blocks : int
        Features, and blocks of images that the work can be cut into.
    dtype : str
        Element type of the rows.
    simd_level : str
        Instruction set; bits may differ between two.
    rows_digest : str, optional
        Tells the rows of one part from those of another.
    """

    k: int
    margin: float


@dataclass(frozen=True, eq=False)
class FalseNegativesPart(Part):
    """A part of the false negatives: those among the pairs of an image and a text visited so far.

    Made by `false_negatives_part`; parts of one work merge, in any order, and can be pickled.

    Attributes
    ----------
    options : FalseNegativesOptions
    blocks : frozenset of int
        The blocks of images that it covers, of ``options.blocks``.
    """

    options: FalseNegativesOptions
    # Of the images and of the texts, as all below.
    _found: tuple[Found, Found] = field(repr=False)
    # Cosines of the pairs, and where rows lie in their modality: the same in every part.
    _partner: Array = field(repr=False)
    _centrality: tuple[Centrality, Centrality] = field(repr=False)

    def merge(self, other: FalseNegativesPart) -> FalseNegativesPart:
        """Return the part that covers the blocks of both.

        Raises
        ------
        MismatchError
            If they are parts of different work (rows, `k`, margin, SIMD level), or both cover a
            block.
        """
        blocks, k = self._joined(other), self.options.k
        (images, texts), (more_images, more_texts) = self._found, other._found
        found = images.merged(more_images, k), texts.merged(more_texts, k)
        return FalseNegativesPart(self.options, blocks, found, self._partner, self._centrality)

    def result(self) -> FalseNegatives:
        """Return the false negatives, once all parts are merged.

        Raises
        ------
        UnavailableError
            If blocks are missing.
        """
        self._complete()
        images, texts = self._found
        return FalseNegatives(
            images.rivals(self._partner, self.options.k),
            texts.rivals(self._partner, self.options.k),
            correlations(images.count, self._centrality[0]),
            correlations(texts.count, self._centrality[1]),
            simd_level=self.options.simd_level,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RivalsOptions(PairsOptions):
    """What near-duplicates were asked for, and of what rows.

    Attributes
    ----------
    k : int
        How many of the best are named for each row: no more than there are rows.
    threshold : float
        As for `false_negatives_within`.
    counts : tuple of int
        Rows of the set.
    dim, blocks, dtype, simd_level, rows_digest
        As for `FalseNegativesOptions`.
    """

    k: int
    threshold: float


@dataclass(frozen=True, eq=False)
class RivalsPart(Part):
    """A part of the near-duplicates within one set: those among the pairs visited so far.

    Made by `false_negatives_within_part`; parts of one work merge, in any order, and can be
    pickled.

    Attributes
    ----------
    options : RivalsOptions
    blocks : frozenset of int
        The blocks that it covers, of ``options.blocks``: of the first rows of pairs.
    """

    options: RivalsOptions
    _found: Found = field(repr=False)

    def merge(self, other: RivalsPart) -> RivalsPart:
        """Return the part that covers the blocks of both.

        Raises
        ------
        MismatchError
            If they are parts of different work (rows, `k`, threshold, SIMD level), or both cover
            a block.
        """
        blocks = self._joined(other)
        return RivalsPart(self.options, blocks, self._found.merged(other._found, self.options.k))

    def result(self) -> Rivals:
        """Return the rivals, once all parts are merged.

        Raises
        ------
        UnavailableError
            If blocks are missing.
        """
        self._complete()
        return self._found.rivals(self.options.threshold, self.options.k)


def correlations(count: Integers, centrality: Centrality) -> Spearman:
    """Correlate counts of false negatives with conformity and with the cosine to the mean."""
    return Spearman(*(_correlation(count, figure) for figure in centrality))


def _correlation(p: NDArray[Any], q: NDArray[Any]) -> float | None:
    """Pearson correlation of average ranks; None if either is constant, or not there at all."""
    if np.isnan(q).any() or (p == p[0]).all() or (q == q[0]).all():
        return None
    p, q = (ranks - ranks.mean() for ranks in (average_ranks(p), average_ranks(q)))
    return float((p @ q) / math.sqrt((p @ p) * (q @ q)))
