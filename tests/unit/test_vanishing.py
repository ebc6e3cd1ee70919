"""Rows of which a move leaves nothing: every function that moves rows says so of the same ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

import clipsoid as cs
from oracle import vanishing as oracle
from unit.pair_samples import SIDE
from unit.samples import BLOCK, DTYPES, cloud
from unit.test_shifted import check

every_dtype = pytest.mark.parametrize("dtype", DTYPES)


def cancelling(count: int, row: int, dtype: str, scale: float = 1e3, dim: int = 16) -> Any:
    """Opposite pairs of long rows, and a short one that is `count` times the mean of all."""
    assert count % 2
    rng = np.random.default_rng([count, row])
    half = (scale * rng.uniform(0.2, 1, (count // 2, dim))).astype(DTYPES[dtype])
    pairs = np.stack([half, -half], axis=1).reshape(count - 1, dim)
    own = rng.uniform(0.5, 1, (1, dim)).astype(DTYPES[dtype])
    return np.concatenate([pairs[:row], own, pairs[row:]])


def calls(x: Any, alphas: list[float]) -> dict[str, Callable[..., Any]]:
    """Everything that moves all rows of `x`, by the argument that it calls them."""
    other = cloud(len(x), x.shape[1], str(x.dtype))
    return {
        "x": lambda **options: cs.shifted_conformity(x, alphas, **options),
        "image": lambda **options: cs.match_sweep(x, other, alphas=alphas, **options),
        "text": lambda **options: cs.loss_sweep(other, x, alphas=alphas, shift="text", **options),
    }


def refusal(call: Callable[..., Any]) -> tuple[int, str, str] | None:
    """The row at fault, its status and what is said of it; None where nothing is."""
    try:
        call()
    except cs.InvalidRowError as error:
        return error.row, error.status, str(error).partition(": ")[2]
    return None


@every_dtype
@pytest.mark.parametrize(
    ("count", "row"), [(3, 1), (301, 7), (SIDE + 1, SIDE), (BLOCK + 301, BLOCK + 9)]
)
def test_a_mean_that_cancels_is_as_uncertain_as_its_rows(count: int, row: int, dtype: str) -> None:
    x, alpha = cancelling(count, row, dtype), float(count)
    assert oracle.share_of_rounding(x, row, alpha) < 0.1
    message = f"row {row} vanishes at alpha = {alpha:g}: it is alpha times the mean"
    for name, call in calls(x, [0.5, alpha]).items():
        for threads in (1, 2):
            with pytest.raises(cs.InvalidRowError, match=f"^{name}: {message}$") as caught:
                call(n_threads=threads)
            assert (caught.value.row, caught.value.status) == (row, "vanishes")
    e = cs.Ellipsoid.fit(x, covariance=False)
    for interpolate in (cs.vslerp, cs.vslerp_elementwise):
        with pytest.raises(cs.InvalidRowError, match=f"^a: {message}$"):
            interpolate(x, np.ones(16), 0.5, [0.5, alpha], e)


@every_dtype
def test_it_vanishes_there_and_nowhere_else(dtype: str) -> None:
    x = cancelling(301, 7, dtype)
    alphas = [-301.0, 150.0, 290.0, 602.0]
    check(x, alphas)
    assert all(refusal(call) is None for call in calls(x, alphas).values())


@hypothesis.given(
    st.integers(0, 150), st.floats(-5, 3), st.floats(-1, 4), st.sampled_from([-1.0, 1.0])
)
def test_all_agree_with_the_rule(row: int, away: float, scale: float, sign: float) -> None:
    # What is left of the row lies within a few powers of ten of what rounding may leave.
    x = cancelling(301, 2 * row, "float64", 10**scale)
    alpha = 301.0
    rounding = (8 + 301**0.5) * 2.0**-52 * alpha * np.linalg.norm(x, axis=1).max()
    x[2 * row, 3] += sign * 10**away * rounding
    share = oracle.share_of_rounding(x, 2 * row, alpha)
    found = [refusal(call) for call in calls(x, [-1.0, alpha]).values()]
    assert found[0] == found[1] == found[2]
    e = cs.Ellipsoid.fit(x, covariance=False)
    alone = refusal(lambda: cs.vslerp(x, np.ones(16), 0.5, [-1.0, alpha], e))
    assert alone == found[0]
    # Rounding itself is a part of the bound on it.
    if not 0.9 < share < 1.1:
        assert (found[0] is not None) == (share < 1)


def test_a_mean_without_its_ellipsoid_is_taken_for_one_of_rows_like_it() -> None:
    mean = cloud(1, 20, "float64")[0]
    across = np.zeros(20)
    across[:2] = mean[1], -mean[0]
    across *= np.linalg.norm(mean) / np.linalg.norm(across)
    # 100,000 rows of its length: rounding of 7.2e-14 of it, for each alpha.
    for alpha in (-1.5, 0.7, 2.0):
        least = (8 + 1e5**0.5) * 2.0**-52 * max(abs(alpha), 1)
        for share, status in ((0.5, "vanishes"), (2.0, None)):
            a = (mean * alpha + share * least * across, cloud(1, 20, "float64", seed=1)[0])
            found = refusal(lambda a=a, alpha=alpha: cs.vslerp(*a, 0.5, alpha, mean))
            assert (found and found[1]) == status


def test_what_float64_does_not_hold_is_not_said_to_vanish() -> None:
    # A sum of rows that overflows, and a row of which too little is left for a direction.
    great = np.array([[1e308, 5e307], [1e308, -5e307], [1e308, 5e307], [1e307, 2e307]])
    small = 1e-300 * np.array([[1, 1e-10], [1, -1e-10], [1, 2], [1, -2]])
    for x, alpha in ((great, 0.25), (small, 1.0)):
        assert np.isfinite(cs.shifted_conformity(x, [0.0])).all()
        message = rf"row 0 leaves the range of float64 at alpha = {alpha:g}$"
        for name, call in calls(x, [0.0, alpha]).items():
            with pytest.raises(cs.InvalidRowError, match=f"^{name}: {message}") as caught:
                call()
            assert (caught.value.row, caught.value.status) == (0, "non_finite")
    with pytest.raises(cs.InvalidRowError, match=f"^a: {message}"):
        cs.vslerp(small[0], small[2], 0.5, 1.0, cs.Ellipsoid.fit(small, covariance=False))
    with pytest.raises(cs.InvalidRowError, match=r"^a: row 0 leaves the range.* alpha = 1e\+300$"):
        cs.vslerp([1.0, 0.0], [0.0, 1.0], 0.5, [0, 1e300], [1e10, 0.0])
