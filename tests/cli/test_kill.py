"""Jobs of many shards that are killed at any moment: what is there is complete, and they go on."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import polars as pl
import pytest

#: Of each of three jobs; `make test-long` sets CLIPSOID_LONG.
KILLS = 17 if os.environ.get("CLIPSOID_LONG") else 3

SHARDS, ROWS = 40, 1500

#: The command line, with a checkpoint at every end of a shard.
OFTEN = """
import sys
from clipsoid.cli import main
from clipsoid.store import checkpoint
checkpoint.EVERY, checkpoint.SHARE = -1.0, 1e9
sys.exit(main(sys.argv[1:]))
"""

JOBS = {
    "fit": ["fit", "in", "--out", "out/e.ellipsoid"],
    "score": ["score", "in", "--out", "out/s", "--ellipsoid", "e.ellipsoid", "--members"],
    "score its own set": ["score", "in", "--out", "out/s"],
}


def contents(folder: Path) -> dict[str, str]:
    """Digest of every file, hidden ones and all."""
    return {
        path.relative_to(folder).as_posix(): hashlib.blake2b(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def begin(folder: Path, job: str) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "-c", OFTEN, *JOBS[job], "--quiet"], cwd=folder)


def wait_for_files(out: Path, process: subprocess.Popen) -> None:
    """Wait until the job has begun to write, so that no kill falls on what comes before."""
    end = time.monotonic() + 60
    while process.poll() is None and not any(out.rglob(".*")):
        assert time.monotonic() < end
        time.sleep(0.001)


@pytest.mark.parametrize("job", JOBS)
def test_a_job_that_is_killed_goes_on(tmp_path: Path, run, job: str) -> None:
    rows = np.random.default_rng(0).normal(size=(ROWS, 64)) + 0.5
    (tmp_path / "in").mkdir()
    for i in range(SHARDS):
        # The last rows of a shard wait for their block.
        np.save(tmp_path / "in" / f"{i:02}.npy", np.roll(rows, i, axis=0).astype(np.float16))
    assert run("fit", "in", "--out", "e.ellipsoid").code == 0
    out = tmp_path / "out"
    out.mkdir()
    process = begin(tmp_path, job)
    wait_for_files(out, process)
    start = time.monotonic()
    assert process.wait(timeout=120) == 0
    length = time.monotonic() - start
    want = contents(out)
    chance = random.Random(job)
    left = KILLS
    while left:
        shutil.rmtree(out)
        out.mkdir()
        # Some kills one after the other, each in what the one before has left to be done.
        while left:
            process = begin(tmp_path, job)
            wait_for_files(out, process)
            time.sleep(chance.uniform(0, 0.6 * length))
            process.send_signal(signal.SIGKILL)
            if process.wait(timeout=60) == 0:
                break
            left -= 1
            # What has its name is whole.
            for path in out.rglob("[!.]*.parquet"):
                assert len(pl.read_parquet(path)) == ROWS
        process = begin(tmp_path, job)
        assert process.wait(timeout=120) == 0
        assert contents(out) == want
