"""The jobs on matching: conformity over a grid of alphas, and the divergence of two samples."""

import numpy as np
from scipy import stats
from scipy.spatial.distance import jensenshannon

import clipsoid as cs
import data
import peers
from job import Job
from pair_data import ALPHAS

#: Bins of the histograms.
BINS = 50


def _moved(part, mean, alpha):
    return data.units(part - alpha * mean)


def exact_shifted(x):
    """Conformity of the moved rows by its definition, in float64."""
    mean = sum(part.sum(axis=0) for part in data.float64_parts(x)) / len(x)
    found = np.empty((len(ALPHAS), len(x)))
    for row, alpha in zip(found, ALPHAS, strict=True):
        total = sum(_moved(part, mean, alpha).sum(axis=0) for part in data.float64_parts(x))
        products = [_moved(part, mean, alpha) @ total for part in data.float64_parts(x)]
        row[:] = (np.concatenate(products) - 1) / (len(x) - 1)
    return found


def shifted_numpy(x):
    """Alpha by alpha: rows moved, then as without a move."""
    mean = x.mean(axis=0, dtype=np.float64).astype(np.float32)
    return np.stack([peers.conformity_numpy(x - np.float32(alpha) * mean) for alpha in ALPHAS])


def shifted_numpy_products(x):
    """The two thin products of all alphas, in float32; lengths from products too."""
    mean, alphas = x.mean(axis=0, dtype=np.float64), np.array(ALPHAS)
    along = (x @ mean.astype(np.float32)).astype(np.float64)
    squares = np.einsum("ij,ij->i", x, x).astype(np.float64)
    lengths = squares - 2 * alphas[:, None] * along + alphas[:, None] ** 2 * (mean @ mean)
    weights = 1 / np.sqrt(lengths)
    centre = alphas * weights.sum(axis=1)
    means = (weights.astype(np.float32) @ x - centre[:, None] * mean) / len(x)
    products = (x @ means.T.astype(np.float32)).T - (alphas * (means @ mean))[:, None]
    return (len(x) * weights * products - 1) / (len(x) - 1)


def shifted(rows):
    """Conformity at 41 alphas; the mark is 41 times conformity without a move."""
    return Job(
        name="conformity, 41 alphas, float32",
        rows=rows,
        rounds=5,
        make=lambda: data.make_rows(rows, np.float32),
        few=lambda: data.make_rows(3000, np.float32),
        contenders={
            "clipsoid": lambda x: cs.shifted_conformity(x, ALPHAS),
            # It stops short of the result: nothing moves.
            "clipsoid's conformity, 41 times": lambda x: [cs.conformity(x) for _ in ALPHAS][-1],
            "numpy, two products": shifted_numpy_products,
            "numpy, per alpha": shifted_numpy,
        },
        limit=None,
        marks={"clipsoid's conformity, 41 times": 1 / 5},
        oracle=exact_shifted,
        error_mark=1e-12,
        once=("numpy, per alpha",),
    )


def _figures(found):
    return np.array([found.kl_pq, found.kl_qp, found.js, found.wasserstein])


def divergence_scipy(samples):
    """All but the kernel densities, whose evaluation at each point takes seconds."""
    p, q = samples
    limits = (min(p.min(), q.min()), max(p.max(), q.max()))
    shares = [np.histogram(x, BINS, limits)[0] / len(x) + 1e-10 for x in (p, q)]
    forth, back = ((a * np.log(a / b)).sum() for a, b in (shares, shares[::-1]))
    exact = [share - 1e-10 for share in shares]
    distance = stats.wasserstein_distance(p, q)
    return np.array([forth, back, jensenshannon(*exact) ** 2, distance])


def make_samples(count):
    """Two samples of numbers, as far apart as conformities are."""
    rng = np.random.default_rng(0)
    return rng.normal(0.5, 0.05, count), rng.normal(0.52, 0.06, count)


def divergence(rows):
    """Six figures of two samples, of which scipy has four."""
    return Job(
        name="divergences of two samples",
        rows=rows,
        rounds=9,
        make=lambda: make_samples(rows),
        few=lambda: make_samples(1000),
        contenders={
            "clipsoid": lambda samples: _figures(cs.divergence(*samples)),
            "numpy and scipy, no densities": divergence_scipy,
        },
        limit=None,
        marks={},
        oracle=divergence_scipy,
        error_mark=1e-9,
    )


MAKERS = {
    "shifted": lambda rows, _: shifted(rows),
    "divergence": lambda rows, _: divergence(rows),
}

SIZES = [("shifted", 100_000), ("divergence", 100_000)]
