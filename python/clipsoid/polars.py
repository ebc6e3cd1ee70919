"""Embedding sets as Polars LazyFrames, and scores as Polars expressions.

Importing this module, or the first use of :func:`clipsoid.scan`, gives every Polars expression the
namespace ``clipsoid``; see :class:`Expressions`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal

import polars as pl
from polars.io.plugins import register_io_source

from clipsoid._columns import Cosine, OnInvalid, Scored, norms
from clipsoid._frames import Frames
from clipsoid._source import check_threads, is_path
from clipsoid.ellipsoid import Ellipsoid
from clipsoid.errors import StoreError, UnavailableError
from clipsoid.store.base import Store
from clipsoid.whitening import Whitening

__all__ = ["Expressions", "scan"]


def scan(
    rows: Any,
    *,
    key: str | None = None,
    dtype: str | None = None,
    columns: Sequence[str] | None = None,
) -> pl.LazyFrame:
    """Scan an embedding set of any size as a Polars LazyFrame.

    Headers are read now and checked; rows are read when the query runs, as far as it needs them.

    Parameters
    ----------
    rows : path, URL, list of these, brace or glob pattern, Store, or set of one modality
        In any layout that `open_set` knows. Of a set with images and texts, take one:
        ``scan(open_set(path).image)``.
    key, dtype : str, optional
        As for `open_set`; for paths only.
    columns : sequence of str, optional
        Columns beside the embeddings, in the same file or in the metadata of the layout, in this
        order. By default all, but for those that hold
        other embeddings; every shard must then have the same.

    Returns
    -------
    polars.LazyFrame
        With the columns

        - ``shard``, String: path of the file, relative to the root of the set;
        - ``row``, UInt32: number of the row in that shard, from 0;
        - those that lie beside the embeddings, in their own types;
        - ``embedding``, Array of d Float16, Float32 or Float64: as stored. bfloat16 is widened to
          Float32, and where shards differ, all take the widest type. A row that is missing is
          null.

    Raises
    ------
    StoreError, DTypeError, ShapeError, MismatchError
        If the set cannot be opened, holds both modalities, or its shards differ in their columns.
        What turns out while rows are read is raised by the query, in the same types.

    Notes
    -----
    Embeddings are not read where a query needs none, nor in a shard of which no row passes the
    filters on other columns; neither are columns that are not used, nor rows behind the last of
    a ``head``. Filters run before rows enter the query. The next batches are read by a thread
    meanwhile: memory is bounded as that of `Store.batches`, and by the other columns of a shard,
    which are read whole. Of a remote set, the next shards that the query needs are fetched while
    one is read.

    Plain arrays become columns without a copy: a frame that is kept is a view of the files, which
    must then stay as they are, unless ``CLIPSOID_READ=pread`` is set.

    Examples
    --------
    >>> import tempfile, numpy as np, polars as pl, clipsoid as cs
    >>> image, _, _ = cs.double_ellipsoid(1000, seed=0)
    >>> folder = tempfile.TemporaryDirectory()
    >>> np.save(f"{folder.name}/image.npy", image)
    >>> e = cs.Ellipsoid.fit(image)
    >>> scanned = cs.scan(folder.name)
    >>> conformity = pl.col("embedding").clipsoid.conformity(e, member=True)
    >>> scanned.select("row", conformity).bottom_k(2, by="conformity").collect().shape
    (2, 2)
    >>> folder.cleanup()
    """
    store = _opened(rows, key=key, dtype=dtype)
    frames = Frames.of(store, [columns] if isinstance(columns, str) else columns)
    return register_io_source(frames.read, schema=dict(frames.schema), is_pure=True)


@pl.api.register_expr_namespace("clipsoid")
class Expressions:
    """What ``pl.col("embedding").clipsoid`` offers: a figure for each embedding of a column.

    The column is a list or array of Float16, Float32 or Float64. Every expression gives Float64,
    in a column named like itself, and runs row by row: in the streaming engine a frame of any
    length takes the memory of some batches. A null gives null. The bits are those of the
    same call on an array, whatever the engine and the batches.

    For an embedding that is not finite or of zero norm, ``on_invalid="error"``, the default,
    raises, and ``"null"`` gives null. ``n_threads`` is the most threads to use for one batch; the
    engine may work on several batches at a time.

    Raises
    ------
    MismatchError
        By the query: if embeddings have another number of features. The column is named.
    DTypeError, ShapeError
        By the query: if the column is of another type, or its lists differ in length.
    InvalidRowError
        By the query: if an embedding is invalid and that is the policy. Its row is counted within
        one batch of the engine, which is all that an expression sees; the message has the filter
        that finds such rows in the frame: of a scan, with `shard` and `row`. Polars keeps no more
        than the message.

    Examples
    --------
    >>> import polars as pl, clipsoid.polars
    >>> frame = pl.DataFrame({"x": [[3.0, 4.0], None]})
    >>> frame.select(pl.col("x").clipsoid.norm())["norm"].to_list()
    [5.0, None]
    """

    def __init__(self, expr: pl.Expr) -> None:
        self._expr = expr

    def conformity(
        self,
        e: Ellipsoid | str | os.PathLike[str],
        *,
        member: bool = False,
        on_invalid: OnInvalid = "error",
        n_threads: int | None = None,
    ) -> pl.Expr:
        """Exact conformity to an ellipsoid: `clipsoid.Ellipsoid.conformity`, in [-1, 1].

        Parameters
        ----------
        e : Ellipsoid or path of one
        member : bool, default=False
            Whether the embeddings belong to the fitted set: each is left out of its own mean.
        """
        e = _ellipsoid(e)
        e.reference(member=member)
        return self._scored("conformity", e, on_invalid, n_threads, member=member)

    def cosine_to_mean(
        self,
        e: Ellipsoid | str | os.PathLike[str],
        *,
        on_invalid: OnInvalid = "error",
        n_threads: int | None = None,
    ) -> pl.Expr:
        """Cosine to the raw mean of an ellipsoid: `clipsoid.Ellipsoid.cosine_to_mean`.

        Parameters
        ----------
        e : Ellipsoid or path of one
        """
        e = _ellipsoid(e)
        e.reference(member=False)
        return self._scored("cosine_to_mean", e, on_invalid, n_threads)

    def estimated_conformity(
        self,
        e: Ellipsoid | str | os.PathLike[str],
        *,
        on_invalid: OnInvalid = "error",
        n_threads: int | None = None,
    ) -> pl.Expr:
        """Conformity estimated by a calibration: `clipsoid.Ellipsoid.estimated_conformity`.

        Parameters
        ----------
        e : Ellipsoid or path of one

        Raises
        ------
        UnavailableError
            If the ellipsoid has no calibration.
        """
        e = _ellipsoid(e)
        if e.calibration is None:
            raise UnavailableError("this ellipsoid has no calibration: call calibrate(x) first")
        return self._scored("estimated_conformity", e, on_invalid, n_threads)

    def log_likelihood(
        self,
        w: Whitening | str | os.PathLike[str],
        *,
        determinant: bool = True,
        precision: Literal["auto", "float64"] = "auto",
        on_invalid: OnInvalid = "error",
        n_threads: int | None = None,
    ) -> pl.Expr:
        """Log-likelihood, in nats, under the normal law of an ellipsoid.

        Parameters
        ----------
        w : Whitening or path of one
            Or path of an ellipsoid with covariance: ``Whitening.from_ellipsoid`` of it.
        determinant, precision
            As for ``Whitening.log_likelihood``.
        """
        if is_path(w):
            from clipsoid._whitening_file import whitening_of

            w = whitening_of(w)  # type: ignore[arg-type]
        if not isinstance(w, Whitening):
            raise TypeError(f"w: found {type(w).__qualname__}; wanted a Whitening or a path")
        options = {"determinant": determinant, "precision": precision}
        return self._scored("log_likelihood", w, on_invalid, n_threads, **options)

    def norm(self, *, on_invalid: OnInvalid = "error", n_threads: int | None = None) -> pl.Expr:
        """Euclidean length, as in a score file. A length of 0 is none that is invalid."""
        _check(on_invalid, n_threads)
        return self._mapped("norm", Scored(partial(norms, n_threads=n_threads), None, on_invalid))

    def cosine(
        self,
        other: str | pl.Expr,
        *,
        on_invalid: OnInvalid = "error",
        n_threads: int | None = None,
    ) -> pl.Expr:
        """Cosine to the embedding of another column in the same row: `clipsoid.cosine`.

        Parameters
        ----------
        other : str or polars expression
            Of as many features; the element types may differ.
        on_invalid : {"error", "null"}, default="error"
            For an embedding of either column.
        """
        _check(on_invalid, n_threads)
        other = pl.col(other) if isinstance(other, str) else other
        found = pl.map_batches(
            [self._expr, other],
            Cosine(on_invalid, n_threads),
            return_dtype=pl.Float64,
            is_elementwise=True,
        )
        return found.alias("cosine")

    def _scored(
        self,
        name: str,
        of: Ellipsoid | Whitening,
        on_invalid: OnInvalid,
        n_threads: int | None,
        **options: Any,
    ) -> pl.Expr:
        _check(on_invalid, n_threads)
        # Bound methods and the objects that they belong to can be pickled, which polars does with
        # an expression in a filter.
        measure = partial(getattr(of, name), on_invalid="null", n_threads=n_threads, **options)
        return self._mapped(name, Scored(measure, of, on_invalid))

    def _mapped(self, name: str, function: Callable[[pl.Series], pl.Series]) -> pl.Expr:
        found = self._expr.map_batches(function, return_dtype=pl.Float64, is_elementwise=True)
        return found.alias(name)


def _check(on_invalid: str, n_threads: int | None) -> None:
    if on_invalid not in ("error", "null"):
        raise ValueError(
            f"on_invalid={on_invalid!r}; wanted 'error' or 'null': an expression leaves no row out"
        )
    check_threads(n_threads)


def _ellipsoid(e: Ellipsoid | str | os.PathLike[str]) -> Ellipsoid:
    if is_path(e):
        return Ellipsoid.load(e)  # type: ignore[arg-type]
    if not isinstance(e, Ellipsoid):
        raise TypeError(f"e: found {type(e).__qualname__}; wanted an Ellipsoid or a path")
    return e


def _opened(rows: Any, *, key: str | None, dtype: str | None) -> Store:
    """Open one modality."""
    if is_path(rows):
        from clipsoid.store.layouts.embedding_set import open_set

        found = open_set(rows, key=key, dtype=dtype).stores
        if len(found) > 1:
            raise StoreError(
                f"{rows}: holds images and texts; wanted one of them: open_set(path).image or "
                "open_set(path).text in place of the path"
            )
        return next(iter(found.values()))
    if key is not None or dtype is not None:
        raise ValueError("key= and dtype= say how files are opened; found them with an open set")
    if isinstance(rows, Store):
        return rows
    sides = {name: getattr(rows, name, None) for name in ("image", "text")}
    stores = {name: side for name, side in sides.items() if isinstance(side, Store)}
    if not stores:
        raise TypeError(
            f"found {type(rows).__module__}.{type(rows).__qualname__}; "
            "wanted a path, a Store or a set"
        )
    if len(stores) > 1:
        raise StoreError("the set holds images and texts; wanted scan(set.image) or scan(set.text)")
    return next(iter(stores.values()))
