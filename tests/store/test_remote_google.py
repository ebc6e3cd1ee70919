"""Google Cloud Storage: what its clients ask for, of a server that answers as its XML API does."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

import clipsoid as cs
from clipsoid.errors import StoreError
from clipsoid.store import Store, open_store
from store import layouts as made
from store.makers import numbers
from store.remote import Bucket

ROWS = numbers(9_000, 64, "float16")
PARTS = np.split(ROWS, 3)


@pytest.fixture
def google(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    """The bucket as Google's: keys of S3 do not open it."""
    for name in bucket.environment():
        monkeypatch.delenv(name)
    found = dataclasses.replace(bucket, scheme="gs")
    for name, value in found.environment().items():
        monkeypatch.setenv(name, value)
    return found


@pytest.fixture
def filled(google: Bucket, tmp_path: Path) -> Bucket:
    for i, part in enumerate(PARTS):
        np.save(tmp_path / f"img_emb_{i}.npy", part)
        google.put_file(tmp_path / f"img_emb_{i}.npy", "set/img_emb/")
    google.server.forget()
    return google


def read(store: Store) -> bytes:
    return b"".join(batch.rows.tobytes() for batch in store.batches(1 << 16))


@pytest.mark.parametrize("key", ["", "/", "/*.npy", "/img_emb_{0..2}.npy"])
def test_what_a_url_means(filled: Bucket, key: str):
    store = open_store(f"{filled.url('set/img_emb')}{key}")
    assert [shard.name for shard in store.shards] == [f"img_emb_{i}.npy" for i in range(3)]
    assert read(store) == ROWS.tobytes()


def test_a_pass_fetches_every_byte_once(filled: Bucket):
    store = open_store(filled.url("set"))
    filled.server.forget()
    filled.server.hold = 0.02
    assert read(store) == ROWS.tobytes()
    assert (filled.server.total(), filled.server.twice()) == (ROWS.nbytes, 0)
    assert filled.server.most >= 8


def test_a_layout_with_its_metadata(google: Bucket, tmp_path: Path):
    made.clip_retrieval(tmp_path / "set")
    places = [google.put_folder(tmp_path / "set"), tmp_path / "set"]
    remote, local = (cs.scan(cs.open_set(place).text).collect() for place in places)
    assert remote.equals(local) and {"caption", "embedding"} <= set(remote.columns)


def test_only_a_token_opens_it(filled: Bucket, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("GOOGLE_BEARER_TOKEN")
    monkeypatch.setenv("GOOGLE_SKIP_SIGNATURE", "true")
    url = filled.url("set/img_emb/img_emb_0.npy")
    with pytest.raises(StoreError, match=f"^{url}: access is refused \\(403 Forbidden\\); wanted "):
        open_store(url)


def test_what_passes_is_not_seen(filled: Bucket):
    store = open_store(filled.url("set"))
    filled.server.forget()
    filled.server.fail = lambda number, key: 503 if number in (0, 5) else None
    assert read(store) == ROWS.tobytes()
    filled.server.forget()
    filled.server.fail = lambda number, key: 500
    with pytest.raises(StoreError, match=r"the server answered 500 .* after 3 tries"):
        read(store)


def test_a_file_that_is_replaced(filled: Bucket, tmp_path: Path):
    store = open_store(filled.url("set"))
    np.save(tmp_path / "img_emb_1.npy", PARTS[0])
    filled.put_file(tmp_path / "img_emb_1.npy", "set/img_emb/")
    with pytest.raises(StoreError, match=r"img_emb_1\.npy: was changed while it was being read"):
        read(store)


def test_a_file_that_is_not_there(filled: Bucket):
    with pytest.raises(StoreError, match=r"x\.npy: found no such file \(404 Not Found\)"):
        open_store(filled.url("set/x.npy"))
    with pytest.raises(StoreError, match=r"gs://.*/nothing: holds no files; wanted "):
        open_store(filled.url("nothing"))
