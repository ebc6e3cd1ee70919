"""What the tests of the readers share: matrices of every element type, and how each is written."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import ml_dtypes
import numpy as np

from clipsoid._batch import CARRIERS
from clipsoid.store import Store, open_store

DTYPES = tuple(CARRIERS)

#: (order, byte order) of an array in a file.
LAYOUTS = [("C", "<"), ("F", "<"), ("C", ">"), ("F", ">")]

#: Rows that are none, one, and no multiple of any batch used here.
COUNTS = [1, 7, 131]


def bits(count: int, dim: int, dtype: str, seed: int = 0) -> np.ndarray:
    """Every bit pattern may occur: NaN with payloads, infinities, subnormal numbers."""
    carrier = CARRIERS[dtype]
    raw = np.random.default_rng(seed).bytes(count * dim * carrier.itemsize)
    return np.frombuffer(raw, carrier).reshape(count, dim)


def numbers(count: int, dim: int, dtype: str, seed: int = 0) -> np.ndarray:
    """Finite numbers, with both zeros and the smallest subnormal among them."""
    carrier = CARRIERS[dtype]
    rows = np.random.default_rng(seed).standard_normal((count, dim)).astype(carrier)
    special = np.array([0.0, -0.0, np.finfo(carrier).smallest_subnormal], carrier)
    rows.reshape(-1)[: min(3, rows.size)] = special[: min(3, rows.size)]
    return rows


def typed(rows: np.ndarray, dtype: str) -> np.ndarray:
    """The array as its owner has it: bfloat16 by ml_dtypes."""
    return rows.view(ml_dtypes.bfloat16) if dtype == "bfloat16" else rows


def swapped_bits(rows: np.ndarray, layout: tuple[str, str]) -> np.ndarray:
    """The same values in another order and byte order, by bytes: no NaN may be quieted."""
    order, endian = layout
    raw = np.array(rows, order="C")
    if endian == ">":
        raw = raw.byteswap().view(raw.dtype.newbyteorder(">"))
    return np.array(raw, order=order)


def read(store: Store, max_bytes: int = 1000) -> list[np.ndarray]:
    """Bits of every shard's rows, checking what every batch must be."""
    parts: dict[str, list[np.ndarray]] = {shard.name: [] for shard in store.shards}
    for shard, start, batch in store.located_batches(max_bytes):
        carrier = CARRIERS[shard.dtype]
        assert batch.dtype == shard.dtype
        assert batch.rows.dtype == carrier
        assert batch.rows.dtype.isnative
        assert batch.rows.flags.c_contiguous
        assert batch.rows.flags.aligned
        assert batch.dim == store.dim
        assert batch.rows.nbytes <= max(max_bytes, carrier.itemsize * store.dim)
        assert start == sum(map(len, parts[shard.name]))
        parts[shard.name].append(batch.rows.copy())
    empty = [np.empty((0, store.dim), CARRIERS[shard.dtype]) for shard in store.shards]
    return [np.concatenate([*parts[s.name], e]) for s, e in zip(store.shards, empty, strict=True)]


def assert_reads(path: Path, rows: np.ndarray, **options: object) -> None:
    """The set at `path` is one shard of exactly these bits, in several batch sizes."""
    store = open_store(path, **options)
    row = rows.dtype.itemsize * rows.shape[1]
    for max_bytes in (1, 3 * row + 1, 50 * row, 1 << 24):
        (found,) = read(store, max_bytes)
        assert found.shape == rows.shape
        assert found.tobytes() == rows.tobytes()
    assert (store.count, store.dim) == rows.shape


def run(code: str, *arguments: object, way: str = "") -> subprocess.CompletedProcess[str]:
    """Run code in a process of its own, so that a signal shows as its exit status."""
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(filter(None, sys.path)))
    environment["CLIPSOID_READ"] = way
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
