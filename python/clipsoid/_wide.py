"""Rows in float64, a few at a time, for what numpy computes pair by pair."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from clipsoid._batch import Batch
from clipsoid._gather import widened
from clipsoid._source import Source

Array = NDArray[np.float64]

#: Elements at a time: 256 kB of float64, so that they and what is made of them stay in cache.
ELEMENTS = 1 << 15


def pieces(batch: Batch) -> Iterator[Batch]:
    """Consecutive rows of a batch, few enough to be widened."""
    step = max(1, ELEMENTS // batch.dim)
    for start in range(0, len(batch), step):
        yield Batch(batch.rows[start : start + step], batch.dtype)


def wide(piece: Batch) -> Array:
    """Float64 rows in C order, whatever the layout: so sums over a row have one order."""
    return np.ascontiguousarray(widened(piece, "float64").rows)


def wide_rows(source: Source) -> Iterator[Array]:
    """All rows of a source, some at a time; never an empty array."""
    for located in source.read():
        for piece in pieces(located.batch):
            yield wide(piece)
        del located


def paired_rows(x: Source, y: Source) -> Iterator[tuple[Array, Array]]:
    """Rows of two sources of one length, some at a time, the same ones of both."""
    readers = wide_rows(x), wide_rows(y)
    held = [np.empty((0, x.dim)), np.empty((0, y.dim))]
    while True:
        for side, reader in enumerate(readers):
            if not len(held[side]):
                held[side] = next(reader, held[side])
        count = min(map(len, held))
        if count == 0:
            return
        yield held[0][:count], held[1][:count]
        held = [rows[count:] for rows in held]
