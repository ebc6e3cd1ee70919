"""Sets in a bucket: the same bits as on disk, each byte fetched once, many requests in flight."""

from __future__ import annotations

import hashlib
import json
import re
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.numpy import save_file

from clipsoid.errors import MismatchError, StoreError
from clipsoid.store import base, mapped, open_store, parquet
from clipsoid.store.job import Job
from clipsoid.store.remote import ahead
from store.makers import DTYPES, LAYOUTS, bits, numbers, read, swapped_bits
from store.remote import Bucket

COUNT, DIM = 9_000, 32


def table(rows: np.ndarray) -> pa.Table:
    lists = pa.FixedSizeListArray.from_arrays(pa.array(rows.reshape(-1)), rows.shape[1])
    ids = np.arange(len(rows))
    texts = [f"caption number {i} of a set that has more columns" for i in ids]
    return pa.table({"id": ids, "before": texts, "emb": lists, "behind": texts})


def write(folder: Path, kind: str, rows: np.ndarray) -> Path:
    """Write one file; of the kinds that are cut out, the array lies among others."""
    path = folder / f"x.{kind.split()[0]}"
    match kind.split():
        case ["npy"]:
            np.save(path, rows)
        case ["npy", "fortran"]:
            np.save(path, np.asfortranarray(rows))
        case ["npz", "stored"]:
            np.savez(path, before=rows[:50], emb=rows, behind=rows[:50])
        case ["npz", "fortran"]:
            np.savez(path, before=rows[:50], emb=np.asfortranarray(rows))
        case ["npz", "packed"]:
            np.savez_compressed(path, before=rows[:50], emb=rows, behind=rows[:50])
        case ["safetensors"]:
            save_file({"a": rows[:50], "emb": rows, "z": rows[:50]}, path)
        case ["pt"]:
            torch.save({"a": torch.zeros(50, 4), "emb": torch.from_numpy(rows)}, path)
        case ["parquet", "one"]:
            pq.write_table(table(rows), path)
        case ["parquet", "groups"]:
            pq.write_table(table(rows), path, row_group_size=1000)
        case ["parquet", "index"]:
            pq.write_table(table(rows), path, write_page_index=True, data_page_size=1 << 14)
        case ["parquet", "v2"]:
            pq.write_table(table(rows), path, data_page_version="2.0", data_page_size=1 << 14)
        case ["parquet", "polars"]:
            pl.from_arrow(table(rows)).write_parquet(path)
    return path


KINDS = [
    "npy",
    "npy fortran",
    "npz stored",
    "npz fortran",
    "npz packed",
    "safetensors",
    "pt",
    "parquet one",
    "parquet groups",
    "parquet index",
    "parquet v2",
    "parquet polars",
]


def key_of(path: Path) -> str | None:
    return None if path.suffix == ".npy" else "emb"


def needed(path: Path, kind: str, rows: np.ndarray) -> tuple[int, int]:
    """Least and most bytes that a pass has to fetch, by the producer's own account of the file."""
    size = path.stat().st_size
    if kind.startswith("parquet"):
        meta = pq.read_metadata(path)
        groups = [meta.row_group(i).column(2) for i in range(meta.num_row_groups)]
        assert all(group.path_in_schema.startswith("emb") for group in groups)
        pages = sum(group.total_compressed_size for group in groups)
        # The footer, and of an offset index some bytes for each page.
        return pages + meta.serialized_size + 8, pages + meta.serialized_size + 8 + size // 100
    if kind in ("npz packed", "npz fortran"):
        import zipfile

        with zipfile.ZipFile(path) as archive:
            member = archive.getinfo("emb.npy")
        return member.compress_size, member.compress_size + 1000
    return rows.nbytes, rows.nbytes


@pytest.mark.parametrize("kind", KINDS)
def test_same_bits_and_every_byte_once(
    bucket: Bucket, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
):
    # Row groups are larger than a cut, so that they are streamed.
    for module in (base, mapped, parquet):
        monkeypatch.setattr(module, "BATCH_BYTES", 1 << 18)
    rows = numbers(COUNT, DIM, "float32")
    path = write(tmp_path, kind, rows)
    url = bucket.put_file(path, "set/")
    bucket.server.forget()
    store = open_store(url, key=key_of(path))
    assert (store.count, store.dim, store.dtypes) == (COUNT, DIM, {"float32"})
    # A header, or the end; of an archive, the header of the member too.
    assert bucket.server.requests <= (2 if path.suffix in (".npz", ".pt") else 1)
    bucket.server.forget()
    found = np.concatenate([batch.rows for batch in store.batches(1 << 18)])
    assert found.tobytes() == rows.tobytes()
    least, most = needed(path, kind, rows)
    assert least <= bucket.server.total() <= most
    assert bucket.server.twice() == 0
    bucket.server.forget()
    # The next pass is like the first.
    assert sum(len(batch) for batch in store.batches(1 << 18)) == COUNT
    assert least <= bucket.server.total() <= most


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_element_type_and_order(
    bucket: Bucket, tmp_path: Path, dtype: str, layout: tuple[str, str]
):
    rows = bits(31, 5, dtype)
    np.save(tmp_path / "x.npy", swapped_bits(rows, layout))
    url = bucket.put_file(tmp_path / "x.npy")
    store = open_store(url, dtype="bfloat16" if dtype == "bfloat16" else None)
    for max_bytes in (1, 1000, 1 << 20):
        (found,) = read(store, max_bytes)
        assert found.tobytes() == rows.tobytes()


@pytest.mark.parametrize("dtype", DTYPES)
def test_safetensors_of_every_element_type(bucket: Bucket, tmp_path: Path, dtype: str):
    from safetensors.torch import save_file as save_tensors

    rows = bits(131, 5, dtype)
    tensor = torch.from_numpy(rows.view(f"i{rows.itemsize}").copy()).view(getattr(torch, dtype))
    save_tensors({"emb": tensor}, tmp_path / "x.safetensors")
    (found,) = read(open_store(bucket.put_file(tmp_path / "x.safetensors")))
    assert found.tobytes() == rows.tobytes()


def test_many_requests_in_flight_across_the_ends_of_shards(bucket: Bucket, tmp_path: Path):
    rows = numbers(24 * 512, 32, "float32")
    for i, part in enumerate(np.split(rows, 24)):
        np.save(tmp_path / "x.npy", part)
        # A shard is one block: more in flight than one are blocks of several shards.
        bucket.put(f"set/x_{i:02}.npy", (tmp_path / "x.npy").read_bytes())
    store = open_store(bucket.url("set"))
    bucket.server.forget()
    bucket.server.hold = 0.05
    found = np.concatenate([batch.rows for batch in store.batches()])
    assert found.tobytes() == rows.tobytes()
    assert 8 <= bucket.server.most <= ahead.IN_FLIGHT + 1
    assert (bucket.server.total(), bucket.server.twice()) == (rows.nbytes, 0)


def test_no_further_ahead_than_said(bucket: Bucket, tmp_path: Path):
    rows = numbers(60 * 512, 32, "float32")
    np.save(tmp_path / "x.npy", rows)
    store = open_store(bucket.put_file(tmp_path / "x.npy"))
    bucket.server.forget()
    batches = store.batches(1 << 16)
    next(batches)
    # The consumer has one batch, the thread reads two or three more, and stops.
    deadline = time.monotonic() + 30
    while bucket.server.in_flight and time.monotonic() < deadline:
        time.sleep(0.01)
    assert len(bucket.server.gets) <= ahead.IN_FLIGHT + 2 + 4
    batches.close()


def test_a_set_is_opened_by_many_requests_at_once(bucket: Bucket, tmp_path: Path):
    np.save(tmp_path / "x.npy", numbers(3, 4, "float32"))
    for i in range(60):
        bucket.put(f"set/{i:02}.npy", (tmp_path / "x.npy").read_bytes())
    bucket.server.forget()
    bucket.server.hold = 0.05
    store = open_store(bucket.url("set"))
    assert [shard.name for shard in store.shards] == [f"{i:02}.npy" for i in range(60)]
    assert 8 <= bucket.server.most <= 32
    assert (bucket.server.requests, bucket.server.listings) == (60, 1)


def test_errors_of_opening_come_in_order(bucket: Bucket, tmp_path: Path):
    np.save(tmp_path / "x.npy", numbers(3, 4, "float32"))
    for i in range(40):
        bucket.put(f"set/{i:02}.npy", (tmp_path / "x.npy").read_bytes())
    bucket.put("set/17.npy", b"")
    bucket.put("set/31.npy", b"no array")
    with pytest.raises(StoreError, match=r"set/17\.npy: is empty \(0 bytes\); wanted an \.npy"):
        open_store(bucket.url("set"))


def test_columns_of_parquet(bucket: Bucket, tmp_path: Path):
    rows = numbers(COUNT, DIM, "float32")
    path = write(tmp_path, "parquet groups", rows)
    (shard,) = open_store(bucket.put_file(path)).shards
    bucket.server.forget()
    found = shard.columns(["behind", "id"])
    assert found.equals(pl.read_parquet(path, columns=["id", "behind"]).select("behind", "id"))
    # The two columns and the end of the file; the embeddings are 1.1 MB.
    meta = pq.read_metadata(path)
    chunks = [meta.row_group(i).column(c) for i in range(meta.num_row_groups) for c in (0, 3)]
    assert bucket.server.total() <= sum(c.total_compressed_size for c in chunks) + (64 << 10)
    with pytest.raises(StoreError, match=r"x\.parquet: has no column 'uid'; found id, before, emb"):
        shard.columns(["uid"])
    # What the columns are was seen when the file was opened.
    bucket.server.forget()
    shard.check_columns(["id"])
    assert list(shard.schema()) == ["id", "before", "behind"]
    assert bucket.server.requests == 0


def test_columns_come_once(bucket: Bucket, tmp_path: Path):
    # The pages of the last column come with the footer, in part; those of the first do not.
    rows = numbers(COUNT, DIM, "float32")
    (shard,) = open_store(bucket.put_file(write(tmp_path, "parquet one", rows))).shards
    for names in (["behind"], ["id"], ["behind", "before", "id"]):
        bucket.server.forget()
        assert shard.columns(names).columns == names
        assert bucket.server.twice() == 0


def test_parquet_with_nulls(bucket: Bucket, tmp_path: Path):
    rows = numbers(500, 8, "float32")
    lists = [None if i % 7 == 3 else row.tolist() for i, row in enumerate(rows)]
    pq.write_table(
        pa.table({"emb": pa.array(lists, pa.list_(pa.float32()))}), tmp_path / "x.parquet"
    )
    store = open_store(bucket.put_file(tmp_path / "x.parquet"))
    (batch,) = store.batches()
    missing = np.arange(500) % 7 == 3
    assert (batch.missing == missing).all()
    assert (batch.rows[~missing] == rows[~missing]).all()


def test_fingerprints(bucket: Bucket, tmp_path: Path):
    np.savez(tmp_path / "x.npz", a=np.ones((3, 4), np.float32), b=np.zeros((3, 4), np.float32))
    first = bucket.put_file(tmp_path / "x.npz", "one/")
    copy = bucket.put_file(tmp_path / "x.npz", "two/")
    digests = [
        open_store(path, key=key).shards[0].fingerprint()
        for path, key in ((first, "a"), (copy, "a"), (first, "b"), (tmp_path / "x.npz", "a"))
    ]
    # A copy in a bucket is the same shard, another array is not; nor is, by its ETag, a local copy,
    # which shows that its fingerprint is of another kind.
    assert digests[0] == digests[1] and len(set(digests)) == 3
    assert [digest.rpartition(":")[0] for digest in digests] == ["s3", "s3", "s3", ""]
    assert all(re.fullmatch("(s3:)?[0-9a-f]{32}", digest) for digest in digests)
    bucket.server.forget()
    open_store(first, key="a").shards[0].fingerprint()
    # Nothing but the end of the file, which is all of this small one.
    assert bucket.server.requests == 1


def test_what_a_job_keeps_of_an_object(bucket: Bucket, tmp_path: Path):
    np.save(tmp_path / "x.npy", numbers(3, 4, "float32"))
    store = open_store(bucket.put_file(tmp_path / "x.npy"))
    (shard,) = store.shards

    def job(**facts: object) -> Job:
        stamp = replace(shard.stamp, **facts)
        return Job.of(replace(store, shards=(replace(shard, stamp=stamp),)), {})

    begun = Job.read(Path("x.journal"), json.loads(json.dumps(job().to_dict())))
    (kept,) = begun.rows
    assert kept["size"] == (tmp_path / "x.npy").stat().st_size
    digest = hashlib.md5((tmp_path / "x.npy").read_bytes()).hexdigest()
    assert kept["etag"] == f'"{digest}"' and "modified" not in kept
    # The same content that was uploaded again is the same object.
    job(modified=0).check(Path("out"), begun)
    with pytest.raises(
        MismatchError, match=r"x\.npy: has changed .*: etag was \"\w+\", is \"new\";"
    ):
        job(etag='"new"').check(Path("out"), begun)
    # Without a tag, the time has to do; a server may begin or cease to give tags.
    with pytest.raises(
        MismatchError, match=r"x\.npy: has changed .*: etag was .*, is unknown; want"
    ):
        job(etag="").check(Path("out"), begun)
    begun, later = job(etag="", modified=10**18), job(etag="", modified=10**18 + 10**9)
    job(etag="", modified=10**18).check(Path("out"), begun)
    message = r"modified was 2001-09-09 01:46:40.000\+00:00, is 2001-09-09 01:46:41.000\+00:00;"
    with pytest.raises(MismatchError, match=message):
        later.check(Path("out"), begun)


def test_forked_children(bucket: Bucket, tmp_path: Path):
    from store.makers import run

    np.save(tmp_path / "x.npy", numbers(3, 4, "float32"))
    done = run(
        """
        import os, signal, sys
        from clipsoid.errors import StoreError
        from clipsoid.store import open_store

        def child():
            pid = os.fork()
            if pid == 0:
                signal.alarm(60)
                try:
                    print(open_store(sys.argv[1]).count, flush=True)
                except StoreError as error:
                    print("refused", "forked child" in str(error), flush=True)
                os._exit(0)
            print("status", os.waitpid(pid, 0)[1], flush=True)

        child()
        print(open_store(sys.argv[1]).count, flush=True)
        child()
        print(open_store(sys.argv[1]).count, flush=True)
        """,
        bucket.put_file(tmp_path / "x.npy"),
    )
    assert done.stdout.split("\n") == ["3", "status 0", "3", "refused True", "status 0", "3", ""]
    assert done.returncode == 0, done.stderr


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch):
    import sys

    from clipsoid.errors import UnavailableError

    monkeypatch.setitem(sys.modules, "obstore", None)
    message = r's3://b/x\.npy: reading it needs obstore, .* pip install "clipsoid\[cloud\]"'
    with pytest.raises(UnavailableError, match=message):
        open_store("s3://b/x.npy")
