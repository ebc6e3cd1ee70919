"""Readers of .npz and .safetensors: one array out of several."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from clipsoid.errors import DTypeError, MismatchError, ShapeError, StoreError
from clipsoid.store import open_store
from clipsoid.store.mapped import MappedShard
from store.makers import COUNTS, DTYPES, LAYOUTS, assert_reads, bits, swapped_bits, typed


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("layout", LAYOUTS, ids="".join)
@pytest.mark.parametrize("dtype", DTYPES)
def test_npz_every_bit(tmp_path: Path, dtype: str, layout: tuple[str, str], count: int, save):
    rows, other = bits(count, 5, dtype), bits(3, 2, "float64")
    save(tmp_path / "a.npz", other=other, emb=swapped_bits(rows, layout), ids=np.arange(3))
    assert_reads(tmp_path / "a.npz", rows, key="emb", dtype=dtype)


@pytest.mark.parametrize("name", ["x", "xy", "xyz", "xyzw", "a/b"])
def test_npz_at_every_alignment(tmp_path: Path, way: str, name: str):
    rows = bits(10, 3, "float32")
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive, archive.open(f"{name}.npy", "w") as f:
        np.lib.format.write_array(f, rows)
    shard = open_store(tmp_path / "a.npz").shards[0]
    assert isinstance(shard, MappedShard)
    if shard.in_place or way == "pread":
        assert_reads(tmp_path / "a.npz", rows)
    else:
        assert shard.offset % 4
        assert_reads(tmp_path / "a.npz", rows)


def test_npz_alignments_of_both_kinds_occur(tmp_path: Path):
    seen = set()
    for length in range(1, 5):
        np.savez(tmp_path / "a.npz", **{"x" * length: bits(10, 3, "float32")})
        seen.add(open_store(tmp_path / "a.npz").shards[0].in_place)
    assert seen == {True, False}


def test_npz_bfloat16(tmp_path: Path):
    rows = bits(11, 6, "bfloat16")
    np.savez(tmp_path / "a.npz", typed(rows, "bfloat16"))
    assert_reads(tmp_path / "a.npz", rows, dtype="bfloat16")
    with pytest.raises(DTypeError, match=r"a\.npz: member 'arr_0': elements are 2-byte void"):
        open_store(tmp_path / "a.npz")


def test_npz_keys(tmp_path: Path):
    np.savez(tmp_path / "a.npz", b32_img=bits(4, 3, "float16"), b32_txt=bits(4, 3, "float16", 1))
    with pytest.raises(StoreError, match=r"holds 2 members \(b32_img, b32_txt\); wanted one"):
        open_store(tmp_path / "a.npz")
    with pytest.raises(StoreError, match=r"no member 'l14_img'; found b32_img, b32_txt"):
        open_store(tmp_path / "a.npz", key="l14_img")
    image, text = (open_store(tmp_path / "a.npz", key=key) for key in ("b32_img", "b32_txt"))
    assert image.shards[0].fingerprint() != text.shards[0].fingerprint()


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz_refused(tmp_path: Path, save):
    save(tmp_path / "a.npz", i=np.ones((3, 4), np.int8), v=np.ones(4), o=np.array([[{}]], object))
    for key, error, message in [
        ("i", DTypeError, "member 'i': elements are int8"),
        ("v", ShapeError, r"member 'v': the array has shape \(4,\)"),
        ("o", DTypeError, "member 'o': elements are Python objects"),
    ]:
        with pytest.raises(error, match=message):
            open_store(tmp_path / "a.npz", key=key)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz_truncated(tmp_path: Path, save):
    save(tmp_path / "a.npz", emb=bits(50, 4, "float32"))
    whole = (tmp_path / "a.npz").read_bytes()
    for kept in (0, 1, 30, 200, len(whole) // 2, len(whole) - 30, len(whole) - 1):
        (tmp_path / "a.npz").write_bytes(whole[:kept])
        with pytest.raises(StoreError, match=r"a\.npz: is damaged or truncated"):
            open_store(tmp_path / "a.npz")
    (tmp_path / "a.npz").write_text("not a zip file\n" * 10)
    with pytest.raises(StoreError, match=r"no \.npz \(zip\) file"):
        open_store(tmp_path / "a.npz")


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("layout", LAYOUTS, ids="".join)
def test_npz_bit_flip_shows_in_the_checksum(tmp_path: Path, way: str, save, layout):
    rows = bits(500, 4, "float32")
    save(tmp_path / "a.npz", emb=swapped_bits(rows, layout))
    content = bytearray((tmp_path / "a.npz").read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "a.npz").write_bytes(content)
    store = open_store(tmp_path / "a.npz")
    with pytest.raises(StoreError, match=r"a\.npz: .*(damaged|CRC-32)"):
        for _ in store.batches(1000):
            pass


def test_npz_member_whose_header_lies(tmp_path: Path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive, archive.open("emb.npy", "w") as f:
        np.lib.format.write_array(f, bits(10, 3, "float32"))
        f.write(b"more")
    with pytest.raises(StoreError, match=r"member 'emb' has 252 bytes; wanted 248"):
        open_store(tmp_path / "a.npz")


@pytest.mark.parametrize("count", [0, *COUNTS])
@pytest.mark.parametrize("dtype", DTYPES)
def test_safetensors_every_bit(tmp_path: Path, way: str, dtype: str, count: int):
    rows = bits(count, 5, dtype)
    tensors = {"emb": typed(rows, dtype), "other": typed(bits(3, 2, "float16"), "float16")}
    save_file(tensors, tmp_path / "a.safetensors")
    if count:
        assert_reads(tmp_path / "a.safetensors", rows, key="emb")
    else:
        with pytest.raises(StoreError, match="found 0 rows"):
            open_store(tmp_path / "a.safetensors", key="emb")


def test_safetensors_keys_and_types(tmp_path: Path):
    path = tmp_path / "a.safetensors"
    tensors = {"b": np.ones(4, np.float32), "a": np.ones((3, 4), np.int8)}
    save_file(tensors, path)
    for key, error, message in [
        (None, StoreError, r"holds 2 tensors \(a, b\); wanted one"),
        ("c", StoreError, "no tensor 'c'; found a, b"),
        ("a", DTypeError, "tensor 'a': elements are I8; wanted F16, BF16, F32, F64"),
        ("b", ShapeError, r"tensor 'b': the array has shape \(4,\)"),
    ]:
        with pytest.raises(error, match=rf"a\.safetensors: {message}|{message}"):
            open_store(path, key=key)
    save_file({"a": np.ones((3, 4), np.float32)}, path)
    assert open_store(path, dtype="float32").dtypes == {"float32"}
    with pytest.raises(DTypeError, match="elements are float32; wanted bfloat16"):
        open_store(path, dtype="bfloat16")


def test_safetensors_truncated_or_garbage(tmp_path: Path):
    path = tmp_path / "a.safetensors"
    save_file({"a": bits(50, 4, "float32")}, path)
    whole = path.read_bytes()
    for content in [
        *(whole[:kept] for kept in (0, 1, 7, 8, 20, len(whole) // 2, len(whole) - 1)),
        whole + b"x",
        b"\xff" * 100,
        b"some text that is no tensor file",
    ]:
        path.write_bytes(content)
        message = rf"a\.safetensors: found {len(content)} bytes that are no complete"
        with pytest.raises(StoreError, match=message):
            open_store(path)


def test_dimensions_must_agree_across_shards(tmp_path: Path):
    np.savez(tmp_path / "a.npz", bits(3, 4, "float32"))
    np.savez(tmp_path / "b.npz", bits(3, 5, "float32"))
    with pytest.raises(MismatchError, match=r"b\.npz: rows have 5 .*a\.npz have 4"):
        open_store(tmp_path)
