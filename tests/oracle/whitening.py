"""Whitening, likelihood and tests of normality in float64, from the definitions; imports nothing
of clipsoid.

Roots and factors come from scipy, by other routes than an eigendecomposition of the covariance:
singular values of the centred rows, a matrix root, a triangular factor of the inverse.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

Array = NDArray[np.float64]


def wide(x: Any) -> Array:
    return np.asarray(x).astype(np.float64)


def covariance(x: Any) -> Array:
    return np.cov(wide(x).T, ddof=1).reshape(np.shape(x)[1], -1)


def axes_and_variances(x: Any) -> tuple[Array, Array]:
    """Right singular vectors, in columns, and the variances along them, descending."""
    rows = wide(x)
    _, singular, vectors = np.linalg.svd(rows - rows.mean(axis=0), full_matrices=False)
    return vectors.T, singular**2 / (len(rows) - 1)


def matrix(c: Array, kind: str) -> Array:
    """The whitening matrix of a covariance of full rank."""
    inverse = linalg.inv(c)
    if kind == "zca":
        return np.real(linalg.sqrtm(inverse))
    if kind == "cholesky":
        return linalg.cholesky(inverse, lower=True).T
    variances, axes = linalg.eigh(c)
    return (axes[:, ::-1] / np.sqrt(variances[::-1])).T


def shrunk(c: Array, weight: float) -> Array:
    return (1 - weight) * c + weight * np.trace(c) / len(c) * np.eye(len(c))


def floored(c: Array, share: float) -> Array:
    values, axes = np.linalg.eigh(c)
    return (axes * np.maximum(values, share * values[-1])) @ axes.T


def ledoit_wolf(x: Any) -> float:
    """Weight of Ledoit & Wolf 2004, section 3: ``b^2 / d^2`` by sums over rows of matrices."""
    y = wide(x) - wide(x).mean(axis=0)
    n, d = y.shape
    s = y.T @ y / n
    m = np.trace(s) / d
    d2 = ((s - m * np.eye(d)) ** 2).sum() / d
    b2 = sum(((np.outer(row, row) - s) ** 2).sum() / d for row in y) / n**2
    return float(min(b2, d2) / d2)


def log_density(x: Any, mean: Array, axes: Array, variances: Array) -> Array:
    """Of a normal law on the span of some axes about the mean."""
    y = (wide(x) - mean) @ axes
    terms = -(y**2) / (2 * variances) - np.log(2 * np.pi * variances) / 2
    return terms.sum(axis=1)
