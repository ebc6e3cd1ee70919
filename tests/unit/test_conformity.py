"""Conformity: linear and pairwise against the definition; ties; calibration; estimates."""

from __future__ import annotations

import numpy as np
import pytest

import clipsoid as cs
from bounds import Bounds, assert_within
from oracle import reference
from unit.samples import BLOCK, DTYPES, cloud, wide

#: Tiles of the pairwise kernel are 256 rows wide; the register tiles are 4 to 32.
SHAPES = [
    *[(n, 9) for n in (2, 3, 4, 5, 15, 16, 17, 255, 256, 257, 511, 513)],
    *[(n, 33) for n in (BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK, 2 * BLOCK + 1)],
    *[(37, d) for d in (1, 2, 3, 7, 8, 9, 16, 17, 31, 33, 64, 100, 512, 768)],
    (600, 512),
]
every_dtype = pytest.mark.parametrize("dtype", DTYPES)
every_shape = pytest.mark.parametrize(("n", "d"), SHAPES, ids=lambda v: str(v))


@every_dtype
@every_shape
def test_linear_and_pairwise_equal_the_definition(n: int, d: int, dtype: str) -> None:
    x = cloud(n, d, dtype)
    want, bound = reference.conformity(x), Bounds(x, dtype)
    linear = cs.conformity(x)
    assert_within(linear, want, bound.conformity, "linear")
    assert_within(cs.conformity(x, method="pairwise"), want, bound.pairwise, "pairwise")
    fitted = cs.Ellipsoid.fit(x, covariance=False).conformity(x, member=True)
    np.testing.assert_array_equal(fitted, linear)


@every_dtype
@every_shape
def test_cosine_to_mean_equals_the_oracle(n: int, d: int, dtype: str) -> None:
    x = cloud(n, d, dtype)
    got = cs.Ellipsoid.fit(x, covariance=False).cosine_to_mean(x)
    want = reference.cosine_to_mean(x, reference.mean(x))
    assert_within(got, want, Bounds(x).cosine_to_mean, "cosine to the mean")


@every_dtype
def test_outsiders_equal_the_definition(dtype: str) -> None:
    x, other = cloud(700, 33, dtype), cloud(90, 33, dtype, seed=9)
    got = cs.Ellipsoid.fit(x).conformity(other)
    want = reference.conformity_of_outsiders(other, x)
    assert_within(got, want, Bounds(x).conformity, "conformity of outsiders")


def test_a_member_scored_as_an_outsider_counts_itself() -> None:
    x = cloud(10, 5, "float64")
    e = cs.Ellipsoid.fit(x)
    inside, outside = e.conformity(x, member=True), e.conformity(x)
    assert_within(outside, (9 * inside + 1) / 10, Bounds(x).conformity, "outsiders")
    assert (outside > inside).all()


@every_dtype
def test_rows_of_another_element_type_are_scored_as_they_are(dtype: str) -> None:
    x, other = cloud(300, 16, "float64"), cloud(50, 16, dtype, seed=2)
    got = cs.Ellipsoid.fit(x).conformity(other)
    want = reference.conformity_of_outsiders(other, x)
    assert_within(got, want, Bounds(x).conformity, "conformity")


@pytest.mark.parametrize("method", ["linear", "pairwise"])
@pytest.mark.parametrize("d", [1, 7, 64, 100])
@every_dtype
def test_identical_rows_tie_exactly(dtype: str, d: int, method: str) -> None:
    # Far apart, on both sides of every edge of block and tile, at odd and even places.
    n = 2 * BLOCK + 77
    x = cloud(n, d, dtype)
    same = np.array([0, 1, 6, 255, 256, 515, BLOCK - 1, BLOCK, 2 * BLOCK - 1, 2 * BLOCK, n - 1])
    x[same] = x[3]
    got = cs.conformity(x, method=method)
    assert set(got[same]) == {got[3]}
    # And in another order of the same rows they still do.
    shuffled = np.random.default_rng(1).permutation(n)
    place = np.argsort(shuffled)
    again = cs.conformity(x[shuffled], method=method)
    assert len(set(again[place[same]])) == 1


@every_dtype
def test_calibration_equals_the_oracle(dtype: str) -> None:
    x = cloud(500, 48, dtype)
    e = cs.Ellipsoid.fit(x)
    got, want, bound = e.calibrate(x), reference.regression(x), Bounds(x)
    scores = reference.cosine_to_mean(x, reference.mean(x)), reference.conformity(x)
    assert (got.count, got.member) == (500, True)
    assert_within(got.slope, want.slope, bound.slope(*scores), "slope")
    assert_within(got.intercept, want.intercept, bound.intercept(*scores), "intercept")
    slope = bound.slope(*scores, inverse=True)
    assert_within(got.inverse_slope, want.inverse_slope, slope, "inverse slope")
    intercept = bound.intercept(*scores, inverse=True)
    assert_within(got.inverse_intercept, want.inverse_intercept, intercept, "inverse intercept")
    assert_within(got.pearson, want.pearson, bound.pearson(*scores), "pearson")


def test_estimated_conformity_is_the_line_applied_to_the_cosine() -> None:
    x, other = cloud(400, 32), cloud(60, 32, seed=4)
    e = cs.Ellipsoid.fit(x)
    calibration = e.calibrate(x)
    want = reference.regression(x)
    cosine = reference.cosine_to_mean(other, reference.mean(x))
    scores = reference.cosine_to_mean(x, reference.mean(x)), reference.conformity(x)
    bound = Bounds(x)
    tolerance = bound.slope(*scores) + bound.intercept(*scores)
    line = want.slope * cosine + want.intercept
    assert_within(e.estimated_conformity(other), line, tolerance, "estimate")
    got = cs.conformity(x, method="estimated", calibration=calibration)
    np.testing.assert_array_equal(got, e.estimated_conformity(x))


def test_a_calibration_of_outsiders_is_another_line() -> None:
    x = cloud(50, 8, "float64")
    e = cs.Ellipsoid.fit(x)
    cosine = reference.cosine_to_mean(x, reference.mean(x))
    slope, intercept = reference.line(cosine, reference.conformity_of_outsiders(x, x))
    got = e.calibrate(x, member=False)
    bound = Bounds(x)
    assert not got.member
    assert_within(got.slope, slope, bound.slope(cosine, reference.conformity(x)), "slope")
    error = bound.intercept(cosine, reference.conformity(x))
    assert_within(got.intercept, intercept, error, "intercept")


def test_on_unit_rows_the_slope_is_the_length_of_the_mean() -> None:
    # c = (N s.u - 1) / (N - 1) and cos(s, u) = s.u / |s|: the points lie on a line exactly.
    u = reference.unit_rows(cloud(300, 24, "float64"))
    n, got = 300, cs.Ellipsoid.fit(u).calibrate(u)
    scores = reference.cosine_to_mean(u, reference.mean(u)), reference.conformity(u)
    bound = Bounds(u)
    length = np.linalg.norm(reference.mean(u))
    assert_within(got.slope, n / (n - 1) * length, bound.slope(*scores), "slope")
    assert_within(got.intercept, -1 / (n - 1), bound.intercept(*scores), "intercept")
    assert_within(got.pearson, 1.0, bound.pearson(*scores), "pearson")


def test_a_set_without_spread_has_no_calibration() -> None:
    e = cs.Ellipsoid.fit(np.ones((5, 3)))
    with pytest.raises(cs.UnavailableError, match="does not vary"):
        e.calibrate(np.ones((5, 3)))
    assert e.calibration is None


@pytest.mark.parametrize("method", ["linear", "pairwise"])
def test_opposite_and_equal_vectors(method: str) -> None:
    v = np.array([0.3, -1.2, 2.0])
    pair = cs.conformity(np.stack([v, -5 * v]), method=method)
    assert_within(pair, [-1, -1], 1e-15, "opposite")
    equal = cs.conformity(np.stack([v, 2 * v, 7 * v]), method=method)
    assert_within(equal, [1, 1, 1], 1e-15, "equal")
    balanced = cs.conformity(np.concatenate([np.eye(3), -np.eye(3)]), method=method)
    assert_within(balanced, np.full(6, -1 / 5), 1e-15, "balanced")


def test_without_a_mean_there_is_no_cosine_to_it() -> None:
    x = np.concatenate([np.eye(3), -np.eye(3)])
    e = cs.Ellipsoid.fit(x)
    np.testing.assert_array_equal(e.mean, 0)
    assert np.isnan(e.cosine_to_mean(x)).all()
    assert_within(e.conformity(x), np.zeros(6), 1e-15, "conformity")
    assert e.center_ratio == 0


def test_conformity_never_leaves_its_range() -> None:
    # Rounding must not push a set of equal directions above 1 or opposite ones below -1.
    rng = np.random.default_rng(8)
    lengths = rng.uniform(0.1, 10, (500, 1))
    for v in rng.standard_normal((20, 1, 11)):
        for method in ("linear", "pairwise"):
            assert cs.conformity(lengths * v, method=method).max() <= 1
            assert cs.conformity(np.concatenate([v, -v]), method=method).min() >= -1
        assert cs.Ellipsoid.fit(lengths * v).cosine_to_mean(lengths * v).max() <= 1


def test_scores_of_float16_are_as_many_as_its_rows() -> None:
    # Accumulated in half precision, 5,000 rows have some 600 distinct scores.
    x = cloud(5000, 64, "float16")
    assert len(np.unique(cs.conformity(x))) == 5000
    assert len(np.unique(cs.conformity(x, method="pairwise"))) > 4900
    assert_within(wide(cs.conformity(x)).mean(), cs.Ellipsoid.fit(x).mean_conformity, 1e-12, "")
