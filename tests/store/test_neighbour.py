"""Beside embedding-reader: the same rows where it is right, the right ones where it is wrong."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import clipsoid as cs
from clipsoid.errors import InvalidRowError, StoreError
from store import layouts as made

embedding_reader = pytest.importorskip("embedding_reader")


def theirs(folder: Path, **options: object) -> tuple[np.ndarray, list]:
    """Rows and metadata as embedding-reader gives them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        reader = embedding_reader.EmbeddingReader(str(folder), **options)
        batches = list(reader(batch_size=17, show_progress=False))
    return np.concatenate([rows for rows, _ in batches]), [meta for _, meta in batches]


def ours(store: cs.Store) -> np.ndarray:
    return np.concatenate([np.array(batch.rows) for batch in store.batches()])


def test_npy(tmp_path: Path):
    made.clip_retrieval(tmp_path, padded=True)
    for name in ("img_emb", "text_emb"):
        (store,) = cs.open_set(tmp_path / name).stores.values()
        assert np.array_equal(ours(store), theirs(tmp_path / name)[0])


def test_the_order_of_numbers_without_zeros(tmp_path: Path):
    # It sorts by text: shard 10 before shard 2. The rows are the same, in another order.
    made.clip_retrieval(tmp_path)
    assert np.array_equal(ours(cs.open_set(tmp_path).image), made.pairs()[0])
    order = sorted(range(len(made.SIZES)), key=str)
    images = made.parts(made.pairs()[0])
    found, _ = theirs(tmp_path / "img_emb")
    assert np.array_equal(found, np.concatenate([images[i] for i in order]))


def test_parquet(tmp_path: Path):
    folder = tmp_path / "set"
    made.nemo(folder)
    options = {"file_format": "parquet", "embedding_column": "embeddings", "meta_columns": ["id"]}
    rows, meta = theirs(folder, **options)
    ids = [value for frame in meta for value in frame["id"]]
    store = cs.open_set(folder).rows
    found = {uid: row for uid, row in zip(made.UIDS, ours(store), strict=True)}
    assert np.array_equal(np.array([found[uid] for uid in ids]), rows)


def test_parquet_beside_npy(tmp_path: Path):
    made.npy_and_parquet(tmp_path)
    rows, meta = theirs(
        tmp_path / "vectors",
        file_format="parquet_npy",
        metadata_folder=str(tmp_path / "tables"),
        meta_columns=["uid"],
    )
    store = cs.open_set(tmp_path).rows
    assert np.array_equal(ours(store), rows)
    ids = [value for shard in store.shards for value in shard.columns(["uid"])["uid"]]
    assert ids == [value for frame in meta for value in frame["uid"]] == made.UIDS


ROWS = np.random.default_rng(0).standard_normal((40, 6)).astype(np.float32)


def test_fortran_order(tmp_path: Path):
    np.save(tmp_path / "0.npy", np.asfortranarray(ROWS))
    assert np.array_equal(ours(cs.open_set(tmp_path).rows), ROWS)
    # It reads the columns as rows.
    assert not np.array_equal(theirs(tmp_path)[0], ROWS)


def test_shards_of_two_types(tmp_path: Path):
    np.save(tmp_path / "0.npy", ROWS[:20].astype(np.float16))
    np.save(tmp_path / "1.npy", ROWS[20:])
    found = cs.open_set(tmp_path)
    first, second = (np.array(batch.rows) for batch in found.rows.batches())
    assert np.array_equal(first, ROWS[:20].astype(np.float16))
    assert np.array_equal(second, ROWS[20:])
    assert found.notes == ("rows: shards differ in element type: 1 of float16, 1 of float32",)
    want = np.concatenate([ROWS[:20].astype(np.float16).astype(float), ROWS[20:]])
    assert np.allclose(cs.Ellipsoid.fit(found.rows).mean, want.mean(axis=0), atol=1e-14)


def test_big_endian(tmp_path: Path):
    np.save(tmp_path / "0.npy", ROWS.astype(">f4"))
    assert np.array_equal(ours(cs.open_set(tmp_path).rows), ROWS)


def test_nan(tmp_path: Path):
    rows = ROWS.copy()
    rows[7, 2] = np.nan
    np.save(tmp_path / "0.npy", rows)
    with pytest.raises(InvalidRowError, match=r"0\.npy: row 7 holds a value that is not finite"):
        cs.Ellipsoid.fit(tmp_path)
    assert np.isnan(theirs(tmp_path)[0]).any()


def test_a_truncated_file(tmp_path: Path):
    for i in range(2):
        np.save(tmp_path / f"{i}.npy", ROWS)
    file = tmp_path / "1.npy"
    file.write_bytes(file.read_bytes()[:-100])
    # Before a row is read, and by name; `info` says it and describes the rest.
    with pytest.raises(StoreError, match=r"1\.npy: is truncated: found 988 bytes, wanted 1088"):
        cs.open_set(tmp_path)


def test_a_column_of_lists_by_every_writer(tmp_path: Path):
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq

    fixed = pa.FixedSizeListArray.from_arrays(pa.array(ROWS.ravel()), 6)
    lists = pa.array(ROWS.tolist(), pa.list_(pa.float32()))
    pq.write_table(pa.table({"id": range(40), "e": fixed}), tmp_path / "0.parquet")
    pq.write_table(
        pa.table({"id": range(40), "e": lists}), tmp_path / "1.parquet", row_group_size=7
    )
    pd.DataFrame({"id": range(40), "e": list(ROWS)}).to_parquet(tmp_path / "2.parquet")
    frame = pl.DataFrame({"id": range(40), "e": pl.Series(ROWS, dtype=pl.Array(pl.Float32, 6))})
    frame.write_parquet(tmp_path / "3.parquet")
    store = cs.open_set(tmp_path).rows
    assert np.array_equal(ours(store), np.concatenate([ROWS] * 4))
    assert all([*shard.columns(["id"])["id"]] == [*range(40)] for shard in store.shards)
    assert all([*shard.schema()] == ["id"] for shard in store.shards)
