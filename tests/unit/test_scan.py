"""`clipsoid.scan`: embedding sets as LazyFrames."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import ml_dtypes
import numpy as np
import polars as pl
import pytest
from safetensors.numpy import save_file

import clipsoid as cs
from clipsoid._frames import Frames
from clipsoid.store.base import Shard
from clipsoid.store.mapped import MappedShard
from clipsoid.store.parquet import ParquetShard
from unit.samples import run_python

ENGINES = ["in-memory", "streaming"]
POLARS = {"float16": pl.Float16, "float32": pl.Float32, "float64": pl.Float64}
DIM = 6
COUNTS = [30, 1, 50]


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    yield
    # Polars lets go of a source that it stops on a thread of its own.
    for _ in range(100):
        left = [t.name for t in threading.enumerate() if t.name == "clipsoid-read-ahead"]
        if not left:
            return
        time.sleep(0.05)
    assert left == []


def shard_rows(i: int, dtype: str = "float32") -> np.ndarray:
    return np.random.default_rng(i).standard_normal((COUNTS[i], DIM)).astype(dtype) + 1


def ids(i: int) -> list[str]:
    return [f"{i}-{row}" for row in range(COUNTS[i])]


@pytest.fixture
def npy(tmp_path: Path) -> Path:
    for i in range(3):
        np.save(tmp_path / f"s{i}.npy", shard_rows(i))
    return tmp_path


def table(i: int, dtype: str = "float32") -> pl.DataFrame:
    rows = shard_rows(i, dtype)
    emb = pl.Series(rows, dtype=pl.Array(POLARS[dtype], DIM))
    return pl.DataFrame({"id": ids(i), "emb": emb, "width": np.arange(len(rows)) % 7})


@pytest.fixture
def parquet(tmp_path: Path) -> Path:
    for i in range(3):
        table(i).write_parquet(tmp_path / f"s{i}.parquet", row_group_size=20)
    return tmp_path


def whole(suffix: str) -> pl.DataFrame:
    """What a scan of the three shards must give, made by Polars alone."""
    frames = []
    for i in range(3):
        frame = table(i)
        row = pl.Series("row", range(len(frame)), dtype=pl.UInt32)
        name = pl.Series("shard", [f"s{i}{suffix}"] * len(frame))
        beside = [frame["id"], frame["width"]] if suffix == ".parquet" else []
        frames.append(pl.DataFrame([name, row, *beside, frame["emb"].alias("embedding")]))
    return pl.concat(frames)


@pytest.mark.parametrize("engine", ENGINES)
def test_all_columns_of_plain_arrays(npy: Path, engine: str) -> None:
    found = cs.scan(npy)
    assert found.collect_schema() == whole(".npy").schema
    assert found.collect(engine=engine).equals(whole(".npy"))


@pytest.mark.parametrize("engine", ENGINES)
def test_all_columns_of_parquet_files(parquet: Path, engine: str) -> None:
    found = cs.scan(parquet)
    assert found.collect_schema() == whole(".parquet").schema
    assert found.collect(engine=engine).equals(whole(".parquet"))


@pytest.mark.parametrize("way", ["mapped", "pread"])
@pytest.mark.parametrize("dtype", POLARS)
def test_element_types_are_those_of_the_files(
    tmp_path: Path, dtype: str, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLIPSOID_READ", way)
    rows = shard_rows(0, dtype)
    np.save(tmp_path / "a.npy", rows)
    np.save(tmp_path / "b.npy", np.asfortranarray(rows))
    np.save(tmp_path / "c.npy", rows.astype(rows.dtype.newbyteorder(">")))
    found = cs.scan(tmp_path).collect()["embedding"]
    assert found.dtype == pl.Array(POLARS[dtype], DIM)
    assert found.to_numpy().tobytes() == rows.tobytes() * 3


def test_bfloat16_is_widened(tmp_path: Path) -> None:
    rows = shard_rows(0).astype(ml_dtypes.bfloat16)
    save_file({"x": rows}, tmp_path / "a.safetensors")
    found = cs.scan(tmp_path).collect()["embedding"]
    assert found.dtype == pl.Array(pl.Float32, DIM)
    assert np.array_equal(found.to_numpy(), rows.astype(np.float32))


@pytest.mark.parametrize(
    ("dtypes", "widest"),
    [(("float16", "float32"), "float32"), (("float16", "float64", "float32"), "float64")],
)
def test_shards_of_several_types_take_the_widest(
    tmp_path: Path, dtypes: tuple[str, ...], widest: str
) -> None:
    rows = [shard_rows(0, dtype) for dtype in dtypes]
    for i, part in enumerate(rows):
        np.save(tmp_path / f"{i}.npy", part)
    found = cs.scan(tmp_path).collect()["embedding"]
    assert found.dtype == pl.Array(POLARS[widest], DIM)
    assert np.array_equal(found.to_numpy(), np.concatenate(rows))


@pytest.mark.parametrize("dtype", POLARS)
def test_missing_rows_are_null(tmp_path: Path, dtype: str) -> None:
    frame = table(0, dtype).with_columns(
        emb=pl.when(pl.col("width") == 3).then(None).otherwise(pl.col("emb"))
    )
    frame.write_parquet(tmp_path / "a.parquet", row_group_size=8)
    found = cs.scan(tmp_path).collect()["embedding"]
    assert found.null_count() == 4
    assert found.equals(frame["emb"])


def test_the_one_feature_of_a_row(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([[1.0], [2.0]]))
    assert cs.scan(tmp_path).collect()["embedding"].to_list() == [[1.0], [2.0]]


QUERIES = {
    "projection": lambda lf: lf.select("row", "shard"),
    "order of columns": lambda lf: lf.select("embedding", "row"),
    "count": lambda lf: lf.select(pl.len()),
    "by shard": lambda lf: lf.filter(pl.col("shard").str.starts_with("s2")),
    "by row": lambda lf: lf.filter(pl.col("row") % 3 == 1).select("shard", "embedding"),
    "by nothing": lambda lf: lf.filter(pl.col("row") > 1000),
    "by embedding": lambda lf: lf.filter(pl.col("embedding").arr.get(0) > 1),
    "by both": lambda lf: lf.filter(
        pl.col("embedding").arr.get(0) > 1, pl.col("row") > 4, pl.col("shard") != "s1"
    ).select("row"),
    "by either": lambda lf: lf.filter(
        (pl.col("embedding").arr.get(0) > 1) | (pl.col("row") > 40)
    ).select("row"),
    "by a null": lambda lf: lf.filter(pl.lit(None, pl.Boolean) | (pl.col("row") < 2)),
    "head": lambda lf: lf.head(33),
    "head of a projection": lambda lf: lf.select("row").head(31),
    "empty head": lambda lf: lf.head(0),
    "head, filter": lambda lf: lf.head(33).filter(pl.col("row") > 20),
    "filter, head": lambda lf: lf.filter(pl.col("row") > 20).head(15),
    "slice": lambda lf: lf.slice(25, 10),
    "tail": lambda lf: lf.tail(7),
    "aggregate": lambda lf: lf.group_by("shard", maintain_order=True).agg(pl.col("row").max()),
    "join": lambda lf: lf.join(
        lf.select("shard", "row"), on=["shard", "row"], maintain_order="left"
    ),
}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("query", QUERIES)
def test_queries_of_plain_arrays(npy: Path, query: str, engine: str) -> None:
    found = QUERIES[query](cs.scan(npy)).collect(engine=engine)
    assert found.equals(QUERIES[query](whole(".npy").lazy()).collect())


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("query", QUERIES)
def test_queries_of_parquet_files(parquet: Path, query: str, engine: str) -> None:
    found = QUERIES[query](cs.scan(parquet)).collect(engine=engine)
    assert found.equals(QUERIES[query](whole(".parquet").lazy()).collect())


@pytest.mark.parametrize("engine", ENGINES)
def test_filters_on_columns_beside_the_embeddings(parquet: Path, engine: str) -> None:
    for predicate in (
        pl.col("width") == 3,
        pl.col("id").is_in(["0-3", "2-49"]),
        (pl.col("width") < 3) & (pl.col("embedding").arr.get(1) > 1) & (pl.col("row") > 2),
    ):
        found = cs.scan(parquet).filter(predicate).collect(engine=engine)
        assert found.equals(whole(".parquet").filter(predicate)) and len(found)


class Reads:
    """Which shards were asked for embeddings, and how many rows they gave; which for columns."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, kind: type[Shard]) -> None:
        self.rows: dict[str, int] = {}
        self.columns: list[tuple[str, list[str]]] = []
        batches, columns = kind.batches, kind.columns

        def read(shard: Shard, max_bytes: int | None = None) -> Iterator[object]:
            for batch in batches(shard, max_bytes):
                self.rows[shard.name] = self.rows.get(shard.name, 0) + len(batch)
                yield batch

        def listed(shard: Shard, names: list[str]) -> pl.DataFrame:
            self.columns.append((shard.name, list(names)))
            return columns(shard, names)

        monkeypatch.setattr(kind, "batches", read)
        monkeypatch.setattr(kind, "columns", listed)


@pytest.mark.parametrize("engine", ENGINES)
def test_only_what_a_query_needs_is_read(
    parquet: Path, monkeypatch: pytest.MonkeyPatch, engine: str
) -> None:
    reads = Reads(monkeypatch, ParquetShard)
    scanned = cs.scan(parquet)
    assert scanned.select(pl.len()).collect(engine=engine).item() == 81
    assert scanned.select("shard", "row").collect(engine=engine).shape == (81, 2)
    assert (reads.rows, reads.columns) == ({}, [])
    scanned.select("id").collect(engine=engine)
    assert reads.columns == [(f"s{i}.parquet", ["id"]) for i in range(3)]
    assert reads.rows == {}
    reads.columns.clear()
    scanned.select("embedding").collect(engine=engine)
    assert reads.rows == {"s0.parquet": 30, "s1.parquet": 1, "s2.parquet": 50}
    assert reads.columns == []


@pytest.mark.parametrize("engine", ENGINES)
def test_shards_are_skipped_of_which_no_row_passes(
    parquet: Path, monkeypatch: pytest.MonkeyPatch, engine: str
) -> None:
    reads = Reads(monkeypatch, ParquetShard)
    scanned = cs.scan(parquet)
    kept = scanned.filter(pl.col("shard") == "s0.parquet", pl.col("embedding").arr.get(0) > 1)
    kept.select("id").collect(engine=engine)
    assert list(reads.rows) == ["s0.parquet"]
    assert {name for name, _ in reads.columns} == {"s0.parquet"}
    reads.rows.clear()
    scanned.filter(pl.col("id") == "2-7").select("embedding").collect(engine=engine)
    assert list(reads.rows) == ["s2.parquet"]


@pytest.mark.parametrize("engine", ENGINES)
def test_reading_stops_behind_a_head(
    npy: Path, monkeypatch: pytest.MonkeyPatch, engine: str
) -> None:
    reads = Reads(monkeypatch, MappedShard)
    assert len(cs.scan(npy).head(2).collect(engine=engine)) == 2
    assert list(reads.rows) == ["s0.npy"] and reads.rows["s0.npy"] < 30
    reads.rows.clear()
    assert len(cs.scan(npy).head(31).collect(engine=engine)) == 31
    assert reads.rows == {"s0.npy": 30, "s1.npy": 1}


@pytest.mark.parametrize("batch_size", [1, 7, 31, 1000])
def test_frames_are_no_longer_than_asked_for(npy: Path, batch_size: int) -> None:
    frames = Frames.of(cs.open_store(npy), None)
    for names in (None, ["row"]):
        found = list(frames.read(names, pl.col("row") != 3, None, batch_size))
        assert max(map(len, found)) == min(batch_size, 49)
        want = whole(".npy").filter(pl.col("row") != 3)
        assert pl.concat(found).equals(want if names is None else want.select(names))


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/self/maps")
def test_columns_of_plain_arrays_are_views_of_the_file(npy: Path) -> None:
    found = cs.scan(npy / "s0.npy").select("embedding").collect()["embedding"]
    address = found.to_numpy().ctypes.data
    spans = [
        [int(end, 16) for end in line.split()[0].split("-")]
        for line in Path("/proc/self/maps").read_text().splitlines()
        if line.endswith("s0.npy")
    ]
    assert any(start <= address < stop for start, stop in spans)


def test_memory_is_bounded(tmp_path: Path) -> None:
    # A file of zeros without blocks on the disk; read, not mapped, so that batches count.
    path = tmp_path / "a.npy"
    with path.open("wb") as file:
        shape = (250_000, 512)
        np.lib.format.write_array_header_1_0(
            file, {"descr": "<f2", "fortran_order": False, "shape": shape}
        )
        file.truncate(file.tell() + 2 * shape[0] * shape[1])
    script = f"""
import polars as pl
import clipsoid as cs
import clipsoid.polars

norm = cs.scan({str(path)!r}).select("row", pl.col("embedding").clipsoid.norm())
norm.sink_parquet({str(tmp_path / "out.parquet")!r})
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(int(status["VmHWM"].split()[0]) * 1024)
"""
    peak = int(run_python(script, CLIPSOID_READ="pread").stdout)
    assert pl.read_parquet(tmp_path / "out.parquet")["norm"].to_list() == [0.0] * 250_000
    # The rows are 256 MB; Python, numpy and polars are some 100, four batches 64.
    assert peak < 400e6


def test_a_store_or_one_side_of_a_set_is_scanned(npy: Path) -> None:
    store = cs.open_store(npy)
    for rows in (store, SimpleNamespace(image=None, text=store), str(npy), [npy / "s0.npy"]):
        assert cs.scan(rows).select("row").head(1).collect().item() == 0


def test_both_modalities_are_refused(tmp_path: Path) -> None:
    for name in ("img_emb", "text_emb"):
        (tmp_path / name).mkdir()
        np.save(tmp_path / name / f"{name}_0.npy", shard_rows(0))
    with pytest.raises(
        cs.StoreError,
        match=r"holds images and texts; wanted one of them: open_set\(path\)\.image or .*path$",
    ):
        cs.scan(tmp_path)
    store = cs.open_set(tmp_path).image
    assert (
        cs.scan(store)
        .collect()["embedding"]
        .equals(cs.scan(tmp_path / "img_emb").collect()["embedding"])
    )
    with pytest.raises(cs.StoreError, match=r"wanted scan\(set.image\) or scan\(set.text\)"):
        cs.scan(SimpleNamespace(image=store, text=store))


def test_what_is_no_set_is_refused(npy: Path) -> None:
    with pytest.raises(TypeError, match=r"found numpy.ndarray; wanted a path, a Store or a set"):
        cs.scan(np.zeros((2, 2)))
    with pytest.raises(ValueError, match="say how files are opened"):
        cs.scan(cs.open_store(npy), key="x")
    with pytest.raises(cs.StoreError, match=r"absent\.npy"):
        cs.scan(npy / "absent.npy")
    with pytest.raises(cs.DTypeError, match=r"s0.npy: elements are float32; wanted float64"):
        cs.scan(npy, dtype="float64")


def test_columns_are_chosen_in_order(parquet: Path) -> None:
    assert cs.scan(parquet, columns=["width", "id"]).collect_schema().names() == [
        "shard",
        "row",
        "width",
        "id",
        "embedding",
    ]
    assert cs.scan(parquet, columns="id").collect_schema().names()[2] == "id"
    assert cs.scan(parquet, columns=[]).collect_schema().len() == 3
    with pytest.raises(cs.StoreError, match=r"s0.parquet: has no column 'url'; found id"):
        cs.scan(parquet, columns=["url"])


def test_other_embeddings_are_read_if_they_are_named(tmp_path: Path) -> None:
    table(0).with_columns(text=pl.col("emb") * 2).write_parquet(tmp_path / "a.parquet")
    assert "text" not in cs.scan(tmp_path, key="emb").collect_schema()
    found = cs.scan(tmp_path, key="emb", columns=["text"]).collect()
    assert np.array_equal(found["text"].to_numpy(), 2 * found["embedding"].to_numpy())


def test_shards_must_have_the_same_columns(parquet: Path) -> None:
    table(1).rename({"width": "height"}).write_parquet(parquet / "s1.parquet")
    with pytest.raises(cs.StoreError, match=r"s1.parquet: has a column 'height', but .*s0.parquet"):
        cs.scan(parquet)
    assert len(cs.scan(parquet, columns=["id"]).collect()) == 81
    table(1).with_columns(width=pl.lit("wide")).write_parquet(parquet / "s1.parquet")
    with pytest.raises(cs.StoreError, match=r"s1.parquet: column 'width' is String, but Int64 in"):
        cs.scan(parquet)
    table(1).rename({"id": "row"}).write_parquet(parquet / "s1.parquet")
    with pytest.raises(cs.StoreError, match=r"column 'row' has the name of a column that every"):
        cs.scan(parquet / "s1.parquet")


@pytest.mark.parametrize("empty", [0, 2])
def test_a_column_without_any_value_fits_every_type(parquet: Path, empty: int) -> None:
    table(empty).with_columns(id=pl.lit(None)).write_parquet(parquet / f"s{empty}.parquet")
    found = cs.scan(parquet).collect()
    assert found["id"].null_count() == COUNTS[empty]
    assert found.schema["id"] == pl.String


@pytest.mark.parametrize("engine", ENGINES)
def test_a_broken_shard_is_a_store_error(npy: Path, engine: str, tmp_path: Path) -> None:
    scanned = cs.scan(npy)
    with (npy / "s2.npy").open("r+b") as file:
        file.truncate(200)
    with pytest.raises(cs.StoreError, match=r"s2.npy: was truncated while it was being read"):
        scanned.collect(engine=engine)
    with pytest.raises(cs.StoreError, match=r"s2.npy: was truncated while it was being read"):
        scanned.sink_parquet(tmp_path / "out.parquet")
    # What is not read cannot be broken.
    assert len(scanned.filter(pl.col("shard") != "s2.npy").collect(engine=engine)) == 31


#: What is cut lies in a frame that polars holds, long after the source has checked it.
CUT_IN_USE = """
import os, numpy as np, polars as pl, clipsoid as cs
np.save("x.npy", np.ones((30_000, 64), np.float32))
held = cs.scan("x.npy").collect()
os.truncate("x.npy", 4096)
norm, cosine = (pl.col("embedding").clipsoid.norm(on_invalid="null"),
                pl.col("embedding").clipsoid.cosine("embedding", on_invalid="null"))
for expression in (norm, cosine):
    try:
        print(held.select(expression).sum())
    except Exception as error:
        print(type(error).__name__, error)
    # The pages that were gone are zeros by now: only the first use meets them.
    np.save("x.npy", np.ones((30_000, 64), np.float32))
    held = cs.scan("x.npy").collect()
    os.truncate("x.npy", 4096)
"""


def test_a_file_that_is_cut_while_its_frame_is_in_use(tmp_path: Path) -> None:
    done = run_python(f"import os; os.chdir({str(tmp_path)!r})\n{CUT_IN_USE}")
    lines = [line for line in done.stdout.splitlines() if "truncated while its rows" in line]
    assert len(lines) == 2 and "column 'embedding': a file that was scanned" in lines[0]
