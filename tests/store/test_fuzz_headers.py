"""Headers that a hostile file may have: an error that names the file; no crash, no huge memory.

Each format runs in a process of its own whose address space may grow by 1 GiB: an allocation that
a header asks for, without bytes behind it, fails there as a bug.
"""

from __future__ import annotations

import os

import pytest

from store.makers import run

#: `make test-long` sets CLIPSOID_LONG.
EXAMPLES = 2000 if os.environ.get("CLIPSOID_LONG") else 150

COMMON = """
import json, resource, sys
from io import BytesIO
from pathlib import Path
import numpy as np
import polars as pl
from hypothesis import HealthCheck, given, settings, strategies as st
from safetensors.numpy import save
import clipsoid as cs
from clipsoid.errors import ClipsoidError

folder = Path(sys.argv[1])
ROWS = np.arange(24, dtype=np.float32).reshape(6, 4)
numbers = st.one_of(
    st.integers(-2, 8), st.sampled_from([2**15, 2**31 - 1, 2**32, 2**62, 2**63, 2**64, 10**30])
)
outcomes = {"read": 0, "refused": 0}

def attempt(contents, suffix, columns=True):
    path = folder / f"x{suffix}"
    path.write_bytes(contents)
    try:
        found = cs.open_set(path)
        for store in found.stores.values():
            for batch in store.batches():
                assert len(batch.rows.tobytes()) == batch.rows.nbytes
            for shard in store.shards:
                if columns and shard.schema():
                    shard.columns([*shard.schema()])
        outcomes["read"] += 1
    except ClipsoidError as error:
        assert path.name in str(error), error
        outcomes["refused"] += 1

def flipped(contents, first, changes):
    data = bytearray(contents)
    for at, value in changes:
        data[first + at % (len(data) - first)] = value
    return bytes(data)

changes = st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 255)), min_size=0, max_size=4)

def go(test, contents, suffix):
    attempt(contents, suffix)  # everything that is imported or mapped once is there
    assert outcomes["read"] == 1
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + (1 << 30)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    quiet = settings(
        max_examples=int(sys.argv[2]), deadline=None, database=None, derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    quiet(test)()
    assert outcomes["refused"] > 10, outcomes
    print("done")
"""

NPY = """
def npy(descr, fortran, shape, text=None, length=None, version=b"\\x01\\x00"):
    head = (text or repr({"descr": descr, "fortran_order": fortran, "shape": shape})).encode()
    head += b" " * (-(len(head) + 11) % 64) + b"\\n"
    width = 2 if version[0] == 1 else 4
    length = len(head) if length is None else length % 256**width
    return b"\\x93NUMPY" + version + length.to_bytes(width, "little") + head + ROWS.tobytes()

@given(
    st.sampled_from(["<f4", ">f4", "<f2", "|O", "V2", "<c8", "|V1000000000", "(2,2)<f4", "[]"]),
    st.sampled_from([True, False, 0, None]),
    st.one_of(st.lists(numbers, max_size=3).map(tuple), st.text(max_size=5), numbers),
    st.one_of(st.none(), st.text(max_size=60), st.just("(" * 3000), st.just("9" * 5000)),
    st.one_of(st.none(), numbers.map(abs)),
    st.sampled_from([b"\\x01\\x00", b"\\x02\\x00", b"\\x03\\x00", b"\\x09\\x00"]),
    changes,
)
def test(descr, fortran, shape, text, length, version, some):
    attempt(flipped(npy(descr, fortran, shape, text, length, version), 6, some), ".npy")

go(test, npy("<f4", False, (6, 4)), ".npy")
"""

SAFETENSORS = """
def tensors(header, length=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    length = len(text) if length is None else length % 2**64
    return length.to_bytes(8, "little") + text + ROWS.tobytes()

names = st.sampled_from(["e", "image", "text", "__metadata__", ""])
entry = st.one_of(
    st.fixed_dictionaries({
        "dtype": st.sampled_from(["F32", "F16", "BF16", "F64", "I64", "F8_E4M3", "X", 7]),
        "shape": st.lists(numbers, max_size=3),
        "data_offsets": st.lists(numbers, max_size=3),
    }),
    st.none(), st.text(max_size=3), st.dictionaries(st.text(max_size=3), st.text(max_size=3)),
)

@given(
    st.one_of(
        st.dictionaries(names, entry, max_size=3), st.just(b"[" * 100_000), st.binary(max_size=9)
    ),
    st.one_of(st.none(), numbers.map(abs)),
    changes,
)
def test(header, length, some):
    attempt(flipped(tensors(header, length), 0, some), ".safetensors")

go(test, save({"e": ROWS}), ".safetensors")
"""

PARQUET = """
def parquet(**options):
    file = BytesIO()
    frame = pl.DataFrame({"id": range(6), "e": pl.Series(ROWS.tolist(), dtype=pl.List(pl.Float32))})
    frame.write_parquet(file, **options)
    return file.getvalue()

files = [parquet(), parquet(compression="uncompressed"), parquet(row_group_size=2)]

@given(st.sampled_from(files), changes, st.booleans())
def test(contents, some, in_footer):
    length = int.from_bytes(contents[-8:-4], "little")
    attempt(flipped(contents, len(contents) - 8 - length if in_footer else 0, some), ".parquet",
        # polars 2.1 ends the process on some damaged pages of columns that it reads by itself.
        columns=in_footer)

go(test, files[0], ".parquet")
"""

NPZ = """
def npz(save, **arrays):
    file = BytesIO()
    save(file, **arrays)
    return file.getvalue()

files = [npz(np.savez, e=ROWS), npz(np.savez_compressed, e=ROWS)]
files.append(npz(np.savez, image=ROWS, text=ROWS))

@given(st.sampled_from(files), changes, st.booleans())
def test(contents, some, in_directory):
    first = contents.index(b"PK\\x01\\x02") if in_directory else 0
    attempt(flipped(contents, first, some), ".npz")

go(test, files[0], ".npz")
"""

TORCH = r"""
from zipfile import ZipFile

STORAGE = b"((U\7storagectorch\nFloatStorage\nU\x010U\3cpuK\x18tQ"
SHAPE = b"K\0K\6K\4\x86K\4K\1\x86\x89Nt"
TENSOR = b"ctorch._utils\n_rebuild_tensor_v2\n" + STORAGE + SHAPE + b"R"
PAIR = b"}q\0(U\5imageq\1" + TENSOR + b"q\2U\4textq\3" + TENSOR + b"u"
pickles = [b"\x80\2" + TENSOR + b".", b"\x80\2" + PAIR + b"."]

def archive(pickle):
    file = BytesIO()
    with ZipFile(file, "w") as made:
        made.writestr("x/data.pkl", pickle)
        made.writestr("x/byteorder", "little")
        made.writestr("x/data/0", ROWS.tobytes())
    return file.getvalue()

@given(st.sampled_from(pickles), changes, st.booleans())
def test(pickle, some, in_pickle):
    # The checksum of a pickle that was changed before it went into the archive is right.
    if in_pickle:
        attempt(archive(flipped(pickle, 0, some)), ".pt")
    else:
        attempt(flipped(archive(pickle), 0, some), ".pt")

go(test, archive(pickles[0]), ".pt")
"""


@pytest.mark.parametrize(
    "code",
    [NPY, SAFETENSORS, PARQUET, NPZ, TORCH],
    ids=["npy", "safetensors", "parquet", "npz", "torch"],
)
def test_headers(tmp_path, code: str):
    done = run(COMMON + code, tmp_path, EXAMPLES)
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr[-3000:]
