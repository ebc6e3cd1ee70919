"""Matching of conformity distributions in float64 numpy and scipy, from the definitions.

Nothing is shared with the library: conformities of moved rows come from the matrix of all cosines,
densities from scipy's kernel estimate at each point, distances from scipy.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats
from scipy.spatial.distance import jensenshannon

from oracle import reference

Array = NDArray[np.float64]


def shifted_conformity(x: ArrayLike, alphas: ArrayLike, mean: ArrayLike | None = None) -> Array:
    """Definition 1 after the move of Eq. 9: mean cosine of each moved row to the others."""
    rows = reference.wide(x)
    center = reference.mean(rows) if mean is None else np.asarray(mean, np.float64)
    return np.stack([reference.conformity(rows - alpha * center) for alpha in np.ravel(alphas)])


def kl(p: Array, q: Array) -> float:
    """Of shares that are raised by 1e-10 and not scaled again, in nats."""
    pairs = zip(p + 1e-10, q + 1e-10, strict=True)
    return float(sum(a * np.log(a / b) for a, b in pairs))


def shares(x: ArrayLike, y: ArrayLike, bins: int = 50) -> tuple[Array, Array]:
    """Histograms over one range, as shares."""
    x, y = np.asarray(x), np.asarray(y)
    limits = (min(x.min(), y.min()), max(x.max(), y.max()))
    return tuple(np.histogram(one, bins, limits)[0] / len(one) for one in (x, y))


def histogram_figures(x: ArrayLike, y: ArrayLike, bins: int = 50) -> dict[str, float]:
    """Both Kullback-Leibler divergences, Jensen-Shannon, 1-Wasserstein."""
    p, q = shares(x, y, bins)
    return {
        "kl_pq": kl(p, q),
        "kl_qp": kl(q, p),
        # scipy gives the root.
        "js": float(jensenshannon(p, q) ** 2),
        "wasserstein": float(stats.wasserstein_distance(x, y)),
    }


def bandwidth(x: Array) -> float:
    """Silverman's rule of thumb, 0.9 min(std, quartile distance / 1.349) n^(-1/5)."""
    lower, upper = np.quantile(x, [0.25, 0.75])
    spread = min(x.std(), (upper - lower) / 1.349) if upper > lower else x.std()
    return float(0.9 * spread * len(x) ** -0.2)


def kernel_figures(x: Array, y: Array, points: int = 2048) -> tuple[dict[str, float], float]:
    """Both divergences of kernel densities at points 4 bandwidths beyond the samples.

    Also the step of the grid over the smaller bandwidth.
    """
    widths = [bandwidth(one) for one in (x, y)]
    margin = 4 * max(widths)
    low, high = min(x.min(), y.min()) - margin, max(x.max(), y.max()) + margin
    grid = np.linspace(low, high, points)
    densities = [
        stats.gaussian_kde(one, width / one.std(ddof=1))(grid)
        for one, width in zip((x, y), widths, strict=True)
    ]
    p, q = (density / density.sum() for density in densities)
    return {"kde_kl_pq": kl(p, q), "kde_kl_qp": kl(q, p)}, (grid[1] - grid[0]) / min(widths)


def percentiles(x: Array) -> Array:
    """Share of the numbers that are less, half of the equal ones included."""
    less, equal = x[None, :] < x[:, None], x[None, :] == x[:, None]
    return np.asarray((less.sum(axis=1) + equal.sum(axis=1) / 2) / len(x))
