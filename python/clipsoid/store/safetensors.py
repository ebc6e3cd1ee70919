"""Reader of .safetensors files: one tensor, mapped where it lies."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from io import RawIOBase
from pathlib import Path
from typing import Any

import numpy as np

from clipsoid.errors import DTypeError, StoreError
from clipsoid.store.base import Shard
from clipsoid.store.files import Place, open_file, read_at
from clipsoid.store.mapped import MappedShard, check_shape
from clipsoid.store.opening import check_dtype, wanted_key

#: Element types of the format, with the name that users see; the format is little-endian.
DTYPES = {"F16": "float16", "BF16": "bfloat16", "F32": "float32", "F64": "float64"}

_DISK = {"F16": "<f2", "BF16": "<u2", "F32": "<f4", "F64": "<f8"}

#: Bytes of the number that gives the length of the header.
PREFIX_BYTES = 8

#: Longest header that the library accepts.
HEADER_BYTES = 100_000_000


def open_safetensors(path: Place, name: str, *, key: str | None, dtype: str | None) -> Shard:
    """Open one tensor of a .safetensors file; see `open_store`."""
    file, stamp = open_file(path)
    with file:
        with _tensors(path, file, stamp.size) as tensors:
            key = wanted_key(path, key, sorted(tensors.keys()), "tensor")
            tensor = tensors.get_slice(key)
            element, shape = str(tensor.get_dtype()), tuple(tensor.get_shape())
        # It does not tell where a tensor lies; the header, now known to be valid, does.
        prefix = read_at(file, 0, PREFIX_BYTES, path)
        text = read_at(file, PREFIX_BYTES, int.from_bytes(prefix, "little"), path)
        stamp.check(path, file)
    label = f"{path}: tensor {key!r}"
    if element not in DTYPES:
        raise DTypeError(f"{label}: elements are {element}; wanted {', '.join(DTYPES)}")
    check_dtype(label, DTYPES[element], dtype)
    check_shape(label, shape)
    return MappedShard(
        path=path,
        name=name,
        count=shape[0],
        dim=shape[1],
        dtype=DTYPES[element],
        stamp=stamp,
        part=key,
        offset=PREFIX_BYTES + len(text) + int(json.loads(text)[key]["data_offsets"][0]),
        disk=np.dtype(_DISK[element]),
    )


@contextmanager
def _local(path: Place, file: RawIOBase, size: int) -> Generator[Path, None, None]:
    """Give a local file with the header of `file`, and as long: the library reads no other."""
    if isinstance(path, Path):
        yield path
        return
    prefix = read_at(file, 0, min(PREFIX_BYTES, size), path)
    length = min(int.from_bytes(prefix, "little"), size - len(prefix), HEADER_BYTES)
    with tempfile.NamedTemporaryFile(suffix=".safetensors") as copy:
        copy.write(prefix + read_at(file, len(prefix), length, path))
        # The tensors are a hole, which takes no room.
        copy.truncate(size)
        copy.flush()
        yield Path(copy.name)


def tensor_names(path: Place) -> list[str]:
    """Names of the tensors of a file, by its header."""
    file, stamp = open_file(path)
    with file, _tensors(path, file, stamp.size) as tensors:
        return sorted(tensors.keys())


@contextmanager
def _tensors(path: Place, file: RawIOBase, size: int) -> Generator[Any, None, None]:
    """Open a file by the library: it validates lengths, overlaps, and the size of the file."""
    from safetensors import SafetensorError, safe_open

    try:
        with _local(path, file, size) as local, safe_open(local, framework="np") as tensors:
            yield tensors
    except SafetensorError as error:
        raise StoreError(
            f"{path}: found {size} bytes that are no complete .safetensors file: {error}"
        ) from None
    except OSError as error:
        raise StoreError(f"{path}: cannot be opened: {error.strerror or error}") from None
