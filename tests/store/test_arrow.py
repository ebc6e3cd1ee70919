from __future__ import annotations

import os
import random
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as pq
import pytest

import clipsoid as cs
from clipsoid.errors import ClipsoidError, DTypeError, StoreError, UnavailableError
from clipsoid.store import open_set, open_store
from store.makers import assert_reads, numbers, read, run
from store.test_changes import CUT
from store.test_fuzz import damage

ROUNDS = 3000 if os.environ.get("CLIPSOID_LONG") else 150

FLOATS = {"float16": pa.float16(), "float32": pa.float32(), "float64": pa.float64()}
KINDS = ("list", "large", "fixed")


def lists(rows: np.ndarray, kind: str) -> pa.Array:
    flat = pa.array(rows.reshape(-1), FLOATS[rows.dtype.name])
    count, dim = rows.shape
    if kind == "fixed":
        return pa.FixedSizeListArray.from_arrays(flat, dim)
    made, offset = (
        (pa.LargeListArray, pa.int64()) if kind == "large" else (pa.ListArray, pa.int32())
    )
    return made.from_arrays(pa.array(np.arange(count + 1) * dim, offset), flat)


def table(rows: np.ndarray, kind: str = "list") -> pa.Table:
    names = pa.array([f"r{i}" for i in range(len(rows))])
    return pa.table({"id": names, "emb": lists(rows, kind), "tag": names.dictionary_encode()})


def write(
    path: Path, data: pa.Table, form: str = "file", step: int = 40, packed: str | None = None
) -> Path:
    new = pa.ipc.new_stream if form == "stream" else pa.ipc.new_file
    options = pa.ipc.IpcWriteOptions(compression=packed)
    with new(path, data.schema, options=options) as writer:
        writer.write_table(data, max_chunksize=step)
    return path


@pytest.mark.parametrize("packed", [None, "zstd", "lz4"])
@pytest.mark.parametrize("form", ["file", "stream"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", FLOATS)
def test_pyarrow_files(tmp_path: Path, dtype: str, kind: str, form: str, packed: str | None):
    rows = numbers(131, 5, dtype)
    path = write(tmp_path / "a.arrow", table(rows, kind), form, packed=packed)
    assert_reads(path, rows)
    ids = open_store(path).shards[0].columns(["tag", "id"])
    assert ids.columns == ["tag", "id"]
    assert ids["id"].to_list() == ids["tag"].cast(pl.String).to_list()
    assert ids["id"].to_list() == [f"r{i}" for i in range(131)]


@pytest.mark.parametrize("form", ["ipc", "ipc_stream"])
@pytest.mark.parametrize("packed", ["uncompressed", "lz4", "zstd"])
@pytest.mark.parametrize("kind", ["list", "array"])
def test_polars_files(tmp_path: Path, kind: str, packed: str, form: str):
    rows = numbers(131, 5, "float32")
    array = pl.Series("emb", rows, dtype=pl.Array(pl.Float32, 5))
    frame = pl.DataFrame({"emb": array if kind == "array" else array.arr.to_list()})
    frame = pl.concat([frame[:50], frame[50:]], rechunk=False).with_row_index("id")
    path = tmp_path / "a.ipc"
    getattr(frame, f"write_{form}")(path, compression=packed)
    assert_reads(path, rows)
    assert open_store(path).shards[0].columns(["id"]).equals(frame.select("id"))


@pytest.mark.parametrize("packed", [None, "zstd"])
@pytest.mark.parametrize("form", ["file", "stream"])
@pytest.mark.parametrize("kind", KINDS)
def test_nulls(tmp_path: Path, kind: str, form: str, packed: str | None):
    rows = numbers(131, 5, "float16")
    missing = np.random.default_rng(0).random(131) < 0.3
    missing[:3] = missing[70:100] = True
    values = [None if gone else row.tolist() for gone, row in zip(missing, rows, strict=True)]
    column = pa.array(values, lists(rows, kind).type)
    path = write(tmp_path / "a.arrow", pa.table({"emb": column}), form, 20, packed)
    store = open_store(path)
    assert (store.count, store.dim) == (131, 5)
    for max_bytes in (1, 37, 1 << 24):
        batches = [*store.batches(max_bytes)]
        marks = [np.zeros(len(b), bool) if b.missing is None else b.missing for b in batches]
        assert (np.concatenate(marks) == missing).all()
        found = np.concatenate([b.rows for b in batches])
        assert found[~missing].tobytes() == rows[~missing].tobytes()
        assert np.isnan(found[missing]).all()


def test_nulls_over_full_lists(tmp_path: Path):
    # A null whose list still lies among the elements, and lists in another order than theirs.
    flat = pa.array(np.arange(20, dtype=np.float32))
    offsets = pa.array([0, 4, 8, 12, 16], pa.int32())
    column = pa.ListArray.from_arrays(offsets, flat, mask=pa.array([False, True, False, False]))
    store = open_store(write(tmp_path / "a.arrow", pa.table({"emb": column})))
    (batch,) = store.batches()
    assert batch.missing is not None and batch.missing.tolist() == [False, True, False, False]
    assert batch.rows[[0, 2, 3], 0].tolist() == [0, 8, 12]


@pytest.mark.parametrize("form", ["file", "stream"])
@pytest.mark.parametrize("kind", KINDS)
def test_slices(tmp_path: Path, kind: str, form: str):
    rows = numbers(131, 5, "float64")
    assert_reads(write(tmp_path / "a.arrow", table(rows, kind)[13:99], form), rows[13:99])


@pytest.mark.parametrize("form", ["file", "stream"])
def test_the_same_rows_as_parquet_and_npy(tmp_path: Path, form: str, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = np.random.default_rng(0).normal(size=(700, 8)).astype(np.float32)
    np.save("a.npy", rows)
    pq.write_table(table(rows), "a.parquet")
    write(Path("a.feather"), table(rows), form, 100)
    fits = {path.name: cs.Ellipsoid.fit(path) for path in sorted(tmp_path.iterdir())}
    assert {*fits} == {"a.npy", "a.parquet", "a.feather"}
    for fit in fits.values():
        assert fit.covariance.tobytes() == fits["a.npy"].covariance.tobytes()
        assert fit.unit_mean.tobytes() == fits["a.npy"].unit_mean.tobytes()
    scanned = cs.scan("a.feather").select("id", "embedding").collect()
    assert scanned["id"].to_list() == [f"r{i}" for i in range(700)]
    assert (scanned["embedding"].to_numpy() == rows).all()


def test_fingerprints_tell_files_apart(tmp_path: Path):
    rows = numbers(131, 5, "float32")
    paths = [write(tmp_path / f"{i}.arrow", table(rows + i // 2)) for i in range(3)]
    first, copy, other = (open_store(path).shards[0].fingerprint() for path in paths)
    assert first == copy != other


def test_plain_lists_are_views_of_the_file(tmp_path: Path):
    rows = numbers(5000, 8, "float32")
    for form in ("file", "stream"):
        path = write(tmp_path / f"{form}.arrow", table(rows), form, step=5000)
        (shard,) = open_store(path).shards
        before = pa.total_allocated_bytes()
        batches = [*shard.batches(40_000)]
        assert pa.total_allocated_bytes() - before < 10_000
        assert not any(batch.rows.flags.owndata for batch in batches)
        assert [len(batch) for batch in batches] == [1250] * 4


def test_short_record_batches_are_joined(tmp_path: Path):
    rows = numbers(1000, 8, "float32")
    for packed in (None, "lz4"):
        path = write(tmp_path / f"{packed}.arrow", table(rows), "stream", 30, packed)
        sizes = [len(batch) for batch in open_store(path).batches(100 * 32)]
        assert sizes == [90] * 10 + [100]


MEMORY = """
import sys, threading, time
from clipsoid.store import open_store

def anonymous():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("RssAnon")) / 1024

for batch in open_store("few.arrow").batches():
    batch.rows.sum()
before = peak = anonymous()
for batch in open_store(sys.argv[1]).batches():
    batch.rows.sum()
    peak = max(peak, anonymous())
print(peak - before)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no /proc to look at")
@pytest.mark.parametrize("form", ["file", "stream"])
def test_memory_of_one_long_record_batch(tmp_path: Path, form: str, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = np.zeros((250_000, 128), np.float32)
    write(Path("few.arrow"), table(rows[:10]), form)
    write(Path("many.arrow"), table(rows), form, len(rows))
    done = run(MEMORY, "many.arrow")
    assert done.returncode == 0, done.stderr
    # Of 128 MB.
    assert float(done.stdout) < 16


def damaged_offsets(path: Path) -> None:
    """Let a list lie far behind the elements, in a file that is otherwise whole."""
    rows = numbers(6, 4, "float32")
    write(path, pa.table({"emb": lists(rows, "list")}))
    data = bytearray(path.read_bytes())
    at = data.index(np.arange(0, 28, 4, dtype=np.int32).tobytes())
    data[at : at + 28] = (np.arange(0, 28, 4, dtype=np.int32) + (1 << 28)).tobytes()
    path.write_bytes(data)


def cut_stream(path: Path) -> None:
    write(path, table(numbers(60, 4, "float32")), "stream")
    os.truncate(path, path.stat().st_size - 8)


def two_streams(path: Path) -> None:
    data = write(path, table(numbers(60, 4, "float32")), "stream").read_bytes()
    path.write_bytes(data + data)


BROKEN = {
    "is empty": lambda path: path.touch(),
    "is a Feather file of version 1; .*write_feather": lambda path: feather.write_feather(
        pa.table({"id": [1, 2]}), path, version=1
    ),
    "no Arrow IPC file: ": lambda path: path.write_bytes(b"garbage of some length" * 9),
    "cut, or is still being written": cut_stream,
    "goes on behind the end of its stream": two_streams,
    r"column 'emb'.* is damaged|no Arrow IPC file: ": damaged_offsets,
    "found 0 rows": lambda path: write(path, table(numbers(5, 2, "float32"))[:0]),
    "no column is a list .*; found id": lambda path: write(path, pa.table({"id": [1]})),
    "has two columns 'e'": lambda path: write(
        path, pa.Table.from_arrays([lists(numbers(3, 2, "float32"), "list")] * 2, ["e", "e"])
    ),
    "2 columns are a list .*: e, f; wanted key=": lambda path: write(
        path, pa.table({name: lists(numbers(3, 2, "float32"), "list") for name in "ef"})
    ),
    r"the list of row 41 has 2 elements, that of row 40 has 1;": lambda path: write(
        path, pa.table({"e": pa.array([[1.0]] * 41 + [[1.0, 2.0]], pa.list_(pa.float32()))})
    ),
    r"the list of row 40 has 2 elements; wanted 1": lambda path: write(
        path, pa.table({"e": pa.array([[1.0]] * 40 + [[1.0, 2.0]] * 3, pa.list_(pa.float32()))})
    ),
    r"column 'e', row 42: element 1 is null": lambda path: write(
        path, pa.table({"e": pa.array([[0.0, 1.0]] * 42 + [[1.0, None]], pa.list_(pa.float32()))})
    ),
    "every embedding is null": lambda path: write(
        path, pa.table({"e": pa.array([None] * 9, pa.list_(pa.float32()))})
    ),
    "the first list of column 'e' is empty": lambda path: write(
        path, pa.table({"e": pa.array([[]] * 9, pa.list_(pa.float32()))})
    ),
    "arrays of 0 elements": lambda path: write(
        path, pa.table({"e": pa.array([[]] * 9, pa.list_(pa.float32(), 0))})
    ),
}


@pytest.mark.parametrize("message", BROKEN)
@pytest.mark.filterwarnings("ignore:.*V1:FutureWarning")
@pytest.mark.filterwarnings("ignore:.*V1:DeprecationWarning")
def test_what_cannot_be_read(tmp_path: Path, message: str):
    path = tmp_path / "x.arrow"
    BROKEN[message](path)
    with pytest.raises(StoreError, match=message) as caught:
        [*open_store(path).batches()]
    assert str(path) in str(caught.value)


def test_keys_and_types(tmp_path: Path):
    path = write(tmp_path / "x.arrow", table(numbers(5, 3, "float16")))
    assert open_store(path, key="emb", dtype="float16").dim == 3
    with pytest.raises(StoreError, match=r"has no column 'e'; found id \(string\), emb \(list"):
        open_store(path, key="e")
    with pytest.raises(DTypeError, match=r"column 'id' is string; wanted a list or array of"):
        open_store(path, key="id")
    with pytest.raises(DTypeError, match="elements are float16; wanted float32"):
        open_store(path, dtype="float32")
    (shard,) = open_store(path).shards
    assert shard.schema() == {"id": pl.String(), "tag": pl.Categorical()}
    with pytest.raises(StoreError, match=r"has no column 'uid'; found id, emb, tag"):
        shard.check_columns(["uid"])


def test_columns_of_types_that_polars_has_not(tmp_path: Path):
    data = table(numbers(1, 3, "float32")).append_column(
        "span", pa.array([(1, 2, 3)], pa.month_day_nano_interval())
    )
    (shard,) = open_store(write(tmp_path / "x.arrow", data)).shards
    assert [*shard.schema()] == ["id", "tag"]
    assert shard.columns(["id"])["id"].to_list() == ["r0"]
    with pytest.raises(StoreError, match="column 'span' is month_day_nano_interval, which polars"):
        shard.columns(["span"])


def test_a_saved_dataset(tmp_path: Path):
    """Laid out as datasets.save_to_disk does it: streams, and JSON beside them."""
    rows = numbers(90, 4, "float32")
    for i in range(2):
        part = table(rows[45 * i : 45 * i + 45], "fixed")
        write(tmp_path / f"data-{i:05}-of-00002.arrow", part, "stream", 10)
    for name in ("dataset_info.json", "state.json"):
        (tmp_path / name).write_text("{}")
    found = open_set(tmp_path)
    assert found.kind == "Hugging Face datasets"
    assert found.notes == ()
    assert np.concatenate(read(found.only())).tobytes() == rows.tobytes()
    (tmp_path / "state.json").unlink()
    assert open_set(tmp_path).kind == "arrow"


def test_commands(tmp_path: Path, monkeypatch, capsys):
    from clipsoid.cli import main

    monkeypatch.chdir(tmp_path)
    rows = np.random.default_rng(0).normal(size=(300, 8)).astype(np.float32)
    Path("set").mkdir()
    for i in range(2):
        write(Path("set", f"{i}.arrow"), table(rows[150 * i : 150 * i + 150]), "stream", 20)
    np.save("x.npy", rows)
    assert main(["info", "set"]) == 0
    out = capsys.readouterr().out
    assert "2 shards, array 'emb': 0.arrow to 1.arrow" in out and "columns       id, tag" in out
    score = ["score", "set", "--id-column", "id", "--out", "scores"]
    assert main(score) == 0 and main(score) == 0
    assert "done before  all files" in capsys.readouterr().out
    assert main(["score", "x.npy", "--out", "plain"]) == 0
    found, wanted = (pl.read_parquet(f"{name}/*.parquet") for name in ("scores", "plain"))
    assert found["id"].to_list() == [f"r{i % 150}" for i in range(300)]
    columns = ["conformity", "norm", "status"]
    assert found.select(columns).equals(wanted.select(columns))


def test_tables_beside_arrow_files_are_not_their_metadata(tmp_path: Path):
    write(tmp_path / "a.arrow", table(numbers(5, 3, "float32")))
    pl.DataFrame({"caption": ["x"] * 5}).write_parquet(tmp_path / "a.parquet")
    found = open_set(tmp_path)
    assert [*found.only().shards[0].schema()] == ["id", "tag"]


@pytest.mark.parametrize(
    ("step", "form", "packed", "kept"),
    [
        (500, "file", None, 0.3),
        (500, "file", "lz4", 0.999),
        (500, "stream", None, 0.0),
        (500, "stream", "lz4", 0.3),
        (20_000, "file", None, 0.3),
        (20_000, "stream", None, 0.999),
    ],
)
def test_cut_while_it_is_read(
    tmp_path: Path, step: int, form: str, packed: str | None, kept: float
):
    rows = np.random.default_rng(0).normal(size=(20_000, 16)).astype(np.float32)
    path = write(tmp_path / "a.arrow", pa.table({"emb": lists(rows, "list")}), form, step, packed)
    size = path.stat().st_size
    done = run(CUT, path, int(size * kept), 64_000)
    assert done.returncode == 0, done.stderr
    assert f"{path}: was truncated while it was being read" in done.stdout


def test_replaced_after_it_was_opened(tmp_path: Path):
    rows = numbers(50, 4, "float32")
    path = write(tmp_path / "a.arrow", table(rows))
    store = open_store(path)
    write(tmp_path / "b", table(rows * 2))
    (tmp_path / "b").rename(path)
    for read_it in (lambda: [*store.batches()], lambda: store.shards[0].columns(["id"])):
        with pytest.raises(StoreError, match=r"a\.arrow: was changed while it was being read"):
            read_it()


@pytest.mark.parametrize("packed", [None, "lz4"])
@pytest.mark.parametrize("form", ["file", "stream"])
def test_damaged_files(tmp_path: Path, form: str, packed: str | None):
    """Whatever was changed: rows, or an error of ours; in no case a crash."""
    path = tmp_path / "x.arrow"
    contents = write(path, table(numbers(12, 4, "float32")), form, 5, packed).read_bytes()
    chance = random.Random(7)
    for _ in range(ROUNDS):
        path.write_bytes(damage(contents, chance))
        try:
            store = open_store(path)
            for batch in store.batches():
                assert batch.rows.shape[1] == store.dim
                batch.rows.tobytes()
            store.shards[0].columns(["id"])
        except ClipsoidError as error:
            assert str(path) in str(error)


def test_urls_are_refused():
    with pytest.raises(
        StoreError, match=r"s3://b/x\.arrow: .* wanted a copy of it on this machine"
    ):
        open_store("s3://b/x.arrow")


def test_without_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = write(tmp_path / "x.arrow", table(numbers(5, 3, "float32")))
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    message = r'x\.arrow: reading it needs pyarrow, .* pip install "clipsoid\[arrow\]"'
    with pytest.raises(UnavailableError, match=message):
        open_store(path)
