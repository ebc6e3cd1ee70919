"""Arrays of any library as batches of rows, by protocol: no library is imported for it.

numpy arrays, ``ml_dtypes.bfloat16`` arrays, torch CPU tensors, Arrow and Polars columns, and
whatever offers ``__array__`` or ``__dlpack__``, are read where they lie.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from clipsoid import _native
from clipsoid._batch import CARRIERS, Batch
from clipsoid.errors import DTypeError, ShapeError

WANTED = "float16, bfloat16, float32 or float64"

#: Rows converted at a time where memory cannot be read in place.
CONVERTED_ROWS = 8192


def array_batches(x: Any, name: str) -> list[Batch]:
    """Rows of an in-memory object, without a copy of the whole.

    Parameters
    ----------
    x : array, tensor or column of shape (n, d)
        See the module's description.
    name : str
        What the caller calls the argument; messages begin with it.

    Returns
    -------
    list of Batch
        In order; one, but for chunked columns.

    Raises
    ------
    DTypeError
        If the elements are not float16, bfloat16, float32 or float64.
    ShapeError
        If the object is not two-dimensional, or the lists of a column differ in length.
    """
    if isinstance(x, np.ndarray):
        return list(_numpy_batches(x, name))
    library = type(x).__module__.partition(".")[0]
    if library == "torch":
        return list(_torch_batches(x, name))
    if hasattr(x, "__arrow_c_stream__") or hasattr(x, "__arrow_c_array__"):
        return list(_arrow_batches(x, name))
    if hasattr(x, "__array__"):
        return list(_numpy_batches(np.asarray(x), name))
    if hasattr(x, "__dlpack__"):
        try:
            return list(_numpy_batches(np.from_dlpack(x), name))
        except (BufferError, RuntimeError) as error:
            raise DTypeError(f"{name}: cannot be read in CPU memory: {error}") from None
    raise DTypeError(
        f"{name}: found {type(x).__module__}.{type(x).__qualname__}; wanted an array, tensor, "
        "Arrow or Polars column of shape (n, d), a path, or a store (lists of numbers: "
        "np.asarray(x, dtype=np.float32))"
    )


def _numpy_batches(x: np.ndarray[Any, Any], name: str) -> Iterator[Batch]:
    if isinstance(x, np.ma.MaskedArray):
        raise DTypeError(f"{name}: found a masked array; wanted a plain one (NaN marks a bad row)")
    dtype = x.dtype.name
    if dtype not in CARRIERS:
        raise DTypeError(f"{name}: elements are {x.dtype}; wanted {WANTED}")
    if x.ndim != 2 or x.shape[1] == 0:
        raise ShapeError(f"{name}: found shape {x.shape}; wanted (n, d) with d of 1 or more")
    if dtype == "bfloat16":
        x = x.view(CARRIERS[dtype] if x.dtype.isnative else CARRIERS[dtype].newbyteorder())
    size = x.itemsize
    if all(stride % size == 0 for stride in x.strides):
        yield Batch(x, dtype)
        return
    # A field of packed records: its elements lie at odd distances.
    for start in range(0, len(x), CONVERTED_ROWS):
        yield Batch(np.ascontiguousarray(x[start : start + CONVERTED_ROWS]), dtype)


def _torch_batches(x: Any, name: str) -> Iterator[Batch]:
    if x.device.type != "cpu":
        raise DTypeError(f"{name}: the tensor is on {x.device}; wanted a CPU tensor: x.cpu()")
    if x.layout is not _torch(x).strided:
        raise DTypeError(f"{name}: found a {x.layout} tensor; wanted a dense one: x.to_dense()")
    x = x.detach()
    if x.dtype is _torch(x).bfloat16:
        rows = x.view(_torch(x).int16).numpy().view(np.uint16)
        if rows.ndim != 2 or rows.shape[1] == 0:
            raise ShapeError(f"{name}: found shape {rows.shape}; wanted (n, d) with d of 1 or more")
        yield Batch(rows, "bfloat16")
    else:
        yield from _numpy_batches(x.numpy(), name)


def _torch(x: Any) -> Any:
    """Return the module that made the tensor: it is loaded already."""
    import sys

    return sys.modules["torch"]


def _arrow_batches(x: Any, name: str) -> Iterator[Batch]:
    try:
        dtype, dim, chunks = _native.arrow_column(x)
    except TypeError as error:
        raise DTypeError(f"{name}: {error}") from None
    except ValueError as error:
        raise ShapeError(f"{name}: {error}") from None
    if dim < 1:
        raise ShapeError(f"{name}: the column holds no embedding; wanted (n, d), d of 1 or more")
    for values, first, valid in chunks:
        values = values.view(CARRIERS[dtype])
        n = len(first)
        # Lists lie one behind the other unless nulls or slices leave gaps.
        if valid is None and (n == 0 or first[-1] - first[0] == (n - 1) * dim):
            start = int(first[0]) if n else 0
            yield Batch(values[start : start + n * dim].reshape(n, dim), dtype)
            continue
        for at in range(0, n, CONVERTED_ROWS):
            part = slice(at, at + CONVERTED_ROWS)
            there = np.ones(len(first[part]), np.bool_) if valid is None else valid[part]
            rows = np.full((len(there), dim), np.nan, values.dtype)
            rows[there] = values[first[part][there, None] + np.arange(dim)]
            yield Batch(rows, dtype, None if valid is None else ~there)
