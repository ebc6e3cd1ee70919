"""Conformity of the rows of one set: exact (linear), exact (pairwise), estimated."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from clipsoid import _native
from clipsoid._gather import gathered
from clipsoid._source import OnInvalid, Source, as_source, check_policy, check_threads
from clipsoid.ellipsoid import Ellipsoid
from clipsoid.errors import InvalidRowError, UnavailableError
from clipsoid.results import Calibration

METHODS = ("linear", "pairwise", "estimated")


def conformity(
    x: Any,
    *,
    method: Literal["linear", "pairwise", "estimated"] = "linear",
    calibration: Calibration | None = None,
    on_invalid: OnInvalid = "error",
    n_threads: int | None = None,
) -> NDArray[np.float64]:
    """Conformity of every row within its set: its mean cosine to all the others.

    Parameters
    ----------
    x : array, tensor, column, path or store of shape (n, d)
        Two rows or more: float16, bfloat16, float32 or float64; they need not be normalised.
    method : {"linear", "pairwise", "estimated"}, default="linear"
        "linear" is exact, in two passes over the rows. "pairwise" is the definition, in
        ``O(n^2 d)``: an independent check. "estimated" is `calibration` applied to the cosine to
        the mean.
    calibration : Calibration, optional
        For "estimated", and for nothing else.
    on_invalid : {"error", "skip", "null"}, default="error"
        For a row that is missing, not finite or of zero norm: raise; leave it out of set and
        result; or leave it out of the set and give NaN in its place.
    n_threads : int, optional
        Most threads to use; all that the process may use by default.

    Returns
    -------
    ndarray of float64 of shape (n,)
        In [-1, 1]; high for common items, low for rare ones.

    Raises
    ------
    ShapeError
        If there are fewer than two valid rows.
    InvalidRowError
        If a row is invalid and the policy is "error".
    UnavailableError
        If `method` is "estimated" and there is no calibration.

    Notes
    -----
    Definition 1 and Eq. 10 of [1]_, ``c_j = mean over k != j of cos(x_j, x_k)``, which is linear:
    ``c_j = (n s.u_j - 1) / (n - 1)`` with ``u_j = x_j / |x_j|`` and `s` their mean. Linear: float64
    throughout, ``O(n d)`` time, ``O(d)`` memory beside the result. Pairwise: cosines in float32
    from rows narrower than float64 (error below 1e-6), ``O(n)`` memory and 3 MB per thread; rows
    that lie in several chunks or files are first gathered into one array.

    References
    ----------
    .. [1] Levi & Gilboa, "The Double-Ellipsoid Geometry of CLIP", ICML 2025, arXiv 2411.14517.

    Examples
    --------
    >>> import numpy as np, clipsoid as cs
    >>> x = np.array([[1.0, 0.0], [0.0, 2.0], [3.0, 4.0]])
    >>> cs.conformity(x).round(6).tolist()
    [0.3, 0.4, 0.7]
    >>> cs.conformity(x, method="pairwise").round(6).tolist()
    [0.3, 0.4, 0.7]
    """
    check_policy(on_invalid)
    check_threads(n_threads)
    if method not in METHODS:
        raise ValueError(f"method={method!r}; wanted one of {', '.join(METHODS)}")
    if calibration is not None and method != "estimated":
        raise ValueError(f'method={method!r} takes no calibration; "estimated" does')
    source = as_source(x)
    if method == "pairwise":
        return _pairwise(source, on_invalid, n_threads)
    if method == "estimated" and calibration is None:
        raise UnavailableError(
            'method="estimated" needs calibration=, for example Ellipsoid.fit(x).calibrate(x)'
        )
    e = Ellipsoid.fit(source, covariance=False, on_invalid=on_invalid, n_threads=n_threads)
    if calibration is not None:
        cosine = e.cosine_to_mean(source, on_invalid=on_invalid, n_threads=n_threads)
        return calibration.estimate(cosine)
    return e.conformity(source, member=True, on_invalid=on_invalid, n_threads=n_threads)


def _pairwise(source: Source, on_invalid: OnInvalid, n_threads: int | None) -> NDArray[np.float64]:
    whole = gathered(source)
    skip = on_invalid != "error"
    try:
        values, status = _native.pairwise_conformity(whole.rows, whole.dtype, skip, n_threads)
    except InvalidRowError as error:
        whole.refuse_native(error.row, error.status, policies=True)
    return values[status == 0] if on_invalid == "skip" else values
