"""The set as a whole: order, selection, dtypes, pickling, fingerprints, import cost."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from clipsoid.errors import MismatchError, StoreError
from clipsoid.store import Shard, Store, open_store
from clipsoid.store.fingerprint import PAGE_BYTES, PAGES, fingerprint
from store.makers import bits, read, run


@pytest.fixture
def shards(tmp_path: Path) -> list[np.ndarray]:
    parts = [bits(n, 3, dtype, n) for n, dtype in [(5, "float16"), (9, "float64"), (2, "float32")]]
    for name, part in zip("abc", parts, strict=True):
        np.save(tmp_path / f"{name}.npy", part)
    return parts


def test_shards_in_order_with_mixed_dtypes(tmp_path: Path, way: str, shards: list[np.ndarray]):
    store = open_store(tmp_path)
    assert isinstance(store, Store)
    assert all(isinstance(shard, Shard) for shard in store.shards)
    assert (store.count, store.dim, len(store.shards)) == (16, 3, 3)
    assert store.dtypes == {"float16", "float32", "float64"}
    assert repr(store) == "Store(3 shards, 16 x 3, float16+float32+float64)"
    assert repr(store.shards[1]) == "MappedShard('b.npy', 9 x 3 float64)"
    for max_bytes in (1, 30, 1 << 20):
        assert [p.tobytes() for p in read(store, max_bytes)] == [p.tobytes() for p in shards]
    dtypes = [batch.dtype for batch in store.batches()]
    assert dtypes == ["float16", "float64", "float32"]


def test_dimensions_must_agree(tmp_path: Path, shards: list[np.ndarray]):
    np.save(tmp_path / "d.npy", bits(2, 4, "float32"))
    with pytest.raises(MismatchError, match=r"d\.npy: rows have 4 features.*a\.npy have 3"):
        open_store(tmp_path)


def test_parts_make_up_the_whole(tmp_path: Path, shards: list[np.ndarray]):
    store = open_store(tmp_path)
    parts = [store.select(i, 2) for i in range(2)]
    assert [[shard.name for shard in part.shards] for part in parts] == [
        ["a.npy", "c.npy"],
        ["b.npy"],
    ]
    assert [store.select(i, 4).count for i in range(4)] == [5, 9, 2, 0]
    assert list(store.select(3, 4).batches()) == []
    for i, n in [(2, 2), (-1, 2), (0, 0)]:
        with pytest.raises(StoreError, match=f"part {i} of {n} does not exist"):
            store.select(i, n)


def test_a_store_can_be_sent_to_another_process(tmp_path: Path, shards: list[np.ndarray]):
    store = pickle.loads(pickle.dumps(open_store(tmp_path)))
    assert [part.tobytes() for part in read(store)] == [part.tobytes() for part in shards]


def test_two_iterations_at_once(tmp_path: Path, way: str, shards: list[np.ndarray]):
    store = open_store(tmp_path)
    pairs = list(zip(store.batches(30), store.batches(30), strict=True))
    assert len(pairs) > 5
    assert all(a.rows.tobytes() == b.rows.tobytes() for a, b in pairs)


def test_fingerprint_is_of_the_content(tmp_path: Path):
    np.save(tmp_path / "a.npy", bits(1000, 100, "float64"))
    content = (tmp_path / "a.npy").read_bytes()
    found = open_store(tmp_path / "a.npy").shards[0].fingerprint()
    assert found == fingerprint(tmp_path / "a.npy")
    assert len(bytes.fromhex(found)) == 16
    (tmp_path / "b").mkdir()
    (tmp_path / "b/other.npy").write_bytes(content)
    os.utime(tmp_path / "b/other.npy", (1, 1))
    assert fingerprint(tmp_path / "b/other.npy") == found

    last = len(content) - PAGE_BYTES
    assert len(content) > PAGES * PAGE_BYTES
    sampled = [last * i // (PAGES - 1) for i in range(PAGES)]
    seen = {found}
    for at in [0, *sampled, len(content) - 1]:
        changed = bytearray(content)
        changed[at] ^= 1
        (tmp_path / "c.npy").write_bytes(changed)
        seen.add(fingerprint(tmp_path / "c.npy"))
    # Position 0 is twice in the list, and leads to one digest.
    assert len(seen) == 1 + PAGES + 1
    (tmp_path / "c.npy").write_bytes(content + b"\0")
    assert fingerprint(tmp_path / "c.npy") not in seen


def test_fingerprint_of_small_files_sees_every_byte(tmp_path: Path):
    content = bytes(range(256))
    seen = set()
    for at in range(256):
        (tmp_path / "a").write_bytes(content[:at] + b"?" + content[at + 1 :])
        seen.add(fingerprint(tmp_path / "a"))
    assert len(seen) == 256
    (tmp_path / "a").write_bytes(b"")
    assert fingerprint(tmp_path / "a") != fingerprint(tmp_path / "a", "part")


def test_nothing_heavy_is_imported_for_npy(tmp_path: Path, shards: list[np.ndarray]):
    done = run(
        """
        import sys
        from clipsoid.store import open_store
        for batch in open_store(sys.argv[1]).batches():
            pass
        heavy = {"polars", "pyarrow", "safetensors", "zipfile", "torch", "ml_dtypes"}
        print(sorted(heavy & set(sys.modules)))
        """,
        tmp_path,
    )
    assert (done.stdout, done.returncode) == ("[]\n", 0), done.stderr
