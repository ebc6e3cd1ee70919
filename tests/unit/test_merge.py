"""Merging ellipsoids: as if their rows had been fitted together."""

from __future__ import annotations

import itertools
import pickle

import numpy as np
import pytest

import clipsoid as cs
from bounds import REORDERED, Bounds, assert_within
from oracle import reference
from unit.samples import BLOCK, DTYPES, cloud, snapshot, wide


def assert_agree(got: cs.Ellipsoid, want: cs.Ellipsoid, relative: float) -> None:
    """Within `relative` of the natural size of each figure."""
    assert (got.count, got.invalid, got.dtypes) == (want.count, want.invalid, want.dtypes)
    size = np.linalg.norm(want.mean) + np.linalg.norm(want.std)
    assert_within(got.mean, want.mean, relative * size, "mean")
    assert_within(got.unit_mean, want.unit_mean, relative, "unit mean")
    assert_within(got.std, want.std, relative * size, "std")
    assert_within(got.norms.mean, want.norms.mean, relative * size, "mean norm")
    assert_within(got.norms.variance, want.norms.variance, relative * size**2, "norm variance")
    assert (got.norms.min, got.norms.max) == (want.norms.min, want.norms.max)
    if want.has_covariance:
        sigma = np.sqrt(np.diag(want.covariance))
        bound = relative * np.outer(sigma, sigma)
        assert_within(got.covariance, want.covariance, bound, "covariance")


@pytest.mark.parametrize("dtype", DTYPES)
def test_any_order_of_merging_agrees(dtype: str) -> None:
    lengths = (1, 700, BLOCK, 2 * BLOCK + 5)
    parts = [cs.Ellipsoid.fit(cloud(n, 24, dtype, seed=i, offset=i)) for i, n in enumerate(lengths)]
    want = parts[0].merge(*parts[1:])
    for order in itertools.permutations(parts):
        assert_agree(order[0].merge(*order[1:]), want, REORDERED)
    # A tree instead of a chain.
    tree = parts[0].merge(parts[1]).merge(parts[2].merge(parts[3]))
    assert_agree(tree, want, REORDERED)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("cuts", [[1], [2499], [BLOCK], [3, 7, 1500], [500, 1000, 1500, 2000]])
def test_any_split_equals_the_oracle(cuts: list[int], dtype: str) -> None:
    x = cloud(2500, 18, dtype)
    first, *rest = (cs.Ellipsoid.fit(part) for part in np.split(x, cuts))
    merged, bound = first.merge(*rest), Bounds(x, dtype)
    assert merged.count == 2500
    assert_within(merged.mean, reference.mean(x), bound.mean, "mean")
    assert_within(merged.unit_mean, reference.unit_mean(x), bound.unit_mean, "unit mean")
    assert_within(merged.std, reference.std(x), bound.std, "std")
    assert_within(merged.covariance, reference.covariance(x), bound.covariance, "covariance")
    lengths = reference.norms(x)
    assert_within(merged.norms.variance, lengths.var(), bound.norm_variance, "norm variance")
    scores = merged.conformity(x, member=True)
    assert_within(scores, reference.conformity(x), bound.conformity, "conformity")


def test_merging_leaves_both_as_they_were() -> None:
    a, b = cs.Ellipsoid.fit(cloud(1500, 6)), cs.Ellipsoid.fit(cloud(300, 6, seed=1))
    before = snapshot(a), snapshot(b)
    merged = a.merge(b)
    merged.update(cloud(50, 6, seed=2))
    assert (snapshot(a), snapshot(b)) == before
    assert merged.count == 1850


def test_an_ellipsoid_may_be_merged_with_itself() -> None:
    x = cloud(1300, 7, "float64")
    e = cs.Ellipsoid.fit(x)
    twice = np.concatenate([x, x])
    assert_within(
        e.merge(e).covariance, reference.covariance(twice), Bounds(twice).covariance, "self"
    )
    assert e.merge(e).count == 2600


def test_merging_with_nothing_changes_nothing() -> None:
    x = cloud(2000, 5)
    e, empty = cs.Ellipsoid.fit(x), cs.Ellipsoid(5)
    for merged in (e.merge(), e.merge(empty), empty.merge(e)):
        assert_agree(merged, e, REORDERED)


def test_rows_may_be_added_after_a_merge() -> None:
    a, b, c = (cloud(900, 5, "float64", seed=i) for i in range(3))
    e = cs.Ellipsoid.fit(a).merge(cs.Ellipsoid.fit(b)).update(c)
    whole = np.concatenate([a, b, c])
    assert_within(e.covariance, reference.covariance(whole), Bounds(whole).covariance, "merge")


def test_what_cannot_be_merged_is_dropped_by_name() -> None:
    x = cloud(200, 4)
    full, means = cs.Ellipsoid.fit(x), cs.Ellipsoid.fit(x, covariance=False)
    full.calibrate(x)
    for merged in (full.merge(means), means.merge(full)):
        assert set(merged.dropped) == {"calibration", "covariance"}
        assert not merged.has_covariance
        assert merged.calibration is None
        assert "calibration" in repr(merged)
        assert "covariance" in repr(merged)
        with pytest.raises(cs.UnavailableError, match="dropped by a merge"):
            _ = merged.covariance
        with pytest.raises(cs.UnavailableError, match="calibrat"):
            merged.estimated_conformity(x)
        # Named from then on, through further merges and through a pickle.
        assert set(merged.merge(means).dropped) == {"calibration", "covariance"}
        assert pickle.loads(pickle.dumps(merged)).dropped == merged.dropped
    assert means.merge(means).dropped == ()
    assert full.calibration is not None


def test_invalid_rows_add_up() -> None:
    x = cloud(100, 4)
    x[3], x[10, 2], x[50, 0] = 0, np.nan, -np.inf
    e = cs.Ellipsoid.fit(x, on_invalid="skip")
    assert e.merge(e, e).invalid == cs.Invalid(non_finite=6, zero_norm=3)
    assert e.merge(e, e).count == 291


def test_what_differs_cannot_be_merged() -> None:
    x = cloud(50, 4)
    e = cs.Ellipsoid.fit(x, encoder="ViT-B/32", temperature=0.01)
    with pytest.raises(cs.MismatchError, match="4 and 5"):
        e.merge(cs.Ellipsoid.fit(cloud(50, 5)))
    with pytest.raises(cs.MismatchError, match=r"ViT-B/32.*ViT-L/14"):
        e.merge(cs.Ellipsoid.fit(x, encoder="ViT-L/14"))
    with pytest.raises(cs.MismatchError, match=r"0\.01.*0\.07"):
        e.merge(cs.Ellipsoid.fit(x, encoder="ViT-B/32", temperature=0.07))
    same = e.merge(cs.Ellipsoid.fit(x, encoder="ViT-B/32", temperature=0.01))
    assert (same.encoder, same.temperature) == ("ViT-B/32", 0.01)
    # What is not known cannot vouch for the other.
    assert e.merge(cs.Ellipsoid.fit(x)).encoder is None


def test_merging_takes_one_thread_or_more() -> None:
    e = cs.Ellipsoid.fit(cloud(50, 4))
    with pytest.raises(ValueError, match="n_threads=0"):
        e.merge(e, n_threads=0)


def test_element_types_are_united() -> None:
    parts = [cloud(20, 4, dtype) for dtype in DTYPES]
    first, *rest = (cs.Ellipsoid.fit(part) for part in parts)
    merged = first.merge(*rest)
    assert merged.dtypes == set(DTYPES)
    whole = np.concatenate([wide(part) for part in parts])
    assert_within(merged.mean, whole.mean(axis=0), Bounds(whole).mean, "mean")
