"""What figures are drawn from: counts of numbers, rows at one end, rows of a sample."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from clipsoid._shown import Shown
from clipsoid.divergences import counted

Array = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Histogram(Shown):
    """Counts of numbers.

    Attributes
    ----------
    edges : ndarray of float64 of shape (bins + 1,)
    counts : ndarray of int64 of shape (bins,)
        Of ``edges[i] <= x < edges[i + 1]``; the last bin has its upper edge too.
    """

    edges: Array
    counts: Integers

    @classmethod
    def of(cls, values: Array, bins: int) -> Self:
        """Count values between the least and the greatest; in one bin if they agree to rounding."""
        return cls.together(bins, values)[0]

    @classmethod
    def together(cls, bins: int, *sets: Array) -> list[Self]:
        """Count several sets of values with the same edges."""
        edges, counts, _ = counted(bins, *map(np.sort, sets))
        return [cls(edges, one) for one in counts]


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Gallery(Shown):
    """Rows at one end of a figure, the outermost first.

    Attributes
    ----------
    row : ndarray of int64
        Numbers among all rows.
    value : ndarray of float64
    """

    row: Integers
    value: Array

    @classmethod
    def ends(cls, values: Array, size: int) -> tuple[Self, Self]:
        """Return the greatest and the least values; ties by the lower row."""
        size = min(size, len(values))
        rows = np.arange(len(values))
        high, low = np.lexsort((rows, -values))[:size], np.lexsort((rows, values))[:size]
        return cls(high, values[high]), cls(low, values[low])


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Sample(Shown):
    """Figures of some rows, for scatter plots and tables.

    Attributes
    ----------
    row : ndarray of int64
        Numbers among all rows, ascending.
    conformity, cosine_to_mean, norm : ndarray of float64
    """

    row: Integers
    conformity: Array
    cosine_to_mean: Array
    norm: Array
