"""Which row is a multiple of its mean: sums by `math.fsum`, rounded but once."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from oracle import reference

Array = NDArray[np.float64]


def mean(x: ArrayLike) -> Array:
    """The mean, rounded once."""
    rows = reference.wide(x)
    return np.array([math.fsum(column) / len(rows) for column in rows.T])


def share_of_rounding(x: ArrayLike, row: int, alpha: float) -> float:
    """``|x - alpha m|`` over the length up to which it may be rounding: it vanishes below 1."""
    rows = reference.wide(x)
    own = math.hypot(*rows[row])
    rms = math.sqrt(math.fsum(math.hypot(*one) ** 2 for one in rows) / len(rows))
    left = math.hypot(*(rows[row] - alpha * mean(x)))
    rounding = (8 + math.sqrt(len(rows))) * 2.0**-52 * max(abs(alpha) * rms, own)
    return left / min(rounding, own / 32)
