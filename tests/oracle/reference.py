"""The statistics of one modality in plain float64 numpy, written from the paper's equations.

Levi & Gilboa, *The Double-Ellipsoid Geometry of CLIP*, ICML 2025 (arXiv 2411.14517). Nothing here
is shared with the library, nothing is fast, and every function holds its equation and little else.
``x`` is N x d, one raw embedding ``x_j`` a row; ``u_j = x_j / |x_j|``. Population moments
(1 / N) throughout, except for the covariance (1 / (N - 1)).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


class Shell(NamedTuple):
    """What the distances ``r_j = |x_j - m|`` from the raw mean look like (Eq. 3, 4; Fig. 4)."""

    mean: float
    variance: float
    rms: float
    min: float
    max: float
    relative_error: float


class Regression(NamedTuple):
    """Least squares of conformity on cosine, and of cosine on conformity."""

    slope: float
    intercept: float
    inverse_slope: float
    inverse_intercept: float
    pearson: float


def wide(x: ArrayLike) -> Array:
    """``x`` in float64: exact for every narrower dtype."""
    return np.asarray(x).astype(np.float64)


def norms(x: ArrayLike) -> Array:
    """``|x_j|``, each row first divided by its largest entry, so that nothing over- or underflows.

    A row of zeros has norm zero; one with an infinity or a NaN has a norm that is not finite.
    """
    x = wide(x)
    peak = np.abs(x).max(axis=1)
    scale = np.where(np.isfinite(peak) & (peak > 0), peak, 1.0)
    return np.sqrt(((x / scale[:, None]) ** 2).sum(axis=1)) * scale


def valid(x: ArrayLike) -> NDArray[np.bool_]:
    """Which rows have a direction: every entry finite, and not all of them zero."""
    x = wide(x)
    return np.isfinite(x).all(axis=1) & (x != 0).any(axis=1)


def unit_rows(x: ArrayLike) -> Array:
    """``u_j = x_j / |x_j|``."""
    x = wide(x)
    scaled = x / np.abs(x).max(axis=1)[:, None]
    return scaled / np.sqrt((scaled**2).sum(axis=1))[:, None]


def mean(x: ArrayLike) -> Array:
    """``m = (1 / N) sum_j x_j``."""
    return wide(x).mean(axis=0)


def unit_mean(x: ArrayLike) -> Array:
    """``s = (1 / N) sum_j u_j``."""
    return unit_rows(x).mean(axis=0)


def std(x: ArrayLike) -> Array:
    """``sigma_l = sqrt((1 / N) sum_j (x_jl - m_l)^2)``."""
    return np.sqrt(((wide(x) - mean(x)) ** 2).mean(axis=0))


def covariance(x: ArrayLike) -> Array:
    """``C = (1 / (N - 1)) sum_j (x_j - m) (x_j - m)^T``."""
    centred = wide(x) - mean(x)
    return centred.T @ centred / (len(centred) - 1)


def center_ratio(x: ArrayLike) -> float:
    """``|m| / |sigma|``: how far from the origin the cloud sits, in units of its own width."""
    return float(np.linalg.norm(mean(x)) / np.linalg.norm(std(x)))


def cosine_matrix(x: ArrayLike) -> Array:
    """``cos(x_j, x_k)`` for every pair."""
    u = unit_rows(x)
    return u @ u.T


def conformity(x: ArrayLike) -> Array:
    """``c_j = mean over k != j of cos(x_j, x_k)`` (Def. 1, Eq. 10): the O(N^2) definition."""
    cosines = cosine_matrix(x)
    np.fill_diagonal(cosines, 0.0)
    return cosines.sum(axis=1) / (len(cosines) - 1)


def conformity_of_members(x: ArrayLike) -> Array:
    """``c_j = (N s.u_j - 1) / (N - 1)``: the same number, in O(N)."""
    u = unit_rows(x)
    return (len(u) * (u @ u.mean(axis=0)) - 1) / (len(u) - 1)


def conformity_of_outsiders(x: ArrayLike, reference: ArrayLike) -> Array:
    """``mean over k of cos(x_j, y_k)``, y being a set that x is not part of: ``s_y . u_j``."""
    return (unit_rows(x) @ unit_rows(reference).T).mean(axis=1)


def mean_conformity(x: ArrayLike) -> float:
    """The mean of all ``c_j``."""
    return float(conformity(x).mean())


def cosine_to_mean(x: ArrayLike, center: ArrayLike) -> Array:
    """``cos(m, x_j)``."""
    return unit_rows(x) @ unit_rows(np.atleast_2d(wide(center)))[0]


def pearson(p: Array, q: Array) -> float:
    """``cov(p, q) / (std p * std q)``."""
    p, q = p - p.mean(), q - q.mean()
    return float((p @ q) / np.sqrt((p @ p) * (q @ q)))


def line(p: Array, q: Array) -> tuple[float, float]:
    """Slope and intercept of the least squares line ``q = slope p + intercept``."""
    centred = p - p.mean()
    slope = (centred @ (q - q.mean())) / (centred @ centred)
    return float(slope), float(q.mean() - slope * p.mean())


def regression(x: ArrayLike) -> Regression:
    """Eq. 11 and its inverse: conformity against cosine to the mean, each on the other."""
    cosine, exact = cosine_to_mean(x, mean(x)), conformity(x)
    return Regression(*line(cosine, exact), *line(exact, cosine), pearson(cosine, exact))


def radii(x: ArrayLike) -> Array:
    """``r_j = |x_j - m|``."""
    return norms(wide(x) - mean(x))


def shell(x: ArrayLike) -> Shell:
    """The thin shell: mean, variance, rms, extremes of ``r_j``; ``|mean - rms| / rms``."""
    r = radii(x)
    rms = np.sqrt((r**2).mean())
    figures = (r.mean(), r.var(), rms, r.min(), r.max(), abs(r.mean() - rms) / rms)
    return Shell(*map(float, figures))


def off_diagonal_dominance(x: ArrayLike) -> Array:
    """``ODD(l) = sum_{k != l} |C_lk| / C_ll`` (Eq. 6)."""
    c = np.abs(covariance(x))
    diagonal = np.diag(c).copy()
    np.fill_diagonal(c, 0.0)
    return c.sum(axis=1) / diagonal


def off_diagonal_dominance_null(x: ArrayLike) -> Array:
    """What untilted features give: ``sqrt(2 / (pi N)) (sum_k sigma_k - sigma_l) / sigma_l``."""
    sigma = std(x)
    return np.sqrt(2 / (np.pi * len(wide(x)))) * (sigma.sum() - sigma) / sigma


def modality_gap(x: ArrayLike, y: ArrayLike) -> tuple[float, float]:
    """Distance between the raw means of two modalities, and between their unit means."""
    raw, unit = mean(x) - mean(y), unit_mean(x) - unit_mean(y)
    return float(np.linalg.norm(raw)), float(np.linalg.norm(unit))
