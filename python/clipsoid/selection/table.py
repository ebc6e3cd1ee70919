"""Scores as one table, in the order of shards and rows, read in batches as often as needed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from clipsoid.errors import MismatchError, SelectionError
from clipsoid.selection.mask import Bools, Mask

if TYPE_CHECKING:
    import polars as pl

#: Rows of a batch: 1 MB of a column of float32, which stays in cache from step to step.
BATCH_ROWS = 1 << 18

#: Columns that say where a row lies.
PLACE = ("shard", "row")


@dataclass(frozen=True, slots=True)
class Input:
    """A file that was read, by what tells it from others.

    Attributes
    ----------
    name : str
        Its path below what all files of the input have in common.
    rows, bytes : int
    digest : str or None
        Of the JSON text that says how a score file was made.
    """

    name: str
    rows: int
    bytes: int
    digest: str | None


@dataclass(frozen=True, slots=True)
class Table:
    """Rows in a fixed order.

    Attributes
    ----------
    label : str
        What a message calls it.
    frame : polars.LazyFrame
    schema : dict
        Types of the columns, by name.
    count : int
        Rows.
    scores, metadata : tuple of Input
        The files; none of what came as a frame.
    made : dict
        What all score files say of how they were made.
    notes : tuple of str
        What whoever selects should know.
    mixed : dict of str to str
        Columns whose numbers cannot be compared from file to file, each with the reason.
    """

    label: str
    frame: pl.LazyFrame
    schema: dict[str, pl.DataType]
    count: int
    scores: tuple[Input, ...] = ()
    metadata: tuple[Input, ...] = ()
    made: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    mixed: dict[str, str] = field(default_factory=dict)

    @property
    def has_places(self) -> bool:
        """Whether the rows say which shard they are of, and where in it."""
        return all(name in self.schema for name in PLACE)

    def check_column(self, name: str, what: str) -> None:
        """Refuse the name of a column that is not there, or not of one kind in all files."""
        if name not in self.schema:
            known = ", ".join(self.schema)
            raise SelectionError(f"{self.label}: has no column {name!r} ({what}); found {known}")
        if name in self.mixed:
            raise MismatchError(self.mixed[name])

    def batches(
        self, frame: pl.LazyFrame, what: str | None = None
    ) -> Iterator[tuple[int, pl.DataFrame]]:
        """Yield the rows of `frame`, which is made of this table, and the number of the first.

        An error names `what` was asked of the rows, or the table.
        """
        start = 0
        failed = (self.label, "cannot be read") if what is None else (what, "cannot be asked")
        with as_selection_errors(*failed):
            for batch in frame.collect_batches(
                chunk_size=BATCH_ROWS, maintain_order=True, engine="streaming"
            ):
                yield start, batch
                start += batch.height
        if start != self.count:
            raise SelectionError(
                f"{self.label}: had {self.count} rows and now gives {start}; wanted the same rows "
                "whenever it is read"
            )

    def walk(self, mask: Mask, columns: Sequence[str]) -> Iterator[tuple[int, pl.DataFrame, Bools]]:
        """Yield batches of some columns, and which of their rows are in."""
        for start, batch in self.batches(self.frame.select(columns)):
            yield start, batch, mask.read(start, batch.height)


@contextmanager
def as_selection_errors(label: str, failed: str = "cannot be read") -> Iterator[None]:
    """Raise a SelectionError that names `label` in place of an error of polars or the system."""
    import polars as pl

    try:
        yield
    except (pl.exceptions.PolarsError, OSError) as error:
        # Polars adds its plan, of many lines.
        reason = str(error).strip().splitlines()
        raise SelectionError(f"{label}: {failed}: {reason[0] if reason else error!r}") from None
