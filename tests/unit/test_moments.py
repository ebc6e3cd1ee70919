"""The statistics of an ellipsoid against the oracle, over element types and shapes."""

from __future__ import annotations

import numpy as np
import pytest

import clipsoid as cs
from bounds import Bounds, assert_within
from oracle import reference
from unit.samples import BLOCK, DTYPES, cloud, wide

#: The edges of blocks and of the carry, and the tails of every vector width.
SHAPES = [
    *[(n, 9) for n in (2, 3, 4, 5, 7, 8, BLOCK - 1, BLOCK, BLOCK + 1)],
    *[(n, 33) for n in (2, 2 * BLOCK, 2 * BLOCK + 1, 2 * BLOCK + 52)],
    *[(37, d) for d in (1, 2, 3, 7, 8, 9, 16, 17, 31, 33, 64, 100, 512, 768)],
    (2 * BLOCK + 1, 100),
    (BLOCK + 1, 768),
]
every_dtype = pytest.mark.parametrize("dtype", DTYPES)
every_shape = pytest.mark.parametrize(("n", "d"), SHAPES, ids=lambda v: str(v))


@every_dtype
@every_shape
def test_moments_equal_the_oracle(n: int, d: int, dtype: str) -> None:
    x = cloud(n, d, dtype)
    e = cs.Ellipsoid.fit(x, covariance=False)
    bound, rows = Bounds(x), wide(x)
    assert (e.count, e.dim, e.invalid.total, e.dtypes) == (n, d, 0, {dtype})
    assert_within(e.mean, reference.mean(rows), bound.mean, "mean")
    assert_within(e.unit_mean, reference.unit_mean(rows), bound.unit_mean, "unit mean")
    assert_within(e.std, reference.std(rows), bound.std, "std")
    assert_within(e.center_ratio, reference.center_ratio(rows), bound.center_ratio, "centre ratio")
    lengths, norms = reference.norms(rows), e.norms
    assert_within(norms.mean, lengths.mean(), bound.norm, "mean norm")
    assert_within(norms.min, lengths.min(), bound.norm, "least norm")
    assert_within(norms.max, lengths.max(), bound.norm, "greatest norm")
    assert_within(norms.variance, lengths.var(), bound.norm_variance, "variance of the norms")
    mean_conformity = reference.mean_conformity(rows)
    assert_within(e.mean_conformity, mean_conformity, bound.conformity, "mean conformity")


@every_dtype
@every_shape
def test_the_shell_equals_the_oracle(n: int, d: int, dtype: str) -> None:
    x = cloud(n, d, dtype)
    got = cs.Ellipsoid.fit(x, covariance=False).shell(x)
    want, bound = reference.shell(x), Bounds(x)
    assert got.count == n
    for name in ("mean", "rms", "min", "max"):
        assert_within(getattr(got, name), getattr(want, name), bound.radius, name)
    assert_within(got.variance, want.variance, bound.shell_variance, "variance of the shell")
    error = bound.shell_relative_error
    assert_within(got.relative_error, want.relative_error, error, "relative error of the mean")


def test_the_shell_of_other_rows_is_measured_from_the_fitted_mean() -> None:
    x, other = cloud(300, 17), cloud(90, 17, seed=5)
    got = cs.Ellipsoid.fit(x).shell(other)
    r = reference.norms(wide(other) - reference.mean(x))
    bound = Bounds(np.concatenate([wide(x), wide(other)])).radius
    assert got.count == 90
    assert_within([got.mean, got.min, got.max], [r.mean(), r.min(), r.max()], bound, "shell")


def test_the_rms_radius_of_the_fitted_rows_is_the_length_of_sigma() -> None:
    x = cloud(500, 40, "float64")
    e = cs.Ellipsoid.fit(x)
    bound = Bounds(x)
    assert_within(e.shell(x).rms, np.linalg.norm(e.std), 2 * bound.radius, "rms radius")


@every_dtype
@pytest.mark.parametrize(("n", "d"), [(2, 3), (60, 2), (500, 33), (BLOCK + 300, 100)])
def test_tilt_equals_the_oracle(n: int, d: int, dtype: str) -> None:
    x = cloud(n, d, dtype)
    e, bound, rows = cs.Ellipsoid.fit(x), Bounds(x, dtype), wide(x)
    odd, null = (
        reference.off_diagonal_dominance(rows),
        reference.off_diagonal_dominance_null(rows),
    )
    assert_within(e.off_diagonal_dominance, odd, bound.dominance(odd), "dominance")
    got = e.off_diagonal_dominance_null
    assert_within(got, null, bound.dominance_null(null), "dominance of untilted features")


def test_a_large_common_offset_costs_no_digits() -> None:
    rng = np.random.default_rng(0)
    x = 1e6 + rng.standard_normal((3000, 20))
    e, bound = cs.Ellipsoid.fit(x), Bounds(x)
    # The rows themselves are known to 1e6 * 2^-53 only; the textbook formula errs by 1e12 * 2^-53.
    assert_within(e.std, reference.std(x), bound.std, "std")
    assert bound.std.max() < 1e-5
    assert_within(e.covariance, reference.covariance(x), bound.covariance, "covariance")
    assert np.abs(e.std / reference.std(x) - 1).max() < 1e-9


@pytest.mark.parametrize("scale", [0.9995, 1.0, 1.0005])
def test_normalised_rows_are_recognised(scale: float) -> None:
    x = reference.unit_rows(cloud(200, 16)) * scale
    assert cs.Ellipsoid.fit(x.astype(np.float16)).is_normalized
    assert cs.Ellipsoid.fit(x).is_normalized


def test_one_row_off_the_sphere_makes_a_set_raw() -> None:
    x = reference.unit_rows(cloud(200, 16))
    for factor in (0.98, 1.02):
        rows = x.copy()
        rows[123] *= factor
        assert not cs.Ellipsoid.fit(rows).is_normalized


def test_properties_are_copies() -> None:
    e = cs.Ellipsoid.fit(cloud(50, 4))
    for name in ("mean", "unit_mean", "std", "covariance"):
        before = getattr(e, name).copy()
        getattr(e, name)[:] = 0
        np.testing.assert_array_equal(getattr(e, name), before)


def test_an_ellipsoid_of_nothing_says_so() -> None:
    e = cs.Ellipsoid(3)
    assert (e.count, e.dim) == (0, 3)
    for name in ("mean", "unit_mean", "std", "norms", "center_ratio", "covariance"):
        with pytest.raises(cs.ShapeError, match="valid row"):
            getattr(e, name)
    with pytest.raises(cs.ShapeError, match="found 0"):
        e.conformity(np.ones((2, 3)))


def test_a_single_row_has_a_mean_but_no_covariance_nor_conformity() -> None:
    x = np.array([[3.0, 4.0]])
    e = cs.Ellipsoid.fit(x)
    np.testing.assert_array_equal(e.mean, [3, 4])
    np.testing.assert_allclose(e.unit_mean, [0.6, 0.8], rtol=1e-15)
    np.testing.assert_array_equal(e.std, [0, 0])
    for name in ("covariance", "mean_conformity", "off_diagonal_dominance"):
        with pytest.raises(cs.ShapeError, match="found 1 valid row, wanted 2 or more"):
            getattr(e, name)
    with pytest.raises(cs.ShapeError, match="found 1 valid row, wanted 2 or more"):
        e.conformity(x, member=True)
    np.testing.assert_allclose(e.conformity(x), [1.0], rtol=1e-15)
    for method in ("linear", "pairwise"):
        with pytest.raises(cs.ShapeError, match=r"found 1 valid rows?, wanted 2 or more"):
            cs.conformity(x, method=method)
