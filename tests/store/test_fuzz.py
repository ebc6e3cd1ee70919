"""Damaged files of every format: an error of ours that names the file, or rows; never a crash."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from safetensors.numpy import save_file

from clipsoid.errors import ClipsoidError
from clipsoid.store import open_store

#: `make test-long` sets CLIPSOID_LONG.
ROUNDS = 3000 if os.environ.get("CLIPSOID_LONG") else 60

ROWS = np.arange(24, dtype=np.float32).reshape(6, 4)


def write_parquet(path: Path) -> None:
    pl.DataFrame({"e": pl.Series(ROWS.tolist(), dtype=pl.List(pl.Float32))}).write_parquet(path)


WRITERS: dict[str, Callable[[Path], object]] = {
    ".npy": lambda path: np.save(path, ROWS),
    ".npz": lambda path: np.savez(path, e=ROWS),
    ".safetensors": lambda path: save_file({"e": ROWS}, path),
    ".parquet": write_parquet,
    ".pt": lambda path: torch.save({"e": torch.from_numpy(ROWS)}, path),
}


def damage(contents: bytes, chance: random.Random) -> bytes:
    """Flip, overwrite, cut, repeat or insert a few bytes."""
    data = bytearray(contents)
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(data))
        match chance.randrange(5):
            case 0:
                data[at] ^= 1 << chance.randrange(8)
            case 1:
                data[at] = chance.choice(b"\x00\xff\x7f\x80 {}()',")
            case 2:
                del data[at:]
            case 3:
                data[at:at] = data[: chance.randrange(1, 16)]
            case _:
                data[at : at + 4] = chance.randbytes(4)
        if not data:
            break
    return bytes(data)


@pytest.mark.parametrize("suffix", WRITERS)
def test_damaged_files(tmp_path: Path, suffix: str, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / f"x{suffix}"
    WRITERS[suffix](path)
    contents = path.read_bytes()
    chance = random.Random(0)
    refused = 0
    for _ in range(ROUNDS):
        path.write_bytes(damage(contents, chance))
        try:
            for batch in open_store(path).batches():
                # Every byte can be read, whatever the header said.
                assert len(batch.rows.tobytes()) == batch.rows.nbytes
        except ClipsoidError as error:
            assert "x" + suffix in str(error)
            refused += 1
    # The damage is real: much of it is noticed.
    assert refused > ROUNDS // 10
    capfd.readouterr()
