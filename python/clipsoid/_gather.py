"""All rows of a source as one array that knows where each came from; pairs of such arrays."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
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

    def wide(self) -> NDArray[np.float64]:
        """Return the rows as float64, in C order whatever the layout."""
        return np.ascontiguousarray(widened(self.batch, "float64").rows)

    def as_source(self, name: str) -> Source:
        """Return the rows as a source of one batch; of several parts, messages call it `name`."""
        whole = self.parts[0]
        if len(self.parts) > 1:
            whole = replace(whole, label=name, start=0, batch=self.batch)
        (count, dim), types = self.rows.shape, frozenset({self.dtype})
        return Source(name, dim, count, types, lambda: iter((whole,)), tuple)

    def refuse_native(self, row: int, status: str, *, policies: bool = False) -> NoReturn:
        """Raise for row `row` of all, by its name and number in the part that it came from."""
        part, row = self.place(row)
        part.refuse_native(row, status, policies=policies)


def sampled(count: int, most: int, seed: int | np.random.Generator) -> NDArray[np.int64]:
    """Return row numbers, ascending: all of them, or `most`, drawn without replacement."""
    if count <= most:
        return np.arange(count)
    return np.sort(np.random.default_rng(seed).choice(count, most, replace=False, shuffle=False))


class Taking:
    """Copies of some rows, by ascending numbers, out of the batches of a source as they pass."""

    def __init__(self, rows: NDArray[np.int64]) -> None:
        self._rows, self._parts, self._end = rows, list[Located](), 0

    def add(self, located: Located) -> None:
        """Take what is wanted of the next batch."""
        batch, start = located.batch, self._end
        self._end += len(batch)
        low, high = np.searchsorted(self._rows, (start, self._end))
        chosen = self._rows[low:high] - start
        missing = None if batch.missing is None else batch.missing[chosen]
        # A copy: the batch may be a view of a mapping that is about to go.
        part = Batch(np.array(batch.rows[chosen]), batch.dtype, missing)
        self._parts.append(replace(located, batch=part))

    def gathered(self) -> Gathered:
        """Return the rows as one array, once all batches have passed."""
        return _joined(self._parts)


def taken(source: Source, rows: NDArray[np.int64]) -> Gathered:
    """Copy some rows, by ascending numbers, into one array."""
    taking = Taking(rows)
    for located in source.read():
        taking.add(located)
        del located
    return taking.gathered()


def gathered(source: Source) -> Gathered:
    """All rows as one array: in place where they are one, else copied, in the widest dtype."""
    return _joined(list(source.read()))


def _joined(parts: list[Located]) -> Gathered:
    batches = [part.batch for part in parts]
    if len(batches) == 1:
        return Gathered(batches[0], parts)
    dtype = _common_dtype(batch.dtype for batch in batches)
    rows = np.concatenate([widened(batch, dtype).rows for batch in batches])
    return Gathered(Batch(rows, dtype), parts)


def gathered_pair(x: Source, y: Source) -> tuple[Gathered, Gathered]:
    """All rows of each of two sources, in one element type."""
    pair = gathered(x), gathered(y)
    dtype = _common_dtype(one.dtype for one in pair)
    left, right = (Gathered(widened(one.batch, dtype), one.parts) for one in pair)
    return left, right


def modalities(
    image: Any, text: Any, *, paired: bool = True, advice: str = ""
) -> tuple[Source, Source]:
    """Two modalities that can be compared; where they are `paired`, row `j` with row `j`.

    Raises
    ------
    ShapeError
        If they are pairs and differ in number, with `advice`, or if one has fewer than two rows.
    MismatchError
        If they differ in dimension.
    """
    images, texts = as_source(image, "image"), as_source(text, "text")
    if paired and images.count != texts.count:
        raise ShapeError(
            f"image has {images.count} rows, text has {texts.count}; "
            f"wanted pairs, row by row{advice}"
        )
    if images.dim != texts.dim:
        raise MismatchError(
            f"image has {images.dim} features, text has {texts.dim}; wanted the same"
        )
    for source in (images, texts):
        source.expect_rows(2)
    # What compares modalities refuses invalid rows.
    return images.without_policies(), texts.without_policies()


def _common_dtype(dtypes: Iterable[str]) -> str:
    """Return the narrowest element type that holds all of `dtypes` exactly."""
    different = set(dtypes)
    if len(different) == 1:
        return different.pop()
    return "float64" if "float64" in different else "float32"


def widened(batch: Batch, dtype: str) -> Batch:
    """Convert exactly to a wider element type; the batch itself where it has that type."""
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
