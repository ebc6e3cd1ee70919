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

#: All that can be had beside the scores: two sets and a column are read, groups are kept.
BESIDE = [
    *("--partner", "--by", "label", "--id-column", "caption"),
    *("--whitening", "e.ellipsoid"),
]

JOBS = {
    "fit": ["fit", "in", "--out", "out/e.ellipsoid"],
    "score": ["score", "in", "--out", "out/s", "--ellipsoid", "e.ellipsoid", "--members"],
    "score its own set": ["score", "set", "--out", "out/s", "--modality", "image", *BESIDE],
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


def lay_out(folder: Path) -> None:
    """One set as plain files, and as clip-retrieval writes it, with texts and metadata."""
    rows = np.random.default_rng(0).normal(size=(ROWS, 64)) + 0.5
    names = "in", "set/img_emb", "set/text_emb", "set/metadata"
    plain, images, texts, tables = (folder / name for name in names)
    for path in (plain, images, texts, tables):
        path.mkdir(parents=True)
    for i in range(SHARDS):
        # The last rows of a shard wait for their block.
        part = np.roll(rows, i, axis=0)
        np.save(plain / f"{i:02}.npy", part.astype(np.float16))
        np.save(images / f"img_emb_{i}.npy", part.astype(np.float16))
        np.save(texts / f"text_emb_{i}.npy", (part + 0.1).astype(np.float32))
        captions = [f"caption of {i * ROWS + row}" for row in range(ROWS)]
        labels = [f"label {(i + row) % 5}" for row in range(ROWS)]
        table = pl.DataFrame({"caption": captions, "label": labels})
        table.write_parquet(tables / f"metadata_{i}.parquet")


@pytest.mark.parametrize("job", JOBS)
def test_a_job_that_is_killed_goes_on(tmp_path: Path, run, job: str) -> None:
    lay_out(tmp_path)
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
