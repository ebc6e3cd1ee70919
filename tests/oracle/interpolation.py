"""Interpolation from its equations, one pair at a time, in extended precision.

As `reference`: nothing is shared with the library, nothing is fast. Angles come from a dot product
and what it leaves of the other vector, not from chords.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from oracle.reference import wide

Long = np.longdouble
Array = NDArray[np.float64]


def long(x: ArrayLike) -> NDArray[np.longdouble]:
    return wide(x).astype(Long)


def length(p: NDArray[np.longdouble]) -> np.longdouble:
    return np.sqrt((p * p).sum())


def angle(p: NDArray[np.longdouble], q: NDArray[np.longdouble]) -> np.longdouble:
    """Of two vectors, in [0, pi]: from the parts of `q` along `p` and across it."""
    u, v = p / length(p), q / length(q)
    along = (u * v).sum()
    return np.arctan2(length(v - along * u), along)


def weights(w: np.longdouble, theta: float) -> tuple[np.longdouble, np.longdouble]:
    """``sin((1 - theta) w) / sin(w)``, ``sin(theta w) / sin(w)``, and their limits at 0."""
    t = Long(theta)
    if w == 0:
        return 1 - t, t
    return np.sin((1 - t) * w) / np.sin(w), np.sin(t * w) / np.sin(w)


def moved(x: ArrayLike, alpha: float, mean: ArrayLike) -> NDArray[np.longdouble]:
    return long(x) - Long(alpha) * long(mean)


def vslerp(a: ArrayLike, b: ArrayLike, theta: float, alpha: float, mean: ArrayLike) -> Array:
    """Eq. 12."""
    p, q = moved(a, alpha, mean), moved(b, alpha, mean)
    first, second = weights(angle(p, q), theta)
    return (first * p + second * q + Long(alpha) * long(mean)).astype(np.float64)


def slerp(p: ArrayLike, q: ArrayLike, theta: float) -> Array:
    """The same about the origin; lengths are kept."""
    return vslerp(p, q, theta, 0.0, np.zeros(len(wide(p))))


def vslerp_elementwise(
    a: ArrayLike, b: ArrayLike, theta: float, alpha: float, mean: ArrayLike
) -> Array:
    """The same with an angle for each feature, the arc cosine of the product of its elements."""
    p, q = moved(a, alpha, mean), moved(b, alpha, mean)
    found = np.empty(len(p))
    products = p / length(p) * (q / length(q))
    for k, product in enumerate(products):
        first, second = weights(np.arccos(product), theta)
        found[k] = first * p[k] + second * q[k] + Long(alpha) * long(mean)[k]
    return found
