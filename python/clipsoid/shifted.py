"""Conformity of the rows of one set while its centre moves, at many alphas at once."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clipsoid import _native
from clipsoid._source import Source, as_source, check_threads
from clipsoid._sweeping import checked_alphas
from clipsoid.ellipsoid import Ellipsoid
from clipsoid.errors import InvalidRowError

Array = NDArray[np.float64]


def shifted_conformity(x: Any, alphas: Iterable[float], *, n_threads: int | None = None) -> Array:
    """Conformity of every row within its set, once the set has moved by alpha times its mean.

    Parameters
    ----------
    x : array, tensor, column, path or store of shape (n, d)
        Two rows or more: float16, bfloat16, float32 or float64; they need not be normalised.
    alphas : iterable of float
        Multiples of the raw mean that are taken from the rows: 0 leaves them where they are, 1
        centres them.
    n_threads : int, optional
        Most threads to use; all that the process may use by default.

    Returns
    -------
    ndarray of float64 of shape (len(alphas), n)
        In [-1, 1].

    Raises
    ------
    ShapeError
        If there are fewer than two rows.
    InvalidRowError
        If a row is missing, not finite or of zero norm, or vanishes: it is `alpha` times the mean,
        to rounding. Also if its move leaves the range of float64.
    ValueError
        If there is no alpha, or one that is not finite.

    See Also
    --------
    conformity : Of rows that stay where they are.
    match_sweep : How two modalities' distributions of it compare.

    Notes
    -----
    Definition 1 of [1]_ after the move of Eq. 9. With ``l_j = |x_j - alpha m|``,
    ``s = sum_j (x_j - alpha m) / l_j / n``, and
    ``c_k = (n s.(x_k - alpha m) / l_k - 1) / (n - 1)``: for all alphas two thin products of the
    rows, in float64, in three passes over the rows. Rows that come in several batches or files are
    not gathered. A row that nearly vanishes is measured directly. ``O(n d a)`` time and
    ``O((n + d) a)`` memory for `a` alphas.

    References
    ----------
    .. [1] Levi & Gilboa, "The Double-Ellipsoid Geometry of CLIP", ICML 2025, arXiv 2411.14517.

    Examples
    --------
    >>> import numpy as np, clipsoid as cs
    >>> x = np.array([[1.0, 0.0], [0.0, 2.0], [3.0, 4.0]])
    >>> cs.shifted_conformity(x, [0.0, 0.5]).round(6).tolist()
    [[0.3, 0.4, 0.7], [-0.759732, -0.324268, -0.119236]]
    """
    check_threads(n_threads)
    grid = checked_alphas(alphas)
    source = as_source(x).without_policies()
    source.expect_rows(2)
    fitted = Ellipsoid.fit(source, covariance=False, n_threads=n_threads)
    return moved_conformity(source, fitted, grid, n_threads)


def moved_conformity(
    source: Source, fitted: Ellipsoid, alphas: tuple[float, ...], n_threads: int | None
) -> Array:
    """As `shifted_conformity`, of rows that an ellipsoid was fitted on."""
    work = _native.ShiftedConformity(alphas, fitted.count, fitted.mean, fitted._state["norm_rms"])
    try:
        for located in source.read():
            work.update(located.batch.rows, located.batch.dtype, n_threads)
            # The next batch is read while the caller works on this one: its memory is given up.
            del located
        work.finish(n_threads)
    except InvalidRowError as error:
        located, row = source.place(error.row)
        located.refuse_again(row, error)
    values, start = np.empty((len(alphas), 0)), 0
    for located in source.read():
        batch = located.batch
        part = work.conformity(batch.rows, batch.dtype, n_threads).reshape(len(alphas), -1)
        if len(batch) == source.count:
            return part
        if not start:
            values = np.empty((len(alphas), source.count))
        values[:, start : start + len(batch)] = part
        start += len(batch)
        del located, batch
    return values
