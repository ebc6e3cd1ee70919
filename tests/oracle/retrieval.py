"""Retrieval in plain float64 numpy, from the definitions: partners, rivals, correlations of ranks.

As `reference`: nothing is shared with the library, nothing is fast. ``s[i, j]`` is the cosine of
image `i` and text `j`; text `j` belongs to image ``image_of[j]``.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from oracle.reference import Array, unit_rows, wide

Integers = NDArray[np.int64]


def cosines(x: ArrayLike, y: ArrayLike) -> Array:
    """``cos(x_i, y_j)``, from the distinct rows of each, so that identical rows tie exactly."""
    a, first = np.unique(wide(x), axis=0, return_inverse=True)
    b, second = np.unique(wide(y), axis=0, return_inverse=True)
    return (unit_rows(a) @ unit_rows(b).T)[np.ix_(first.ravel(), second.ravel())]


def partners(s: Array, image_of: Integers) -> list[tuple[float, Array]]:
    """Each image's best own text and its rivals, all texts that are not its own."""
    own = image_of == np.arange(len(s))[:, None]
    return [(s[i][own[i]].max(), s[i][~own[i]]) for i in range(len(s))]


def partners_of_texts(s: Array, image_of: Integers) -> list[tuple[float, Array]]:
    """Each text's image and its rivals, all other images."""
    return [(s[i, j], np.delete(s[:, j], i)) for j, i in enumerate(image_of)]


def ranks(found: list[tuple[float, Array]]) -> Array:
    """``rank = 1 + (number greater) + (number equal) / 2``."""
    return np.array([1 + (rivals > s).sum() + (rivals == s).sum() / 2 for s, rivals in found])


def robust(found: list[tuple[float, Array]], error: float) -> NDArray[np.bool_]:
    """Whether no rival is so near the partner, short of a tie, that an error could decide."""
    return np.array(
        [not ((rivals != s) & (np.abs(rivals - s) <= error)).any() for s, rivals in found]
    )


def rivals_above(s: Array, bar: float, own: int) -> Integers:
    """Candidates of a row that exceed a bar, best first, ties by the lower number."""
    above = [j for j in range(len(s)) if j != own and s[j] > bar]
    return np.array(sorted(above, key=lambda j: (-s[j], j)), np.int64)


def average_ranks(p: ArrayLike) -> Array:
    """``(number below + 1 + number not above) / 2``."""
    p = np.asarray(p)
    return np.array([((p < v).sum() + 1 + (p <= v).sum()) / 2 for v in p])
