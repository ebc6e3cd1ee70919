"""Rows without a direction: refused by name, left out and counted, or given a NaN."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import clipsoid as cs
from bounds import Bounds, assert_within
from oracle import reference
from unit.samples import BLOCK, DTYPES, LAYOUTS, cloud, snapshot

N, D = 2 * BLOCK + 300, 11
#: In the first, a middle and the last row; at the edges of blocks; in the rows that wait.
PLACES = [0, 1, 500, BLOCK - 1, BLOCK, 2 * BLOCK - 1, 2 * BLOCK, 2 * BLOCK + 150, N - 1]
#: Status, and what makes it so in one element or in all.
KINDS: dict[str, tuple[str, Any]] = {
    "nan": ("non_finite", np.nan),
    "infinity": ("non_finite", np.inf),
    "minus infinity": ("non_finite", -np.inf),
    "zeros": ("zero_norm", None),
}
every_dtype = pytest.mark.parametrize("dtype", DTYPES)
every_kind = pytest.mark.parametrize("kind", KINDS)


def spoil(x: np.ndarray, row: int, kind: str) -> str:
    """Make a row invalid; an infinity and a NaN sit where the vector body ends, or in the tail."""
    status, value = KINDS[kind]
    if value is None:
        x[row] = 0
    else:
        x[row, row % x.shape[1]] = value
    return status


@every_dtype
@every_kind
@pytest.mark.parametrize("row", PLACES)
def test_an_error_names_the_row_and_changes_nothing(row: int, kind: str, dtype: str) -> None:
    x = cloud(N, D, dtype)
    status = spoil(x, row, kind)
    for before in (0, 5, BLOCK - 30, BLOCK):
        # The row's number is that in the array, whatever was added before.
        e = cs.Ellipsoid(D)
        if before:
            e.update(cloud(before, D, dtype, seed=7))
        untouched = snapshot(e)
        with pytest.raises(cs.InvalidRowError, match=rf"^x: row {row} ") as caught:
            e.update(x)
        assert (caught.value.row, caught.value.status) == (row, status)
        assert snapshot(e) == untouched


@pytest.mark.parametrize("waiting", [0, 1, 1019, 1023])
def test_every_row_is_named_as_in_the_array_however_many_wait(waiting: int) -> None:
    # 1019 waiting leave a head of 5 rows and a tail of 5 beside one full block.
    n = BLOCK + 10
    for row in (0, 4, 5, 700, BLOCK + 4, BLOCK + 5, n - 1):
        x = cloud(n, 4)
        x[row] = np.nan
        e = cs.Ellipsoid(4)
        if waiting:
            e.update(cloud(waiting, 4, seed=1))
        with pytest.raises(cs.InvalidRowError) as caught:
            e.update(x)
        assert caught.value.row == row


@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize("waiting", [0, 1000])
def test_of_several_invalid_rows_the_first_is_named(waiting: int, n_threads: int) -> None:
    x = cloud(N, 4)
    x[[100, 1500, N - 1]] = np.nan
    e = cs.Ellipsoid(4)
    if waiting:
        e.update(cloud(waiting, 4, seed=1))
    fitted = cs.Ellipsoid.fit(cloud(50, 4))
    for refuse in (
        e.update,
        fitted.conformity,
        fitted.shell,
        fitted.calibrate,
        lambda x, **options: cs.conformity(x, method="pairwise", **options),
    ):
        with pytest.raises(cs.InvalidRowError) as caught:
            refuse(x, n_threads=n_threads)
        assert (caught.value.row, caught.value.status) == (100, "non_finite")


@every_dtype
@pytest.mark.parametrize("policy", ["skip", "null"])
def test_left_out_rows_are_counted_and_leave_no_trace(policy: str, dtype: str) -> None:
    x = cloud(N, D, dtype)
    kinds = list(KINDS) * 3
    statuses = [spoil(x, row, kinds[i]) for i, row in enumerate(PLACES)]
    clean = np.delete(x, PLACES, axis=0)
    bound, want = Bounds(clean, dtype), reference.conformity(clean)
    e = cs.Ellipsoid.fit(x, on_invalid=policy)
    counted = cs.Invalid(statuses.count("non_finite"), statuses.count("zero_norm"))
    assert (e.count, e.invalid) == (len(clean), counted)
    assert f"left out {len(PLACES)} invalid rows" in repr(e)
    assert_within(e.mean, reference.mean(clean), bound.mean, "mean")
    assert_within(e.unit_mean, reference.unit_mean(clean), bound.unit_mean, "unit mean")
    assert_within(e.std, reference.std(clean), bound.std, "std")
    assert_within(e.covariance, reference.covariance(clean), bound.covariance, "covariance")
    assert_within(e.norms.min, reference.norms(clean).min(), bound.norm, "least norm")
    shell = e.shell(x, on_invalid=policy)
    assert shell.count == len(clean)
    assert_within(shell.mean, reference.shell(clean).mean, bound.radius, "shell")

    here = np.setdiff1d(np.arange(N), PLACES)
    for method, tolerance in (("linear", bound.conformity), ("pairwise", bound.pairwise)):
        got = cs.conformity(x, method=method, on_invalid=policy)
        if policy == "null":
            assert got.shape == (N,)
            assert np.isnan(got[PLACES]).all()
            got = got[here]
        assert_within(got, want, tolerance, method)
    calibration = e.calibrate(x, on_invalid=policy)
    assert calibration.count == len(clean)


@every_kind
def test_every_row_score_follows_the_policy(kind: str) -> None:
    x = cloud(200, 6)
    e = cs.Ellipsoid.fit(x)
    e.calibrate(x)
    dirty = x.copy()
    status = spoil(dirty, 77, kind)
    for score in (e.conformity, e.cosine_to_mean, e.estimated_conformity):
        want = score(x)
        np.testing.assert_array_equal(score(dirty, on_invalid="skip"), np.delete(want, 77))
        got = score(dirty, on_invalid="null")
        assert np.isnan(got[77])
        np.testing.assert_array_equal(np.delete(got, 77), np.delete(want, 77))
        with pytest.raises(cs.InvalidRowError, match="row 77 ") as caught:
            score(dirty)
        assert caught.value.status == status


def test_an_error_in_a_record_field_of_many_rows_changes_nothing() -> None:
    # Rows at odd distances are converted some thousands at a time: one array all the same.
    x = cloud(20_000, 4)
    x[19_000] = np.nan
    e = cs.Ellipsoid.fit(cloud(30, 4, seed=1))
    untouched = snapshot(e)
    with pytest.raises(cs.InvalidRowError, match="row 19000 "):
        e.update(LAYOUTS["packed_field"](x))
    assert snapshot(e) == untouched


def test_an_error_leaves_a_calibration_valid() -> None:
    x = cloud(100, 4)
    e = cs.Ellipsoid.fit(x)
    calibration = e.calibrate(x)
    with pytest.raises(cs.InvalidRowError):
        e.update(np.zeros((1, 4)))
    with pytest.raises(cs.MismatchError, match=r"5 features.*4"):
        e.update(np.ones((3, 5)))
    assert e.calibration is calibration


def test_a_set_of_invalid_rows_only() -> None:
    x = np.zeros((5, 3))
    e = cs.Ellipsoid.fit(x, on_invalid="skip")
    assert (e.count, e.invalid.zero_norm) == (0, 5)
    for method in ("linear", "pairwise"):
        for policy in ("skip", "null"):
            with pytest.raises(cs.ShapeError, match="found 0"):
                cs.conformity(x, method=method, on_invalid=policy)
    with pytest.raises(cs.ShapeError, match="found 0"):
        cs.Ellipsoid.fit(np.ones((2, 3))).shell(x, on_invalid="skip")


def test_one_valid_row_among_invalid_ones_has_no_conformity() -> None:
    x = np.zeros((5, 3))
    x[2] = 1
    for method in ("linear", "pairwise"):
        with pytest.raises(cs.ShapeError, match="found 1"):
            cs.conformity(x, method=method, on_invalid="null")


def test_minus_zero_is_zero_and_a_subnormal_is_not() -> None:
    e = cs.Ellipsoid.fit(np.array([[-0.0, 0.0], [1.0, 1.0]]), on_invalid="skip")
    assert e.invalid.zero_norm == 1
    for dtype in ("float16", "bfloat16", "float32"):
        tiny = np.array([[0, 1e-45], [1, 1]]).astype(np.float32)
        if dtype != "float32":
            tiny = np.array([[0, 6e-8 if dtype == "float16" else 1e-40], [1, 1]])
        x = tiny.astype(DTYPES[dtype])
        assert (x[0, 1] != 0).all()
        e = cs.Ellipsoid.fit(x)
        assert (e.count, e.invalid.total) == (2, 0)
        assert_within(e.unit_mean, reference.unit_mean(x), 1e-15, "unit mean")
