"""Covariances that lack directions, options that do not go together, and rows that do not fit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import clipsoid as cs
from bounds import UNIT, assert_within
from oracle import whitening as oracle
from unit.samples import DTYPES, cloud, wide

every_dtype = pytest.mark.parametrize("dtype", DTYPES)


def fitted(x: Any, **options: Any) -> cs.Whitening:
    return cs.Whitening.from_ellipsoid(cs.Ellipsoid.fit(x), **options)


def dependent(n: int, d: int, rank: int, dtype: str) -> np.ndarray:
    """Rows in few directions: small whole numbers, so that no element type rounds them."""
    rng = np.random.default_rng([n, d, rank])
    factors = rng.integers(-2, 3, (n, rank)) @ rng.integers(-1, 2, (rank, d))
    return (factors + 3).astype(DTYPES[dtype])


@every_dtype
@pytest.mark.parametrize("kind", ["zca", "pca"])
@pytest.mark.parametrize(("n", "d", "rank"), [(200, 30, 7), (1500, 65, 20), (3000, 257, 3)])
def test_dependent_features_are_dropped(n: int, d: int, rank: int, dtype: str, kind: str) -> None:
    x = dependent(n, d, rank, dtype)
    w = fitted(x, kind=kind)
    assert (w.rank, w.dropped) == (rank, d - rank)
    assert f"dropped {d - rank}" in repr(w)
    z = w.transform(x)
    assert z.shape == (n, rank if kind == "pca" else d)
    # Nothing is lost: the rows lie in the directions that are kept.
    close = 1e-10 if dtype == "float64" else 1e-4
    np.testing.assert_allclose(w.inverse(z), wide(x), atol=close * np.abs(wide(x)).max())
    want = np.eye(rank) if kind == "pca" else w.axes @ w.axes.T
    np.testing.assert_allclose(oracle.covariance(z), want, atol=close)


@every_dtype
def test_fewer_rows_than_features(dtype: str) -> None:
    x = cloud(20, 60, dtype)
    w = fitted(x, kind="pca")
    assert w.rank == 19
    # Every row is as far out as any other where rows span all the directions there are.
    want = 19 * 19 / 20
    found = (wide(w.transform(x)) ** 2).sum(axis=1)
    np.testing.assert_allclose(found, want, rtol=1e-8 if dtype == "float64" else 1e-3)
    np.testing.assert_allclose(
        w.inverse(w.transform(x)), wide(x), rtol=0, atol=1e-3 if dtype != "float64" else 1e-10
    )


@every_dtype
def test_constant_features(dtype: str) -> None:
    x = cloud(300, 12, dtype)
    x[:, 3], x[:, 7] = 0.5, 0
    w = fitted(x)
    assert w.rank == 10
    z = w.transform(x)
    assert np.abs(z[:, [3, 7]]).max() < 1e-5
    some = np.delete(np.arange(12), [3, 7])
    np.testing.assert_allclose(
        oracle.covariance(z[:, some]), np.eye(10), atol=1e-8 if dtype == "float64" else 1e-3
    )
    np.testing.assert_allclose(w.inverse(z)[:, 3], 0.5, atol=1e-6)


def test_the_inverse_of_a_kept_rank_is_the_projection() -> None:
    x = cloud(200, 20, "float64")
    axes, variances = oracle.axes_and_variances(x)
    axes = axes[:, :6]
    center = x.mean(axis=0)
    want = center + (x - center) @ axes @ axes.T
    for kind in ("zca", "pca"):
        w = fitted(x, rank=6, kind=kind)
        np.testing.assert_allclose(w.inverse(w.transform(x)), want, atol=1e-10)
        assert_within(w.variances, variances[:6], 1e-12 * variances[0], "variances")


def test_small_eigenvalues_that_are_real_are_kept() -> None:
    # A narrow feature is no noise, whatever its scale: products are relative to the features.
    x = cloud(3000, 8, "float64")
    x[:, 5] *= 1e-5
    narrow = fitted(x.astype(np.float32))
    assert narrow.rank == 8
    # But two features that differ by less than float32 products can tell are one direction.
    rng = np.random.default_rng(5)
    x[:, 5] = x[:, 4] * (1 + 1e-5 * rng.standard_normal(3000))
    assert fitted(x).rank == 8
    assert fitted(x.astype(np.float32)).rank == 7
    precise = cs.Ellipsoid.fit(x.astype(np.float32), precision="float64")
    assert cs.Whitening.from_ellipsoid(precise).rank == 8


def test_cholesky_needs_every_direction() -> None:
    x = dependent(200, 30, 7, "float32")
    with pytest.raises(
        cs.UnavailableError, match=r"7 of 30 .* give floor= or shrinkage="
    ) as caught:
        fitted(x, kind="cholesky")
    assert 'precision="float64"' in str(caught.value)
    with pytest.raises(cs.UnavailableError, match="needs every direction"):
        fitted(cloud(200, 30), kind="cholesky", rank=8)
    for options in ({"floor": 1e-3}, {"shrinkage": 0.1}):
        w = fitted(x, kind="cholesky", **options)
        assert w.rank == 30
        back = w.inverse(w.transform(x))
        np.testing.assert_allclose(back, wide(x), atol=1e-3)


def test_options_that_cannot_be() -> None:
    e = cs.Ellipsoid.fit(cloud(100, 10, "float64"))
    refused: list[tuple[dict[str, Any], str]] = [
        ({"kind": "svd"}, "kind='svd'; wanted 'zca', 'pca' or 'cholesky'"),
        ({"floor": 0.0}, "floor=0.0; wanted a number above 0, up to 1"),
        ({"floor": 1.5}, "floor=1.5"),
        ({"floor": np.nan}, "floor=nan"),
        ({"floor": True}, "floor=True"),
        ({"shrinkage": -0.1}, "shrinkage=-0.1; wanted a number from 0 to 1, or 'ledoit-wolf'"),
        ({"shrinkage": "oas"}, "shrinkage='oas'"),
        ({"rank": 0}, "rank=0; wanted an integer from 1 to 10"),
        ({"rank": 11}, "rank=11"),
        ({"rank": 2.0}, "rank=2.0"),
        ({"floor": 0.1, "rank": 3}, "floor=0.1 and rank=3; wanted one of"),
        ({"shrinkage": 0.1, "floor": 0.1}, "floor=0.1 and shrinkage=0.1"),
        ({"shrinkage": "ledoit-wolf"}, "rows= and shrinkage='ledoit-wolf' go together"),
        ({"rows": cloud(100, 10)}, "rows= and shrinkage='ledoit-wolf' go together"),
        ({"n_threads": 0}, "n_threads=0"),
    ]
    for options, message in refused:
        with pytest.raises(ValueError, match=message):
            cs.Whitening.from_ellipsoid(e, **options)


def test_a_floor_below_what_rounding_leaves() -> None:
    x = dependent(200, 30, 7, "float64")
    with pytest.raises(ValueError, match=r"floor=1e-16: 23 of 30 .* wanted more than 6.7e-15"):
        fitted(x, floor=1e-16)
    assert fitted(x, floor=1e-14).floored == 23
    with pytest.raises(ValueError, match=r"23 of 30 eigenvalues would still be too small"):
        fitted(x.astype(np.float32), floor=1e-9)
    with pytest.raises(cs.UnavailableError, match=r"rank=9: 7 of 30 eigenvalues"):
        fitted(x, rank=9)


def test_ellipsoids_that_cannot_be_whitened() -> None:
    x = cloud(10, 4)
    with pytest.raises(cs.UnavailableError, match="no covariance"):
        cs.Whitening.from_ellipsoid(cs.Ellipsoid.fit(x, covariance=False))
    with pytest.raises(cs.ShapeError, match="1 valid row, wanted 2"):
        fitted(x[:1])
    with pytest.raises(cs.UnavailableError, match="rows of the ellipsoid do not vary"):
        fitted(np.repeat(x[:1], 9, axis=0))
    with pytest.raises(TypeError, match="e: found ndarray; wanted an Ellipsoid"):
        cs.Whitening.from_ellipsoid(x)  # type: ignore[arg-type]


def test_rows_that_do_not_fit() -> None:
    x = cloud(50, 6)
    w = fitted(x, kind="pca", rank=4)
    for method in (w.transform, w.log_likelihood, w.normality):
        with pytest.raises(cs.MismatchError, match="x: the rows have 5 features, the whitening"):
            method(x[:, :5])
        with pytest.raises(cs.DTypeError, match="x: elements are int64"):
            method(np.ones((3, 6), np.int64))
        with pytest.raises(ValueError, match="n_threads=-1"):
            method(x, n_threads=-1)
        with pytest.raises(ValueError, match="on_invalid='drop'"):
            method(x, on_invalid="drop")
    for method in (w.transform, w.log_likelihood):
        with pytest.raises(ValueError, match="precision='half'; wanted 'auto' or 'float64'"):
            method(x, precision="half")
    with pytest.raises(cs.MismatchError, match="z: the rows have 6 features, what the whitening"):
        w.inverse(x)


@every_dtype
def test_invalid_rows(dtype: str) -> None:
    x = cloud(600, 9, dtype)
    w = fitted(x)
    bad = x.copy()
    bad[4, 2], bad[500] = np.nan, 0
    keep = np.delete(np.arange(600), [4, 500])
    for compute in (w.transform, w.log_likelihood):
        with pytest.raises(cs.InvalidRowError, match="x: row 4 holds a value that is not finite"):
            compute(bad)
        with pytest.raises(cs.InvalidRowError, match="x: row 495 has zero norm"):
            compute(bad[5:])
        null, skipped = compute(bad, on_invalid="null"), compute(bad, on_invalid="skip")
        assert np.isnan(null[[4, 500]]).all()
        np.testing.assert_array_equal(null[keep], compute(x)[keep])
        np.testing.assert_array_equal(skipped, null[keep])
    # Zeros are the centre of what is whitened, not a row that failed.
    np.testing.assert_allclose(w.inverse(np.zeros((1, 9)))[0], w.mean, rtol=4 * UNIT)
    with pytest.raises(cs.InvalidRowError, match="z: row 1 holds"):
        w.inverse(np.array([[0.0] * 9, [np.inf] * 9]))


def test_missing_rows_of_a_column() -> None:
    import pyarrow as pa

    x = cloud(5, 3)
    column = pa.array([*x[:2].tolist(), None, *x[2:].tolist()], pa.list_(pa.float32()))
    w = fitted(cloud(50, 3))
    with pytest.raises(cs.InvalidRowError, match="x: row 2 is missing"):
        w.transform(column)
    np.testing.assert_array_equal(w.log_likelihood(column, on_invalid="skip"), w.log_likelihood(x))


def test_no_rows() -> None:
    w = fitted(cloud(50, 6))
    empty = np.empty((0, 6), np.float32)
    assert w.transform(empty).shape == (0, 6)
    assert w.log_likelihood(empty).shape == (0,)
