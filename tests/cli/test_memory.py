"""The memory of a whole job, fit and score with journal and checkpoint, whatever the rows."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from peaks import watched

#: What is there after a job of a few rows is no part of it. Checkpoints are written at the end of
#: every shard.
PEAK = watched(
    """
from clipsoid.cli import main
from clipsoid.store import checkpoint

def score(path):
    assert main(["score", path, "--out", f"{path}-scores", "--quiet", "--threads", "2"]) == 0

checkpoint.EVERY, checkpoint.SHARE = 0.0, 1e9
score("few")
""",
    "score(sys.argv[1])",
)

#: Of a shard, which is what a job holds scores of.
SHARD_ROWS = 100_000


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no /proc to look at")
def test_a_hundred_times_the_rows_take_the_same_memory(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).normal(size=(SHARD_ROWS, 8)).astype(np.float16)
    for name, shards in (("few", 1), ("one", 1), ("hundred", 100)):
        (tmp_path / name).mkdir()
        first = tmp_path / name / "x0.npy"
        np.save(first, rows[:100] if name == "few" else rows)
        for i in range(1, shards):
            os.link(first, tmp_path / name / f"x{i}.npy")

    def peak(name: str) -> float:
        done = subprocess.run(
            [sys.executable, "-c", PEAK, name],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        return float(done.stdout)

    one, hundred = peak("one"), peak("hundred")
    # Two files are written at one time, not a hundred: their scores alone would be 160 MB.
    assert 0 < hundred < one + 24
