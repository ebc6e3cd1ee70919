"""All rows of a source as one array that knows where each came from."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NoReturn

from numpy.typing import NDArray

from clipsoid import _pairs
from clipsoid._batch import Batch
from clipsoid._source import Located, Source
from clipsoid.errors import InvalidRowError


@dataclass(frozen=True, slots=True)
class Gathered:
    """Rows of one element type in one array, and the parts that they came from."""

    batch: Batch
    parts: list[Located]

    @property
    def rows(self) -> NDArray[Any]:
        """The array, in the carrier dtype of `dtype`."""
        return self.batch.rows

    @property
    def dtype(self) -> str:
        """The element type."""
        return self.batch.dtype

    def refuse_native(self, row: int, status: str) -> NoReturn:
        """Raise for row `row` of all, by its name and number in the part that it came from."""
        for part in self.parts:
            if row < len(part.batch):
                part.refuse_native(row, status, policies=False)
            row -= len(part.batch)
        raise IndexError(row)


def gathered(source: Source) -> Gathered:
    """All rows as one array: in place where they are one, else copied, in the widest dtype."""
    parts = list(source.read())
    return Gathered(_pairs.gathered(part.batch for part in parts), parts)


def gathered_pair(x: Source, y: Source) -> tuple[Gathered, Gathered]:
    """All rows of each of two sources, in one element type."""
    pair = gathered(x), gathered(y)
    dtype = _pairs.common_dtype(one.dtype for one in pair)
    left, right = (Gathered(_pairs.widened(one.batch, dtype), one.parts) for one in pair)
    return left, right


@contextmanager
def named(**sets: Gathered) -> Iterator[None]:
    """Say of a row that the core refuses which argument or file it lies in."""
    try:
        yield
    except InvalidRowError as error:
        sets[error._argument].refuse_native(error.row, error.status)
