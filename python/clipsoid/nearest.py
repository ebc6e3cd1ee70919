"""The rows of a set that are nearest to given vectors, of any number of rows."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clipsoid import _native
from clipsoid._checks import checked_count
from clipsoid._shown import Drawn
from clipsoid._source import Progress, as_source, check_threads, joined_dtypes
from clipsoid._vectors import vectors
from clipsoid.errors import InvalidRowError, MismatchError
from clipsoid.results import Made


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class NearestRows(Made, Drawn):
    """Rows of the greatest cosine to each query, the nearest first.

    Attributes
    ----------
    index : ndarray of int64 of shape (..., k)
        Row numbers; ties by the lower number.
    similarity : ndarray of float64 of shape (..., k)
        Their cosines, in [-1, 1].
    count, dim : int
        Rows that were searched, and features.
    dtype : str
        Their element type; joined by a plus where there are several.
    simd_level : str
        Instruction set; bits may differ between two.
    version : str
        Version of clipsoid.
    """

    index: NDArray[np.int64]
    similarity: NDArray[np.float64]
    count: int
    dim: int
    dtype: str

    def __repr__(self) -> str:
        *queries, k = self.index.shape
        return f"NearestRows(the nearest {k} to each of {np.prod(queries, dtype=int)})"

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name."""
        return {name: getattr(self, name) for name in (field.name for field in fields(self))}


def nearest_rows(
    queries: Any,
    x: Any,
    *,
    k: int = 1,
    n_threads: int | None = None,
    progress: Progress | None = None,
) -> NearestRows:
    """Rows of a set with the greatest cosine to each query vector.

    Parameters
    ----------
    queries : array_like of shape (d,) or (..., d)
        Vectors of any length but zero, of whole numbers if need be: a list, an array or a tensor of
        any shape, or whatever `x` may be.
    x : array, tensor, column, path or store of shape (n, d)
        The rows that are searched: float16, bfloat16, float32 or float64; they need not be
        normalised. They are read once, batch by batch.
    k : int, default=1
        How many rows to name, at most `n`.
    n_threads : int, optional
        Most threads to use; all that the process may use by default.
    progress : callable, optional
        Called with the number of rows of each batch that is done.

    Returns
    -------
    NearestRows
        `index` and `similarity`, each of shape (..., k).

    Raises
    ------
    ShapeError
        If there are fewer than `k` rows.
    MismatchError
        If queries and rows differ in features.
    ValueError
        If `k` is below 1.
    DTypeError
        If elements are of another type.
    InvalidRowError
        If a query or a row is missing, not finite or of zero norm; the message says which.

    Notes
    -----
    Cosines are float32 products where a batch of rows is narrower than float64 (error below 1e-6,
    so that rows whose cosines are nearer to one another may change places), float64 otherwise. A
    cosine's bits depend on its query and its row alone: identical rows tie exactly, and neither
    threads nor batches show. ``O(q n d)`` time for `q` queries and ``O(q (d + k))`` memory beside
    one batch and 3 MB per thread.

    Examples
    --------
    >>> import numpy as np, clipsoid as cs
    >>> x = np.array([[1.0, 0.0], [0.0, 2.0], [3.0, 4.0], [0.0, 1.0]])
    >>> found = cs.nearest_rows([0.1, 1.0], x, k=3)
    >>> found.index.tolist(), found.similarity.round(3).tolist()
    ([1, 3, 2], [0.995, 0.995, 0.856])
    """
    check_threads(n_threads)
    k = checked_count("k", k)
    source, asked = as_source(x), vectors(queries, "queries")
    if asked.dim != source.dim:
        raise MismatchError(
            f"queries: the vectors have {asked.dim} features, {source.name} has {source.dim}"
        )
    source.expect_rows(k)
    flat = np.ascontiguousarray(asked.rows.reshape(-1, asked.dim))
    index = np.empty((len(flat), 0), np.int64)
    similarity = np.empty((len(flat), 0))
    start = 0
    for located in source.read():
        batch = located.batch
        try:
            rows, cosines = _native.nearest_rows(flat, batch.rows, batch.dtype, k, n_threads)
        except InvalidRowError as error:
            where = asked.given if error._argument == "queries" else located
            where.refuse_native(error.row, error.status, policies=False)
        # Rows found before have the lower numbers: a stable sort keeps them first in a tie.
        shape = (len(flat), min(k, len(batch)))
        index = np.concatenate([index, rows.reshape(shape) + start], axis=1)
        similarity = np.concatenate([similarity, cosines.reshape(shape)], axis=1)
        best = np.argsort(-similarity, axis=1, kind="stable")[:, :k]
        index = np.take_along_axis(index, best, axis=1)
        similarity = np.take_along_axis(similarity, best, axis=1)
        start += len(batch)
        if progress is not None:
            progress(len(batch))
        # The next batch is read while the caller works on this one: its memory is given up first.
        del batch, located
    shape = (*asked.rows.shape[:-1], k)
    # Rounding may carry the cosine of a row with itself beyond 1.
    return NearestRows(
        index.reshape(shape),
        similarity.clip(-1, 1).reshape(shape),
        count=source.count,
        dim=source.dim,
        dtype=joined_dtypes(source),
    )
