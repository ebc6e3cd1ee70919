"""A fit that is stopped and gone on with gives the bytes of one that never was."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import clipsoid as cs
from clipsoid.errors import MismatchError, OutputError, StoreError
from clipsoid.store import checkpoint as module
from clipsoid.store.checkpoint import fit_store
from unit.samples import BLOCK, cloud

#: Lengths with which rows wait for their block at most ends of shards, and at some do not.
LENGTHS = (700, BLOCK, 5, BLOCK - 705, 0, 1500, 3)

#: Fits with a checkpoint at every end of a shard, and is killed by the call of a given number.
KILLED = """
import os, sys
from pathlib import Path
import clipsoid as cs
from clipsoid.store import checkpoint
where, call, *rest = sys.argv[1:]
checkpoint.EVERY, checkpoint.SHARE = -1.0, 1e9
calls = 0
def killing(work, half):
    def wrapped(path, *arguments):
        global calls
        if ".checkpoint" in path.name:
            calls += 1
            if calls == int(call):
                if half:
                    half(path, *arguments)
                os._exit(9)
        return work(path, *arguments)
    return wrapped
write, replace = Path.write_bytes, Path.replace
if where == "half-written":
    Path.write_bytes = killing(write, lambda path, contents: write(path, contents[:-7]))
else:
    Path.replace = killing(replace, replace if where == "renamed" else None)
checkpoint.fit_store(cs.open_store(rest[0]), Path(rest[1]), covariance=rest[2] == "True")
"""


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    """Shards of mixed element types and of lengths that fall between blocks."""
    folder = tmp_path / "in"
    folder.mkdir()
    for i, length in enumerate(LENGTHS):
        dtype = ("float16", "float32", "float32", "float64")[i % 4]
        np.save(folder / f"{i}.npy", cloud(max(length, 1), 6, dtype, seed=i)[:length])
    return folder


@pytest.fixture
def often(monkeypatch) -> None:
    """A checkpoint at every end of a shard."""
    monkeypatch.setattr(module, "EVERY", -1.0)
    monkeypatch.setattr(module, "SHARE", 1e9)


def saved(e: cs.Ellipsoid, path: Path) -> bytes:
    e.save(path)
    return path.read_bytes()


class Stop(Exception):
    """Ends a fit, from its progress."""


def stopped(store: cs.store.Store, path: Path, rows: int, **options: object) -> None:
    """Fit until so many rows were seen."""
    seen = 0

    def progress(more: int) -> None:
        nonlocal seen
        seen += more
        if seen >= rows:
            raise Stop

    with pytest.raises(Stop):
        fit_store(store, path, progress=progress, **options)


@pytest.mark.parametrize("covariance", [False, True])
def test_it_goes_on_to_the_bit_from_every_shard(shards, tmp_path, often, covariance) -> None:
    store, path = cs.open_store(shards), tmp_path / ".e.checkpoint"
    want = saved(cs.Ellipsoid.fit(shards, covariance=covariance), tmp_path / "want")
    for rows in np.cumsum([length for length in LENGTHS if length])[1:-1]:
        stopped(store, path, int(rows), covariance=covariance)
        resumed: list[int] = []
        e = fit_store(store, path, covariance=covariance, progress=resumed.append)
        assert saved(e, tmp_path / "got") == want
        # The rows of the shards before were not read again.
        assert resumed[0] >= sum(LENGTHS[:1]) and sum(resumed) == sum(LENGTHS)
        path.unlink()


@pytest.mark.parametrize("covariance", [False, True])
@pytest.mark.parametrize(
    ("where", "call"), [("half-written", 1), ("half-written", 3), ("before", 2), ("renamed", 3)]
)
def test_killed_while_it_writes_a_checkpoint(shards, tmp_path, where, call, covariance) -> None:
    path = tmp_path / ".e.checkpoint"
    arguments = [where, str(call), str(shards), str(path), str(covariance)]
    done = subprocess.run([sys.executable, "-c", KILLED, *arguments], timeout=60)
    assert done.returncode == 9
    assert path.exists() == (call > 1)
    e = fit_store(cs.open_store(shards), path, covariance=covariance)
    want = saved(cs.Ellipsoid.fit(shards, covariance=covariance), tmp_path / "want")
    assert saved(e, tmp_path / "got") == want


def test_invalid_rows_are_counted_once(shards, tmp_path, often) -> None:
    rows = np.load(shards / "1.npy")
    rows[3], rows[1023, 2] = 0, np.nan
    np.save(shards / "1.npy", rows)
    store, path = cs.open_store(shards), tmp_path / ".e.checkpoint"
    stopped(store, path, 3000, on_invalid="skip")
    e = fit_store(store, path, on_invalid="skip")
    assert e.invalid.to_dict() == {"non_finite": 1, "zero_norm": 1, "missing": 0}
    want = cs.Ellipsoid.fit(shards, on_invalid="skip")
    assert saved(e, tmp_path / "got") == saved(want, tmp_path / "want")


def test_time_decides_when_it_is_written(shards, tmp_path, monkeypatch) -> None:
    path = tmp_path / ".e.checkpoint"
    fit_store(cs.open_store(shards), path)
    assert not path.exists()
    monkeypatch.setattr(module, "EVERY", -1.0)
    # Of the time, writing takes no more than its share: after the first one, hours would pass.
    monkeypatch.setattr(module, "SHARE", 1e-9)
    writes: list[int] = []
    monkeypatch.setattr(module, "_write", lambda path, e, job, done: writes.append(done))
    fit_store(cs.open_store(shards), path)
    assert writes == [1]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"covariance": False}, "was begun with covariance True, this run has False"),
        ({"on_invalid": "skip"}, "was begun with on_invalid 'error', this run has 'skip'"),
        ({"precision": "float64"}, "was begun with precision 'auto', this run has 'float64'"),
        ({"encoder": "B"}, "was begun with encoder None, this run has 'B'"),
        ({"temperature": 0.5}, "was begun with temperature None, this run has 0.5"),
    ],
)
def test_another_fit_does_not_go_on_with_it(shards, tmp_path, often, options, words) -> None:
    store, path = cs.open_store(shards), tmp_path / ".e.checkpoint"
    stopped(store, path, 3000)
    before = path.read_bytes()
    with pytest.raises(OutputError, match=re.escape(f"{path}: {words}")):
        fit_store(store, path, **options)
    assert path.read_bytes() == before


def test_another_simd_level_is_told_how_to_go_on(shards, tmp_path, often, monkeypatch) -> None:
    store, path = cs.open_store(shards), tmp_path / ".e.checkpoint"
    stopped(store, path, 3000)
    level = cs._native.simd_level()
    monkeypatch.setattr("clipsoid.store.job.simd_level", lambda: "other")
    with pytest.raises(OutputError, match=f"simd '{level}'.*'other'; CLIPSOID_SIMD={level} sets"):
        fit_store(store, path)


def changed(shards: Path, how: str) -> str:
    """Change a shard that was read already; the message to be expected."""
    first = shards / "1.npy"
    if how == "shrinks":
        np.save(first, np.load(first)[:-1])
        return r"1\.npy: has changed since .*: rows was 1024, is 1023"
    if how == "vanishes":
        first.unlink()
        return r"1\.npy: is gone since"
    if how == "appears":
        np.save(shards / "11.npy", np.load(first))
        return r"11\.npy: is new since"
    status = first.stat()
    os.utime(first, ns=(status.st_atime_ns, status.st_mtime_ns + 10**9))
    return r"1\.npy: has changed since .*: modified was \d{4}-\d\d-\d\d "


@pytest.mark.parametrize("how", ["shrinks", "vanishes", "appears", "is touched"])
def test_a_shard_that_changes_between_two_runs(shards, tmp_path, often, how) -> None:
    path = tmp_path / ".e.checkpoint"
    stopped(cs.open_store(shards), path, 3000)
    before = path.read_bytes()
    words = changed(shards, how)
    with pytest.raises(MismatchError, match=words + ".*wanted the same files"):
        fit_store(cs.open_store(shards), path)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (b'\\"format_version\\": 1', b'\\"format_version\\": 7', "version 7; this clipsoid"),
        (b'\\"shards\\": 6', b'\\"shards\\": 9', "is of 9 shards of 7"),
        (b'\\"waiting_dtype\\": \\"float', b'\\"waiting_dtype\\": \\"floaf', "'waiting_dtype'"),
        (b'\\"job\\"', b'\\"jab\\"', "does not say which job"),
        (b'"waiting"', b'"waitinh"', "its waiting rows are incomplete"),
    ],
)
def test_a_damaged_checkpoint_is_named(shards, tmp_path, often, old, new, words) -> None:
    store, path = cs.open_store(shards), tmp_path / ".e.checkpoint"
    stopped(store, path, sum(LENGTHS))
    contents = path.read_bytes()
    assert old in contents
    path.write_bytes(contents.replace(old, new))
    with pytest.raises(StoreError, match=re.escape(str(path)) + ".*" + words):
        fit_store(store, path)
