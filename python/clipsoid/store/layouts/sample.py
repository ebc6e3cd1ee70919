"""A small sample of the rows of a set, from several places of several shards."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from clipsoid._gather import widened
from clipsoid.store.base import Shard, Store
from clipsoid.store.layouts.reordered import ReorderedShard, order_by
from clipsoid.store.remote.path import RemotePath

#: Places that are looked at, spread over the set.
PLACES = 16

Array = NDArray[np.float64]

T = TypeVar("T")


def places(store: Store, most: int, seed: int) -> list[tuple[int, int, int]]:
    """Choose runs of rows spread over the shards: number of the shard, first row, rows.

    Together they have about `most` rows, and no fewer than the set if that has fewer. Within a
    shard that must be read from its beginning, its first rows are taken.
    """
    if store.count <= most:
        return [(i, 0, shard.count) for i, shard in enumerate(store.shards) if shard.count]
    rng = np.random.default_rng(seed)
    chosen = spread([i for i, shard in enumerate(store.shards) if shard.count])
    each = -(-PLACES // len(chosen))
    length = -(-most // (len(chosen) * each))
    found = []
    for i in chosen:
        shard = store.shards[i]
        if not has_windows(shard):
            found.append((i, 0, min(shard.count, length * each)))
            continue
        # One place in each of so many equal stretches, so that no two of them overlap.
        for low, high in _stretches(shard.count, each):
            rows = min(length, high - low)
            if rows:
                found.append((i, low + int(rng.integers(high - low - rows + 1)), rows))
    return found


def spread(items: Sequence[T]) -> list[T]:
    """Choose as many as there are places, spread over all."""
    step = max(1, len(items) / PLACES)
    return [items[int(k * step)] for k in range(min(PLACES, len(items)))]


def rows_at(store: Store, place: tuple[int, int, int]) -> Array:
    """Read one run of rows as float64; of an invalid one, whatever it holds."""
    i, first, count = place
    shard, skipped = store.shards[i], first
    if isinstance(shard, ReorderedShard) and has_windows(shard.of):
        # One by one, where they are stored: all of the shard may be a large part of the memory.
        order = order_by(shard.of, shard.like, shard.id_column)[first : first + count]
        stored = replace(store, shards=(shard.of,))
        return np.concatenate([rows_at(stored, (0, int(row), 1)) for row in order])
    window = shard.window(first, count)
    if window is not None:
        shard, skipped = window, 0
    if isinstance(shard.path, RemotePath):
        from clipsoid.store.remote.session import Session

        # What is read is fetched, and no more: a plan would be one for the whole shard.
        shard = replace(shard, path=shard.path.through(Session()))
    parts: list[NDArray[Any]] = []
    for batch in shard.batches(max(1, count) * shard.dim * 8):
        wide = widened(batch, "float64").rows[skipped:][: count - sum(map(len, parts))]
        skipped = max(0, skipped - len(batch))
        parts.append(np.array(wide, np.float64))
        if sum(map(len, parts)) == count:
            break
    if len(parts) == 1:
        return parts[0]
    return np.concatenate(parts) if parts else np.empty((0, shard.dim))


def sample_rows(store: Store, most: int, seed: int = 0) -> Iterator[Array]:
    """Read about `most` rows of a set, run by run."""
    for place in places(store, most, seed):
        yield rows_at(store, place)


def has_windows(shard: Shard) -> bool:
    """Whether rows in the middle of a shard can be read by themselves."""
    return shard.window(0, 0) is not None


def _stretches(count: int, parts: int) -> Iterator[tuple[int, int]]:
    ends = [count * k // parts for k in range(parts + 1)]
    return pairwise(ends)
