"""Columns beside the embeddings, such as ids: read by polars, and nothing but them.

polars opens local files itself. Of a remote file, the pages of the columns that are wanted are
fetched as all else is, and handed to polars as a parquet file in memory: there is no second way to
a server, with credentials and retries of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from clipsoid.errors import StoreError
from clipsoid.store.files import Place, Stamp, open_file, read_at
from clipsoid.store.parquet_footer import MAGIC, extent, footer_bytes, read_footer, row_count
from clipsoid.store.thrift import DAMAGE, I64, LIST, STRUCT, Reader, Struct, encode

if TYPE_CHECKING:
    from io import RawIOBase

    import polars as pl


@dataclass(frozen=True, slots=True)
class TableHeader:
    """What the footer of a parquet file says.

    Attributes
    ----------
    types : mapping of str to polars dtype
        Names and types of the columns.
    rows : int
        Rows of the file.
    stamp : Stamp
        Of the file that says so.
    """

    types: Mapping[str, pl.DataType]
    rows: int
    stamp: Stamp


def parsed_schema(footer: bytes, path: Place) -> Mapping[str, pl.DataType]:
    """Names and types of the columns; polars sees the footer alone."""
    import polars as pl

    try:
        found = pl.read_parquet_schema(BytesIO(MAGIC + footer_bytes(footer)))
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        raise StoreError(f"{path}: the parquet footer cannot be parsed: {error}") from None
    return _shared(tuple(found.items()))


@lru_cache(maxsize=256)
def _shared(columns: tuple[tuple[str, pl.DataType], ...]) -> Mapping[str, pl.DataType]:
    """Return one mapping for all files of a set that have the same columns, as most sets do."""
    return dict(columns)


def read_header(path: Place) -> TableHeader:
    """Read the footer of a parquet file, and no row."""
    file, stamp = open_file(path)
    with file, stamp.guarding(path, file):
        footer = read_footer(file, path, stamp.size)
        return TableHeader(parsed_schema(footer, path), row_count(footer, path), stamp)


def check_names(path: Place, names: Sequence[str], found: Iterable[str]) -> None:
    """Refuse columns that a file does not have."""
    found = list(found)
    absent = [name for name in names if name not in found]
    if absent:
        raise StoreError(
            f"{path}: has no column {', '.join(map(repr, absent))}; found {', '.join(found)}"
        )


def read_columns(path: Place, names: Sequence[str], stamp: Stamp | None = None) -> pl.DataFrame:
    """Read columns of a parquet file whole.

    Parameters
    ----------
    path : Path or RemotePath
        The file.
    names : sequence of str
        Its columns.
    stamp : Stamp, optional
        Of the file when it was opened; another file is refused.

    Raises
    ------
    StoreError
        If it has no such column (those that exist are named), cannot be read, is damaged, or has
        changed.
    """
    import polars as pl

    file, found = open_file(path)
    stamp = stamp or found
    with file, stamp.guarding(path, file):
        footer = read_footer(file, path, stamp.size)
        check_names(path, names, parsed_schema(footer, path))
        try:
            source = path if isinstance(path, Path) else _packed(file, footer, stamp, names)
            frame = (
                pl.scan_parquet(source, glob=False, hive_partitioning=False, cache=False)
                .select(names)
                .collect()
            )
        except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
            raise StoreError(f"{path}: columns cannot be read: {error}") from None
        stamp.check(path, file)
    return frame


def _packed(file: RawIOBase, data: bytes, stamp: Stamp, names: Sequence[str]) -> bytes:
    """Make a parquet file of some columns of a remote one; no other may be read from it."""
    from clipsoid.store.remote.ahead import planned
    from clipsoid.store.remote.file import RemoteFile
    from clipsoid.store.remote.together import reopened

    assert isinstance(file, RemoteFile)
    path = file.path
    try:
        footer = Reader(data).struct()
        wanted = {name.encode() for name in names}
        kind, groups = footer[4][1]
        spans = [extent(meta) for group in groups for meta in _metas(group, wanted)]
        # What came with the footer is here.
        stops = (min(start + length, file.here_from) for start, length in spans)
        left = [(start, stop) for (start, _), stop in zip(spans, stops, strict=True)]
        plan = planned(path, stamp, ((start, stop) for start, stop in left if start < stop))
        parts, at = [MAGIC], len(MAGIC)
        moves = []
        with reopened(path, stamp, plan, file.kept) as pages:
            for start, length in spans:
                parts.append(read_at(pages, start, length, path))
                moves.append(at - start)
                at += length
        ahead = iter(moves)
        moved = [_moved(group, wanted, ahead) for group in groups]
        parts.append(footer_bytes(encode(STRUCT, footer | {4: (LIST, (kind, moved))})))
    except StoreError:
        # It is a ValueError too, and says more.
        raise
    except DAMAGE as error:
        raise StoreError(f"{path}: the parquet metadata is damaged: {error!r}") from None
    return b"".join(parts)


def _is_wanted(chunk: Struct, wanted: set[bytes]) -> bool:
    return chunk[3][1][3][1][1][0] in wanted


def _metas(group: Struct, wanted: set[bytes]) -> Iterator[Struct]:
    """Yield the metadata of the columns that are wanted, leaf by leaf."""
    for chunk in group[1][1][1]:
        if _is_wanted(chunk, wanted):
            yield chunk[3][1]


def _moved(group: Struct, wanted: set[bytes], moves: Iterator[int]) -> Struct:
    """Describe a row group of which the columns that are wanted lie elsewhere."""
    kind, chunks = group[1][1]
    found = []
    for chunk in chunks:
        if _is_wanted(chunk, wanted):
            move = next(moves)
            # Indexes and filters are left behind.
            meta = {field: value for field, value in chunk[3][1].items() if field not in (14, 15)}
            for field in (9, 10, 11):
                if meta.get(field, (I64, 0))[1] > 0:
                    meta[field] = (I64, meta[field][1] + move)
            chunk = {2: (I64, extent(meta)[0]), 3: (STRUCT, meta)}
        found.append(chunk)
    return group | {1: (LIST, (kind, found))}
