"""All rows of a source as one array: what a comparison of every row with every other needs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from clipsoid._batch import Batch
from clipsoid._source import Located, Source
from clipsoid.errors import InvalidRowError


@dataclass(frozen=True, slots=True)
class Gathered:
    """Rows of one element type in one array, and where they came from."""

    rows: NDArray[Any]
    dtype: str
    parts: list[Located]

    def refuse_native(self, row: int, status: str, *, policies: bool) -> NoReturn:
        """Raise for row `row` of all, by its name and number in the part that it came from."""
        for part in self.parts:
            if row < len(part.batch):
                part.refuse_native(row, status, policies=policies)
            row -= len(part.batch)
        raise IndexError(row)

    def widened(self) -> Gathered:
        """Return the rows in float64, which holds every other type exactly."""
        if self.dtype == "float64":
            return self
        return Gathered(_widened(Batch(self.rows, self.dtype)), "float64", self.parts)


def gathered(source: Source) -> Gathered:
    """All rows as one array: in place where they are one, else gathered in the widest dtype."""
    parts = list(source.read())
    batches = [part.batch for part in parts]
    dtypes = {batch.dtype for batch in batches}
    if len(batches) == 1:
        return Gathered(batches[0].rows, batches[0].dtype, parts)
    if len(dtypes) == 1:
        return Gathered(np.concatenate([batch.rows for batch in batches]), dtypes.pop(), parts)
    return Gathered(np.concatenate([_widened(batch) for batch in batches]), "float64", parts)


def gathered_pair(x: Source, y: Source) -> tuple[Gathered, Gathered]:
    """All rows of each of two sources, in one element type."""
    left, right = gathered(x), gathered(y)
    if left.dtype != right.dtype:
        left, right = left.widened(), right.widened()
    return left, right


@contextmanager
def named(**sets: Gathered) -> Iterator[None]:
    """Say of a row that the core refuses which argument or file it lies in."""
    try:
        yield
    except InvalidRowError as error:
        sets[error._argument].refuse_native(error.row, error.status, policies=False)


def _widened(batch: Batch) -> NDArray[np.float64]:
    if batch.dtype == "bfloat16":
        return (batch.rows.astype(np.uint32) << 16).view(np.float32).astype(np.float64)
    return batch.rows.astype(np.float64)
