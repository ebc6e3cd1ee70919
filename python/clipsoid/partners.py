"""Two sets row by row: the cosine of each row to its partner."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from clipsoid import _native
from clipsoid._beside import check_partner, in_step
from clipsoid._scoring import gather, mark_missing, refuse_invalid
from clipsoid._source import OnInvalid, as_source, check_policy, check_threads


def cosine(
    x: Any, y: Any, *, on_invalid: OnInvalid = "error", n_threads: int | None = None
) -> NDArray[np.float64]:
    """Cosine of each row to the row of the same number in another set.

    Parameters
    ----------
    x, y : array, tensor, column, path or store of shape (n, d)
        Rows and their partners; they need not be normalised, and may differ in element type and
        in how they are cut into batches.
    on_invalid : {"error", "skip", "null"}, default="error"
        For a row of either set that is missing, not finite or of zero norm: raise; leave the pair
        out; or give NaN in its place.
    n_threads : int, optional
        Most threads to use; all that the process may use by default.

    Returns
    -------
    ndarray of float64 of shape (n,)
        In [-1, 1].

    Raises
    ------
    InvalidRowError
        If a row is invalid and the policy is "error".
    ShapeError, MismatchError
        If the sets differ in rows or in features.
    DTypeError, StoreError
        If the rows cannot be read.

    Notes
    -----
    ``x.y / (|x| |y|)`` in float64, ``O(n d)`` time, one read of both. Of images and their captions,
    this is what CLIPScore [1]_ is 2.5 times the positive part of.

    References
    ----------
    .. [1] Hessel et al., "CLIPScore: A Reference-free Evaluation Metric for Image Captioning",
       EMNLP 2021, arXiv 2104.08718.

    Examples
    --------
    >>> import numpy as np, clipsoid as cs
    >>> image = np.array([[1.0, 0.0], [3.0, 4.0]])
    >>> text = np.array([[2.0, 0.0], [4.0, 3.0]], np.float32)
    >>> cs.cosine(image, text).round(6).tolist()
    [1.0, 0.96]
    """
    check_policy(on_invalid)
    check_threads(n_threads)
    source, partners = as_source(x), as_source(y, "y")
    check_partner(source, partners)
    parts = []
    for located, partner in in_step(source, partners):
        assert partner is not None
        left, right = located.batch, partner.batch
        values, *status = _native.cosines(left.rows, left.dtype, right.rows, right.dtype, n_threads)
        for side, own in zip((located, partner), status, strict=True):
            mark_missing(side, own)
            if on_invalid == "error":
                refuse_invalid(side, own)
        valid = (status[0] == 0) & (status[1] == 0)
        parts.append(values[valid] if on_invalid == "skip" else values)
        del located, partner, left, right
    return gather(iter(parts))
