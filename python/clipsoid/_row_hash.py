"""A number for each row that equal rows share and others do not, to tell repeated rows."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.uint64]

#: Words of 8 bytes that are mixed together: they stay in cache.
TOGETHER = 1 << 14

# The mixing of SplitMix64: every bit of a word changes half of the bits of the result.
_STEP = np.uint64(0x9E3779B97F4A7C15)
_FACTORS = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_SHIFTS = np.uint64(30), np.uint64(27), np.uint64(31)


def row_hashes(rows: NDArray[Any]) -> Words:
    """Hash the bytes of each row: 64 bits, whatever the layout of the array.

    Each word is mixed with its place, and the results are added. Of a million different rows, two
    share a hash with a probability of 3e-8. Zeros of either sign are different bytes.
    """
    count, dim = rows.shape
    size = dim * rows.itemsize
    width = -(-size // 8)
    places = np.arange(1, width + 1, dtype=np.uint64) * _STEP
    step = max(1, TOGETHER // width)
    found = np.empty(count, np.uint64)
    mixed, shifted = np.empty((2, step, width), np.uint64)
    for start in range(0, count, step):
        # An array that is contiguous and whole words wide is read where it lies.
        some = np.ascontiguousarray(rows[start : start + step]).view(np.uint8)
        if size < 8 * width:
            some = np.pad(some, ((0, 0), (0, 8 * width - size)))
        n = len(some)
        np.add(some.view(np.uint64), places, out=mixed[:n])
        _mix(mixed[:n], shifted[:n])
        found[start : start + n] = mixed[:n].sum(axis=1)
    return found


def mixed(base: Words, numbers: Words) -> Words:
    """Return the words that SplitMix64 gives at these numbers, each from a state of its own."""
    words = base + (numbers + np.uint64(1)) * _STEP
    _mix(words, np.empty_like(words))
    return words


def _mix(words: Words, shifted: Words) -> None:
    """Mix words in place, with room for as many."""
    for shift, factor in zip(_SHIFTS, (*_FACTORS, None), strict=True):
        np.right_shift(words, shift, out=shifted)
        np.bitwise_xor(words, shifted, out=words)
        if factor is not None:
            np.multiply(words, factor, out=words)
