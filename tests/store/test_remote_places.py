"""What a URL means: prefixes, patterns, lists; web servers; the Hugging Face Hub."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from clipsoid.errors import MismatchError, StoreError, UnavailableError
from clipsoid.store import open_store
from clipsoid.store.opening import SUFFIXES
from clipsoid.store.paths import find_files
from clipsoid.store.remote import RemotePath
from store.makers import numbers, read
from store.remote import Bucket
from store.web import Web, web_serving

KEYS = [
    "set/img_emb/img_emb_00.npy",
    "set/img_emb/img_emb_01.npy",
    "set/img_emb/img_emb_10.npy",
    "set/img_emb/deep/er/x.npy",
    "set/img_emb/stats.json",
    "set/img_emb/.hidden.npy",
    "set/img_emb/.cache/y.npy",
    "set/img_emb_more/other.npy",
    "set/metadata/metadata_00.parquet",
]

NUMBERED = ["img_emb_00.npy", "img_emb_01.npy", "img_emb_10.npy"]


@pytest.fixture
def filled(bucket: Bucket) -> Bucket:
    for key in KEYS:
        bucket.put(key, b"")
    bucket.put("set/img_emb/folder/", b"")
    bucket.server.forget()
    return bucket


def names(path: object) -> list[str]:
    return [name for _, name in find_files(path, SUFFIXES)]


def test_a_prefix_acts_as_a_folder(filled: Bucket):
    for url in (filled.url("set/img_emb"), filled.url("set/img_emb") + "/"):
        assert names(url) == ["deep/er/x.npy", *NUMBERED]
    files = [file for file, _ in find_files(filled.url("set/img_emb"), SUFFIXES)]
    assert files[0] == RemotePath(filled.url("set/img_emb/deep/er/x.npy"))
    assert filled.server.requests == 0


def test_patterns(filled: Bucket):
    folder = filled.url("set/img_emb")
    assert names(f"{folder}/img_emb_0?.npy") == NUMBERED[:2]
    assert names(f"{folder}/*.npy") == NUMBERED
    assert names(f"{folder}/img_emb_[!0]*") == NUMBERED[2:]
    assert names(filled.url("set/*/img_emb_0*.npy")) == [f"img_emb/{n}" for n in NUMBERED[:2]]
    deep = ["img_emb/deep/er/x.npy", *(f"img_emb/{n}" for n in NUMBERED), "img_emb_more/other.npy"]
    assert names(filled.url("set/**/*.npy")) == deep
    assert names(filled.url("set/i*/**")) == deep
    filled.server.forget()
    # Members of a brace pattern are files: nothing is listed.
    assert names(folder + "/img_emb_{00,01,10}.npy") == NUMBERED
    assert filled.server.listings == 0
    both = names(filled.url("set/{img_emb,img_emb_more}"))
    assert both == [
        *(f"img_emb/{n}" for n in ("deep/er/x.npy", *NUMBERED)),
        "img_emb_more/other.npy",
    ]


def test_lists(filled: Bucket):
    one, folder = filled.url("set/img_emb/img_emb_10.npy"), filled.url("set/img_emb/deep")
    assert names([one, folder]) == ["img_emb_10.npy", "deep/er/x.npy"]
    with pytest.raises(StoreError, match=r"img_emb_10\.npy: is listed twice; wanted every file on"):
        find_files([one, filled.url("set/img_emb")], SUFFIXES)


def test_what_is_refused(filled: Bucket):
    with pytest.raises(StoreError, match=r"several formats \(1 without suffix, 1 \.json, 5 \.npy"):
        find_files(filled.url("set"), SUFFIXES)
    with pytest.raises(StoreError, match=r"bucket-\d+/none: holds no files; wanted \.npy, \.npz"):
        find_files(filled.url("none"), SUFFIXES)
    with pytest.raises(StoreError, match=r"/set/\*\.npy: matches no files; wanted \.npy, \.npz"):
        find_files(filled.url("set/*.npy"), SUFFIXES)
    with pytest.raises(StoreError, match=r"none\.npy: found no such file \(404 Not Found\)"):
        open_store(filled.url("set/none.npy"))
    with pytest.raises(StoreError, match=r"s3://absent: found no such file \(404 Not Found\)"):
        open_store("s3://absent/")
    with pytest.raises(StoreError, match=r"s3:///x\.npy: names no bucket"):
        open_store("s3:///x.npy")


def test_dimensions_are_compared(bucket: Bucket, tmp_path: Path):
    for i, dim in enumerate((4, 5)):
        np.save(tmp_path / f"{i}.npy", numbers(3, dim, "float32"))
        bucket.put_file(tmp_path / f"{i}.npy")
    with pytest.raises(
        MismatchError, match=r"s3://.*/1\.npy: rows have 5 features, but those of s3"
    ):
        open_store(bucket.url())


@pytest.fixture
def web(tmp_path: Path) -> Iterator[Web]:
    for i in range(3):
        path = tmp_path / "own er" / "set" / "main" / "img" / f"x_{i}.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, numbers(100, 8, "float32", seed=i))
    (path.parent / ".hidden.npy").touch()
    with web_serving(tmp_path) as server:
        yield server


ROWS = [numbers(100, 8, "float32", seed=i).tobytes() for i in range(3)]


@pytest.mark.parametrize("tags", [True, False])
def test_web_servers(web: Web, tags: bool):
    web.tags = tags
    folder = f"{web.address}/own%20er/set/main/img"
    store = open_store(folder + "/x_{0..2}.npy")
    assert [shard.name for shard in store.shards] == ["x_0.npy", "x_1.npy", "x_2.npy"]
    assert [rows.tobytes() for rows in read(store)] == ROWS
    # Equal ETags say nothing on another URL; without any, pages are read.
    prints = [shard.fingerprint() for shard in store.shards]
    assert len(set(prints)) == 3
    assert {one.rpartition(":")[0] for one in prints} == ({"url"} if tags else {""})
    (found,) = read(open_store(f"{folder}/x_1.npy"))
    assert found.tobytes() == ROWS[1]


def test_web_servers_give_no_list(web: Web):
    with pytest.raises(StoreError, match=r"own: is a folder, and web servers give no list of fil"):
        open_store(f"{web.address}/own")
    with pytest.raises(StoreError, match=r"x\.npy/: is a folder, and web servers give no list"):
        open_store(f"{web.address}/x.npy/")
    with pytest.raises(StoreError, match=r"/\*\.npy: is a pattern, and web servers give no list"):
        open_store(f"{web.address}/*.npy")


def test_a_web_server_without_ranges(web: Web):
    web.ranges = False
    with pytest.raises(StoreError, match=r"x_0\.npy: cannot be read: .*[Rr]ange"):
        open_store(f"{web.address}/own er/set/main/img/x_0.npy")


def test_memory_is_bounded(tmp_path: Path):
    from peaks import watched
    from store.makers import run
    from store.test_changes import READ

    rows = np.arange(600_000 * 125, dtype=np.float32).reshape(-1, 125)
    np.save(tmp_path / "x.npy", rows)
    modules = "clipsoid._native, numpy, obstore, clipsoid.store.remote.together"
    prepare = f"import {modules}\nfrom clipsoid.store import open_store"
    with web_serving(tmp_path) as server:
        done = run(watched(prepare, READ), f"{server.address}/x.npy")
    assert done.returncode == 0, done.stderr
    count, peak = map(float, done.stdout.split())
    # 72 MiB of blocks and four batches of 16 MiB; what the client holds of answers on their way.
    assert count == len(rows) and peak <= 72 + 64 + 80


@pytest.fixture
def hub(tmp_path: Path, web: Web, monkeypatch: pytest.MonkeyPatch) -> Web:
    (tmp_path / "own er").rename(tmp_path / "owner")
    monkeypatch.setenv("HF_ENDPOINT", web.address)
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    return web


def test_the_hub(hub: Web):
    store = open_store("hf://datasets/owner/set@main/img")
    assert [str(shard.path) for shard in store.shards] == [
        f"hf://datasets/owner/set@main/img/x_{i}.npy" for i in range(3)
    ]
    assert [rows.tobytes() for rows in read(store)] == ROWS
    asked = [headers for path, headers in hub.seen if "/datasets/owner/" in path]
    assert {headers.get("authorization") for headers in asked} == {"Bearer hf_secret"}
    prints = {shard.fingerprint() for shard in store.shards}
    assert len(prints) == 3 and all(one.startswith("hf:") for one in prints)
    assert names("hf://datasets/owner/set/i*/x_[12].npy") == ["img/x_1.npy", "img/x_2.npy"]


def test_the_hub_without_its_package(hub: Web, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    (found,) = read(open_store("hf://datasets/owner/set/img/x_2.npy"))
    assert found.tobytes() == ROWS[2]
    with pytest.raises(UnavailableError, match=r"img: listing it needs huggingface_hub, .* pip in"):
        open_store("hf://datasets/owner/set/img")


def test_other_places_of_the_hub_are_refused(hub: Web):
    for url in ("hf://models/owner/set/x.npy", "hf://datasets/owner"):
        with pytest.raises(StoreError, match=r"wanted hf://datasets/OWNER/NAME/PATH, or NAME@REV"):
            open_store(url)
    with pytest.raises(StoreError, match=r"hf://datasets/owner/none/img: cannot be listed: .*404"):
        open_store("hf://datasets/owner/none/img")
