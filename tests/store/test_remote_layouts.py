"""What producers lay out, in a bucket: the same set as on disk, listed once, in few requests."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest

import clipsoid as cs
from clipsoid.errors import MismatchError, StoreError
from clipsoid.store.layouts.sample import sample_rows
from store import layouts as made
from store.remote import Bucket


def embedded(folder: Path) -> None:
    """As `clipsoid embed` does: clip-retrieval's layout with a manifest."""
    made.clip_retrieval(folder, padded=True)
    model = {"name": "ViT", "pretrained": "x", "weights": "0123456789", "temperature": 0.02}
    manifest = {"format": "clipsoid.embed", "format_version": 1, "complete": True}
    manifest["made"] = {"model": {**model, "logit_bias": None}}
    (folder / "manifest.json").write_text(json.dumps(manifest))


#: How a layout is written, and a column of its metadata.
LAYOUTS = {
    "clip-retrieval": (made.clip_retrieval, "caption"),
    "DataComp": (made.datacomp, "uid"),
    "clipsoid": (embedded, "image_path"),
    **made.SINGLE,
}

SHARDS = len(made.SIZES)


def rows_of(store: cs.Store) -> np.ndarray:
    return np.concatenate([np.array(batch.rows) for batch in store.batches()])


@pytest.mark.parametrize("kind", LAYOUTS)
def test_every_layout_is_what_it_is_on_disk(bucket: Bucket, tmp_path: Path, kind: str):
    lay_out, column = LAYOUTS[kind]
    lay_out(tmp_path / "set")
    url = bucket.put_folder(tmp_path / "set")
    server = bucket.server
    server.forget()
    found, local = cs.open_set(url), cs.open_set(tmp_path / "set")
    sides = len(found.stores)
    # A header each, two of a member of an archive; some look-ups of the layout and the manifest.
    headers = SHARDS * sides * (2 if kind == "npz" else 1)
    assert server.listings == 1 and server.requests <= headers + 6
    assert (found.kind, repr(found.stores)) == (kind, repr(local.stores))
    assert (found.arrays, found.origin) == (local.arrays, local.origin)
    for (name, store), own in zip(found.stores.items(), local.stores.values(), strict=True):
        assert [shard.name for shard in store.shards] == [shard.name for shard in own.shards]
        server.forget()
        assert np.array_equal(rows_of(store), rows_of(own)), name
        assert server.twice() == 0
    assert (found.notes, server.listings) == ((), 0)
    if column is None:
        return
    for name, store in found.stores.items():
        pairs = zip(store.shards, local.stores[name].shards, strict=True)
        for shard, own in pairs:
            assert shard.schema() == own.schema()
            assert shard.columns([column]).equals(own.columns([column]))


def test_the_headers_of_metadata_are_fetched_once_and_side_by_side(bucket: Bucket, tmp_path: Path):
    made.clip_retrieval(tmp_path / "set")
    found = cs.open_set(bucket.put_folder(tmp_path / "set"))
    server = bucket.server
    server.forget()
    server.hold = 0.05
    for _ in range(2):
        for store in found.stores.values():
            for shard in store.shards:
                shard.check_columns(["caption"])
                assert list(shard.schema()) == ["image_path", "caption"]
    assert server.requests == SHARDS and server.most >= 8
    assert all("metadata" in get.key for get in server.gets)


def test_rows_that_failed_are_counted_once(bucket: Bucket, tmp_path: Path):
    made.img2dataset(tmp_path / "set")
    store = cs.open_set(bucket.put_folder(tmp_path / "set")).rows
    store.shards[0].schema()
    for wanted in (SHARDS, 0):
        bucket.server.forget()
        for shard in store.shards:
            shard.check_columns(["key"])
        assert bucket.server.requests == wanted
    store.shards[3].columns(["key"])
    assert bucket.server.requests == 1


def test_columns_of_metadata_come_once(bucket: Bucket, tmp_path: Path):
    rng = np.random.default_rng(0)
    np.save(tmp_path / "a.npy", rng.standard_normal((20_000, 4), np.float32))
    frame = pd.DataFrame(rng.integers(0, 1 << 60, (20_000, 2)), columns=["uid", "other"])
    frame.to_parquet(tmp_path / "a.parquet")
    (shard,) = cs.open_set(bucket.put_folder(tmp_path)).rows.shards
    for names in (["uid"], ["other"], ["other", "uid"]):
        shard.check_columns(names)
        bucket.server.forget()
        assert shard.columns(names).equals(pl.from_pandas(frame[names]))
        assert bucket.server.twice() == 0
        # A column has 160 kB and a dictionary at most; the end of the file comes with it.
        assert bucket.server.total() < len(names) * 260_000 + (64 << 10)


def test_metadata_that_are_damaged_change_or_do_not_fit(bucket: Bucket, tmp_path: Path):
    made.clip_retrieval(tmp_path / "set")
    url = bucket.put_folder(tmp_path / "set")
    bucket.put("set/metadata/metadata_3.parquet", b"PAR1 and no more")
    short = tmp_path / "short.parquet"
    pd.DataFrame({"image_path": ["a"], "caption": ["b"]}).to_parquet(short)
    bucket.put("set/metadata/metadata_5.parquet", short.read_bytes())
    found = cs.open_set(url)
    shards = found.image.shards
    with pytest.raises(StoreError, match=r"metadata_3\.parquet: is truncated or no parquet file"):
        shards[3].check_columns(["caption"])
    with pytest.raises(MismatchError, match=r"metadata_5\.parquet: has 1 rows, but s3://.* has 11"):
        shards[5].check_columns(["caption"])
    with pytest.raises(StoreError, match=r"metadata_0\.parquet: has no column 'uid'; found image_"):
        shards[0].check_columns(["uid"])
    # The others are none the worse for it.
    assert shards[4].columns(["caption"])["caption"].to_list() == made.parts(made.CAPTIONS)[4]
    notes = found.notes
    assert len(notes) == 2 and all(note.count("metadata_") for note in notes)
    bucket.put("set/metadata/metadata_4.parquet", short.read_bytes())
    with pytest.raises(StoreError, match=r"metadata_4\.parquet: was truncated while it was being"):
        shards[4].columns(["caption"])


def test_a_part_of_a_set_finds_its_metadata(bucket: Bucket, tmp_path: Path):
    made.clip_retrieval(tmp_path / "set")
    url = bucket.put_folder(tmp_path / "set")
    for path in (f"{url}/text_emb", f"{url}/text_emb/text_emb_{{0..10}}.npy"):
        found = cs.open_set(path)
        assert (found.kind, [*found.stores]) == ("clip-retrieval", ["text"])
        captions = [shard.columns(["caption"])["caption"] for shard in found.text.shards]
        assert pl.concat(captions).to_list() == made.CAPTIONS


def test_a_key_that_may_read_but_not_list(bucket: Bucket, tmp_path: Path):
    made.clip_retrieval(tmp_path / "set")
    url = bucket.put_folder(tmp_path / "set")
    backend = bucket.server.backend

    def refuse(environ, start):
        if environ["REQUEST_METHOD"] == "GET" and not environ["PATH_INFO"].endswith(".npy"):
            start("403 Forbidden", [("Content-Type", "text/plain")])
            return [b"no"]
        return backend(environ, start)

    bucket.server.backend = refuse
    try:
        found = cs.open_set(f"{url}/text_emb/text_emb_{{0..10}}.npy")
        assert found.text.count == len(made.UIDS)
        with pytest.raises(StoreError, match="has no columns"):
            found.text.shards[0].check_columns(["caption"])
    finally:
        bucket.server.backend = backend


@pytest.mark.parametrize("suffix", [".npy", ".parquet", ".npz"])
def test_a_sample_of_rows_is_no_pass(bucket: Bucket, tmp_path: Path, suffix: str):
    rows = np.random.default_rng(0).standard_normal((40_000, 32), np.float32)
    match suffix:
        case ".npy":
            np.save(tmp_path / "x.npy", rows)
        case ".npz":
            np.savez_compressed(tmp_path / "x.npz", e=rows)
        case ".parquet":
            column = pl.Series("e", rows, dtype=pl.Array(pl.Float32, 32))
            column.to_frame().write_parquet(tmp_path / "x.parquet", row_group_size=4_000)
    store = cs.open_store(bucket.put_file(tmp_path / f"x{suffix}"))
    bucket.server.forget()
    sample = np.concatenate([*sample_rows(store, 1_000)])
    assert 1_000 <= len(sample) < 4_000 and len(set(sample[:, 0]) - set(rows[:, 0])) == 0
    assert bucket.server.total() < rows.nbytes / 4
