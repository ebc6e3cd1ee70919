"""All rows of a source as one array that knows where each came from; pairs of such arrays."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from clipsoid._batch import Batch
from clipsoid._source import Located, Source, as_source
from clipsoid.errors import InvalidRowError, MismatchError, ShapeError


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

    def place(self, row: int) -> tuple[Located, int]:
        """Return the part that row `row` of all came from, and its number in that part."""
        for part in self.parts:
            if row < len(part.batch):
                return part, row
            row -= len(part.batch)
        raise IndexError(row)

    def refuse_native(self, row: int, status: str, *, policies: bool = False) -> NoReturn:
        """Raise for row `row` of all, by its name and number in the part that it came from."""
        part, row = self.place(row)
        part.refuse_native(row, status, policies=policies)


def gathered(source: Source) -> Gathered:
    """All rows as one array: in place where they are one, else copied, in the widest dtype."""
    parts = list(source.read())
    batches = [part.batch for part in parts]
    if len(batches) == 1:
        return Gathered(batches[0], parts)
    dtype = _common_dtype(batch.dtype for batch in batches)
    rows = np.concatenate([_widened(batch, dtype).rows for batch in batches])
    return Gathered(Batch(rows, dtype), parts)


def gathered_pair(x: Source, y: Source) -> tuple[Gathered, Gathered]:
    """All rows of each of two sources, in one element type."""
    pair = gathered(x), gathered(y)
    dtype = _common_dtype(one.dtype for one in pair)
    left, right = (Gathered(_widened(one.batch, dtype), one.parts) for one in pair)
    return left, right


def paired_sources(image: Any, text: Any) -> tuple[Source, Source]:
    """Rows of two modalities that are pairs.

    Raises
    ------
    ShapeError
        If they differ in number, or there is one pair only.
    MismatchError
        If they differ in dimension.
    """
    i, t = as_source(image, "image"), as_source(text, "text")
    if i.count != t.count:
        raise ShapeError(f"image has {i.count} rows, text has {t.count}; wanted pairs, row by row")
    if i.dim != t.dim:
        raise MismatchError(f"image has {i.dim} features, text has {t.dim}; wanted the same")
    if i.count < 2:
        raise ShapeError(f"image and text: found {i.count} pair; wanted 2 or more")
    return i, t


def gathered_pairs(image: Any, text: Any) -> tuple[Gathered, Gathered]:
    """All rows of each of `paired_sources`, in one element type."""
    return gathered_pair(*paired_sources(image, text))


def _common_dtype(dtypes: Iterable[str]) -> str:
    """Return the narrowest element type that holds all of `dtypes` exactly."""
    different = set(dtypes)
    if len(different) == 1:
        return different.pop()
    return "float64" if "float64" in different else "float32"


def _widened(batch: Batch, dtype: str) -> Batch:
    """Convert exactly to a wider element type."""
    if batch.dtype == dtype:
        return batch
    rows: NDArray[Any] = batch.rows
    if batch.dtype == "bfloat16":
        rows = (rows.astype(np.uint32) << 16).view(np.float32)
    return Batch(rows.astype(dtype), dtype, batch.missing)


@contextmanager
def named(**sets: Gathered) -> Iterator[None]:
    """Say of a row that the core refuses which argument or file it lies in."""
    try:
        yield
    except InvalidRowError as error:
        sets[error._argument].refuse_native(error.row, error.status)
