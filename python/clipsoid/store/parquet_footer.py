"""The end of a parquet file: the metadata that says what lies where."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clipsoid.errors import StoreError
from clipsoid.store.files import Place, read_at
from clipsoid.store.thrift import DAMAGE, I64, Reader, Struct

if TYPE_CHECKING:
    from io import RawIOBase

MAGIC = b"PAR1"


def natural(value: object) -> int:
    """Return a number or position, if it is one."""
    if not isinstance(value, int) or value < 0:
        raise ValueError(f"found {value!r} for a number or position")
    return value


def read_footer(file: RawIOBase, path: Place, size: int) -> bytes:
    """Read the metadata at the end of a parquet file, without the length and the magic after it."""
    if not size:
        raise StoreError(f"{path}: is empty (0 bytes); wanted a parquet file")
    tail = read_at(file, max(size - 8, 0), min(size, 8), path)
    length = int.from_bytes(tail[:4], "little")
    if tail[4:] == b"PARE":
        raise StoreError(f"{path}: the parquet footer is encrypted; wanted a plain one")
    if tail[4:] != MAGIC or length + 12 > size:
        raise StoreError(
            f"{path}: is truncated or no parquet file: its {size} bytes end with "
            f"{tail!r}; wanted the length of a footer and {MAGIC!r}"
        )
    return read_at(file, size - 8 - length, length, path)


def footer_bytes(footer: bytes) -> bytes:
    """End of a parquet file: the metadata, its length and the magic."""
    return footer + len(footer).to_bytes(4, "little") + MAGIC


def extent(meta: Struct) -> tuple[int, int]:
    """Position and length of the pages of a column in a row group."""
    start = natural(meta[9][1])
    # Zero, from some old writers, means that there is no dictionary page.
    if meta.get(11, (I64, 0))[1] > 0:
        start = min(start, meta[11][1])
    return start, natural(meta[7][1])


def row_count(footer: bytes, path: Place) -> int:
    """Rows of a parquet file, as its footer says."""
    try:
        return natural(Reader(footer).struct(until=4)[3][1])
    except DAMAGE as error:
        raise StoreError(f"{path}: the parquet metadata is damaged: {error!r}") from None
