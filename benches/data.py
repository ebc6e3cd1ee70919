"""The rows of the jobs, and the float64 oracle that every contender is judged by."""

import numpy as np

DIM = 512

#: Rows that are drawn; the rest are these with their features turned, which costs no time.
DRAWN = 50_000


def make_rows(count, dtype):
    """Rows off the origin, of unequal features: raw embeddings, in outline."""
    rng = np.random.default_rng(0)
    drawn = rng.standard_normal((min(count, DRAWN), DIM), dtype=np.float32)
    scale = np.geomspace(0.2, 2, DIM, dtype=np.float32)
    mean = rng.standard_normal(DIM, dtype=np.float32)
    x = np.empty((count, DIM), dtype)
    for turn, start in enumerate(range(0, count, DRAWN)):
        part = x[start : start + DRAWN]
        part[:] = np.roll(drawn, turn, axis=1)[: len(part)] * scale + mean
    return x


def float64_parts(x):
    """Blocks of rows in float64."""
    for start in range(0, len(x), 8192):
        yield x[start : start + 8192].astype(np.float64)


def units(part):
    """Rows of length one."""
    return part / np.linalg.norm(part, axis=1, keepdims=True)


def exact_conformity(x):
    """Conformity by its definition, ``(u_j . sum_k u_k - 1) / (n - 1)``, in float64."""
    total = sum(units(part).sum(axis=0) for part in float64_parts(x))
    products = np.concatenate([units(part) @ total for part in float64_parts(x)])
    return (products - 1) / (len(x) - 1)


def exact_covariance(x):
    """Covariance in two passes, in float64."""
    mean = sum(part.sum(axis=0) for part in float64_parts(x)) / len(x)
    scatter = np.zeros((DIM, DIM))
    for part in float64_parts(x):
        part -= mean
        scatter += part.T @ part
    return scatter / (len(x) - 1)


def largest_difference(found, want):
    """Largest absolute deviation."""
    return float(np.abs(np.asarray(found, np.float64) - want).max())


def covariance_deviation(found, want):
    """Largest deviation of an entry, in units of ``sqrt(C_ii C_jj)``."""
    size = np.sqrt(np.diag(want))
    return float((np.abs(np.asarray(found, np.float64) - want) / np.outer(size, size)).max())
