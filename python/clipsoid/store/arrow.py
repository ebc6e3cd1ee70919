"""Reader of Arrow IPC files and streams: an embedding column of lists, and the columns beside it.

Lists that lie one behind the other, uncompressed, are a plain array inside the file, and are read
as one (`MappedShard`). Record batches that are compressed are unpacked one at a time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from clipsoid._batch import CARRIERS, Batch
from clipsoid.errors import StoreError
from clipsoid.store.arrow_file import ArrowFile, arrow_errors, check_place
from clipsoid.store.arrow_lists import Lists, Run
from clipsoid.store.base import BATCH_BYTES, Shard
from clipsoid.store.files import Place, fill_at, open_file
from clipsoid.store.list_columns import choose_column
from clipsoid.store.mapped import MAPPED_BYTES, MappedShard, as_bytes
from clipsoid.store.opening import check_dtype
from clipsoid.store.parquet_columns import check_names

if TYPE_CHECKING:
    from io import RawIOBase

    import polars as pl

#: A run of rows: a plain array in the file, or in memory.
Piece = MappedShard | Batch


@dataclass(frozen=True, repr=False)
class ArrowShard(Shard):
    """A column of equally long lists; `part` is its name.

    Attributes
    ----------
    types : pyarrow.Schema
        Names and types of all columns when the file was opened.
    """

    types: Any = field(default=None, compare=False)

    def batches(self, max_bytes: int | None = None) -> Iterator[Batch]:
        """Rows in order; a null instead of a list is a NaN row that `Batch.missing` marks."""
        step = self.rows_per_batch(max_bytes)
        with self.reading(max_bytes) as file:
            held: list[Piece] = []
            for piece in self._pieces(file, max_bytes):
                count = _rows(piece)
                if held and sum(map(_rows, held)) + count > step:
                    yield self._joined(file, held)
                    held = []
                if isinstance(piece, MappedShard) and count >= step:
                    yield from piece.batches(max_bytes)
                else:
                    held.append(piece)
                del piece
            if held:
                yield self._joined(file, held)

    def schema(self) -> Mapping[str, pl.DataType]:
        """Names and types of the other columns of the file, of those types that polars has."""
        kinds = ((one.name, _polars_type(one)) for one in self.types if one.name != self.part)
        return {name: kind for name, kind in kinds if kind is not None}

    def check_columns(self, names: Sequence[str]) -> None:
        """Refuse columns that the file does not have."""
        check_names(self.path, names, self.types.names)

    def columns(self, names: Sequence[str]) -> pl.DataFrame:
        """Columns beside the embeddings, read whole."""
        import polars as pl
        import pyarrow as pa

        self.check_columns(names)
        wanted = [*dict.fromkeys(names)]
        unknown = [name for name in wanted if _polars_type(self.types.field(name)) is None]
        if unknown:
            kind = self.types.field(unknown[0]).type
            raise StoreError(f"{self.path}: column {unknown[0]!r} is {kind}, which polars has not")
        with self.reading() as file:
            copies = []
            opened = ArrowFile(file, self.path, self.stamp)
            with arrow_errors(self.path, "columns cannot be read"):
                for batch in opened.batches(wanted):
                    batch.validate(full=True)
                    # No view of the file: a table is kept for longer than the file can be watched.
                    copies.append(batch.copy_to(pa.default_cpu_memory_manager()).columns)
                self.stamp.check(self.path, file)
                batches = [pa.RecordBatch.from_arrays(arrays, names=wanted) for arrays in copies]
                plain = pa.schema([pa.field(name, self.types.field(name).type) for name in wanted])
                table = pa.Table.from_batches(batches, plain)
        frame = pl.DataFrame(pl.from_arrow(table)).select(names)
        if names and len(frame) != self.count:
            raise StoreError(f"{self.path}: found {len(frame)} rows of ids, wanted {self.count}")
        return frame

    def _pieces(self, file: RawIOBase, max_bytes: int | None) -> Iterator[Piece]:
        """Yield runs of rows, each as long as a batch may be at most."""
        label = f"{self.path}: column {self.part!r}"
        opened = ArrowFile(file, self.path, self.stamp)
        first = 0
        for record in opened.batches([self.part]):
            with arrow_errors(self.path):
                lists = Lists(record.column(0), self.dtype, label, first)
            del record
            first += lists.count
            offset = None if lists.values is None else opened.position(lists.values)
            usual = BATCH_BYTES if offset is None else MAPPED_BYTES
            for start, stop in _steps(0, lists.count, self.rows_per_batch(max_bytes, usual)):
                run = lists.run(start, stop, self.dim)
                if offset is not None and run.valid is None:
                    yield self._plain(run, offset)
                    continue
                for i, j in _steps(start, stop, self.rows_per_batch(max_bytes)):
                    run = lists.run(i, j, self.dim)
                    if offset is not None and run.valid is None:
                        yield self._plain(run, offset)
                    else:
                        rows, missing = lists.rows(run, self.dim)
                        yield Batch(rows, self.dtype, missing)
                        del rows, missing
            # One record batch at a time is unpacked, beside what is left of it in batches.
            del lists

    def _plain(self, run: Run, elements: int) -> MappedShard:
        """Return lists that lie one behind the other as an array; `elements` begin there."""
        disk = CARRIERS[self.dtype]
        return MappedShard(
            path=self.path,
            name=self.name,
            count=len(run.first),
            dim=self.dim,
            dtype=self.dtype,
            stamp=self.stamp,
            part=self.part,
            offset=elements + int(run.first[0]) * disk.itemsize,
            disk=disk,
        )

    def _joined(self, file: RawIOBase, pieces: list[Piece]) -> Batch:
        """Make one batch of some pieces, as record batches may be short; their list is emptied."""
        missing = None
        if len(pieces) == 1 and isinstance(pieces[0], Batch):
            rows, missing = pieces[0].rows, pieces[0].missing
        else:
            rows = np.empty((sum(map(_rows, pieces)), self.dim), CARRIERS[self.dtype])
            marks = np.zeros(len(rows), np.bool_)
            start = 0
            for piece in pieces:
                stop = start + _rows(piece)
                if isinstance(piece, MappedShard):
                    fill_at(file, piece.offset, as_bytes(rows[start:stop]), self.path)
                else:
                    rows[start:stop] = piece.rows
                    if piece.missing is not None:
                        marks[start:stop] = piece.missing
                start = stop
            missing = marks if marks.any() else None
        pieces.clear()
        self.stamp.check(self.path, file)
        return Batch(rows, self.dtype, missing)


def open_arrow(path: Place, name: str, *, key: str | None, dtype: str | None) -> Shard:
    """Open the embedding column of an Arrow IPC file or stream; see `open_store`."""
    check_place(path)
    import pyarrow as pa

    file, stamp = open_file(path)
    with file, stamp.guarding(path, file):
        opened = ArrowFile(file, path, stamp)
        schema = opened.schema
        kinds = {one.name: one.type for one in schema}
        fit = {column: found for column, kind in kinds.items() if (found := _element(kind))}
        key = choose_column(path, key, kinds, list(fit))
        element = check_dtype(f"{path}: column {key!r}", fit[key], dtype)
        shard = ArrowShard(path, name, opened.count(), 0, element, stamp, key, schema)
        if pa.types.is_fixed_size_list(kinds[key]):
            dim = kinds[key].list_size
            if dim < 1:
                raise StoreError(f"{path}: column {key!r} holds arrays of 0 elements; wanted some")
        else:
            dim = _first_length(shard, opened)
        stamp.check(path, file)
    return replace(shard, dim=dim)


def column_names(path: Place) -> list[str]:
    """Names of those columns that may hold embeddings, by their types."""
    check_place(path)
    file, stamp = open_file(path)
    with file, stamp.guarding(path, file):
        schema = ArrowFile(file, path, stamp).schema
        return [one.name for one in schema if _element(one.type)]


def _first_length(shard: ArrowShard, opened: ArrowFile) -> int:
    """Length of the first list, or 0 where every row is null."""
    first = 0
    label = f"{shard.path}: column {shard.part!r}"
    for batch in opened.batches([shard.part]):
        with arrow_errors(shard.path):
            lists = Lists(batch.column(0), shard.dtype, label, first)
        first += lists.count
        for start, stop in _steps(0, lists.count, BATCH_BYTES // 8):
            _, lengths, valid = lists.lengths(start, stop)
            lengths = lengths if valid is None else lengths[valid]
            if len(lengths):
                if lengths[0] < 1:
                    raise StoreError(
                        f"{shard.path}: the first list of column {shard.part!r} is empty"
                    )
                return int(lengths[0])
    return 0


def _element(kind: Any) -> str | None:
    """Name of the element type, if a column of this type holds embeddings."""
    import pyarrow as pa

    is_kind = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    if not any(one(kind) for one in is_kind):
        return None
    names = {pa.float16(): "float16", pa.float32(): "float32", pa.float64(): "float64"}
    return names.get(kind.value_type)


def _polars_type(column: Any) -> pl.DataType | None:
    """Return what polars calls the type of a column; None if it has none."""
    import polars as pl
    import pyarrow as pa

    if "month_day_nano_interval" in str(column.type):
        # Polars does not refuse it, it panics.
        return None
    try:
        empty = pa.schema([pa.field(column.name, column.type)]).empty_table()
        return pl.DataFrame(pl.from_arrow(empty)).dtypes[0]
    except (pl.exceptions.PolarsError, pa.ArrowException):
        return None


def _rows(piece: Piece) -> int:
    return piece.count if isinstance(piece, MappedShard) else len(piece)


def _steps(start: int, stop: int, step: int) -> Iterator[tuple[int, int]]:
    for at in range(start, stop, step):
        yield at, min(at + step, stop)
