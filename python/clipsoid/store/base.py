"""Shard and Store: an embedding set as an ordered list of files, read in batches."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from clipsoid._batch import CARRIERS, Batch
from clipsoid.errors import StoreError
from clipsoid.store.files import Place, Stamp, open_file
from clipsoid.store.fingerprint import fingerprint
from clipsoid.store.readahead import read_ahead
from clipsoid.store.remote.path import RemotePath

if TYPE_CHECKING:
    from io import RawIOBase

    import polars as pl

    from clipsoid.store.metadata import Metadata
    from clipsoid.store.remote.ahead import Block

#: Bytes of one batch that is read into memory. Up to four batches live at one time (`read_ahead`),
#: so this bounds the anonymous memory of such a read; larger ones are no faster.
BATCH_BYTES = 16 << 20

#: Row numbers in tables are 32 bits wide, as those of polars.
MAX_ROWS = 2**32 - 1


@dataclass(frozen=True)
class Shard(ABC):
    """One embedding matrix in one file: its header is known, its rows are not read yet.

    Attributes
    ----------
    path : Path or RemotePath
        The file.
    name : str
        Path relative to the common root of the set, posix style; unique in a store.
    count, dim : int
        Rows and features.
    dtype : str
        ``"float16"``, ``"bfloat16"``, ``"float32"`` or ``"float64"``, as stored.
    stamp : Stamp
        Size, time and inode of the file when it was opened; of a remote one, size and ETag.
    part : str
        Key of the array or column inside the file; ``""`` where a file holds one array.
    metadata : Metadata or None
        The file that describes the same rows, where the layout of the set has one.
    """

    path: Place
    name: str
    count: int
    dim: int
    dtype: str
    stamp: Stamp
    part: str
    metadata: Metadata | None = field(default=None, kw_only=True, repr=False)

    @abstractmethod
    def batches(self, max_bytes: int | None = None) -> Iterator[Batch]:
        """Rows in order, in batches of at most `max_bytes` (and of at least one row).

        By default batches are as long as the way of reading makes worth while.
        """

    def located_batches(self, max_bytes: int | None = None) -> Iterator[tuple[Shard, int, Batch]]:
        """As `batches`, each with this shard and the number of its first row.

        Raises
        ------
        StoreError
            At the end, if there were not as many rows as the header says.
        """
        start = 0
        for batch in self.batches(max_bytes):
            length = len(batch)
            yield self, start, batch
            # Without this, the loop would hold a batch while it waits for the next one.
            del batch
            start += length
        if start != self.count:
            raise StoreError(
                f"{self.path}: found {start} rows, wanted the {self.count} of its header"
            )

    def schema(self) -> Mapping[str, pl.DataType]:
        """Names and types of the columns that lie beside the embeddings; only headers are read."""
        return {} if self.metadata is None else self.metadata.schema()

    def plan(self, max_bytes: int | None = None) -> Iterator[Block]:
        """Parts of a remote file that `batches` is going to read, in that order.

        What is not planned is requested when it is read.
        """
        return iter(())

    def window(self, first: int, count: int) -> Shard | None:
        """Return some rows as a shard, if they can be read by themselves, without those before."""
        return None

    @contextmanager
    def reading(self, max_bytes: int | None = None) -> Generator[RawIOBase, None, None]:
        """Open the file for `batches`; if it has changed, that is the error."""
        if isinstance(self.path, RemotePath):
            from clipsoid.store.remote.together import reopened

            with reopened(self.path, self.stamp, self.plan(max_bytes)) as remote:
                yield remote
            return
        file, _ = open_file(self.path)
        with file, self.stamp.guarding(self.path, file):
            yield file

    def check_unchanged(self) -> None:
        """Raise StoreError if the local file is not the one that was opened any more.

        Of a remote one, each answer says which state of the object it is of.
        """
        if not isinstance(self.path, RemotePath):
            self.stamp.check(self.path)

    def check_columns(self, names: Sequence[str]) -> None:
        """Refuse what `columns` could not find; no more is read than that takes.

        Of a parquet shard, nothing is: names and types were kept when it was opened.

        Raises
        ------
        StoreError
            If there is no such column; the columns that exist are named.
        MismatchError
            If the metadata do not have a row for each embedding.
        """
        if self.metadata is None:
            raise self._without_columns(names)
        self.metadata.check(names, self.count, self.path)

    def columns(self, names: Sequence[str]) -> pl.DataFrame:
        """Columns that lie beside the embeddings, such as ids: one value per row.

        Raises
        ------
        StoreError, MismatchError
            As by `check_columns`.
        """
        if self.metadata is None:
            raise self._without_columns(names)
        return self.metadata.columns(names, self.count, self.path)

    def _without_columns(self, names: Sequence[str]) -> StoreError:
        return StoreError(
            f"{self.path}: a {self.path.suffix} file has no columns, and there is no metadata file "
            f"beside it; wanted {', '.join(names)}"
        )

    def fingerprint(self) -> str:
        """Digest of the content, whatever the path and the time (`fingerprint`)."""
        return fingerprint(self.path, self.part, self.stamp)

    def rows_per_batch(self, max_bytes: int | None, default: int = BATCH_BYTES) -> int:
        """Rows that fit into `max_bytes`, one at least."""
        max_bytes = default if max_bytes is None else max_bytes
        if max_bytes < 1:
            raise StoreError(f"max_bytes is {max_bytes}; wanted 1 or more")
        return max(1, max_bytes // (self.dim * CARRIERS[self.dtype].itemsize))

    def __repr__(self) -> str:
        """Name, shape and element type."""
        return f"{type(self).__name__}({self.name!r}, {self.count} x {self.dim} {self.dtype})"


@dataclass(frozen=True, repr=False)
class Store:
    """An embedding set: shards in order, all of one dimension.

    Attributes
    ----------
    shards : tuple of Shard
        In the order in which rows are numbered.
    dim : int
        Features of every row.
    """

    shards: tuple[Shard, ...]
    dim: int

    @property
    def count(self) -> int:
        """Rows of all shards."""
        return sum(shard.count for shard in self.shards)

    @property
    def dtypes(self) -> frozenset[str]:
        """Element types that occur; shards need not agree, no row is converted."""
        return frozenset(shard.dtype for shard in self.shards)

    def batches(self, max_bytes: int | None = None) -> Generator[Batch, None, None]:
        """Rows of all shards in order, read ahead by a thread.

        Parameters
        ----------
        max_bytes : int, optional
            Upper limit of one batch, 16 MiB by default, 64 MiB where batches are mapped; a batch
            holds one row at least, and rows of one shard only.

        Yields
        ------
        Batch
            At most four exist at one time, if the consumer holds one.

        Raises
        ------
        StoreError
            If a shard is truncated or changed in the meantime, or its rows are not as its header
            says.
        """
        for _, _, batch in self.located_batches(max_bytes):
            yield batch
            del batch

    def located_batches(
        self, max_bytes: int | None = None
    ) -> Generator[tuple[Shard, int, Batch], None, None]:
        """As `batches`, each with its shard and the number of its first row in that shard."""
        shards: Sequence[Shard] = self.shards
        stop = None
        if any(isinstance(shard.path, RemotePath) for shard in shards):
            from clipsoid.store.remote.together import read_together

            shards, stop = read_together(shards, max_bytes)

        # The reader's thread gives up the pages of a mapping, beside the use of the next batch.
        used: list[Batch] = []

        def read() -> Iterator[tuple[Shard, int, Batch]]:
            for shard, readable in zip(self.shards, shards, strict=True):
                for _, start, batch in readable.located_batches(max_bytes):
                    yield shard, start, batch
                    # Without this, the loop would hold a batch while it waits for the next one.
                    del batch
                    used.clear()

        with closing(read_ahead(read(), stop=stop)) as batches:
            for shard, start, batch in batches:
                yield shard, start, batch
                used.append(batch)
                del batch
                # It may have been a view of the file itself, which was read ahead of its use.
                shard.check_unchanged()

    def select(self, i: int, n: int) -> Store:
        """Every `n`-th shard from shard `i` on: part `i` of `n` parts, counted from 0.

        A part is empty where there are fewer shards than parts; the parts make up the whole.
        """
        if n < 1 or not 0 <= i < n:
            raise StoreError(f"part {i} of {n} does not exist; wanted 0 <= i < n")
        return replace(self, shards=self.shards[i::n])

    def __repr__(self) -> str:
        """Shards, shape and element types."""
        dtypes = "+".join(sorted(self.dtypes)) or "empty"
        return f"Store({len(self.shards)} shards, {self.count} x {self.dim}, {dtypes})"


def check_numbered(shard: Shard) -> None:
    """Refuse a shard of more rows than tables can number."""
    if shard.count > MAX_ROWS:
        raise StoreError(f"{shard.path}: has {shard.count} rows; wanted at most {MAX_ROWS}")
