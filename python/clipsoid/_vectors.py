"""Vectors that are few, as float64: what is interpolated, and what is looked for."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from clipsoid._checks import numbers
from clipsoid._gather import Gathered, gathered, widened
from clipsoid._source import as_source, is_path
from clipsoid.errors import DTypeError, ShapeError

Array = NDArray[np.float64]

#: Spacing of the numbers of each element type at 1.
SPACING = {"float16": 2.0**-10, "bfloat16": 2.0**-7, "float32": 2.0**-23, "float64": 2.0**-52}

#: Norms below the least normal float64 count as zero.
LEAST_NORM = float(np.finfo(np.float64).tiny)


class Vectors(NamedTuple):
    """Rows of any shape (..., d) in float64, and the rows that were given."""

    name: str
    rows: Array
    given: Gathered

    @property
    def dim(self) -> int:
        """Number of features."""
        return int(self.rows.shape[-1])

    def place(self, row: int) -> str:
        """Return what a message calls a row: its number in the argument or the file."""
        # One vector may have been repeated.
        part, row = self.given.place(min(row, len(self.given.rows) - 1))
        return f"{part.label}: row {part.start + row}"


def vectors(x: Any, name: str) -> Vectors:
    """Return one vector of shape (d,), or rows of shape (..., d), widened to float64.

    Raises
    ------
    DTypeError, ShapeError, StoreError
        As `as_source`, but that whole numbers will do; also for a number in place of a vector.
    """
    if isinstance(x, (list, tuple)) and not is_path(x):
        found = numbers(x)
        if found is None:
            raise DTypeError(
                f"{name}: found a {type(x).__name__}; wanted numbers, in rows of one length"
            )
        x = found
    elif isinstance(x, np.ndarray) and x.dtype.kind in "iu":
        x = x.astype(np.float64)
    # A column, which has a shape but no number of dimensions, holds whole rows.
    shape = tuple(x.shape) if hasattr(x, "ndim") else ()
    if hasattr(x, "ndim") and x.ndim != 2:
        if x.ndim == 0 or x.shape[-1] == 0:
            raise ShapeError(f"{name}: found shape {shape}; wanted (..., d) with d of 1 or more")
        x = x.reshape(-1, x.shape[-1])
    given = gathered(as_source(x, name))
    rows = widened(given.batch, "float64").rows
    return Vectors(name, rows.reshape(shape) if shape else rows, given)


def directions(x: Vectors) -> Array:
    """Return the rows scaled to unit length.

    Raises
    ------
    InvalidRowError
        For a row that has no direction: not finite, missing or of zero norm.
    """
    units, length = scaled_to_unit(x.rows)
    for wrong, status in ((~np.isfinite(length), "non_finite"), (length < LEAST_NORM, "zero_norm")):
        if wrong.any():
            x.given.refuse_native(int(wrong.ravel().argmax()), status)
    return units


def scaled_to_unit(rows: Array) -> tuple[Array, Array]:
    """Return rows of unit length, and the lengths that they had; neither squares nor sums overflow.

    What has no direction gives NaN.
    """
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        peak = np.abs(rows).max(axis=-1, keepdims=True)
        scaled = rows / peak
        length = np.linalg.norm(scaled, axis=-1, keepdims=True)
        return scaled / length, np.where(peak == 0, 0.0, peak * length)[..., 0]
