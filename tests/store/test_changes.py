"""Files that are cut, grown, replaced or removed while they are read, and the memory it takes."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from safetensors.numpy import save_file

from clipsoid.errors import StoreError
from clipsoid.store import open_store
from peaks import watched
from store.makers import bits, numbers, run

#: Reads a file batch by batch and cuts it after the first, in a process that SIGBUS would kill.
#: Without read-ahead, so that it is known what has been read when the file is cut.
CUT = """
import os, sys
from clipsoid.errors import StoreError
from clipsoid.store import open_store
path, size, max_bytes = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
shard = open_store(path).shards[0]
batches = shard.batches(max_bytes)
first = next(batches).rows.sum()
os.truncate(path, size)
try:
    for batch in batches:
        batch.rows.sum()
except StoreError as error:
    print(error)
else:
    print("nothing was noticed")
"""


def write(folder: Path, kind: str, rows: np.ndarray) -> Path:
    path = folder / f"a.{kind}"
    match kind:
        case "npy":
            np.save(path, rows)
        case "npz":
            np.savez(path, emb=rows)
        case "safetensors":
            save_file({"emb": rows}, path)
        case "parquet":
            pl.DataFrame({"emb": rows}).write_parquet(path, row_group_size=500)
    return path


KINDS = ["npy", "npz", "safetensors", "parquet"]

#: Formats with the ways of reading that they have; an .npz member may lie unaligned.
WAYS = [
    ("npy", "mapped"),
    ("npy", "pread"),
    ("safetensors", "mapped"),
    ("npz", ""),
    ("parquet", ""),
]


@pytest.mark.parametrize("kept", [0.0, 0.3, 0.999])
@pytest.mark.parametrize(("kind", "way"), WAYS)
def test_truncated_between_batches(tmp_path: Path, way: str, kind: str, kept: float):
    path = write(tmp_path, kind, numbers(20_000, 16, "float32"))
    size = path.stat().st_size
    done = run(CUT, path, int(kept * size), 40_000, way=way)
    assert done.returncode == 0, done.stderr
    assert done.stdout == (
        f"{path}: was truncated while it was being read: found {int(kept * size)} bytes, "
        f"wanted the {size} it had when it was opened\n"
    )


#: The file is cut at the worst moment: after the check of a batch, before its pages are touched.
POPULATE = """
import os, sys
import clipsoid._native as native
from clipsoid.errors import StoreError
from clipsoid.store import open_store
path = sys.argv[1]
populate, calls = native.populate, []

def cut_then_populate(address, length):
    calls.append(length)
    if len(calls) == 3:
        os.truncate(path, 4096)
    populate(address, length)

native.populate = cut_then_populate
rows = 0
try:
    for batch in open_store(path).shards[0].batches(1 << 16):
        rows += len(batch)
        batch.rows.sum()
except StoreError as error:
    print(len(calls), rows, error)
"""


def test_truncated_after_a_batch_is_mapped(tmp_path: Path):
    path = write(tmp_path, "npy", numbers(20_000, 16, "float32"))
    done = run(POPULATE, path, way="mapped")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(
        f"3 2048 {path}: was truncated while it was being read: found 4096"
    )


#: The consumer sees a whole prefix, then the error; never a signal, never an end without error.
SHRINK_WHILE_READING = """
import os, sys, threading
from clipsoid.errors import StoreError
from clipsoid.store import open_store
path = sys.argv[1]
store = open_store(path)
seen = 0
try:
    for batch in store.batches(1 << 14):
        seen += len(batch)
        if seen > store.count // 4:
            # Behind what has been handed out and what can have been read ahead.
            os.truncate(path, os.stat(path).st_size - 4096)
except StoreError as error:
    print(seen < store.count, "truncated while" in str(error))
"""


@pytest.mark.parametrize(("kind", "way"), WAYS)
def test_truncated_with_read_ahead(tmp_path: Path, way: str, kind: str):
    path = write(tmp_path, kind, numbers(20_000, 16, "float32"))
    done = run(SHRINK_WHILE_READING, path, way=way)
    assert (done.stdout, done.returncode) == ("True True\n", 0), done.stderr


#: The next batches have been read ahead and checked when their file is cut, or written over.
WHILE_IN_USE = """
import os, sys, time, numpy as np
import clipsoid as cs
folder, change, policy = sys.argv[1:]
path, changed = f"{folder}/x1.npy", []

def change_ahead(rows):
    if not changed:
        changed.append(rows)
        time.sleep(0.3)
        with open(path, "r+b") as file:
            if change == "cut":
                file.truncate(4096)
            elif change == "written":
                file.seek(128)
                file.write(np.full((5000, 64), 500, np.float32).tobytes())

try:
    e = cs.Ellipsoid.fit(folder, covariance=False, on_invalid=policy, progress=change_ahead)
    print(e.count, e.mean.max() < 3)
except cs.errors.StoreError as error:
    print(error)
"""


@pytest.mark.parametrize("policy", ["error", "skip"])
@pytest.mark.parametrize("change", ["cut", "written", "none"])
def test_changed_while_a_batch_is_in_use(tmp_path: Path, way: str, change: str, policy: str):
    for i in range(3):
        np.save(tmp_path / f"x{i}.npy", 1 + numbers(5000, 64, "float32", i))
    done = run(WHILE_IN_USE, tmp_path, change, policy, way=way)
    wanted = {
        "cut": f"{tmp_path}/x1.npy: was truncated while it was being read: found 4096 bytes",
        "written": f"{tmp_path}/x1.npy: was changed while it was being read: its size is the same",
        "none": "15000 True",
    }
    assert done.returncode == 0 and done.stdout.startswith(wanted[change]), done


#: A batch that a consumer of its own holds, without anything that checks it.
TOUCHED_BEHIND_THE_END = """
import os, sys
from clipsoid.errors import StoreError
from clipsoid.store import open_store
path = sys.argv[1]
batches = open_store(path).shards[0].batches()
rows = next(batches).rows
os.truncate(path, 4096)
print(rows[:31].all(), rows[-1].any())
try:
    next(batches, None)
except StoreError as error:
    print(error)
del rows
"""


def test_pages_that_are_gone_are_zeros_until_the_check(tmp_path: Path):
    path = write(tmp_path, "npy", 1 + np.abs(numbers(5000, 32, "float32")))
    done = run(TOUCHED_BEHIND_THE_END, path, way="mapped")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"True False\n{path}: was truncated while it was being read")


#: More batches than there are guards; what has none is read into memory.
MANY_HELD = """
import os, sys
from clipsoid.store import open_store
path = sys.argv[1]
held = list(open_store(path).shards[0].batches(128 * 4 * 32))
os.truncate(path, 4096)
print(len(held), sum(bool(batch.rows[-1].any()) for batch in held))
"""


def test_more_batches_than_guards(tmp_path: Path):
    path = write(tmp_path, "npy", 1 + np.abs(numbers(12_800, 32, "float32")))
    done = run(MANY_HELD, path)
    assert done.returncode == 0, done.stderr
    # 64 guarded ones are zeros now, but for the first, of which the rows are still there.
    batches, whole = map(int, done.stdout.split())
    assert batches == 100 and whole >= 36


#: Other mappings, and other senders of the signal, are none of our business.
OTHER_BUS_ERRORS = """
import mmap, os, signal, sys
from clipsoid.store import open_store
path, other, sender = sys.argv[1:]
held = list(open_store(path).batches())
if sender == "page":
    with open(other, "r+b") as file:
        view = mmap.mmap(file.fileno(), 8192)
        file.truncate(0)
    view[5000]
else:
    os.kill(os.getpid(), signal.SIGBUS)
print("went on")
"""


@pytest.mark.parametrize("sender", ["page", "process"])
def test_other_bus_errors_end_the_process(tmp_path: Path, sender: str):
    path = write(tmp_path, "npy", numbers(100, 16, "float32"))
    (tmp_path / "other").write_bytes(bytes(8192))
    done = run(OTHER_BUS_ERRORS, path, tmp_path / "other", sender, way="mapped")
    assert (done.returncode, done.stdout) == (-signal.SIGBUS, "")


def grow(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"more")


def replace(path: Path) -> None:
    other = path.with_suffix(".tmp")
    other.write_bytes(path.read_bytes())
    status = path.stat()
    os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
    other.rename(path)


def rewrite(path: Path) -> None:
    content = path.read_bytes()
    with path.open("r+b") as file:
        file.write(content)
    os.utime(path, ns=(0, 0))


CHANGES: dict[str, tuple[Callable[[Path], None], str]] = {
    "grown": (grow, "was changed while it was being read: found"),
    "replaced by an equal file": (replace, "its size is the same"),
    "written in place": (rewrite, "its size is the same"),
    "removed": (Path.unlink, "was removed while it was being read"),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("kind", KINDS)
def test_changed_between_batches(tmp_path: Path, way: str, kind: str, change: str):
    path = write(tmp_path, kind, numbers(2000, 16, "float32"))
    shard = open_store(path).shards[0]
    batches = shard.batches(4000)
    next(batches)
    act, message = CHANGES[change]
    act(path)
    with pytest.raises(StoreError, match=rf"a\.{kind}: {message}|a\.{kind}: .*{message}"):
        for _ in batches:
            pass


def test_changed_between_opening_and_reading(tmp_path: Path, way: str):
    path = write(tmp_path, "npy", bits(100, 4, "float32"))
    store = open_store(path)
    np.save(path, bits(100, 4, "float32", 1))
    os.utime(path, ns=(0, 0))
    with pytest.raises(StoreError, match=r"a\.npy: was changed while it was being read"):
        list(store.batches())


READ = """
rows = 0
for batch in open_store(sys.argv[1]).batches():
    rows += len(batch)
    look()
print(rows)
"""

#: MiB of a batch, and how many may be alive (see `read_ahead`).
BATCH, ALIVE = 16, 4


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """300 MB as .npy, as Fortran-ordered .npy, and as parquet of one row group."""
    folder = tmp_path_factory.mktemp("large")
    rows = np.arange(150_000 * 500, dtype=np.float32).reshape(150_000, 500)
    files = {name: folder / f"{name}" for name in ("c.npy", "f.npy", "list.parquet")}
    np.save(files["c.npy"], rows)
    np.save(files["f.npy"], np.asfortranarray(rows))
    array = pl.Series("emb", rows, dtype=pl.Array(pl.Float32, 500)).arr.to_list()
    del rows
    pl.DataFrame({"emb": array}).write_parquet(
        files["list.parquet"], row_group_size=150_000, compression="lz4", statistics=False
    )
    return files


@pytest.mark.parametrize(
    ("name", "way", "bound"),
    [
        # A mapped read has no anonymous memory but that of the interpreter: 8 MiB for its noise.
        ("c.npy", "mapped", 8),
        ("c.npy", "pread", ALIVE * BATCH + 16),
        ("f.npy", "", ALIVE * BATCH + 16),
        # On top, a cut has its packed pages, what polars makes of them and the joined rows.
        ("list.parquet", "", (ALIVE + 4) * BATCH + 32),
    ],
)
def test_anonymous_memory_is_bounded(large: dict[str, Path], name: str, way: str, bound: int):
    modules = "numpy, polars" if name.endswith("parquet") else "numpy"
    prepare = f"import clipsoid._native, {modules}\nfrom clipsoid.store import open_store"
    done = run(watched(prepare, READ), large[name], way=way)
    assert done.returncode == 0, done.stderr
    rows, peak = done.stdout.split()
    assert int(rows) == 150_000
    assert float(peak) <= bound
