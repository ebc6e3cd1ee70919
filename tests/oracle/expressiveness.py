"""Candidates against a reference, by scipy's own tests on conformities from the definition."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from oracle import reference
from oracle.reference import Array


def conformities(real: ArrayLike, made: ArrayLike) -> tuple[Array, Array]:
    """Of the reference's own rows, and of the candidate's rows to them."""
    return reference.conformity(real), reference.conformity_of_outsiders(made, real)


def welch(made: Array, real: Array, interval: float) -> dict[str, float]:
    """Welch's test of two samples, with its interval."""
    return _figures(
        stats.ttest_ind(made, real, equal_var=False), made.mean() - real.mean(), interval
    )


def one_sample(made: Array, mean: float, interval: float) -> dict[str, float]:
    """Student's test of one sample against a number."""
    return _figures(stats.ttest_1samp(made - mean, 0.0), made.mean() - mean, interval)


def paired(first: Array, second: Array, interval: float) -> dict[str, float]:
    """Student's test of paired samples."""
    return _figures(stats.ttest_rel(first, second), (first - second).mean(), interval)


def _figures(found: Any, difference: float, interval: float) -> dict[str, float]:
    ends = found.confidence_interval(interval)
    return {
        "difference": float(difference),
        "lower": float(ends.low),
        "upper": float(ends.high),
        "statistic": float(found.statistic),
        "degrees_of_freedom": float(found.df),
        "p_value": float(found.pvalue),
    }


def hedges_g(made: Array, real: Array) -> float:
    """``J (mean - mean) / s_pooled`` with ``J = 1 - 3 / (4 (n + m) - 9)``."""
    n, m = len(made), len(real)
    pooled = ((n - 1) * made.var(ddof=1) + (m - 1) * real.var(ddof=1)) / (n + m - 2)
    return float((1 - 3 / (4 * (n + m) - 9)) * (made.mean() - real.mean()) / np.sqrt(pooled))


def cohens_dz(first: Array, second: Array) -> float:
    """``mean(x - y) / s(x - y)``, of ddof 1."""
    return float(np.mean(first - second) / np.std(first - second, ddof=1))


def holm(p_values: Sequence[float]) -> list[float]:
    """The greatest ``(m - rank) p`` among the p-values that are as small or smaller; at most 1."""
    m = len(p_values)
    ranks = stats.rankdata(p_values, method="ordinal") - 1
    scaled = [(m - rank) * p for rank, p in zip(ranks, p_values, strict=True)]
    return [
        min(1.0, max(s for s, other in zip(scaled, ranks, strict=True) if other <= rank))
        for rank in ranks
    ]
