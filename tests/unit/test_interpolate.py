"""SLERP and vSLERP against the oracle, at their limits, and what they refuse."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import clipsoid as cs
from bounds import UNIT, assert_within
from oracle import interpolation as oracle
from unit.samples import DTYPES, cloud, wide

THETAS = [0.0, 1e-9, 0.25, 0.5, 1.0]
ALPHAS = [-2.0, 0.0, 0.3, 1.5]

every_dtype = pytest.mark.parametrize("dtype", DTYPES)
every_shape = pytest.mark.parametrize(("n", "d"), [(1, 1), (3, 2), (7, 17), (5, 512)], ids=str)


def bound(a: Any, b: Any, theta: float, alpha: float = 0.0, mean: Any = 0.0) -> float:
    """Of the result, from the rounding of the moved rows, of their angle, and of the weights.

    A length sums d terms, so a unit vector and the angle are within some d u, more where a move
    leaves little of a row. A weight's derivative by the angle is below (1 + |theta|)^2, and
    above a right angle below that over the squared sine.
    """
    p, q = (wide(x) - alpha * wide(mean) for x in (a, b))
    given = np.linalg.norm(wide(a)) + np.linalg.norm(wide(b)) + np.linalg.norm(alpha * wide(mean))
    lengths = np.linalg.norm(p), np.linalg.norm(q)
    w = float(oracle.angle(oracle.long(p), oracle.long(q)))
    steep = (1 + abs(theta)) ** 2 * (1 if w < np.pi / 2 else 1 / np.sin(w) ** 2)
    eps = 8 * (np.size(p) + 8) * UNIT
    return float(eps * steep * sum(lengths) * (1 + given / min(lengths)) + eps * given)


def rows(n: int, d: int, dtype: str) -> tuple[Any, Any, np.ndarray]:
    """Rows between which no angle is near a straight one, but in one dimension, and a mean."""
    a, b = cloud(n, d, dtype, seed=1), cloud(n, d, dtype, seed=2)
    if d == 1:
        b = np.abs(b) * np.sign(a)
    return a, b, wide(cloud(50, d, "float64", seed=3)).mean(axis=0)


@every_dtype
@every_shape
def test_slerp_equals_the_oracle(n: int, d: int, dtype: str) -> None:
    a, b, _ = rows(n, d, dtype)
    got = cs.slerp(a, b, THETAS)
    assert got.shape == (len(THETAS), n, d) and got.dtype == np.float64
    for i, theta in enumerate(THETAS):
        for j in range(n):
            want = oracle.slerp(a[j], b[j], theta)
            assert_within(got[i, j], want, bound(a[j], b[j], theta), f"theta {theta}, row {j}")


@every_dtype
@pytest.mark.parametrize(("n", "d"), [(3, 2), (7, 17), (4, 512)], ids=str)
@pytest.mark.parametrize("what", ["vslerp", "vslerp_elementwise"])
def test_vslerp_equals_the_oracle(n: int, d: int, dtype: str, what: str) -> None:
    a, b, mean = rows(n, d, dtype)
    got = getattr(cs, what)(a, b, THETAS, ALPHAS, mean)
    assert got.shape == (len(THETAS), len(ALPHAS), n, d) and got.dtype == np.float64
    for i, theta in enumerate(THETAS):
        for k, alpha in enumerate(ALPHAS):
            for j in range(n):
                want = getattr(oracle, what)(a[j], b[j], theta, alpha, mean)
                allowed = bound(a[j], b[j], theta, alpha, mean)
                if what == "vslerp_elementwise":
                    # The arc cosine of a product near 1 is as steep as the sine is small.
                    p, q = (oracle.moved(x, alpha, mean) for x in (a[j], b[j]))
                    sine2 = 1 - (p / oracle.length(p) * q / oracle.length(q)) ** 2
                    allowed /= float(sine2.min()) ** 1.5
                assert_within(got[i, k, j], want, allowed, f"theta {theta}, alpha {alpha}, row {j}")


@pytest.mark.parametrize("theta", [0.5, [0.5], [[0.1, 0.2], [0.3, 0.4]], np.float32(0.25), []])
@pytest.mark.parametrize("alpha", [1, [0.0, 1.0, -1.0]])
def test_shapes(theta: Any, alpha: Any) -> None:
    a, b, mean = rows(5, 8, "float32")
    t, s = np.shape(theta), np.shape(alpha)
    for p, q, shape in (
        (a[0], b[0], (8,)),
        (a, b, (5, 8)),
        (a[0], b, (5, 8)),
        (a, b[1], (5, 8)),
        (a[:1], b, (5, 8)),
    ):
        assert cs.slerp(p, q, theta).shape == (*t, *shape)
        for call in (cs.vslerp, cs.vslerp_elementwise):
            assert call(p, q, theta, alpha, mean).shape == (*t, *s, *shape)
    # One vector stands for as many rows.
    whole = cs.vslerp(np.repeat(a[:1], 5, axis=0), b, theta, alpha, mean)
    np.testing.assert_array_equal(cs.vslerp(a[0], b, theta, alpha, mean), whole)


def test_vectors_of_any_library() -> None:
    a, b, mean = rows(4, 6, "float32")
    want = cs.vslerp(a, b, 0.3, 1.5, mean)
    column = pl.Series(a.tolist(), dtype=pl.List(pl.Float32))
    for form in (torch.from_numpy(a), column, a.astype(">f4"), np.asfortranarray(a)):
        np.testing.assert_array_equal(cs.vslerp(form, b, 0.3, 1.5, mean), want)
    tensor = torch.from_numpy(a).to(torch.bfloat16)
    exact = cs.vslerp(tensor.double().numpy(), b, 0.3, 1.5, mean)
    np.testing.assert_array_equal(cs.vslerp(tensor, b, 0.3, 1.5, mean), exact)
    one = cs.vslerp(tensor[2], b[2], 0.3, 1.5, mean)
    np.testing.assert_array_equal(one, exact[2])
    assert cs.slerp([1, 0], (0, 1), 0.5).tolist() == pytest.approx([0.5**0.5, 0.5**0.5])


def test_an_ellipsoid_stands_for_its_mean() -> None:
    x = cloud(60, 9, "float32")
    e = cs.Ellipsoid.fit(x, covariance=False)
    want = cs.vslerp(x[0], x[1], THETAS, ALPHAS, e.mean)
    np.testing.assert_array_equal(cs.vslerp(x[0], x[1], THETAS, ALPHAS, e), want)


def test_the_ends_are_the_rows_themselves() -> None:
    a, b, mean = rows(6, 33, "float64")
    np.testing.assert_array_equal(cs.slerp(a, b, [0, 1]), [a, b])
    moved = cs.vslerp(a, b, [0, 1], 1.5, mean)
    assert_within(moved, [a, b], 4 * UNIT * (np.abs(a).max() + 2 * np.abs(mean).max()), "ends")
    # About the origin, whatever the mean.
    np.testing.assert_array_equal(cs.vslerp(a, b, THETAS, 0, mean), cs.slerp(a, b, THETAS))


def test_lengths_are_kept_as_the_equation_has_them() -> None:
    # By hand: at a right angle, half way, both weights are sin(45 degrees).
    assert cs.slerp([3.0, 0.0], [0.0, 8.0], 0.5) * 2**0.5 == pytest.approx([3, 8])
    # Sixty degrees in thirds of twenty: sin(40 degrees) / sin(60 degrees) and so on.
    b = [0.5, 3**0.5 / 2]
    degrees = np.deg2rad([20, 40])
    want = np.stack([np.cos(degrees), np.sin(degrees)], axis=1)
    assert cs.slerp([1.0, 0.0], b, [1 / 3, 2 / 3]) == pytest.approx(want, abs=1e-15)


@pytest.mark.parametrize("factor", [1.0, 2.0, 0.3])
def test_parallel_rows_have_the_linear_limit(factor: float) -> None:
    a = wide(cloud(1, 40, "float64")[0])
    for theta in THETAS:
        want = (1 - theta) * a + theta * factor * a
        got = cs.slerp(a, factor * a, theta)
        assert_within(got, want, 8 * UNIT * np.abs(a).max(), f"theta {theta}")


@pytest.mark.parametrize("w", [1e-2, 1e-5, 1e-8, 1e-12, 1e-16, 1e-200])
def test_tiny_angles_are_precise(w: float) -> None:
    # An arc cosine near 1 would be off by 1e-8; by hand, the point at theta w.
    for theta in (0.25, 0.5, 0.75):
        got = cs.slerp([1.0, 0.0], [np.cos(w), np.sin(w)], theta)
        assert got[0] == pytest.approx(np.cos(theta * w), rel=8 * UNIT)
        assert got[1] == pytest.approx(np.sin(theta * w), rel=8 * UNIT)


def test_an_arc_of_nearly_half_a_turn() -> None:
    w = np.pi - 1e-6
    got = cs.slerp([1.0, 0.0], [np.cos(w), np.sin(w)], 0.5)
    # The direction is as sure as the angle is: rounding over the distance from half a turn.
    assert got == pytest.approx([np.cos(w / 2), np.sin(w / 2)], abs=8 * UNIT / 1e-6)


@given(st.integers(0, 2**32 - 1), st.integers(2, 40), st.floats(0, 1))
def test_invariances(seed: int, d: int, theta: float) -> None:
    rng = np.random.default_rng(seed)
    a, b = rng.standard_normal((2, d)) + 0.5
    a, b = a / np.linalg.norm(a), b / np.linalg.norm(b)
    got, allowed = cs.slerp(a, b, theta), 4 * bound(a, b, theta)
    # The way back; a point of the sphere; the angle in proportion; any scale and any turn.
    assert_within(cs.slerp(b, a, 1 - theta), got, allowed, "reversed")
    assert abs(np.linalg.norm(got) - 1) <= allowed
    w = float(oracle.angle(oracle.long(a), oracle.long(b)))
    assert abs(float(oracle.angle(oracle.long(a), oracle.long(got))) - theta * w) <= 2 * allowed
    assert_within(cs.slerp(1e-3 * a, 1e-3 * b, theta), 1e-3 * got, 1e-3 * allowed, "scaled")
    turn, _ = np.linalg.qr(rng.standard_normal((d, d)))
    # A turn rounds d products for each element.
    assert_within(cs.slerp(turn @ a, turn @ b, theta), turn @ got, d * allowed, "turned")
    # Moving everything with the centre moves the result.
    c = rng.standard_normal(d)
    allowed = 8 * bound(a + c, b + c, theta, 1.0, c)
    assert_within(cs.vslerp(a + c, b + c, theta, 1.0, c), got + c, allowed, "moved")


def test_extrapolation() -> None:
    b = [0.5, 3**0.5 / 2]
    for theta in (-1.0, 2.0):
        want = [np.cos(theta * np.pi / 3), np.sin(theta * np.pi / 3)]
        assert cs.slerp([1.0, 0.0], b, theta, extrapolate=True) == pytest.approx(want, abs=1e-15)
    for call in (cs.vslerp, cs.vslerp_elementwise):
        assert call([1.0, 0.0], b, -1, [0, 1], [0.1, 0.1], extrapolate=True).shape == (2, 2)


@pytest.mark.parametrize("theta", [-1e-9, 1.0001, [0.2, 3]])
def test_theta_outside_is_refused(theta: Any) -> None:
    for call in (
        cs.slerp,
        lambda a, b, t: cs.vslerp(a, b, t, 0, a),
        lambda a, b, t: cs.vslerp_elementwise(a, b, t, 0, a),
        lambda a, b, t: cs.vslerp_grid(a, b, t, 0, a),
    ):
        with pytest.raises(ValueError, match=r"theta: .* lies outside \[0, 1\].*extrapolate=True"):
            call(np.array([1.0, 0.0]), np.array([0.6, 0.8]), theta)


@pytest.mark.parametrize("value", [np.nan, [0.5, np.inf], "half", None, [[0.5], [0.5, 0.6]]])
def test_numbers_that_are_none(value: Any) -> None:
    a, b = np.array([1.0, 0.0]), np.array([0.6, 0.8])
    with pytest.raises(ValueError, match=r"theta.*wanted"):
        cs.slerp(a, b, value)
    with pytest.raises(ValueError, match=r"alpha.*wanted"):
        cs.vslerp(a, b, 0.5, value, a)


@every_dtype
@pytest.mark.parametrize("factor", [-1.0, -2.0, -0.3])
def test_opposite_rows_are_refused(dtype: str, factor: float) -> None:
    a = cloud(4, 512, dtype)
    b = cloud(4, 512, dtype, seed=5)
    # Rounded to the element type again: opposite to within that.
    b[2] = (factor * wide(a[2])).astype(a.dtype)
    message = "a: row 2 is opposite to b: row 2.*: no arc between them is the shortest"
    with pytest.raises(cs.InvalidRowError, match=message) as caught:
        cs.slerp(a, b, 0.5)
    assert (caught.value.row, caught.value.status) == (2, "opposite")
    with pytest.raises(cs.InvalidRowError, match="a: row 0 is opposite to b: row 2"):
        cs.slerp(a[2], b, 0.5)


def test_the_mean_of_the_two_rows_lies_between_them() -> None:
    a, b = wide(cloud(2, 30, "float64"))
    mean = (a + b) / 2
    with pytest.raises(cs.InvalidRowError, match="a: row 0 is opposite to b: row 0 at alpha = 1:"):
        cs.vslerp(a, b, 0.5, [0, 0.9, 1, 1.1], mean)
    for alpha in (0.999, 1.001):
        assert np.isfinite(cs.vslerp(a, b, 0.5, alpha, mean)).all()


def test_a_row_that_vanishes_is_refused() -> None:
    a, b = cloud(3, 20, "float64"), cloud(3, 20, "float64", seed=4)
    for call in (cs.vslerp, cs.vslerp_elementwise):
        for mean in (a[1] / 1.5, a[1] / 1.5 * (1 + 1e-15)):
            message = "a: row 1 vanishes at alpha = 1.5: it is alpha times the mean"
            with pytest.raises(cs.InvalidRowError, match=message) as caught:
                call(a, b, 0.5, [0, 1.5], mean)
            assert (caught.value.row, caught.value.status) == (1, "vanishes")
            with pytest.raises(cs.InvalidRowError, match=r"b: row 0 vanishes at alpha = 1.5"):
                call(b, a[1], 0.5, 1.5, mean)


@every_dtype
@pytest.mark.parametrize(
    ("value", "problem"), [(0, "has zero norm"), (np.nan, "not finite"), (np.inf, "not finite")]
)
def test_rows_without_a_direction_are_refused(dtype: str, value: float, problem: str) -> None:
    good, bad = cloud(5, 8, dtype), cloud(5, 8, dtype)
    bad[3] = value
    for call in (cs.slerp, lambda a, b, t: cs.vslerp(a, b, t, 1, good[0])):
        with pytest.raises(cs.InvalidRowError, match=f"a: row 3 .*{problem}"):
            call(bad, good, 0.5)
        with pytest.raises(cs.InvalidRowError, match=f"b: row 3 .*{problem}"):
            call(good, bad, 0.5)
        with pytest.raises(cs.InvalidRowError, match=f"b: row 0 .*{problem}"):
            call(good, bad[3], 0.5)
    missing = pl.Series([[1.0, 2.0], None], dtype=pl.List(pl.Float64))
    with pytest.raises(cs.InvalidRowError, match="a: row 1 is missing"):
        cs.slerp(missing, [1.0, 1.0], 0.5)


def test_lengths_whose_squares_overflow_or_vanish() -> None:
    for scale in (1e-200, 1e200):
        a, b = np.array([scale, 0.0]), np.array([0.0, 2 * scale])
        assert cs.slerp(a, b, 0.5) / scale == pytest.approx([0.5**0.5, 2**0.5])


def test_shapes_that_do_not_fit() -> None:
    a, b, mean = rows(4, 6, "float32")
    with pytest.raises(cs.MismatchError, match="a has 6 features, b has 5"):
        cs.slerp(a, b[:, :5], 0.5)
    with pytest.raises(cs.ShapeError, match="a has 4 rows, b has 3; wanted as many, or one"):
        cs.slerp(a, b[:3], 0.5)
    with pytest.raises(cs.ShapeError, match=r"a: found shape \(2, 2, 6\); wanted \(d,\) or"):
        cs.slerp(a.reshape(2, 2, 6), b, 0.5)
    with pytest.raises(cs.ShapeError, match=r"b: found shape \(\); wanted \(..., d\)"):
        cs.slerp(a, np.float64(3), 0.5)
    for bad in (["x", 1.0], [[1.0, 2.0], [3.0]], [1.0, 2j], [True, False], [None]):
        with pytest.raises(cs.DTypeError, match=r"^b: found a list; wanted numbers, in rows of"):
            cs.slerp(a, bad, 0.5)
    with pytest.raises(cs.DTypeError, match="a: elements are bool"):
        cs.slerp(np.ones(6, bool), b, 0.5)
    with pytest.raises(cs.StoreError, match="nowhere"):
        cs.slerp(["nowhere.npy"], b, 0.5)
    with pytest.raises(cs.MismatchError, match="mean has 5 features, a has 6"):
        cs.vslerp(a, b, 0.5, 0, mean[:5])
    with pytest.raises(cs.ShapeError, match=r"mean: found shape \(1, 6\); wanted \(6,\)"):
        cs.vslerp(a, b, 0.5, 0, mean[None])
    with pytest.raises(ValueError, match="mean: holds a value that is not finite"):
        cs.vslerp(a, b, 0.5, 0, mean * np.nan)
    with pytest.raises(cs.MismatchError, match="mean has 3 features, a has 6"):
        cs.vslerp(a, b, 0.5, 0, cs.Ellipsoid.fit(cloud(9, 3)))


def test_the_published_behaviour_is_no_slerp() -> None:
    # Every angle is nearly a right one, so the rows hardly matter: parallel ones are stretched.
    a, b, mean = rows(3, 512, "float64")
    got = cs.vslerp_elementwise(a, a, 0.5, 0, mean)
    assert np.linalg.norm(got, axis=1) / np.linalg.norm(a, axis=1) == pytest.approx(
        2**0.5, rel=0.02
    )
    np.testing.assert_allclose(cs.vslerp(a, a, 0.5, 0, mean), a, rtol=1e-14)
    # Products are below 1 / d or so: weights are cos and sin of theta right angles to that.
    p, q = a - mean, b - mean
    product = np.abs(
        p / np.linalg.norm(p, axis=1)[:, None] * q / np.linalg.norm(q, axis=1)[:, None]
    )
    for theta in (0.2, 0.5):
        turn = theta * np.pi / 2
        plain = np.cos(turn) * p + np.sin(turn) * q + mean
        found = cs.vslerp_elementwise(a, b, theta, 1, mean)
        assert_within(found, plain, 3 * product.max() * (np.abs(p) + np.abs(q)), "right angles")
        apart = np.linalg.norm(found - cs.vslerp(a, b, theta, 1, mean), axis=1)
        assert (apart > 0.01 * np.linalg.norm(p, axis=1)).all()


def test_the_published_behaviour_along_one_feature() -> None:
    # Both along one feature: its product is 1, which has the linear limit; -1 has none.
    got = cs.vslerp_elementwise([2.0, 0.0], [4.0, 0.0], [0, 0.25, 1], 0, [1.0, 1.0])
    assert got.tolist() == [[2.0, 0.0], [2.5, 0.0], [4.0, 0.0]]
    with pytest.raises(cs.InvalidRowError, match="a: row 0 is opposite to b: row 0 at alpha = 0"):
        cs.vslerp_elementwise([2.0, 0.0], [-4.0, 0.0], 0.5, 0, [1.0, 1.0])
    # Opposite rows along several features have weights like any others.
    a = wide(cloud(1, 20, "float64")[0])
    want = oracle.vslerp_elementwise(a, -a, 0.3, 0, a)
    np.testing.assert_allclose(cs.vslerp_elementwise(a, -a, 0.3, 0, a), want, atol=1e-13)


def test_a_grid() -> None:
    x = cloud(80, 12, "float16")
    e = cs.Ellipsoid.fit(x, covariance=False)
    grid = cs.vslerp_grid(x[0], x[1], THETAS, 1.5, e, rows=x, k=2)
    np.testing.assert_array_equal(grid.vectors, cs.vslerp(x[0], x[1], THETAS, [1.5], e))
    want = cs.nearest_rows(grid.vectors, x, k=2)
    assert grid.nearest is not None
    np.testing.assert_array_equal(grid.nearest.index, want.index)
    np.testing.assert_array_equal(grid.nearest.similarity, want.similarity)
    assert grid.nearest.index.shape == (5, 1, 2)
    assert repr(grid) == "VslerpGrid(5 theta x 1 alpha, 12 features, with nearest rows)"
    said = grid.to_dict()
    assert {*said} == {"theta", "alpha", "vectors", "nearest", "simd_level", "version"}
    assert said["version"] == said["nearest"]["version"] == cs.__version__
    plain = cs.vslerp_grid(x[:3], x[3:6], 0.5, ALPHAS, e)
    assert plain.nearest is None and plain.vectors.shape == (1, 4, 3, 12)
    assert plain.to_dict()["nearest"] is None and "nearest" not in repr(plain)
    for bad in ([], [[0.5]]):
        with pytest.raises(cs.ShapeError, match=r"theta: found shape .*a number or a vector"):
            cs.vslerp_grid(x[0], x[1], bad, 0, e)
        with pytest.raises(cs.ShapeError, match=r"alpha: found shape .*a number or a vector"):
            cs.vslerp_grid(x[0], x[1], 0.5, bad, e)


def test_the_input_is_left_alone() -> None:
    a, b, mean = rows(4, 6, "float64")
    before = a.copy(), b.copy(), mean.copy()
    for call in (cs.vslerp, cs.vslerp_elementwise):
        call(a, b, THETAS, ALPHAS, mean)
    cs.slerp(a, b, THETAS)
    for x, y in zip((a, b, mean), before, strict=True):
        np.testing.assert_array_equal(x, y)
