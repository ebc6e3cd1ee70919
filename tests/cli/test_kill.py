"""A run that is killed, at any moment: what is there is complete, and the next run works."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import polars as pl

#: `make test-long` sets CLIPSOID_LONG.
KILLS = 200 if os.environ.get("CLIPSOID_LONG") else 4


def test_killed_runs_leave_no_file_that_looks_finished(tmp_path: Path, run) -> None:
    rows = np.random.default_rng(0).normal(size=(2000, 64)).astype(np.float16)
    (tmp_path / "in").mkdir()
    for i in range(20):
        np.save(tmp_path / "in" / f"{i:02}.npy", rows)
    command = [sys.executable, "-m", "clipsoid", "score", "in", "--out", "s", "--quiet"]
    start = time.monotonic()
    subprocess.run(command, cwd=tmp_path, check=True, timeout=120)
    whole = time.monotonic() - start
    want = pl.read_parquet(tmp_path / "s" / "*.parquet")
    chance = random.Random(1)
    for _ in range(KILLS):
        process = subprocess.Popen(command, cwd=tmp_path)
        time.sleep(chance.uniform(0, whole))
        process.send_signal(signal.SIGKILL)
        process.wait(timeout=60)
        # Names appear only when the file is whole; earlier results stay until they are replaced.
        files = sorted((tmp_path / "s").glob("*.parquet"))
        assert len(files) == 20
        assert all(len(pl.read_parquet(file)) == 2000 for file in files)
    assert run("score", "in", "--out", "s").code == 0
    assert pl.read_parquet(tmp_path / "s" / "*.parquet").equals(want)
    assert not list((tmp_path / "s").glob(".*"))
