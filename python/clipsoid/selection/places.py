"""Where rows lie: that none is there twice, and a hash of each place for random choices."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

from clipsoid._row_hash import mixed
from clipsoid.errors import SelectionError
from clipsoid.selection.cuts import Keys

if TYPE_CHECKING:
    import polars as pl


class Order:
    """Whether shards follow one another whole, and their rows ascend: then none is there twice."""

    def __init__(self, label: str) -> None:
        self.label = label
        self._seen: set[str] = set()
        self._shard: str | None = None
        self._row = -1

    def check(self, batch: pl.DataFrame) -> None:
        """Take in the next rows."""
        for name in ("shard", "row"):
            if batch[name].null_count():
                raise SelectionError(
                    f"{self.label}: {name!r} is null in {batch[name].null_count()} rows; wanted "
                    "the place of each"
                )
        rows = batch["row"].to_numpy().astype(np.int64)
        runs = batch["shard"].rle().struct.unnest()
        start = 0
        for count, shard in zip(runs["len"], runs["value"], strict=True):
            if shard != self._shard:
                if shard in self._seen:
                    raise SelectionError(
                        f"{self.label}: shard {shard!r} comes back after {self._shard!r}; wanted "
                        "the rows of a shard together, each once: sort by shard and row"
                    )
                self._seen.add(shard)
                self._shard, self._row = shard, -1
            steps = np.diff(rows[start : start + count], prepend=self._row)
            if (steps <= 0).any():
                at = start + int(np.argmax(steps <= 0))
                raise SelectionError(
                    f"{self.label}: row {rows[at]} of shard {shard!r} comes after row "
                    f"{rows[at] - steps[at - start]}; wanted each row once, in ascending order"
                )
            self._row = int(rows[start + count - 1])
            start += count


def hashes(batch: pl.DataFrame, start: int, seed: int, *, placed: bool) -> Keys:
    """Return a number for each row that depends on the seed, its shard and its number there."""
    if placed:
        runs = batch["shard"].rle().struct.unnest()
        shards = np.array([_shard_hash(seed, name) for name in runs["value"]], np.uint64)
        base = np.repeat(shards, runs["len"].to_numpy())
        rows = batch["row"].to_numpy().astype(np.uint64)
    else:
        base = np.full(batch.height, _shard_hash(seed, ""))
        rows = np.arange(start, start + batch.height, dtype=np.uint64)
    return mixed(base, rows)


def _shard_hash(seed: int, shard: str) -> np.uint64:
    digest = hashlib.blake2b(f"{seed}:{shard}".encode(), digest_size=8).digest()
    return np.uint64(int.from_bytes(digest, "little"))
