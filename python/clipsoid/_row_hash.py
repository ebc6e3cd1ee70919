"""A number for each row that equal rows share and others do not, to tell repeated rows."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.uint64]

#: Words of 8 bytes that are mixed together: they stay in cache.
TOGETHER = 1 << 14

# The mixing of SplitMix64: every bit of a word changes half of the bits of the result.
_STEP = 0x9E3779B97F4A7C15
_MIXING = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB), (31, 1))


def row_hashes(rows: NDArray[Any]) -> Words:
    """Hash the bytes of each row: 64 bits, whatever the layout of the array.

    Each word is mixed with its place, and the results are added. Of a million different rows, two
    share a hash with a probability of 3e-8. Zeros of either sign are different bytes.
    """
    count, dim = rows.shape
    size = dim * rows.itemsize
    width = -(-size // 8)
    places = np.arange(1, width + 1, dtype=np.uint64) * np.uint64(_STEP)
    found = np.empty(count, np.uint64)
    step = max(1, TOGETHER // width)
    for start in range(0, count, step):
        some = np.ascontiguousarray(rows[start : start + step])
        padded = np.zeros((len(some), 8 * width), np.uint8)
        padded[:, :size] = some.view(np.uint8).reshape(len(some), size)
        found[start : start + step] = _mixed(padded.view(np.uint64) + places).sum(axis=1)
    return found


def _mixed(words: Words) -> Words:
    for shift, factor in _MIXING:
        words ^= words >> np.uint64(shift)
        words *= np.uint64(factor)
    return words
