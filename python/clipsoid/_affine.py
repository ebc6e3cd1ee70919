"""Rows through an affine map, batch by batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clipsoid import _native
from clipsoid._batch import Batch
from clipsoid._gather import sampled
from clipsoid._scoring import gather, measured
from clipsoid._source import OnInvalid, Source
from clipsoid.errors import DTypeError, ShapeError
from clipsoid.results import Scores

Array = NDArray[np.float64]

_ZERO_NORM = Scores.STATUS.index("zero_norm")


@dataclass(frozen=True, slots=True)
class Affine:
    """``matrix (x - centre) + offset`` of a row x."""

    centre: Array
    matrix: Array
    offset: Array | None = None

    def images(
        self,
        source: Source,
        *,
        float64: bool,
        out: NDArray[Any] | None = None,
        on_invalid: OnInvalid = "error",
        zero_is_valid: bool = False,
        n_threads: int | None = None,
    ) -> NDArray[Any]:
        """Map every row: float64 if asked for or if a row is, else float32."""
        dtype = np.dtype(np.float64 if float64 or "float64" in source.dtypes else np.float32)
        shape = (source.count, len(self.matrix))
        if out is None:
            z: NDArray[Any] = np.empty(shape, dtype)
        else:
            z = _checked(out, shape, dtype)
        valid = np.ones(source.count, np.bool_)
        end = 0

        def into(batch: Batch) -> tuple[NDArray[Any], ...]:
            nonlocal end
            start, end = end, end + len(batch)
            part = z[start:end]
            if out is not None and np.may_share_memory(part, batch.rows):
                raise ValueError("out: shares memory with the rows; wanted an array of its own")
            status = _native.affine(
                batch.rows, batch.dtype, self.centre, self.matrix, self.offset, part, n_threads
            )
            if zero_is_valid:
                status[status == _ZERO_NORM] = 0
            return part, status

        for part, status in measured(source, on_invalid, into):
            part[status != 0] = np.nan
            valid[end - len(status) : end] = status == 0
        return z[valid] if on_invalid == "skip" and not valid.all() else z

    def squared_lengths(
        self,
        source: Source,
        *,
        float64: bool,
        on_invalid: OnInvalid = "error",
        n_threads: int | None = None,
    ) -> Array:
        """``|matrix (x - centre)|^2`` of every row; NaN for one that is null."""
        double = float64 or "float64" in source.dtypes

        def measure(batch: Batch) -> tuple[NDArray[Any], ...]:
            return _native.affine_squares(
                batch.rows, batch.dtype, self.centre, self.matrix, double, n_threads
            )

        parts = []
        for squares, status in measured(source, on_invalid, measure):
            squares[status != 0] = np.nan
            parts.append(squares[status == 0] if on_invalid == "skip" else squares)
        return gather(iter(parts))

    def sampled_images(
        self,
        source: Source,
        most: int,
        seed: int,
        *,
        on_invalid: OnInvalid,
        n_threads: int | None,
    ) -> Array:
        """Map `most` rows drawn without replacement, in float64 and in order; all if fewer.

        Invalid rows are left out, or refused if that is the policy.
        """
        # Of all rows nothing is picked: a batch is then not copied.
        chosen = sampled(source.count, most, seed) if source.count > most else None
        parts, end = [np.empty((0, len(self.matrix)))], 0
        for located in source.read():
            rows, dtype = located.batch.rows, located.batch.dtype
            start, end = end, end + len(rows)
            picked = None
            if chosen is not None:
                first, last = np.searchsorted(chosen, (start, end))
                picked = chosen[first:last] - start
                rows = rows[picked]
            z = np.empty((len(rows), len(self.matrix)))
            status = _native.affine(
                rows, dtype, self.centre, self.matrix, self.offset, z, n_threads
            )
            if on_invalid == "error" and status.any():
                bad = int((status != 0).argmax())
                row = bad if picked is None else int(picked[bad])
                located.refuse_native(row, Scores.STATUS[int(status[bad])])
            parts.append(z[status == 0])
            del located, rows
        return np.concatenate(parts)


def _checked(out: Any, shape: tuple[int, int], dtype: np.dtype[Any]) -> NDArray[Any]:
    if not isinstance(out, np.ndarray):
        raise DTypeError(f"out: found {type(out).__qualname__}; wanted a numpy array")
    if out.dtype != dtype:
        raise DTypeError(f"out: elements are {out.dtype}; wanted {dtype}")
    if out.shape != shape:
        raise ShapeError(f"out: found shape {out.shape}; wanted {shape}")
    if not (out.flags.c_contiguous and out.flags.aligned and out.flags.writeable):
        raise ValueError("out: wanted a C-contiguous, aligned and writable array")
    return out
