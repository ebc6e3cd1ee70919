"""Batch: a run of rows, the one currency between readers, arrays and the native core."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

#: Element types that the core reads, by the name that users see, with the numpy dtype in which
#: their bits travel. numpy has no bfloat16: its bits travel as uint16 beside the name.
CARRIERS: dict[str, np.dtype[Any]] = {
    "float16": np.dtype(np.float16),
    "bfloat16": np.dtype(np.uint16),
    "float32": np.dtype(np.float32),
    "float64": np.dtype(np.float64),
}


@dataclass(frozen=True, slots=True)
class Batch:
    """Consecutive rows of one set.

    Attributes
    ----------
    rows : ndarray of shape (n, d)
        Native-endian, in the carrier dtype of `dtype` (``CARRIERS``): C-contiguous wherever the
        source allows it without a copy of the whole. May be a view of a file mapping.
    dtype : str
        ``"float16"``, ``"bfloat16"``, ``"float32"`` or ``"float64"``.
    missing : ndarray of bool of shape (n,), optional
        True where the source holds a null instead of an embedding; such a row of `rows` is NaN.
        None when the source has no nulls.
    """

    rows: np.ndarray[Any, np.dtype[Any]]
    dtype: str
    missing: np.ndarray[Any, np.dtype[np.bool_]] | None = None

    def __len__(self) -> int:
        return int(self.rows.shape[0])

    @property
    def dim(self) -> int:
        """Number of features of a row."""
        return int(self.rows.shape[1])

    def part(self, start: int, stop: int | None = None) -> Batch:
        """Return rows `start` to `stop`, as a view."""
        missing = None if self.missing is None else self.missing[start:stop]
        return Batch(self.rows[start:stop], self.dtype, missing)
