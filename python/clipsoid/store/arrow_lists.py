"""Lists of a record batch as rows: checked against the buffers that they lie in.

A forged file may say anything of its buffers, and a mapped one may change: offsets are copied
before they are checked, and numpy holds every access to the bounds of its buffer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from clipsoid._batch import CARRIERS
from clipsoid.errors import StoreError
from clipsoid.store.list_columns import check_lengths, null_element

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True, slots=True)
class Run:
    """Consecutive rows of a column.

    Attributes
    ----------
    first : ndarray of int64
        Where, among the elements, the list of every row that has one begins.
    valid : ndarray of bool, or None
        Which rows have one; None if all do, which then lie one behind the other.
    """

    first: Array
    valid: Array | None


class Lists:
    """A column of a record batch, of lists or fixed-size lists.

    Parameters
    ----------
    column : pyarrow.Array
        As a reader made it: no slice.
    dtype : str
        Of the elements.
    label : str
        File and column, for errors.
    first : int
        Number of its first row in the file.
    """

    def __init__(self, column: Any, dtype: str, label: str, first: int) -> None:
        import pyarrow as pa

        column.validate()
        self.count = len(column)
        self.label, self.number = label, first
        self.width = column.type.list_size if pa.types.is_fixed_size_list(column.type) else None
        buffers: list[Any] = column.buffers()
        # Validity, offsets unless lists are of a fixed size; validity and values of the elements.
        self._valid, self._element_valid, self.values = buffers[0], buffers[-2], buffers[-1]
        wide = pa.types.is_large_list(column.type)
        self._offsets = _typed(buffers[1], np.dtype(np.int64 if wide else np.int32))
        self.elements = _typed(self.values, CARRIERS[dtype])

    def lengths(self, start: int, stop: int) -> tuple[Array, Array, Array | None]:
        """Beginnings and lengths of the lists of some rows, and which of them there are."""
        valid = self._bits(self._valid, start, stop)
        if self.width is not None:
            if stop * self.width > len(self.elements):
                raise self._damage(f"{len(self.elements)} elements, wanted {stop * self.width}")
            first = np.arange(start, stop, dtype=np.int64) * self.width
            return first, np.full(stop - start, self.width), valid
        # A copy: what is checked is what is used.
        offsets = self._offsets[start : stop + 1].astype(np.int64)
        if len(offsets) <= stop - start:
            raise self._damage(f"{start + len(offsets)} offsets, wanted {self.count + 1}")
        return offsets[:-1], np.diff(offsets), valid

    def run(self, start: int, stop: int, dim: int) -> Run:
        """Find the lists of some rows, all of which must be `dim` numbers long.

        Raises
        ------
        StoreError
            If one is not, has a null inside, or lies outside of the elements.
        """
        first, lengths, valid = self.lengths(start, stop)
        numbers = self.number + np.arange(start, stop)
        if valid is not None:
            first, lengths, numbers = first[valid], lengths[valid], numbers[valid]
        check_lengths(self.label, dim, lengths, numbers)
        if len(first) and not (first.min() >= 0 and first.max() <= len(self.elements) - dim):
            raise self._damage(f"{len(self.elements)} elements, and lists outside of them")
        if self._element_valid is not None and len(first):
            self._check_elements(first, dim, numbers)
        return Run(first, valid)

    def rows(self, run: Run, dim: int) -> tuple[Array, Array | None]:
        """Return the rows of a run, and which of them are missing."""
        if run.valid is None:
            # Each list begins where the one before it ends.
            begin = int(run.first[0])
            rows = self.elements[begin : begin + len(run.first) * dim].reshape(-1, dim)
            return np.require(rows, requirements="A"), None
        rows = np.full((len(run.valid), dim), np.nan, self.elements.dtype)
        if len(run.first):
            windows = np.lib.stride_tricks.sliding_window_view(self.elements, dim)
            rows[run.valid] = windows[run.first]
        return rows, ~run.valid

    def _check_elements(self, first: Array, dim: int, numbers: Array) -> None:
        begin = int(first.min())
        there = self._bits(self._element_valid, begin, int(first.max()) + dim)
        if there is None:
            return
        for row, at in zip(numbers.tolist(), (first - begin).tolist(), strict=True):
            inside = there[at : at + dim]
            if not inside.all():
                raise null_element(self.label, row, int(inside.argmin()))

    def _bits(self, buffer: Any, start: int, stop: int) -> Array | None:
        """Unpack some bits of a bitmap; None if all are set."""
        if buffer is None:
            return None
        packed = _typed(buffer, np.dtype(np.uint8))[start // 8 : -(-stop // 8)]
        found = np.unpackbits(packed, bitorder="little")[start % 8 : start % 8 + stop - start]
        if len(found) < stop - start:
            raise self._damage(f"validity of {start + len(found)} rows or elements, wanted more")
        return None if found.all() else found.view(np.bool_)

    def _damage(self, found: str) -> StoreError:
        return StoreError(
            f"{self.label}: the record batch from row {self.number} on is damaged: found {found}"
        )


def _typed(buffer: Any, kind: np.dtype[Any]) -> Array:
    """View a buffer, which the view keeps alive, as far as it has whole elements."""
    if buffer is None:
        return np.empty(0, kind)
    return np.frombuffer(buffer, kind, buffer.size // kind.itemsize)
