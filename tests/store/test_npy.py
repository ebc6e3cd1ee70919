from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from clipsoid.errors import ClipsoidError, DTypeError, ShapeError, StoreError
from clipsoid.store import open_store
from store.makers import COUNTS, DTYPES, LAYOUTS, assert_reads, bits, read, swapped_bits, typed


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("layout", LAYOUTS, ids="".join)
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_bit(tmp_path: Path, way: str, dtype: str, layout: tuple[str, str], count: int):
    rows = bits(count, 5, dtype)
    np.save(tmp_path / "a.npy", swapped_bits(rows, layout))
    assert_reads(tmp_path / "a.npy", rows, dtype=dtype)


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
@pytest.mark.parametrize("dim", [1, 3, 64])
def test_header_versions(tmp_path: Path, version: tuple[int, int], dim: int):
    rows = bits(9, dim, "float32")
    with (tmp_path / "a.npy").open("wb") as file:
        np.lib.format.write_array(file, rows, version=version)
    assert_reads(tmp_path / "a.npy", rows)


def test_mapped_batches_are_views_and_others_are_not(tmp_path: Path, way: str):
    np.save(tmp_path / "a.npy", bits(10, 4, "float32"))
    (batch,) = open_store(tmp_path / "a.npy").batches()
    assert batch.rows.flags.writeable == (way == "pread")


def test_a_batch_outlives_its_iterator(tmp_path: Path, way: str):
    rows = bits(10, 4, "float32")
    np.save(tmp_path / "a.npy", rows)
    batches = list(open_store(tmp_path / "a.npy").batches(32))
    assert b"".join(batch.rows.tobytes() for batch in batches) == rows.tobytes()


def test_bfloat16_as_ml_dtypes_saves_it(tmp_path: Path):
    rows = bits(11, 6, "bfloat16")
    np.save(tmp_path / "a.npy", typed(rows, "bfloat16"))
    assert_reads(tmp_path / "a.npy", rows, dtype="bfloat16")
    with pytest.raises(DTypeError, match=r'a\.npy: elements are 2-byte void.*dtype="bfloat16"'):
        open_store(tmp_path / "a.npy")


@pytest.mark.parametrize("descr", ["bfloat16", "<bfloat16", ">bfloat16", ">V2"])
def test_bfloat16_by_name(tmp_path: Path, descr: str):
    rows = bits(11, 6, "bfloat16")
    header = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': (11, 6), }}".encode()
    swap = descr.startswith(">")
    (tmp_path / "a.npy").write_bytes(
        b"\x93NUMPY\x01\x00"
        + len(header).to_bytes(2, "little")
        + header
        + (rows.byteswap() if swap else rows).tobytes()
    )
    assert_reads(tmp_path / "a.npy", rows, dtype="bfloat16" if "V" in descr else None)


def test_the_dtype_asked_for_must_be_there(tmp_path: Path):
    np.save(tmp_path / "a.npy", bits(3, 4, "float32"))
    with pytest.raises(DTypeError, match=r"a\.npy: elements are float32; wanted float16"):
        open_store(tmp_path / "a.npy", dtype="float16")
    with pytest.raises(DTypeError, match="dtype is 'int8'; wanted one of float16, bfloat16"):
        open_store(tmp_path / "a.npy", dtype="int8")


def test_an_empty_shard_among_others(tmp_path: Path, way: str):
    rows = bits(4, 3, "float32")
    np.save(tmp_path / "a.npy", rows[:0])
    np.save(tmp_path / "b.npy", rows)
    np.save(tmp_path / "c.npy", np.asfortranarray(rows[:0]))
    store = open_store(tmp_path)
    assert [shard.count for shard in store.shards] == [0, 4, 0]
    assert [part.tobytes() for part in read(store)] == [b"", rows.tobytes(), b""]
    with pytest.raises(StoreError, match=r"a\.npy: found 0 rows, wanted one or more"):
        open_store(tmp_path / "a.npy")


@pytest.mark.parametrize("kept", [0, 1, 5, 9, 40, 127, 128, 129, 128 + 47, 128 + 48 * 4 - 1])
def test_truncated(tmp_path: Path, kept: int):
    np.save(tmp_path / "a.npy", bits(4, 12, "float32"))
    whole = (tmp_path / "a.npy").read_bytes()
    assert len(whole) == 128 + 48 * 4
    (tmp_path / "a.npy").write_bytes(whole[:kept])
    with pytest.raises(StoreError, match=r"a\.npy: ") as caught:
        open_store(tmp_path / "a.npy")
    if kept >= 128:
        assert f"is truncated: found {kept} bytes, wanted 320" in str(caught.value)


def test_longer_than_its_header(tmp_path: Path):
    np.save(tmp_path / "a.npy", bits(4, 12, "float32"))
    with (tmp_path / "a.npy").open("ab") as file:
        file.write(bytes(48))
    with pytest.raises(
        StoreError, match="longer than its header says: found 368 bytes, wanted 320"
    ):
        open_store(tmp_path / "a.npy")


class Boom:
    def __reduce__(self) -> tuple[object, ...]:
        return (pytest.fail, ("a pickle was loaded",))


REFUSED = {
    "int8": (np.ones((3, 4), np.int8), DTypeError, "elements are int8; wanted float16, bfloat16"),
    "uint16": (np.ones((3, 4), np.uint16), DTypeError, 'elements are uint16.*dtype="bfloat16"'),
    "int64": (np.ones((3, 4), np.int64), DTypeError, "elements are int64; wanted"),
    "bool": (np.ones((3, 4), bool), DTypeError, "elements are bool; wanted"),
    "complex": (np.ones((3, 4), np.complex64), DTypeError, "elements are complex64; wanted"),
    "wide": (np.ones((3, 4), np.longdouble), DTypeError, "elements are float128; wanted"),
    "text": (np.full((3, 4), "ab"), DTypeError, "elements are str.*; wanted"),
    "void": (np.ones((3, 4), "V4"), DTypeError, "elements are void.*; wanted"),
    "record": (np.ones((3, 4), "f4,f4"), DTypeError, "elements are structured.*; wanted"),
    "object": (np.full((3, 4), Boom()), DTypeError, "elements are Python objects.*never loaded"),
    "0-D": (np.float32(1), ShapeError, r"shape \(\); wanted \(n, d\)"),
    "1-D": (np.ones(4, np.float32), ShapeError, r"shape \(4,\); wanted \(n, d\)"),
    "3-D": (np.ones((3, 4, 1), np.float32), ShapeError, r"shape \(3, 4, 1\); wanted \(n, d\)"),
    "no features": (np.ones((3, 0), np.float32), ShapeError, "wanted one feature or more"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(tmp_path: Path, case: str):
    array, error, message = REFUSED[case]
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(error, match=rf"a\.npy: .*{message}"):
        open_store(tmp_path / "a.npy")


def header(text: str, version: bytes = b"\x01\x00") -> bytes:
    return b"\x93NUMPY" + version + len(text).to_bytes(2, "little") + text.encode()


GARBAGE = {
    "empty": (b"", "is empty"),
    "text": (b"id,x,y\n1,2,3\n", "it begins with b'id,x,y"),
    "pickle": (pickle.dumps(Boom()), "a pickle, which is never loaded"),
    "version": (b"\x93NUMPY\x09\x00" + bytes(200), r"version is \(9, 0\)"),
    "long header": (b"\x93NUMPY\x02\x00\xff\xff\xff\x7f" + bytes(90), "wanted 65536 at most"),
    "no dict": (header("[1, 2]"), "cannot be parsed"),
    "syntax": (header("{'descr': "), "cannot be parsed"),
    "call": (header("__import__('os').abort()"), "cannot be parsed"),
    "descr": (header("{'descr':'zz','fortran_order':False,'shape':(3,4)}"), "cannot be parsed"),
    "shape": (header("{'descr':'<f4','fortran_order':False,'shape':(-3,4)}"), r"shape \(-3, 4\)"),
    "keys": (header("{'descr': '<f4'}"), "cannot be parsed"),
}


@pytest.mark.parametrize("case", GARBAGE)
def test_garbage(tmp_path: Path, case: str):
    content, message = GARBAGE[case]
    (tmp_path / "a.npy").write_bytes(content)
    with pytest.raises(StoreError, match=rf"a\.npy: .*{message}"):
        open_store(tmp_path / "a.npy")


def test_a_header_that_wants_more_than_there_is(tmp_path: Path):
    text = "{'descr':'<f4','fortran_order':False,'shape':(99999999999999999999,4)}"
    (tmp_path / "a.npy").write_bytes(header(text))
    with pytest.raises(StoreError, match="is truncated: found 80 bytes"):
        open_store(tmp_path / "a.npy")


def test_missing_file_and_unknown_options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(StoreError, match=r"none\.npy: found no such file"):
        open_store(tmp_path / "none.npy")
    np.save(tmp_path / "a.npy", bits(3, 4, "float32"))
    with pytest.raises(StoreError, match="holds one array and no keys; found key='x'"):
        open_store(tmp_path / "a.npy", key="x")
    store = open_store(tmp_path / "a.npy")
    with pytest.raises(StoreError, match="max_bytes is 0"):
        list(store.batches(0))
    for find in (store.shards[0].columns, store.shards[0].check_columns):
        with pytest.raises(
            StoreError, match=r"a\.npy: a \.npy file has no columns, and .*; wanted id"
        ):
            find(["id"])
    monkeypatch.setenv("CLIPSOID_READ", "guess")
    with pytest.raises(ClipsoidError, match="CLIPSOID_READ is 'guess'; wanted 'pread' or 'mapped'"):
        list(store.batches())


def test_pread_where_populate_is_not_supported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from clipsoid import _native

    def populate(address: int, length: int) -> None:
        raise OSError(22, "Invalid argument")

    rows = bits(100, 4, "float32")
    np.save(tmp_path / "a.npy", rows)
    monkeypatch.delenv("CLIPSOID_READ", raising=False)
    monkeypatch.setattr(_native, "populate", populate)
    assert_reads(tmp_path / "a.npy", rows)
    monkeypatch.setenv("CLIPSOID_READ", "mapped")
    with pytest.raises(StoreError, match=r"a\.npy: cannot be mapped and populated"):
        list(open_store(tmp_path / "a.npy").batches())


def test_populate_is_given_every_byte_of_a_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from clipsoid import _native

    calls: list[tuple[int, int]] = []
    monkeypatch.setenv("CLIPSOID_READ", "mapped")
    monkeypatch.setattr(
        _native, "populate", lambda address, length: calls.append((address, length))
    )
    np.save(tmp_path / "a.npy", bits(10_000, 4, "float32"))
    for batch in open_store(tmp_path / "a.npy").shards[0].batches(50_000):
        address, length = calls.pop()
        assert address % 4096 == 0
        assert address <= batch.rows.ctypes.data
        assert batch.rows.ctypes.data + batch.rows.nbytes == address + length
    assert calls == []
