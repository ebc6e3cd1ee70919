"""Which rows are still in: one bit for each."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Bools = NDArray[np.bool_]


class Mask:
    """A bit for each row of a table, read and written a run of rows at a time."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._bytes = np.zeros(-(-count // 8), np.uint8)

    def read(self, start: int, count: int) -> Bools:
        """Return the bits of `count` rows from number `start` on."""
        first, skipped = divmod(start, 8)
        bits = np.unpackbits(self._bytes[first : -(-(start + count) // 8)])
        return bits[skipped : skipped + count].view(np.bool_)

    def write(self, start: int, kept: Bools) -> None:
        """Replace the bits of the rows from number `start` on."""
        first, skipped = divmod(start, 8)
        last = -(-(start + len(kept)) // 8)
        # A run may begin and end within a byte, whose other bits stay.
        bits = np.unpackbits(self._bytes[first:last])
        bits[skipped : skipped + len(kept)] = kept
        self._bytes[first:last] = np.packbits(bits)
