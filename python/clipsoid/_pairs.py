"""Two sets of rows that are compared: each as one array, both of one element type."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clipsoid import _native
from clipsoid._batch import Batch
from clipsoid._source import Source, as_source
from clipsoid.errors import InvalidRowError, MismatchError, ShapeError


def gathered(batches: Iterable[Batch]) -> Batch:
    """All rows as one array: in place where they are one, else copied, in the widest dtype."""
    batches = list(batches)
    if len(batches) == 1:
        return batches[0]
    dtype = common_dtype({batch.dtype for batch in batches})
    return Batch(np.concatenate([widened(batch, dtype).rows for batch in batches]), dtype)


def common_dtype(dtypes: Iterable[str]) -> str:
    """Return the narrowest element type that holds all of `dtypes` exactly."""
    dtypes = set(dtypes)
    if len(dtypes) == 1:
        return dtypes.pop()
    return "float64" if "float64" in dtypes else "float32"


def widened(batch: Batch, dtype: str) -> Batch:
    """Convert exactly to a wider element type."""
    if batch.dtype == dtype:
        return batch
    rows: NDArray[Any] = batch.rows
    if batch.dtype == "bfloat16":
        rows = (rows.astype(np.uint32) << 16).view(np.float32)
    return Batch(rows.astype(dtype), dtype, batch.missing)


def paired(image: Any, text: Any) -> tuple[Batch, Batch]:
    """Rows of both modalities, of one element type.

    Raises
    ------
    ShapeError
        If they differ in number, or there is one pair only.
    MismatchError
        If they differ in dimension.
    """
    sources = {"image": as_source(image, "image"), "text": as_source(text, "text")}
    i, t = sources["image"], sources["text"]
    if i.count != t.count:
        raise ShapeError(f"image has {i.count} rows, text has {t.count}; wanted pairs, row by row")
    if i.dim != t.dim:
        raise MismatchError(f"image has {i.dim} features, text has {t.dim}; wanted the same")
    if i.count < 2:
        raise ShapeError(f"image and text: found {i.count} pair; wanted 2 or more")
    batches = [_valid(name, source) for name, source in sources.items()]
    dtype = common_dtype(batch.dtype for batch in batches)
    first, second = (widened(batch, dtype) for batch in batches)
    return first, second


def _valid(name: str, source: Source) -> Batch:
    parts = list(source.read())
    for part in parts:
        if part.batch.missing is not None and part.batch.missing.any():
            part.refuse(int(part.batch.missing.argmax()), "missing")
    return gathered(part.batch for part in parts)


def measured(name: str, batch: Batch, n_threads: int | None) -> _native.Modality:
    """Norms and mean of a modality.

    Raises
    ------
    InvalidRowError
        For a row that is not finite or has zero norm.
    """
    try:
        return _native.Modality(batch.rows, batch.dtype, n_threads)
    except InvalidRowError as error:
        raise named(error, name) from None


def named(error: InvalidRowError, name: str) -> InvalidRowError:
    """Return an error of the core with the name of the argument that is at fault."""
    better = InvalidRowError(f"{name}: {error}")
    better.row, better.status = error.row, error.status
    return better
