"""Reader of .npy files, and of the .npy header that each member of an .npz file begins with."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from io import BytesIO
from tokenize import TokenError
from typing import Any

import numpy as np
from numpy.lib import format as npy_format

from clipsoid._batch import CARRIERS
from clipsoid.errors import DTypeError, StoreError
from clipsoid.store.base import Shard
from clipsoid.store.files import Place, Readable, open_file
from clipsoid.store.mapped import MappedShard, check_extent, check_shape
from clipsoid.store.opening import check_dtype

#: Bytes of a header that are read at most; that of a matrix has about a hundred.
HEADER_BYTES = 1 << 16

WANTED = "float16, bfloat16, float32 or float64"

#: What numpy's header parser, and Python's below it, raise on text that is no header.
_UNPARSABLE = (ValueError, SyntaxError, TypeError, TokenError, RecursionError, MemoryError)

_DESCR = re.compile(rb"""(['"]descr['"]\s*:\s*)['"]([^'"]*)['"]""")
_BFLOAT16 = re.compile(r"([<>=|]?)bfloat16")


@dataclass(frozen=True, slots=True)
class ArrayHeader:
    """What an .npy header says.

    Attributes
    ----------
    shape : tuple of int
        Of two entries.
    fortran : bool
        Columns, not rows, are contiguous.
    disk : numpy dtype
        The carrier of `dtype`, in the byte order of the file.
    dtype : str
        Name of the element type.
    raw : bytes
        The header itself.
    """

    shape: tuple[int, int]
    fortran: bool
    disk: np.dtype[Any]
    dtype: str
    raw: bytes

    @property
    def array_bytes(self) -> int:
        """Bytes of the array that follows."""
        return self.shape[0] * self.shape[1] * self.disk.itemsize


def open_npy(path: Place, name: str, *, key: str | None, dtype: str | None) -> Shard:
    """Open one .npy file; see `open_store`."""
    if key is not None:
        raise StoreError(f"{path}: an .npy file holds one array and no keys; found key={key!r}")
    file, stamp = open_file(path)
    with file:
        header = read_header(file, str(path), dtype)
    check_extent(path, stamp.size, len(header.raw) + header.array_bytes)
    return MappedShard(
        path=path,
        name=name,
        count=header.shape[0],
        dim=header.shape[1],
        dtype=header.dtype,
        stamp=stamp,
        part="",
        offset=len(header.raw),
        disk=header.disk,
        fortran=header.fortran,
    )


def read_header(stream: Readable, label: str, wanted: str | None) -> ArrayHeader:
    """Read the header at the present position of `stream`, and refuse what is no embedding matrix.

    Parameters
    ----------
    stream : binary stream
        Left at the first byte of the array.
    label : str
        What errors call the array: the path, and the member.
    wanted : str, optional
        Element type that the caller asks for.
    """
    magic = _read(stream, npy_format.MAGIC_LEN, label)
    if not magic:
        raise StoreError(f"{label}: is empty (0 bytes); wanted an .npy array")
    if not magic.startswith(npy_format.MAGIC_PREFIX):
        hint = " (a pickle, which is never loaded)" if magic.startswith(b"\x80") else ""
        raise StoreError(
            f"{label}: is no .npy array: it begins with {magic!r}{hint}; "
            f"wanted {npy_format.MAGIC_PREFIX!r}"
        )
    version = tuple(magic[len(npy_format.MAGIC_PREFIX) :])
    if version not in ((1, 0), (2, 0), (3, 0)):
        raise StoreError(f"{label}: the .npy version is {version}; wanted (1, 0), (2, 0) or (3, 0)")
    width = 2 if version == (1, 0) else 4
    prefix = _read(stream, width, label)
    length = int.from_bytes(prefix, "little")
    if length > HEADER_BYTES:
        raise StoreError(f"{label}: the header has {length} bytes; wanted {HEADER_BYTES} at most")
    text = _read(stream, length, label)
    if len(text) < length:
        raise StoreError(
            f"{label}: is truncated: found {len(text)} bytes of the header, wanted {length}"
        )
    raw = magic + prefix + text

    # Writers that know bfloat16 may name it, which numpy cannot parse without ml_dtypes; numpy's
    # own "V2" loses its byte order when parsed. So this one entry is looked at here.
    found = _DESCR.search(text)
    descr = found[2].decode("latin1") if found else ""
    named = _BFLOAT16.fullmatch(descr)
    if named:
        text = _DESCR.sub(rb"\1'<u2'", text, count=1)
    # Version 3 differs in its encoding only, which matters for field names only.
    parse = npy_format.read_array_header_2_0
    if version == (1, 0):
        parse = npy_format.read_array_header_1_0
    try:
        shape, fortran, disk = parse(BytesIO(len(text).to_bytes(width, "little") + text))
    except _UNPARSABLE as error:
        # What follows is numpy's advice to whoever called it.
        reason = str(error).partition("\n")[0]
        raise StoreError(f"{label}: the .npy header cannot be parsed: {reason}") from None
    if any(isinstance(n, bool) or n < 0 for n in shape):
        raise StoreError(f"{label}: the header gives shape {shape}; wanted numbers of rows")
    if named:
        element, disk = "bfloat16", _sixteen_bits(named[1])
    else:
        element, disk = _element(label, disk, descr, wanted)
    check_dtype(label, element, wanted)
    check_shape(label, shape)
    return ArrayHeader((shape[0], shape[1]), fortran, disk, element, raw)


def _element(
    label: str, disk: np.dtype[Any], descr: str, wanted: str | None
) -> tuple[str, np.dtype[Any]]:
    """Name of the element type, and the dtype that reads it; DTypeError for any other."""
    if disk.hasobject:
        what = "Python objects (pickled), which are never loaded"
    elif disk.fields is not None or disk.subdtype is not None:
        what = f"structured ({disk})"
    elif disk.name == "bfloat16" or (disk.kind == "V" and disk.itemsize == 2):
        if wanted == "bfloat16" or disk.name == "bfloat16":
            return "bfloat16", _sixteen_bits(descr[:1])
        raise DTypeError(
            f"{label}: elements are 2-byte void (V2), which is how numpy saves bfloat16; "
            'pass dtype="bfloat16" to read them as that'
        )
    elif disk.kind == "u" and disk.itemsize == 2 and wanted == "bfloat16":
        return "bfloat16", disk
    elif disk.kind == "f" and disk.name in CARRIERS:
        return disk.name, disk
    else:
        what = disk.name
        if what == "uint16":
            raise DTypeError(
                f"{label}: elements are uint16; wanted {WANTED} "
                '(pass dtype="bfloat16" if these are the bits of bfloat16)'
            )
    raise DTypeError(f"{label}: elements are {what}; wanted {WANTED}")


def _sixteen_bits(order: str) -> np.dtype[Any]:
    if order not in ("<", ">"):
        order = "<" if sys.byteorder == "little" else ">"
    return np.dtype(f"{order}u2")


def _read(stream: Readable, length: int, label: str) -> bytes:
    """Read up to `length` bytes: fewer at the end of the stream only."""
    buffer = bytearray(length)
    view, done = memoryview(buffer), 0
    while done < length:
        try:
            count = stream.readinto(view[done:])
        except OSError as error:
            raise StoreError(f"{label}: cannot be read: {error.strerror or error}") from None
        if not count:
            break
        done += count
    return bytes(view[:done])
