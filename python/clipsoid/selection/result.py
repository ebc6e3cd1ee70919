"""What a selection is: which rows, how many each rule took, and what became of the scores."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from clipsoid._native import __version__
from clipsoid._shown import Shown
from clipsoid.selection.mask import Mask
from clipsoid.selection.table import Table

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True, slots=True, eq=False)
class ScoreDistribution(Shown):
    """How the scores of some rows are distributed; exact, whatever their number.

    Attributes
    ----------
    count : int
        Rows.
    min, p5, p25, median, p75, p95, max : float
        Each is the least score that this share of the rows does not exceed: a score of a row, as
        of ``numpy.quantile(method="inverted_cdf")``.
    edges : ndarray of float64 of shape (21,)
        Of a histogram in bins of one width.
    counts : ndarray of int64 of shape (20,)
        Rows in each; a bin holds its lower edge, the last one its upper edge as well.
    """

    count: int
    min: float
    p5: float
    p25: float
    median: float
    p75: float
    p95: float
    max: float
    edges: NDArray[np.float64]
    counts: NDArray[np.int64]

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name, arrays as lists."""
        found = asdict(self)
        return {**found, "edges": self.edges.tolist(), "counts": self.counts.tolist()}


@dataclass(frozen=True, slots=True, eq=False, repr=False, kw_only=True)
class Selection(Shown):
    """Rows that were chosen by their scores; made by :func:`clipsoid.select`.

    Attributes
    ----------
    rows_in, rows_kept : int
        Rows of the scores, and of the selection.
    removed : dict of str to int
        Rows that each rule took out, in the order in which they were applied; rows without a
        score are the first two, ``status`` and ``no score``.
    status : dict of str to int
        Rows by status, of scores that have one.
    column : str
        The score.
    before, after : ScoreDistribution
        Of all rows that have a score, and of the chosen ones, in the same bins.
    rules : dict
        What was asked for.
    notes : tuple of str
        What whoever uses the selection should know.
    version : str
        Version of clipsoid.
    """

    rows_in: int
    rows_kept: int
    removed: dict[str, int]
    status: dict[str, int]
    column: str
    before: ScoreDistribution
    after: ScoreDistribution
    rules: dict[str, Any]
    notes: tuple[str, ...] = ()
    version: str = __version__
    _table: Table = field(repr=False)
    _mask: Mask = field(repr=False)
    _on: str | None = field(default=None, repr=False)

    def __len__(self) -> int:
        return self.rows_kept

    def __repr__(self) -> str:
        return f"Selection({self.rows_kept:,} of {self.rows_in:,} rows by {self.column})"

    @property
    def frame(self) -> pl.LazyFrame:
        """The chosen rows with all columns of scores and metadata, in their order; read lazily.

        The files are read when it is collected, batch by batch: they must be there and unchanged.
        """
        from polars.io.plugins import register_io_source

        return register_io_source(self._batches, schema=self._table.schema)

    def _batches(
        self,
        columns: list[str] | None,
        predicate: pl.Expr | None,
        n_rows: int | None,
        batch_size: int | None,
    ) -> Iterator[pl.DataFrame]:
        import polars as pl

        wanted = list(self._table.schema) if columns is None else columns
        left = self.rows_kept if n_rows is None else n_rows
        # A query of no columns asks how many rows there are.
        for _, batch, kept in self._table.walk(self._mask, wanted or self._table_first()):
            frame = batch.filter(pl.Series(kept)).select(wanted)
            if predicate is not None:
                frame = frame.filter(predicate)
            yield (frame := frame.head(left))
            left -= frame.height
            if left <= 0 and n_rows is not None:
                return

    def _table_first(self) -> list[str]:
        return [next(iter(self._table.schema))]

    def write(
        self,
        *paths: str | os.PathLike[str],
        id_column: str = "uid",
        columns: Sequence[str] | None = None,
        progress: Callable[[str], object] | None = None,
    ) -> None:
        """Write the chosen rows, in the forms that the suffixes name; all files or none.

        Beside each file goes a small JSON, ``FILE.json``, that says how to make it again.

        Parameters
        ----------
        *paths : str or Path
            ``.parquet`` gets the rows with their columns. ``.npy`` gets the ids as DataComp has
            them: 128-bit hexadecimal uids as two ``u8`` halves, sorted. ``.txt`` gets one id per
            line, in the order of the rows.
        id_column : str, default="uid"
            The ids of ``.npy`` and ``.txt``.
        columns : sequence of str, optional
            Of the ``.parquet`` files; all by default.
        progress : callable, optional
            Called with the name of each file before it is written.

        Raises
        ------
        OutputError
            If a file is there that `write` did not make, or one cannot be written.
        SelectionError
            If a column is not there, or an id is null, malformed or there twice.
        MismatchError
            If score files differ in what one of the columns depends on.
        ValueError
            If `id_column` or `columns` is given and no file makes use of it.

        Notes
        -----
        ``O(rows)`` time. A ``.npy`` takes 48 bytes of memory for each chosen row, a ``.txt`` 10 to
        see ids that are there twice, a ``.parquet`` a batch.
        """
        from clipsoid.selection.outputs import write_selection

        write_selection(self, paths, id_column, columns, progress)

    def to_dict(self) -> dict[str, Any]:
        """Return what was asked for and what was found, by name; not the rows."""
        return {
            "rows_in": self.rows_in,
            "rows_kept": self.rows_kept,
            "removed": self.removed,
            "status": self.status,
            "column": self.column,
            "before": self.before.to_dict(),
            "after": self.after.to_dict(),
            "rules": self.rules,
            "notes": list(self.notes),
            "version": self.version,
        }
