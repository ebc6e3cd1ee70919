"""Rows of extreme magnitude: a right number, or none; never a wrong one."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import clipsoid as cs
from bounds import Bounds, assert_within
from oracle import reference
from unit.samples import cloud, wide

#: Squares of these overflow or underflow float64; their directions do not.
MAGNITUDES = [1e-300, 1e-200, 1e-160, 1e160, 1e200, 1e300]


def power_of_two_near(magnitude: float) -> float:
    return 2.0 ** np.round(np.log2(magnitude))


@pytest.mark.parametrize("magnitude", MAGNITUDES)
def test_directions_of_extreme_float64_rows_are_exact(magnitude: float) -> None:
    x = cloud(300, 19, "float64")
    scaled, bound = x * power_of_two_near(magnitude), Bounds(x)
    want = reference.conformity(x)
    assert_within(cs.conformity(scaled), want, bound.conformity, "linear")
    assert_within(cs.conformity(scaled, method="pairwise"), want, bound.pairwise, "pairwise")
    e = cs.Ellipsoid.fit(scaled)
    assert_within(e.unit_mean, reference.unit_mean(x), bound.unit_mean, "unit mean")
    cosine = reference.cosine_to_mean(x, reference.mean(x))
    assert_within(e.cosine_to_mean(scaled), cosine, bound.cosine_to_mean, "cosine to the mean")
    assert e.invalid.total == 0


@pytest.mark.parametrize("magnitude", MAGNITUDES)
def test_lengths_of_extreme_float64_rows_are_exact(magnitude: float) -> None:
    x, factor = cloud(300, 19, "float64"), power_of_two_near(magnitude)
    e, bound, lengths = cs.Ellipsoid.fit(x * factor), Bounds(x), reference.norms(x)
    assert_within(e.mean / factor, reference.mean(x), bound.mean, "mean")
    assert_within(e.norms.mean / factor, lengths.mean(), bound.norm, "mean norm")
    assert_within(e.norms.min / factor, lengths.min(), bound.norm, "least norm")
    assert_within(e.norms.max / factor, lengths.max(), bound.norm, "greatest norm")


def test_extreme_rows_among_plain_ones() -> None:
    # Cosines know no magnitude: each row counts the same.
    x = cloud(2500, 12, "float64")
    scale = np.ones((2500, 1))
    scale[::97] = power_of_two_near(1e250)
    scale[5::89] = power_of_two_near(1e-250)
    want, bound = reference.conformity(x), Bounds(x)
    assert_within(cs.conformity(x * scale), want, bound.conformity, "linear")
    pairwise = cs.conformity(x * scale, method="pairwise")
    assert_within(pairwise, want, bound.pairwise, "pairwise")


#: Figures of the second order, with the power of the scale that each carries.
SECOND_ORDER: dict[str, tuple[int, Callable[..., object], Callable[..., object]]] = {
    "std": (1, lambda e, _: e.std, reference.std),
    "covariance": (2, lambda e, _: e.covariance, reference.covariance),
    "center_ratio": (0, lambda e, _: e.center_ratio, reference.center_ratio),
    "norm_variance": (2, lambda e, _: e.norms.variance, lambda x: reference.norms(x).var()),
    "shell_mean": (1, lambda e, x: e.shell(x).mean, lambda x: reference.shell(x).mean),
    "dominance": (0, lambda e, _: e.off_diagonal_dominance, reference.off_diagonal_dominance),
}


@pytest.mark.parametrize("magnitude", MAGNITUDES)
@pytest.mark.parametrize("figure", SECOND_ORDER)
def test_second_moments_are_right_or_refused(figure: str, magnitude: float) -> None:
    # Where a square leaves the range of float64 there may be no number; there must be no wrong one.
    # An infinite centre ratio is a number: it says that nothing varies.
    power, get, want_of = SECOND_ORDER[figure]
    x, factor = cloud(100, 5, "float64"), power_of_two_near(magnitude)
    want = np.asarray(want_of(x))
    try:
        got = np.asarray(get(cs.Ellipsoid.fit(x * factor), x * factor))
    except cs.ClipsoidError:
        return
    with np.errstate(over="ignore", under="ignore"):
        want = want * factor**power if power < 2 else want * factor * factor
    no_number = np.isnan(got) if figure == "center_ratio" else ~np.isfinite(got)
    right = np.isclose(got, want, rtol=1e-9, atol=0) | no_number
    assert right.all(), f"got {got}, wanted {want}, no number or an error"


@pytest.mark.parametrize("magnitude", [1e-40, 1e-30, 1e-25, 1e19, 1e25, 1e30, 1e37])
def test_extreme_float32_rows_are_plain_float64_ones(magnitude: float) -> None:
    # Their squares overflow or underflow float32, never float64.
    x = (cloud(400, 16, "float64") * magnitude).astype(np.float32)
    e, bound, rows = cs.Ellipsoid.fit(x), Bounds(x), wide(x)
    assert e.invalid.total == 0
    assert_within(e.mean, reference.mean(rows), bound.mean, "mean")
    assert_within(e.std, reference.std(rows), bound.std, "std")
    assert_within(e.center_ratio, reference.center_ratio(rows), bound.center_ratio, "ratio")
    want = reference.conformity(rows)
    assert_within(cs.conformity(x), want, bound.conformity, "linear")
    pairwise = cs.conformity(x, method="pairwise")
    assert_within(pairwise, want, Bounds(x, "float32").pairwise, "pairwise")
    assert_within(e.shell(x).mean, reference.shell(rows).mean, bound.radius, "shell")


@pytest.mark.parametrize("magnitude", [1e-40, 1e-25, 1e15, 1e25, 1e37])
def test_covariance_of_extreme_float32_rows_is_right_or_refused(magnitude: float) -> None:
    x = (cloud(400, 16, "float64") * magnitude).astype(np.float32)
    want, bound = reference.covariance(x), Bounds(x, "float32").covariance
    exact = cs.Ellipsoid.fit(x, precision="float64").covariance
    assert_within(exact, want, Bounds(x).covariance, "float64 products")
    try:
        single = cs.Ellipsoid.fit(x).covariance
    except cs.ClipsoidError:
        return
    single = np.where(np.isfinite(single), single, want)
    assert_within(single, want, bound, "float32 products")


def test_the_largest_float16_rows() -> None:
    x = (cloud(500, 32, "float64") * 10_000).clip(-65504, 65504).astype(np.float16)
    x[7] = 65504
    bound = Bounds(x, "float16")
    e = cs.Ellipsoid.fit(x)
    assert_within(e.covariance, reference.covariance(x), bound.covariance, "covariance")
    assert_within(cs.conformity(x), reference.conformity(x), bound.conformity, "conformity")


def test_a_row_whose_norm_overflows_is_not_finite() -> None:
    x = np.full((3, 4), 1e308)
    x[1:] = 1
    e = cs.Ellipsoid.fit(x, on_invalid="skip")
    assert e.invalid == cs.Invalid(non_finite=1)
