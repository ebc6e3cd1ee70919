"""`clipsoid.scan` of a bucket: what a query needs is fetched, ahead and once, and nothing else."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import clipsoid as cs
from clipsoid._frames import Frames
from clipsoid.store.remote import ahead
from store import layouts as made
from store.makers import numbers
from store.remote import Bucket

SHARDS, COUNT, DIM = 24, 512, 32
ROWS = numbers(SHARDS * COUNT, DIM, "float32")
#: A shard is one block.
BLOCK = COUNT * DIM * 4


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    yield
    # Polars lets go of a source that it stops on a thread of its own.
    for _ in range(100):
        if not [t for t in threading.enumerate() if t.name == "clipsoid-read-ahead"]:
            return
        time.sleep(0.05)
    pytest.fail("a thread is left")


@pytest.fixture
def many(bucket: Bucket, tmp_path: Path) -> Bucket:
    """Arrays and, of each, a table with the number of the shard."""
    for i, part in enumerate(np.split(ROWS, SHARDS)):
        np.save(tmp_path / "x.npy", part)
        pl.DataFrame({"number": [i] * COUNT}).write_parquet(tmp_path / "x.parquet")
        bucket.put(f"set/x_{i:02}.npy", (tmp_path / "x.npy").read_bytes())
        bucket.put(f"set/x_{i:02}.parquet", (tmp_path / "x.parquet").read_bytes())
    return bucket


def scanned(bucket: Bucket) -> pl.LazyFrame:
    found = cs.scan(bucket.url("set"))
    bucket.server.forget()
    return found


def arrays(bucket: Bucket) -> list[int]:
    """Numbers of the shards of which embeddings were fetched."""
    keys = {get.key for get in bucket.server.gets}
    return sorted(int(key[-6:-4]) for key in keys if key.endswith(".npy"))


@pytest.mark.parametrize("kind", [*made.SINGLE, "clip-retrieval", "DataComp"])
def test_every_layout(bucket: Bucket, tmp_path: Path, kind: str):
    both = {"clip-retrieval": made.clip_retrieval, "DataComp": made.datacomp}
    lay_out = both.get(kind) or made.SINGLE[kind][0]
    lay_out(tmp_path / "set")
    places = [bucket.put_folder(tmp_path / "set"), tmp_path / "set"]
    if kind in both:
        with pytest.raises(cs.StoreError, match=r"set: holds images and texts; wanted one of them"):
            cs.scan(places[0])
        places = [cs.open_set(place).text for place in places]
    remote, local = (cs.scan(place).collect() for place in places)
    assert remote.equals(local) and len(remote) == made.ROWS
    ids = (*[ids for _, ids in made.SINGLE.values() if ids], "uid", "caption")
    assert kind in ("npy", "npz", "parquet", "safetensors") or set(ids) & set(remote.columns)


def test_shards_are_fetched_ahead_and_once(many: Bucket):
    query = scanned(many).select("number", "embedding")
    many.server.hold = 0.05
    found = query.collect()
    assert found["embedding"].to_numpy().tobytes() == ROWS.tobytes()
    assert found["number"].to_list() == [i for i in range(SHARDS) for _ in range(COUNT)]
    assert 8 <= many.server.most <= ahead.IN_FLIGHT + 1
    assert many.server.twice() == 0


def test_what_a_query_leaves_out_is_not_fetched(many: Bucket):
    assert scanned(many).select("shard", "row").collect().shape == (len(ROWS), 2)
    assert many.server.requests == 0
    found = (
        scanned(many).filter(pl.col("shard").is_in(["x_03.npy", "x_20.npy"])).select("embedding")
    )
    assert len(found.collect()) == 2 * COUNT
    assert [arrays(many), many.server.total()] == [[3, 20], 2 * BLOCK]
    found = scanned(many).filter(pl.col("number").is_in([5, 6, 22])).select("embedding").collect()
    assert found["embedding"].to_numpy().tobytes() == np.split(ROWS, SHARDS)[5].tobytes() + (
        np.split(ROWS, SHARDS)[6].tobytes() + np.split(ROWS, SHARDS)[22].tobytes()
    )
    assert (arrays(many), many.server.twice()) == ([5, 6, 22], 0)


@pytest.mark.parametrize("count", [3, COUNT, COUNT + 7])
def test_rows_behind_a_head_are_not_fetched(many: Bucket, count: int):
    found = scanned(many).select("embedding").head(count).collect()
    assert found["embedding"].to_numpy().tobytes() == ROWS[:count].tobytes()
    # A request has 16 KiB at least only where nothing is planned.
    assert (many.server.total(), many.server.twice()) == (count * DIM * 4, 0)


def test_rows_behind_a_head_of_parquet(bucket: Bucket, tmp_path: Path):
    lists = pa.FixedSizeListArray.from_arrays(pa.array(ROWS.reshape(-1)), DIM)
    pq.write_table(pa.table({"emb": lists}), tmp_path / "x.parquet", row_group_size=COUNT)
    bucket.put_file(tmp_path / "x.parquet", "set/")
    found = scanned(bucket).head(COUNT + 7).collect()
    assert found["embedding"].to_numpy().tobytes() == ROWS[: COUNT + 7].tobytes()
    # Two row groups of 24, and the footer.
    assert bucket.server.total() < 4 * BLOCK and bucket.server.twice() == 0


def test_closing_drops_what_is_on_its_way(many: Bucket):
    frames = Frames.of(cs.open_set(many.url("set")).rows, None)
    many.server.forget()
    many.server.fail = lambda number, key: None if key == "set/x_00.npy" else "slow"
    read = frames.read(["embedding"], None, None, None)
    assert len(next(read)) == COUNT
    read.close()
    # The thread that waited for a stalled server has ended; the server is still waiting.
    assert not [t for t in threading.enumerate() if t.name == "clipsoid-read-ahead"]
    assert not many.server.released.is_set()
