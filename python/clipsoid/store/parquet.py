"""Reader of parquet files: an embedding column of lists, and the columns beside it.

polars unpacks the pages; see `parquet_pages` for how that stays within a few batches of memory
whatever the size of the row groups.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

from clipsoid._batch import CARRIERS, Batch
from clipsoid.errors import StoreError
from clipsoid.store.base import BATCH_BYTES, Shard
from clipsoid.store.files import Place, open_file
from clipsoid.store.list_columns import check_lengths, choose_column, null_element
from clipsoid.store.opening import check_dtype
from clipsoid.store.parquet_columns import check_names, parsed_schema, read_columns
from clipsoid.store.parquet_cuts import Cut
from clipsoid.store.parquet_footer import read_footer
from clipsoid.store.parquet_pages import ColumnPages
from clipsoid.store.remote.path import RemotePath

if TYPE_CHECKING:
    from io import RawIOBase

    import polars as pl

    from clipsoid.store.remote.ahead import Block


@dataclass(frozen=True, repr=False)
class ParquetShard(Shard):
    """A column of equally long lists; `part` is its name.

    Attributes
    ----------
    footer : int
        Position from which on the rest of a remote file describes it; 0 for a local one.
    spans : tuple of (int, int)
        What is read of a remote file beside that, in this order.
    types : mapping of str to polars dtype
        Names and types of all columns, as the footer had them when the file was opened.
    """

    footer: int = 0
    spans: tuple[tuple[int, int], ...] = ()
    types: Mapping[str, pl.DataType] = field(default_factory=dict, compare=False)

    def plan(self, max_bytes: int | None = None) -> Iterator[Block]:
        """Blocks of the footer, and of the pages of the column."""
        from clipsoid.store.remote.ahead import planned, whole

        return chain(
            whole(self.path, self.stamp, self.footer, self.stamp.size),
            planned(self.path, self.stamp, self.spans),
        )

    def batches(self, max_bytes: int | None = None) -> Iterator[Batch]:
        """Rows in order; a null instead of a list is a NaN row that `Batch.missing` marks."""
        max_bytes = BATCH_BYTES if max_bytes is None else max_bytes
        step = self.rows_per_batch(max_bytes)
        with self.reading(max_bytes) as file:
            for first, series in self._series(file, max_bytes):
                self.stamp.check(self.path, file)
                rows, missing = self._matrix(series, first)
                del series
                for start in range(0, len(rows), step):
                    stop = start + step
                    marks = None if missing is None else missing[start:stop]
                    yield Batch(rows[start:stop], self.dtype, marks)
                del rows, missing

    def schema(self) -> Mapping[str, pl.DataType]:
        """Names and types of the other columns of the file."""
        return {name: kind for name, kind in self.types.items() if name != self.part}

    def check_columns(self, names: Sequence[str]) -> None:
        """Refuse columns that the footer does not name."""
        check_names(self.path, names, self.types)

    def columns(self, names: Sequence[str]) -> pl.DataFrame:
        """Columns beside the embeddings, read whole."""
        frame = read_columns(self.path, names, self.stamp)
        if names and len(frame) != self.count:
            raise StoreError(f"{self.path}: found {len(frame)} rows of ids, wanted {self.count}")
        return frame

    def _series(self, file: RawIOBase, max_bytes: int) -> Iterator[tuple[int, pl.Series]]:
        """Unpack the column run by run, each with the number of its first row."""
        pages = ColumnPages(file, self.path, self.stamp.size, self.part)
        first = 0
        for run in pages.runs(max_bytes):
            whole = Cut(run)
            done = 0
            for cut in pages.cuts(run, max_bytes):
                series = self._assumed(pages, cut) if cut.assumed else self._unpack(pages, cut)
                if cut.again and series is not None:
                    series = series.slice(done)
                if series is None:
                    # Lists are not all of one length, or some are null: only the whole row group
                    # tells which. What was checked and handed out before stands.
                    series = self._unpack(pages, whole).slice(done)
                yield first + done, series
                done += len(series)
                del series
                if done >= whole.rows:
                    break
            first += whole.rows

    def _unpack(self, pages: ColumnPages, cut: Cut) -> pl.Series:
        import polars as pl

        try:
            series = _column(pages.build(cut), self.part)
        except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
            raise StoreError(
                f"{self.path}: column {self.part!r} is damaged or cannot be unpacked: {error}"
            ) from None
        if len(series) != cut.rows:
            raise StoreError(
                f"{self.path}: column {self.part!r}: found {len(series)} rows where the footer "
                f"wants {cut.rows}"
            )
        return series

    def _assumed(self, pages: ColumnPages, cut: Cut) -> pl.Series | None:
        """Unpack a cut of which the rows were inferred; None if the inference was wrong."""
        try:
            series = self._unpack(pages, cut)
        except StoreError:
            # A file that was cut or changed says so; all else is judged on the whole row group.
            self.stamp.check(self.path, pages.file)
            return None
        if series.null_count() or not (_lengths(series) == self.dim).all():
            return None
        return series

    def _matrix(
        self, series: pl.Series, first: int
    ) -> tuple[np.ndarray[Any, np.dtype[Any]], np.ndarray[Any, np.dtype[np.bool_]] | None]:
        """Rows of a series, and which of them are null; `first` is the number of its first row."""
        missing = series.is_null().to_numpy() if series.null_count() else None
        valid = series if missing is None else series.drop_nulls()
        # Numbers, within the file, of the rows in `valid`.
        numbers = first + (np.arange(len(series)) if missing is None else np.flatnonzero(~missing))
        label = f"{self.path}: column {self.part!r}"
        check_lengths(label, self.dim, _lengths(valid).to_numpy(), numbers)
        carrier = CARRIERS[self.dtype]
        if not len(valid):
            return np.full((len(series), self.dim), np.nan, carrier), missing
        flat = valid.explode()
        if flat.null_count():
            at = int(flat.is_null().arg_max() or 0)
            raise null_element(label, numbers[at // self.dim], at % self.dim)
        rows = flat.to_numpy().reshape(-1, self.dim)
        if missing is None:
            return rows, None
        spread = np.full((len(series), self.dim), np.nan, carrier)
        spread[~missing] = rows
        return spread, missing


def open_parquet(path: Place, name: str, *, key: str | None, dtype: str | None) -> Shard:
    """Open the embedding column of a parquet file; see `open_store`."""
    import polars as pl

    file, stamp = open_file(path)
    with file:
        schema = parsed_schema(read_footer(file, path, stamp.size), path)
        candidates = {column: found for column, kind in schema.items() if (found := _element(kind))}
        key = choose_column(path, key, schema, list(candidates))
        element = check_dtype(f"{path}: column {key!r}", candidates[key], dtype)
        remote = isinstance(path, RemotePath)
        pages = ColumnPages(file, path, stamp.size, key, groups=None if remote else 1)
        footer, spans = (pages.tail, tuple(pages.spans(BATCH_BYTES))) if remote else (0, ())
        kind = schema[key]
        dim = kind.size if isinstance(kind, pl.Array) else pages.regular_length()
        shard = ParquetShard(path, name, pages.count, dim or 0, element, stamp, key)
        if dim is None:
            dim = _first_length(shard, file)
        if dim == 0 and isinstance(kind, pl.Array):
            raise StoreError(f"{path}: column {key!r} holds arrays of 0 elements; wanted some")
        stamp.check(path, file)
    return ParquetShard(path, name, pages.count, dim, element, stamp, key, footer, spans, schema)


def _first_length(shard: ParquetShard, file: RawIOBase) -> int:
    """Length of the first list, or 0 where every row is null."""
    for _, series in shard._series(file, BATCH_BYTES):
        lengths = _lengths(series.drop_nulls())
        if len(lengths):
            if not lengths[0]:
                raise StoreError(f"{shard.path}: the first list of column {shard.part!r} is empty")
            return int(lengths[0])
    return 0


def embedding_columns(schema: Mapping[str, pl.DataType]) -> list[str]:
    """Those columns that may hold embeddings, by their types."""
    return [name for name, kind in schema.items() if _element(kind)]


def _element(kind: pl.DataType) -> str | None:
    """Name of the element type, if a column of this type holds embeddings."""
    import polars as pl

    if isinstance(kind, pl.List) or (isinstance(kind, pl.Array) and len(kind.shape) == 1):
        names = {pl.Float16(): "float16", pl.Float32(): "float32", pl.Float64(): "float64"}
        inner = kind.inner
        return next((name for known, name in names.items() if inner == known), None)
    return None


def _column(data: bytes, column: str) -> pl.Series:
    import polars as pl

    return (
        pl.scan_parquet(data, use_statistics=False, cache=False, glob=False)
        .select(column)
        .collect()
        .to_series()
    )


def _lengths(series: pl.Series) -> pl.Series:
    import polars as pl

    return series.list.len() if series.dtype == pl.List else series.arr.len()
