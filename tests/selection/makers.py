"""Scores as `clipsoid score` writes them, without embeddings; and choices by plain sorting."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

STATUS = pl.Enum(["ok", "non_finite", "zero_norm", "missing"])


def uid(number: int) -> str:
    """Return 32 hexadecimal digits that look random, different for every number."""
    return f"{(number + 1) * 0x9E3779B97F4A7C15F39CC0605CEDC835 % 2**128:032x}"


def scores(sizes: tuple[int, ...] = (50, 150, 100), seed: int = 0, steps: int = 40) -> pl.DataFrame:
    """Return scores of several shards, many of them equal, a few without a score."""
    rng = np.random.default_rng(seed)
    n = sum(sizes)
    status = rng.choice(4, n, p=[0.91, 0.03, 0.03, 0.03])
    values = (rng.integers(0, steps, n) / steps - 0.2).astype(np.float32)
    bad = pl.Series(status != 0)
    return pl.DataFrame(
        {
            "shard": [f"img_{i}.npy" for i, size in enumerate(sizes) for _ in range(size)],
            "row": np.concatenate([np.arange(size) for size in sizes]).astype(np.uint32),
            "uid": [uid(i) for i in range(n)],
            "conformity": pl.Series(values).set(bad, None),
            "norm": pl.Series(rng.normal(10, 1, n).astype(np.float32)).set(bad, None),
            "status": pl.Series([STATUS.categories[i] for i in status.tolist()], dtype=STATUS),
        }
    )


def write(frame: pl.DataFrame, folder: Path, **made: Any) -> Path:
    """Write each shard of some scores into a file of its own."""
    folder.mkdir()
    parts = frame.partition_by("shard", maintain_order=True)
    for part in parts:
        name = part["shard"][0]
        known = {"reference": "r", "shard": name, "shard_rows": part.height, **made}
        path = folder / name.replace(".npy", ".parquet")
        part.write_parquet(path, metadata={"clipsoid": json.dumps(known)})
    return folder


def ok(frame: pl.DataFrame) -> list[int]:
    """Return the numbers of the rows that have a score."""
    return [i for i, word in enumerate(frame["status"].cast(pl.String)) if word == "ok"]


def lowest(rows: list[int], values: list[float], count: int) -> set[int]:
    """Return so many rows of the lowest values, of equal ones the first."""
    return set(sorted(rows, key=lambda i: (values[i], i))[:count])


def highest(rows: list[int], values: list[float], count: int) -> set[int]:
    """Return so many rows of the highest values, of equal ones the first."""
    return set(sorted(rows, key=lambda i: (-values[i], i))[:count])
