"""The k smallest keys of each group, and order statistics: exact, in bounded memory.

A radix select from outside: each pass over the rows counts the next bits of those keys that begin
like the one that is looked for. Keys of 32 bits take two passes, those of 64 bits four; nothing
is kept of a row but its bit in the mask. With many groups the passes are more, and as wide.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from clipsoid.selection.mask import Bools, Mask

if TYPE_CHECKING:
    import polars as pl

Keys = NDArray[np.uint64]
Groups = NDArray[np.intp]
Counts = NDArray[np.int64]

#: The rows that are in of one batch: number of the first row of the batch, which of the batch are
#: in, and of these the keys and groups.
Run = tuple[int, Bools, Keys, Groups]

#: Counters of one pass: 8 MB of them.
COUNTERS = 1 << 20

#: Most bits of a key that one pass looks at.
DIGIT = 16

#: Most groups: each has its counters in every pass.
MAX_GROUPS = 1 << 16


def numbers_of(column: pl.Series) -> NDArray[Any]:
    """Return a column of numbers as float32, if that is what it holds, or as float64."""
    import polars as pl

    kind = pl.Float32 if column.dtype in (pl.Float16, pl.Float32) else pl.Float64
    return np.asarray(column.cast(kind).to_numpy())


def key_bits(column: pl.DataType) -> int:
    """Return how many bits `keys_of` gives for a column."""
    import polars as pl

    return 32 if column in (pl.Float16, pl.Float32) else 64


def keys_of(values: NDArray[Any]) -> Keys:
    """Return unsigned integers in the order of finite float32 or float64 numbers."""
    bits = 8 * values.itemsize
    kind = np.dtype(f"u{values.itemsize}")
    # Zeros of both signs are one number.
    words = (values + values.dtype.type(0)).view(kind)
    top = kind.type(1 << (bits - 1))
    return np.asarray(np.where(words & top, ~words, words | top), np.uint64)


def values_of(keys: Keys, bits: int) -> NDArray[np.float64]:
    """Return the numbers of which `keys_of` made these keys."""
    kind = np.dtype(f"u{bits // 8}")
    words, top = keys.astype(kind), kind.type(1 << (bits - 1))
    return np.where(words & top, words ^ top, ~words).view(f"f{bits // 8}").astype(np.float64)


def _digits(bits: int, groups: int) -> Iterator[tuple[int, int]]:
    """Yield, for each pass, how many bits it looks at and how many are left after it."""
    width = min(DIGIT, (COUNTERS // groups).bit_length() - 1)
    while bits:
        looked = min(width, bits)
        bits -= looked
        yield looked, bits


def order_statistics(keys: Callable[[], Iterable[Keys]], bits: int, ranks: list[int]) -> Keys:
    """Return the keys of some ranks, counted from 1, among all keys of all batches."""
    found = np.zeros(len(ranks), np.uint64)
    left = np.array(ranks, np.int64)
    for width, rest in _digits(bits, 1):
        begun = np.unique(found)
        counts = np.zeros((len(begun), 1 << width), np.int64)
        for batch in keys():
            shifted = batch >> np.uint64(rest)
            for line, prefix in zip(counts, begun, strict=True):
                own = shifted[_begins(shifted, prefix, width)] if rest + width < bits else shifted
                line += np.bincount(_low(own, width), minlength=1 << width)
        below = counts.cumsum(axis=1)[np.searchsorted(begun, found)]
        found, left, _ = _next(found, left, below, width)
    return found


def keep_smallest(
    runs: Callable[[], Iterable[Run]],
    mask: Mask,
    bits: int,
    quota: Counts,
    available: Counts,
    *,
    drop: bool = False,
) -> None:
    """Keep the `quota` smallest keys of each group, or `drop` them and keep the others.

    Of equal keys at the cut the first rows are taken, so that it is exactly as many.
    """
    groups = len(quota)
    sought = (quota > 0) & (quota < available)
    found, left = np.zeros(groups, np.uint64), quota.copy()
    if sought.any():
        for width, rest in _digits(bits, groups):
            counts = np.zeros(groups << width, np.int64)
            for _, _, keys, group in runs():
                shifted = keys >> np.uint64(rest)
                if rest + width < bits:
                    own = _begins(shifted, found[group], width)
                    shifted, group = shifted[own], group[own]
                counts += np.bincount(
                    (group << width) + _low(shifted, width), minlength=len(counts)
                )
            # What is taken whole, or not at all, ends anywhere.
            below = counts.reshape(groups, -1).cumsum(axis=1)
            below[~sought, -1] = left[~sought]
            found, left, alike = _next(found, left, below, width)
            if (alike == left)[sought].all():
                # All that begin like this are taken, however they end.
                found = (found + np.uint64(1) << np.uint64(rest)) - np.uint64(1)
                break
    # Whole groups have no cut: all of their keys lie below it or tie.
    whole = quota >= available
    for start, kept, keys, group in runs():
        taken = (keys < found[group]) & sought[group] | whole[group]
        (ties,) = np.nonzero((keys == found[group]) & sought[group])
        if len(ties):
            taken[ties] = _first(group[ties], left)
        kept[kept] = taken != drop
        mask.write(start, kept)


def _begins(shifted: Keys, prefix: Any, width: int) -> Bools:
    return np.asarray(shifted >> np.uint64(width) == prefix)


def _low(shifted: Keys, width: int) -> NDArray[np.intp]:
    return (shifted & np.uint64((1 << width) - 1)).astype(np.intp)


def _next(found: Keys, left: Counts, below: Counts, width: int) -> tuple[Keys, Counts, Counts]:
    """Return longer beginnings of the keys sought, their ranks in these, and how many begin so."""
    digit = (below < left[:, None]).sum(axis=1)
    upto = np.take_along_axis(below, digit[:, None], 1)[:, 0]
    before = np.where(
        digit, np.take_along_axis(below, np.maximum(digit - 1, 0)[:, None], 1)[:, 0], 0
    )
    return found << np.uint64(width) | digit.astype(np.uint64), left - before, upto - before


def _first(group: Groups, left: Counts) -> Bools:
    """Whether each of some rows is among the first that its group still takes; `left` shrinks."""
    order = np.argsort(group, kind="stable")
    counts = np.bincount(group, minlength=len(left))
    ends = counts.cumsum()
    number = np.empty(len(group), np.int64)
    number[order] = np.arange(len(group)) - np.repeat(ends - counts, counts)
    taken = number < left[group]
    left -= np.minimum(counts, left)
    return np.asarray(taken)
