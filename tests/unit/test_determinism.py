"""Threads and batches never show in a result: the same rows give the same bits."""

from __future__ import annotations

import numpy as np
import pytest

import clipsoid as cs
from bounds import Bounds, assert_within
from oracle import reference
from unit.samples import BLOCK, DTYPES, cloud, snapshot, wide

every_dtype = pytest.mark.parametrize("dtype", DTYPES)


def in_batches(x: np.ndarray, size: int, **options: object) -> cs.Ellipsoid:
    e = cs.Ellipsoid(x.shape[1], **options)
    for start in range(0, len(x), size):
        e.update(x[start : start + size])
    return e


@every_dtype
@pytest.mark.parametrize("precision", ["auto", "float64"])
def test_any_number_of_threads_gives_the_same_bits(dtype: str, precision: str) -> None:
    x = cloud(9 * BLOCK + 100, 65, dtype)
    single = cs.Ellipsoid.fit(x, precision=precision, n_threads=1)
    for n_threads in (2, 3, 16, None):
        e = cs.Ellipsoid.fit(x, precision=precision, n_threads=n_threads)
        assert snapshot(e) == snapshot(single)
        assert e.shell(x, n_threads=n_threads) == single.shell(x, n_threads=1)
        got = e.conformity(x, member=True, n_threads=n_threads)
        np.testing.assert_array_equal(got, single.conformity(x, member=True, n_threads=1))
        assert e.calibrate(x, n_threads=n_threads) == single.calibrate(x, n_threads=1)
        single = cs.Ellipsoid.fit(x, precision=precision, n_threads=1)


@every_dtype
def test_pairwise_gives_the_same_bits_on_any_number_of_threads(dtype: str) -> None:
    x = cloud(1500, 65, dtype)
    single = cs.conformity(x, method="pairwise", n_threads=1)
    for n_threads in (2, 7, None):
        got = cs.conformity(x, method="pairwise", n_threads=n_threads)
        np.testing.assert_array_equal(got, single)


@every_dtype
@pytest.mark.parametrize("size", [1, 7, 1000, BLOCK, BLOCK + 1, 2 * BLOCK])
def test_any_batch_size_gives_the_same_bits(dtype: str, size: int) -> None:
    x = cloud(2 * BLOCK + 333, 21, dtype)
    assert snapshot(in_batches(x, size)) == snapshot(cs.Ellipsoid.fit(x))


def test_ragged_batches_give_the_same_bits() -> None:
    x = cloud(5000, 12)
    for seed in range(5):
        cuts = np.sort(np.random.default_rng(seed).integers(0, 5001, 9))
        e = cs.Ellipsoid(12)
        for part in np.split(x, cuts):
            e.update(part, n_threads=1 + seed % 2)
        assert snapshot(e) == snapshot(cs.Ellipsoid.fit(x))


@every_dtype
@pytest.mark.parametrize("precision", ["auto", "float64"])
def test_merging_on_any_number_of_threads_gives_the_same_bits(dtype: str, precision: str) -> None:
    x = cloud(7 * BLOCK + 100, 65, dtype)
    parts = [cs.Ellipsoid.fit(part, precision=precision) for part in np.split(x, [900, 5 * BLOCK])]
    first, *others = parts
    single = snapshot(first.merge(*others, n_threads=1))
    for n_threads in (2, 3, None):
        assert snapshot(first.merge(*others, n_threads=n_threads)) == single


def test_looking_between_batches_changes_nothing() -> None:
    x = cloud(2500, 12)
    e = cs.Ellipsoid(12)
    for start in range(0, 2500, 300):
        e.update(x[start : start + 300])
        assert e.count == min(start + 300, 2500)
        assert_within(e.mean, wide(x[: e.count]).mean(axis=0), Bounds(x).mean, "mean")
        assert e.covariance.shape == (12, 12)
    assert snapshot(e) == snapshot(cs.Ellipsoid.fit(x))


def test_batches_with_invalid_rows_give_the_same_bits() -> None:
    x = cloud(3000, 10)
    x[::7] = 0
    x[5::11, 3] = np.inf
    whole = cs.Ellipsoid.fit(x, on_invalid="skip")
    e = cs.Ellipsoid(10)
    for start in range(0, 3000, 170):
        e.update(x[start : start + 170], on_invalid="skip")
    assert snapshot(e) == snapshot(whole)
    assert e.invalid.total > 600


@pytest.mark.parametrize("size", [1, 90, 3000])
def test_mixed_element_types_equal_the_oracle(size: int) -> None:
    parts = [cloud(700, 9, dtype, seed=i) for i, dtype in enumerate(DTYPES)]
    whole = np.concatenate([wide(part) for part in parts])
    e = cs.Ellipsoid(9)
    for part in parts:
        for start in range(0, 700, size):
            e.update(part[start : start + size])
    bound = Bounds(whole, "float16")
    assert e.dtypes == set(DTYPES)
    assert_within(e.mean, reference.mean(whole), bound.mean, "mean")
    assert_within(e.unit_mean, reference.unit_mean(whole), bound.unit_mean, "unit mean")
    assert_within(e.std, reference.std(whole), bound.std, "std")
    assert_within(e.covariance, reference.covariance(whole), bound.covariance, "covariance")
    again = cs.Ellipsoid(9)
    for part in parts:
        again.update(part)
    assert snapshot(again) == snapshot(e)


def test_scores_do_not_depend_on_the_rows_beside_them() -> None:
    x = cloud(2 * BLOCK + 9, 33)
    e = cs.Ellipsoid.fit(x)
    whole = e.conformity(x, member=True)
    for part in (slice(0, 1), slice(3, 8), slice(1021, 1030), slice(2000, None, 3)):
        np.testing.assert_array_equal(e.conformity(x[part], member=True), whole[part])


@pytest.mark.parametrize("n_threads", [1, 2])
def test_the_same_call_gives_the_same_bits_again(n_threads: int) -> None:
    x = cloud(5000, 40, "float16")
    first = snapshot(cs.Ellipsoid.fit(x, n_threads=n_threads))
    for _ in range(5):
        assert snapshot(cs.Ellipsoid.fit(x, n_threads=n_threads)) == first
