"""The parquet file that describes the rows of an embedding file: which rows, which columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from clipsoid.errors import MismatchError
from clipsoid.store.files import Place, Stamp
from clipsoid.store.parquet_columns import check_names, read_columns, read_schema

if TYPE_CHECKING:
    import polars as pl

#: img2dataset keeps the rows whose download failed, and says so in this column.
STATUS, SUCCESS = "status", "success"


@dataclass(frozen=True, slots=True)
class Metadata:
    """A parquet file with a row for each embedding of another file, in the same order.

    Attributes
    ----------
    path : Path
        The file; it is opened when it is asked for something.
    """

    path: Place

    def count(self) -> int:
        """Rows of the file, by its footer."""
        return read_schema(self.path)[1]

    def schema(self) -> dict[str, pl.DataType]:
        """Names and types of the columns."""
        return read_schema(self.path)[0]

    def check(self, names: Sequence[str], count: int, of: Place) -> None:
        """Refuse columns that are not there, and metadata that do not fit `count` rows of `of`.

        Raises
        ------
        StoreError, MismatchError
        """
        self._fitting(names, count, of)

    def columns(self, names: Sequence[str], count: int, of: Place) -> pl.DataFrame:
        """Columns for the `count` embeddings of `of`; the rows that failed are left out.

        Raises
        ------
        StoreError, MismatchError
        """
        stamp, kept = self._fitting(names, count, of)
        frame = read_columns(self.path, names, stamp)
        return frame if kept is None else frame.filter(kept)

    def _fitting(
        self, names: Sequence[str], count: int, of: Place
    ) -> tuple[Stamp, pl.Series | None]:
        """Return the stamp of the file, and which of its rows have an embedding if not all do."""
        schema, rows, stamp = read_schema(self.path)
        check_names(self.path, names, schema)
        if rows == count:
            return stamp, None
        found = f"{self.path}: has {rows} rows"
        if STATUS in schema:
            kept = read_columns(self.path, [STATUS], stamp).to_series() == SUCCESS
            kept = kept.fill_null(value=False)
            succeeded = int(kept.sum())
            if succeeded == count:
                return stamp, kept
            found += f", {succeeded} of them with {STATUS} {SUCCESS!r}"
        raise MismatchError(f"{found}, but {of} has {count} embeddings; wanted one row for each")
