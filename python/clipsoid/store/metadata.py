"""The parquet file that describes the rows of an embedding file: which rows, which columns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from clipsoid.errors import MismatchError, StoreError
from clipsoid.store.files import Place, Stamp
from clipsoid.store.opening import open_each
from clipsoid.store.parquet_columns import TableHeader, check_names, read_columns, read_header
from clipsoid.store.remote.path import RemotePath

if TYPE_CHECKING:
    import polars as pl

#: img2dataset keeps the rows whose download failed, and says so in this column.
STATUS, SUCCESS = "status", "success"


class Tables:
    """The headers of the tables of a set; each is read when it is first asked for, and kept.

    Those of a remote set are fetched side by side when one of them is.
    """

    def __init__(self, paths: Iterable[Place]) -> None:
        self._remote = [path for path in dict.fromkeys(paths) if isinstance(path, RemotePath)]
        self._known: dict[Place, TableHeader | StoreError] = {}
        #: Tables in which rows failed, each with the rows that did not, where that was found right.
        self.counted: set[tuple[Place, int]] = set()

    def header(self, path: Place) -> TableHeader:
        """Return what the footer of a table says.

        Raises
        ------
        StoreError
            If it cannot be read; that of another table is no error of this one.
        """
        if path not in self._known:
            wanted = self._remote if isinstance(path, RemotePath) else [path]
            headers = open_each([(one, one.name) for one in wanted], _header_or_error)
            self._known |= zip(wanted, headers, strict=True)
        found = self._known[path]
        if isinstance(found, StoreError):
            raise found
        return found


def _header_or_error(path: Place, name: str) -> TableHeader | StoreError:
    try:
        return read_header(path)
    except StoreError as error:
        return error


@dataclass(frozen=True, slots=True)
class Metadata:
    """A parquet file with a row for each embedding of another file, in the same order.

    Attributes
    ----------
    path : Path or RemotePath
        The file; it is opened when it is asked for something.
    among : Tables
        The tables of the set that it belongs to.
    """

    path: Place
    among: Tables = field(compare=False, repr=False)

    @property
    def stamp(self) -> Stamp:
        """Of the file when its footer was read; whatever is read later must still have it."""
        return self.among.header(self.path).stamp

    def count(self) -> int:
        """Rows of the file, by its footer."""
        return self.among.header(self.path).rows

    def schema(self) -> Mapping[str, pl.DataType]:
        """Names and types of the columns."""
        return self.among.header(self.path).types

    def check(self, names: Sequence[str], count: int, of: Place) -> None:
        """Refuse columns that are not there, and metadata that do not fit `count` rows of `of`.

        Raises
        ------
        StoreError, MismatchError
        """
        has_failures = self._has_failures(names, count, of)
        if has_failures and (self.path, count) not in self.among.counted:
            self._succeeded(self._read([STATUS]), count, of)

    def columns(self, names: Sequence[str], count: int, of: Place) -> pl.DataFrame:
        """Columns for the `count` embeddings of `of`; the rows that failed are left out.

        Raises
        ------
        StoreError, MismatchError
        """
        if not self._has_failures(names, count, of):
            return self._read(names)
        frame = self._read([*dict.fromkeys([*names, STATUS])])
        return frame.filter(self._succeeded(frame, count, of)).select(names)

    def _read(self, names: Sequence[str]) -> pl.DataFrame:
        return read_columns(self.path, names, self.among.header(self.path).stamp)

    def _has_failures(self, names: Sequence[str], count: int, of: Place) -> bool:
        """Whether some rows may have no embedding; refused, if there is no column to say so."""
        header = self.among.header(self.path)
        check_names(self.path, names, header.types)
        if header.rows != count and STATUS not in header.types:
            raise self._mismatch(count, of)
        return header.rows != count

    def _succeeded(self, frame: pl.DataFrame, count: int, of: Place) -> pl.Series:
        """Which rows have an embedding, by their status."""
        kept = (frame[STATUS] == SUCCESS).fill_null(value=False)
        succeeded = int(kept.sum())
        if succeeded != count:
            raise self._mismatch(count, of, f", {succeeded} of them with {STATUS} {SUCCESS!r}")
        self.among.counted.add((self.path, count))
        return kept

    def _mismatch(self, count: int, of: Place, more: str = "") -> MismatchError:
        return MismatchError(
            f"{self.path}: has {self.count()} rows{more}, but {of} has {count} embeddings; wanted "
            "one row for each"
        )
