"""Two sets feature by feature, in plain float64 numpy, from the paper's equations.

Nothing here is shared with the library. ``x`` and ``y`` are N x d and M x d.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from oracle.reference import Array, unit_rows, wide


def separability(x: ArrayLike, y: ArrayLike) -> Array:
    """``|m_x - m_y| / sqrt(var_x + var_y)`` (Eq. 5), ddof 0."""
    x, y = wide(x), wide(y)
    return np.abs(x.mean(0) - y.mean(0)) / np.sqrt(x.var(0) + y.var(0))


def normal_kl(x: ArrayLike, y: ArrayLike) -> Array:
    """``log(s_y / s_x) + (s_x^2 + (m_x - m_y)^2) / (2 s_y^2) - 1/2`` of each feature."""
    x, y = wide(x), wide(y)
    gap = x.mean(0) - y.mean(0)
    return np.log(y.std(0) / x.std(0)) + (x.var(0) + gap**2) / (2 * y.var(0)) - 0.5


def histogram_kl(x: ArrayLike, y: ArrayLike, bins: int = 50) -> Array:
    """``sum p log(p / q)`` with ``p = count / n + 1e-10`` over the joint range, by feature."""
    found = []
    for a, b in zip(wide(x).T, wide(y).T, strict=True):
        limits = (min(a.min(), b.min()), max(a.max(), b.max()))
        p = np.histogram(a, bins, limits)[0] / len(a) + 1e-10
        q = np.histogram(b, bins, limits)[0] / len(b) + 1e-10
        found.append((p * np.log(p / q)).sum())
    return np.array(found)


def table(x: ArrayLike, y: ArrayLike, bins: int = 50) -> list[dict[str, Any]]:
    """One row per feature, the most separable first."""
    sep = separability(x, y)
    columns = {
        "feature": np.arange(len(sep)),
        "separability": sep,
        "mean_image": wide(x).mean(0),
        "mean_text": wide(y).mean(0),
        "std_image": wide(x).std(0),
        "std_text": wide(y).std(0),
        "kl_gaussian_image_text": normal_kl(x, y),
        "kl_gaussian_text_image": normal_kl(y, x),
        "kl_histogram_image_text": histogram_kl(x, y, bins),
        "kl_histogram_text_image": histogram_kl(y, x, bins),
    }
    order = sorted(range(len(sep)), key=lambda k: (-sep[k], k))
    return [{name: column[k] for name, column in columns.items()} for k in order]


def paired_cosine_mean(x: ArrayLike, y: ArrayLike) -> float:
    """``mean_j cos(x_j, y_j)``."""
    return float(np.einsum("jl,jl->j", unit_rows(x), unit_rows(y)).mean())


def cosine(p: ArrayLike, q: ArrayLike) -> float:
    """``p.q / (|p| |q|)``."""
    p, q = wide(p), wide(q)
    return float(p @ q / np.linalg.norm(p) / np.linalg.norm(q))
