"""Sets and score jobs that the tests of score folders share."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clipsoid.cli import main
from clipsoid.store.journal import Journal
from unit.samples import cloud

SHARDS = 7


def make_shards(folder: Path) -> Path:
    """Shards of unequal length, one of them without a row."""
    folder.mkdir()
    for i in range(SHARDS):
        rows = cloud(200 + 10 * i, 8, "float16", seed=i)
        np.save(folder / f"{i}.npy", rows[: 0 if i == 3 else None])
    return folder


def score(shards: Path, out: Path, *options: str) -> int:
    return main(["score", str(shards), "--out", str(out), "--quiet", *options])


def contents(folder: Path) -> dict[str, str]:
    """Digest of every file, hidden ones and all."""
    return {
        path.relative_to(folder).as_posix(): hashlib.blake2b(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def journal(folder: Path, part: str = "0-of-1") -> list[dict[str, Any]]:
    text = (folder / f".scores-{part}.journal").read_text()
    return [json.loads(line) for line in text.splitlines()]


def stopped(call: int, shards: Path, out: Path, *options: str) -> None:
    """Stop a job in place of a line of its journal, as Ctrl-C does; the first line is number 1."""
    append, calls = Journal._append, 0

    def stopping(self: Journal, line: dict[str, Any]) -> None:
        nonlocal calls
        calls += 1
        if calls == call:
            raise KeyboardInterrupt
        append(self, line)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Journal, "_append", stopping)
        assert score(shards, out, *options) == 130
