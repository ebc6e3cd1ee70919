from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from clipsoid.errors import DTypeError, MismatchError, StoreError
from clipsoid.store import open_store, parquet
from clipsoid.store.parquet_pages import ColumnPages
from store.makers import assert_reads, numbers, read

FLOATS = {"float16": pl.Float16, "float32": pl.Float32, "float64": pl.Float64}
ARROW = {"float16": pa.float16(), "float32": pa.float32(), "float64": pa.float64()}


def frame(rows: np.ndarray, dtype: str, kind: str) -> pl.DataFrame:
    array = pl.Series("emb", rows, dtype=pl.Array(FLOATS[dtype], rows.shape[1]))
    return pl.DataFrame({"emb": array if kind == "array" else array.arr.to_list()}).with_row_index(
        "id"
    )


def write(path: Path, rows: np.ndarray, dtype: str, kind: str, **options: object) -> None:
    frame(rows, dtype, kind).write_parquet(path, **options)


@pytest.mark.parametrize("compression", ["zstd", "uncompressed"])
@pytest.mark.parametrize("count", [1, 7, 100])
@pytest.mark.parametrize("kind", ["list", "array"])
@pytest.mark.parametrize("dtype", FLOATS)
def test_polars_files(tmp_path: Path, dtype: str, kind: str, count: int, compression: str):
    rows = numbers(count, 5, dtype)
    write(tmp_path / "a.parquet", rows, dtype, kind, row_group_size=40, compression=compression)
    assert_reads(tmp_path / "a.parquet", rows)


WRITERS = {
    "plain": {"use_dictionary": False},
    "dictionary": {"use_dictionary": True},
    "snappy": {"compression": "snappy", "use_dictionary": False},
    "version 2 pages": {"data_page_version": "2.0", "use_dictionary": False},
    "page index": {"write_page_index": True, "use_dictionary": False},
    "split": {
        "use_dictionary": False,
        "column_encoding": {"emb.list.element": "BYTE_STREAM_SPLIT"},
    },
    "checksums": {"use_dictionary": False, "write_page_checksum": True},
}


def arrow(rows: np.ndarray, dtype: str, kind: str) -> pa.Table:
    flat = pa.array(rows.reshape(-1), ARROW[dtype])
    count, dim = rows.shape
    if kind == "fixed":
        lists = pa.FixedSizeListArray.from_arrays(flat, dim)
    elif kind == "large":
        offsets = pa.array(np.arange(count + 1) * dim, pa.int64())
        lists = pa.LargeListArray.from_arrays(offsets, flat)
    else:
        lists = pa.ListArray.from_arrays(pa.array(np.arange(count + 1) * dim, pa.int32()), flat)
    return pa.table({"id": np.arange(count), "emb": lists})


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("kind", ["list", "large", "fixed"])
@pytest.mark.parametrize("dtype", FLOATS)
def test_pyarrow_files_of_one_row_group(tmp_path: Path, dtype: str, kind: str, writer: str):
    # Repeated values, so that the dictionary is kept; small pages, so that there are many.
    rows = numbers(50, 24, dtype)[np.arange(1000) % 50]
    options = {"data_page_size": 2000, "write_batch_size": 64, **WRITERS[writer]}
    if dtype == "float16" and writer == "split":
        options["column_encoding"] = {"emb.list.element": "PLAIN"}
    pq.write_table(arrow(rows, dtype, kind), tmp_path / "a.parquet", **options)
    store = open_store(tmp_path / "a.parquet")
    assert store.dim == 24
    for max_bytes in (10_000, 1 << 24):
        (found,) = read(store, max_bytes)
        assert found.tobytes() == rows.tobytes()


def cuts(path: Path, max_bytes: int) -> list[tuple[int, bool]]:
    with path.open("rb", buffering=0) as file:
        pages = ColumnPages(file, path, path.stat().st_size, "emb")
        found = [cut for run in pages.runs(max_bytes) for cut in pages.cuts(run, max_bytes)]
    return [(cut.rows, cut.assumed) for cut in found]


@pytest.mark.parametrize("writer", WRITERS)
def test_a_row_group_is_cut_into_runs_of_pages(tmp_path: Path, writer: str):
    path = tmp_path / "a.parquet"
    rows = numbers(20_000, 24, "float64")
    options = {"data_page_size": 20_000, "write_batch_size": 64, **WRITERS[writer]}
    pq.write_table(arrow(rows, "float64", "list"), path, row_group_size=20_000, **options)
    found = cuts(path, 200_000)
    assert sum(count for count, _ in found) == 20_000
    # Each row is 192 bytes: about a thousand to a cut, never the row group as a whole.
    assert max(count for count, _ in found) < 3000
    assert any(assumed for _, assumed in found) == (writer not in ("version 2 pages", "page index"))


def test_small_row_groups_are_read_together(tmp_path: Path):
    path = tmp_path / "a.parquet"
    rows = numbers(1000, 8, "float32")
    write(path, rows, "float32", "list", row_group_size=10, compression="uncompressed")
    assert len(cuts(path, 1 << 24)) == 1
    assert len(cuts(path, 1)) == 100
    assert_reads(path, rows)


def test_many_columns_and_nested_ones_beside(tmp_path: Path):
    rows = numbers(500, 6, "float32")
    table = arrow(rows, "float32", "list").append_column(
        "meta", pa.array([{"w": i, "tags": ["a", None]} for i in range(500)])
    )
    table = table.select(["meta", "emb", "id"])
    for i in range(40):
        table = table.append_column(f"c{i}", pa.array([None] * 500, pa.string()))
    pq.write_table(table, tmp_path / "a.parquet", data_page_size=500, write_batch_size=16)
    assert_reads(tmp_path / "a.parquet", rows)


def nulls(rows: np.ndarray, dtype: str, kind: str, at: list[int]) -> pl.DataFrame:
    return frame(rows, dtype, kind).with_columns(
        pl.when(pl.col("id").is_in(at)).then(None).otherwise(pl.col("emb")).alias("emb")
    )


@pytest.mark.parametrize("engine", ["polars", "pyarrow"])
@pytest.mark.parametrize("kind", ["list", "array"])
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("at", [[0], [0, 1, 50, 51, 99], [20, 40, 60, 80]])
def test_null_embeddings(tmp_path: Path, dtype: str, kind: str, engine: str, at: list[int]):
    rows = numbers(100, 5, dtype)
    table = nulls(rows, dtype, kind, at)
    if engine == "polars":
        table.write_parquet(tmp_path / "a.parquet", row_group_size=30)
    else:
        pq.write_table(
            table.to_arrow(), tmp_path / "a.parquet", data_page_size=200, write_batch_size=5
        )
    store = open_store(tmp_path / "a.parquet")
    assert (store.count, store.dim) == (100, 5)
    for max_bytes in (400, 1 << 20):
        batches = list(store.batches(max_bytes))
        found = np.concatenate([batch.rows for batch in batches])
        missing = np.concatenate(
            [np.zeros(len(b), bool) if b.missing is None else b.missing for b in batches]
        )
        assert np.flatnonzero(missing).tolist() == at
        assert np.isnan(found[at]).all()
        assert found.dtype == rows.dtype
        assert found[~missing].tobytes() == rows[~missing].tobytes()


def test_a_shard_of_nulls_takes_the_dimension_of_the_others(tmp_path: Path):
    schema = {"emb": pl.List(pl.Float32)}
    pl.DataFrame({"emb": [None, None]}, schema=schema).write_parquet(tmp_path / "a.parquet")
    pl.DataFrame({"emb": []}, schema=schema).write_parquet(tmp_path / "b.parquet")
    with pytest.raises(StoreError, match="every embedding is null"):
        open_store(tmp_path / "a.parquet")
    rows = numbers(3, 4, "float32")
    write(tmp_path / "c.parquet", rows, "float32", "list")
    store = open_store(tmp_path)
    assert [(s.count, s.dim) for s in store.shards] == [(2, 4), (0, 4), (3, 4)]
    null, _, full = read(store)
    assert np.isnan(null).all()
    assert null.shape == (2, 4)
    assert full.tobytes() == rows.tobytes()


UNEQUAL = {
    "last": [[1.0, 2.0]] * 9 + [[1.0, 2.0, 3.0]],
    "first": [[1.0, 2.0, 3.0]] + [[1.0, 2.0]] * 9,
    "same mean": [[1.0, 2.0]] * 4 + [[1.0], [1.0, 2.0, 3.0]] + [[1.0, 2.0]] * 4,
    "same mean at first": [[1.0], [1.0, 2.0, 3.0]] + [[1.0, 2.0]] * 8,
    "empty": [[1.0, 2.0]] * 4 + [[]] + [[1.0, 2.0]] * 5,
    "twice and empty": [[1.0, 2.0]] * 4 + [[], [1.0, 2.0, 3.0, 4.0]] + [[1.0, 2.0]] * 4,
    "with a null": [[1.0, 2.0]] * 4 + [None, [1.0, 2.0, 3.0]] + [[1.0, 2.0]] * 4,
}


@pytest.mark.parametrize("engine", ["polars", "pyarrow"])
@pytest.mark.parametrize("case", UNEQUAL)
@pytest.mark.parametrize("max_bytes", [1, 1 << 20])
def test_unequal_lists_are_named(tmp_path: Path, case: str, engine: str, max_bytes: int):
    lists = UNEQUAL[case]
    if engine == "polars":
        table = pl.DataFrame({"emb": lists}, schema={"emb": pl.List(pl.Float32)})
        table.write_parquet(tmp_path / "a.parquet")
    else:
        table = pa.table({"emb": pa.array(lists, pa.list_(pa.float32()))})
        pq.write_table(table, tmp_path / "a.parquet", data_page_size=8, write_batch_size=1)
    with pytest.raises(StoreError, match=r"a\.parquet: column 'emb': the list of row (\d)") as got:
        for _ in open_store(tmp_path / "a.parquet").batches(max_bytes):
            pass
    row = int(str(got.value).split("the list of row ")[1][0])
    length = int(str(got.value).split(" has ")[1][0])
    assert lists[row] is not None
    assert len(lists[row]) == length
    lengths = {len(item) for item in lists if item is not None}
    assert sum(f"has {n}" in str(got.value) or f"wanted {n}" in str(got.value) for n in lengths) > 1


@pytest.mark.parametrize("kind", [pl.List(pl.Float32), pl.Array(pl.Float32, 3)])
@pytest.mark.parametrize("at", [0, 40, 99])
def test_a_null_inside_a_list_is_named(tmp_path: Path, kind: pl.DataType, at: int):
    lists: list[object] = [[1.0, 2.0, 3.0] for _ in range(100)]
    lists[at] = [1.0, None, 3.0]
    lists[7] = None
    table = pl.DataFrame({"emb": lists}, schema={"emb": kind})
    table.write_parquet(tmp_path / "a.parquet", row_group_size=30)
    message = rf"a\.parquet: column 'emb', row {at}: element 1 is null"
    with pytest.raises(StoreError, match=message):
        for _ in open_store(tmp_path / "a.parquet").batches(100):
            pass


def test_a_nan_is_a_number(tmp_path: Path):
    rows = numbers(10, 3, "float32")
    rows[4, 1], rows[5, 2] = np.nan, np.inf
    write(tmp_path / "a.parquet", rows, "float32", "list")
    assert all(batch.missing is None for batch in open_store(tmp_path / "a.parquet").batches())
    assert_reads(tmp_path / "a.parquet", rows)


def test_choice_of_the_column(tmp_path: Path):
    path = tmp_path / "a.parquet"
    x = pl.Series("x", numbers(4, 3, "float32"))
    y = pl.Series("y", numbers(4, 2, "float64", 1))
    pl.DataFrame([x, y, pl.Series("id", list("abcd")), pl.Series("n", [[1]] * 4)]).write_parquet(
        path
    )
    with pytest.raises(StoreError, match=r"2 columns are a list.*: x, y; wanted key="):
        open_store(path)
    with pytest.raises(StoreError, match=r"no column 'z'; found x \(.*y \(.*id \(String\)"):
        open_store(path, key="z")
    with pytest.raises(DTypeError, match=r"column 'n' is List\(Int64\); wanted a list or array"):
        open_store(path, key="n")
    with pytest.raises(DTypeError, match="column 'y': elements are float64; wanted float32"):
        open_store(path, key="y", dtype="float32")
    assert (open_store(path, key="x").dim, open_store(path, key="y").dim) == (3, 2)
    pl.DataFrame({"id": [1]}).write_parquet(path)
    with pytest.raises(StoreError, match=r"no column is a list or array.*; found id \(Int64\)"):
        open_store(path)


def test_columns_beside(tmp_path: Path):
    path = tmp_path / "k=1" / "a [1].parquet"
    path.parent.mkdir()
    write(path, numbers(10, 3, "float32"), "float32", "list", row_group_size=4)
    shard = open_store(path).shards[0]
    found = shard.columns(["id"])
    assert found.columns == ["id"]
    assert found["id"].to_list() == list(range(10))
    shard.check_columns(["id"])
    for find in (shard.columns, shard.check_columns):
        with pytest.raises(StoreError, match=r"no column 'uid'; found id, emb"):
            find(["id", "uid"])


@pytest.mark.parametrize("compression", ["zstd", "uncompressed"])
def test_truncated(tmp_path: Path, compression: str):
    path = tmp_path / "a.parquet"
    write(path, numbers(500, 8, "float32"), "float32", "list", compression=compression)
    whole = path.read_bytes()
    for kept in (0, 1, 4, 8, 11, 12, 100, len(whole) // 2, len(whole) - 8, len(whole) - 1):
        path.write_bytes(whole[:kept])
        with pytest.raises(StoreError, match=r"a\.parquet: is (empty|truncated or no parquet)"):
            open_store(path)
    path.write_text("a,b\n1,2\n" * 20)
    with pytest.raises(StoreError, match=r"a\.parquet: is truncated or no parquet file"):
        open_store(path)


def test_damaged_footers_never_escape(tmp_path: Path):
    path = tmp_path / "a.parquet"
    write(path, numbers(100, 4, "float32"), "float32", "list")
    whole = path.read_bytes()
    length = int.from_bytes(whole[-8:-4], "little")
    random = np.random.default_rng(0)
    refused = 0
    for _ in range(200):
        content = bytearray(whole)
        content[len(whole) - 8 - int(random.integers(1, length))] ^= 1 << int(random.integers(8))
        path.write_bytes(content)
        try:
            store = open_store(path)
            for _ in store.shards[0].batches(1000):
                pass
        except (StoreError, DTypeError):
            refused += 1
    assert refused > 20


def test_a_damaged_page_is_named(tmp_path: Path):
    path = tmp_path / "a.parquet"
    write(path, numbers(5000, 8, "float32"), "float32", "list", compression="zstd")
    content = bytearray(path.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 2000] = bytes(2000)
    path.write_bytes(content)
    with pytest.raises(StoreError, match=r"a\.parquet: (column 'emb' is damaged|the parquet meta)"):
        for _ in open_store(path).batches():
            pass


def test_dimensions_must_agree_and_dtypes_need_not(tmp_path: Path):
    rows = {"a": numbers(5, 3, "float16"), "b": numbers(6, 3, "float64")}
    write(tmp_path / "a.parquet", rows["a"], "float16", "list")
    write(tmp_path / "b.parquet", rows["b"], "float64", "array")
    store = open_store(tmp_path)
    assert store.dtypes == {"float16", "float64"}
    assert [part.tobytes() for part in read(store)] == [part.tobytes() for part in rows.values()]
    write(tmp_path / "c.parquet", numbers(5, 4, "float16"), "float16", "list")
    with pytest.raises(MismatchError, match=r"c\.parquet: rows have 4 .*a\.parquet have 3"):
        open_store(tmp_path)


def test_only_the_footer_is_read_at_opening(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write(tmp_path / "a.parquet", numbers(5, 3, "float32"), "float32", "list")

    def column(data: bytes, name: str) -> pl.Series:
        raise AssertionError("rows were read")

    monkeypatch.setattr(parquet, "_column", column)
    assert open_store(tmp_path / "a.parquet").dim == 3


def test_the_schema_is_that_of_the_columns_beside_the_embeddings(tmp_path: Path):
    rows = numbers(3, 2, "float32")
    table = frame(rows, "float32", "list").with_columns(url=pl.lit("a"), emb2=pl.col("emb"))
    table.write_parquet(tmp_path / "a.parquet")
    (shard,) = open_store(tmp_path / "a.parquet", key="emb").shards
    assert shard.schema() == {
        "id": pl.get_index_type(),
        "url": pl.String,
        "emb2": pl.List(pl.Float32),
    }
    np.save(tmp_path / "a.npy", rows)
    (plain,) = open_store(tmp_path / "a.npy").shards
    assert plain.schema() == {}
