"""Whitening matrices, and rows through them, against scipy and the definitions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import covariance as peers

import clipsoid as cs
from bounds import NARROW, SINGLE, UNIT, Bounds, assert_within
from clipsoid import _native
from oracle import whitening as oracle
from unit.samples import DTYPES, LAYOUTS, cloud, run_python, wide

KINDS = ("zca", "pca", "cholesky")
#: Edges of register tiles (4 to 32), of chains (32), of tiles (256).
SHAPES = [(60, 1), (70, 2), (90, 7), (255, 31), (300, 33), (257, 64), (700, 257)]
every_kind = pytest.mark.parametrize("kind", KINDS)
every_dtype = pytest.mark.parametrize("dtype", DTYPES)


def fitted(x: Any, **options: Any) -> cs.Whitening:
    return cs.Whitening.from_ellipsoid(cs.Ellipsoid.fit(x), **options)


def rounding(w: cs.Whitening, x: Any, *, single: bool) -> np.ndarray:
    """Of an entry of W (x - m): 32 terms to a chain, the chains, the operands, the result."""
    d = w.dim
    unit = 2.0**-24 if single else UNIT
    magnitudes = np.abs(wide(x) - w.mean) @ np.abs(w.matrix).T
    return (36 + d / 32) * unit * magnitudes


@every_kind
@pytest.mark.parametrize(("n", "d"), SHAPES)
def test_matrices_equal_scipys(n: int, d: int, kind: str) -> None:
    x = cloud(n, d, "float64")
    w = fitted(x, kind=kind)
    want = oracle.matrix(oracle.covariance(x), kind)
    if kind == "pca":
        # An axis has two directions; ours are fixed by the entry of greatest magnitude.
        want *= np.sign((want * w.matrix).sum(axis=1))[:, None]
        assert (w.axes[np.abs(w.axes).argmax(axis=0), np.arange(d)] > 0).all()
    # Perturbation theory of a root: the condition number, in units of rounding, of the matrix.
    bound = 100 * d * UNIT * w.condition * np.abs(want).max()
    assert_within(w.matrix, want, bound, "matrix")
    if kind == "cholesky":
        np.testing.assert_array_equal(w.matrix, np.triu(w.matrix))
        assert (np.diag(w.matrix) > 0).all()
    if kind == "zca":
        assert_within(w.matrix, w.matrix.T, bound, "asymmetry")
    assert (w.rank, w.dropped, w.dim) == (d, 0, d)


@every_kind
@pytest.mark.parametrize(("n", "d"), SHAPES)
def test_whitened_float64_rows_have_unit_covariance(n: int, d: int, kind: str) -> None:
    x = cloud(n, d, "float64")
    w = fitted(x, kind=kind)
    z = w.transform(x)
    assert (z.dtype, z.shape) == (np.float64, (n, d))
    assert np.abs(oracle.covariance(z) - np.eye(d)).max() < 1e-8
    assert np.abs(z.mean(axis=0)).max() < 1e-10


@every_kind
@pytest.mark.parametrize("dtype", NARROW)
@pytest.mark.parametrize(("n", "d"), [(300, 33), (700, 257)])
def test_whitened_narrow_rows_have_unit_covariance(n: int, d: int, dtype: str, kind: str) -> None:
    x = cloud(n, d, dtype)
    w = fitted(x, kind=kind)
    z = w.transform(x)
    assert z.dtype == np.float32
    c = oracle.covariance(x)
    # W E W^T with |E_ij| <= SINGLE sqrt(C_ii C_jj); and z is off by e in each entry, so that
    # the covariance of unit variances is by 2 e + e^2.
    reach = np.abs(w.matrix) @ np.sqrt(np.diag(c))
    e = np.sqrt((rounding(w, x, single=True) ** 2).mean(axis=0))
    bound = 2 * SINGLE * np.outer(reach, reach) + e[:, None] + e + np.outer(e, e)
    assert_within(oracle.covariance(z), np.eye(d), bound, "covariance")


@every_kind
@every_dtype
@pytest.mark.parametrize(("n", "d"), SHAPES)
def test_rows_go_through_the_matrix_and_back(n: int, d: int, dtype: str, kind: str) -> None:
    x = cloud(n, d, dtype)
    w = fitted(x, kind=kind)
    z = w.transform(x)
    single = dtype in NARROW
    bound = rounding(w, x, single=single)
    assert_within(z, (wide(x) - w.mean) @ w.matrix.T, bound, "whitened")
    back = w.inverse(z)
    assert back.dtype == z.dtype
    # What z is off by, carried back, and the rounding of this product and of the inverse itself.
    unit = 2.0**-24 if single else UNIT
    again = (36 + d / 32) * unit * (np.abs(wide(z)) @ np.abs(w.inverse_matrix).T)
    own = 100 * d * UNIT * w.condition * np.abs(wide(x) - w.mean).max()
    last = unit * np.abs(wide(x))
    allowed = bound @ np.abs(w.inverse_matrix).T + again + own + last
    assert_within(back, wide(x), allowed, "inverse")


@every_dtype
def test_products_in_float64_on_request(dtype: str) -> None:
    x = cloud(300, 33, dtype)
    w = fitted(x)
    z = w.transform(x, precision="float64")
    assert z.dtype == np.float64
    bound = rounding(w, x, single=False)
    assert_within(z, (wide(x) - w.mean) @ w.matrix.T, bound, "whitened")
    lengths = w.log_likelihood(x, precision="float64", determinant=False)
    want = -((z**2).sum(axis=1) + w.rank * np.log(2 * np.pi)) / 2
    assert_within(lengths, want, 1e-9 * np.abs(want), "log-likelihood")


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_layouts_do_not_show(layout: Any) -> None:
    x = cloud(300, 33)
    w = fitted(x)
    np.testing.assert_array_equal(w.transform(layout(x)), w.transform(x))
    np.testing.assert_array_equal(w.log_likelihood(layout(x)), w.log_likelihood(x))


def test_threads_batches_and_files_do_not_show(tmp_path: Any) -> None:
    x = cloud(1300, 130)
    parts = np.array_split(x, 7)
    for i, part in enumerate(parts):
        np.save(tmp_path / f"{i}.npy", part)
    store = cs.open_store([tmp_path / f"{i}.npy" for i in range(7)])
    w = fitted(x)
    for compute in (w.transform, w.log_likelihood, w.inverse):
        one = compute(x, n_threads=1)
        for rows, n_threads in [(x, 2), (x, None), (store, 2)]:
            np.testing.assert_array_equal(compute(rows, n_threads=n_threads), one)
        np.testing.assert_array_equal(np.concatenate([compute(part) for part in parts]), one)


@pytest.mark.parametrize("level", _native.simd_levels())
def test_every_level(level: str) -> None:
    x = cloud(300, 45)
    script = """
from unit.samples import cloud
import clipsoid as cs
x = cloud(300, 45)
w = cs.Whitening.from_ellipsoid(cs.Ellipsoid.fit(x))
print(float(w.log_likelihood(x).mean()), float(abs(w.transform(x)).max()))
"""
    mean, most = map(float, run_python(script, CLIPSOID_SIMD=level).stdout.split())
    w = fitted(x)
    assert mean == pytest.approx(w.log_likelihood(x).mean(), rel=1e-5)
    assert most == pytest.approx(np.abs(w.transform(x)).max(), rel=1e-5)


def test_rows_of_several_types() -> None:
    x, y = cloud(50, 20, "float32"), cloud(60, 20, "float64")
    w = fitted(y)
    source = cs.ellipsoid.as_source(y)
    both = [*source.read(), *cs.ellipsoid.as_source(x).read()]
    mixed = type(source)("x", 20, 110, frozenset({"float32", "float64"}), lambda: iter(both), tuple)
    z = w.transform(mixed)
    assert z.dtype == np.float64
    np.testing.assert_array_equal(z[:60], w.transform(y))
    np.testing.assert_array_equal(z[60:], w.transform(x, precision="float64"))


def test_an_array_to_write_to(tmp_path: Any) -> None:
    x = cloud(300, 33)
    w = fitted(x, rank=20, kind="pca")
    out = np.lib.format.open_memmap(tmp_path / "z.npy", "w+", np.float32, (300, 20))
    assert w.transform(x, out=out) is out
    np.testing.assert_array_equal(out, w.transform(x))
    refused = [
        ([1], cs.DTypeError, "out: found list; wanted a numpy array"),
        (np.empty((300, 20)), cs.DTypeError, "out: elements are float64; wanted float32"),
        (np.empty((300, 33), np.float32), cs.ShapeError, r"out: found shape \(300, 33\)"),
        (np.empty((20, 300), np.float32).T, ValueError, "out: wanted a C-contiguous"),
    ]
    for bad, error, message in refused:
        with pytest.raises(error, match=message):
            w.transform(x, out=bad)
    with pytest.raises(ValueError, match="with out=, take 'error' or 'null'"):
        w.transform(x, out=out, on_invalid="skip")
    square = fitted(x)
    with pytest.raises(ValueError, match="out: shares memory with the rows"):
        square.transform(x, out=x)


@given(
    n=st.integers(30, 80),
    d=st.integers(2, 12),
    scale=st.sampled_from([1e-20, 1e-3, 1.0, 1e4, 1e15]),
    kind=st.sampled_from(KINDS),
)
def test_scaled_rows_whiten_alike(n: int, d: int, scale: float, kind: str) -> None:
    x = cloud(n, d, "float64", seed=n)
    for dtype, close in [(np.float64, 1e-9), (np.float32, 1e-2)]:
        one = fitted(x.astype(dtype), kind=kind).transform(x.astype(dtype))
        y = (x * scale).astype(dtype)
        np.testing.assert_allclose(fitted(y, kind=kind).transform(y), one, rtol=0, atol=close)


@every_kind
def test_a_floor(kind: str) -> None:
    x = cloud(200, 40, "float64")
    c = oracle.covariance(x)
    values = np.linalg.eigvalsh(c)
    w = fitted(x, kind=kind, floor=0.01)
    want = oracle.floored(c, 0.01)
    assert (w.floor, w.floored) == (0.01, int((values < 0.01 * values[-1]).sum()))
    assert 0 < w.floored < 40
    np.testing.assert_allclose(w.matrix @ want @ w.matrix.T, np.eye(40), atol=1e-11)
    assert w.condition == pytest.approx(100)
    assert w.log_determinant == pytest.approx(np.linalg.slogdet(want)[1], rel=1e-12)
    assert f"floor=0.01 raised {w.floored}" in repr(w)


@every_kind
@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
def test_shrinkage(kind: str, weight: float) -> None:
    x = cloud(200, 40, "float64")
    want = oracle.shrunk(oracle.covariance(x), weight)
    w = fitted(x, kind=kind, shrinkage=weight)
    np.testing.assert_allclose(w.matrix @ want @ w.matrix.T, np.eye(40), atol=1e-10)
    assert (w.shrinkage, w.ledoit_wolf) == (weight, False)
    assert w.log_determinant == pytest.approx(np.linalg.slogdet(want)[1], rel=1e-12)


@every_dtype
@pytest.mark.parametrize(("n", "d"), [(30, 50), (200, 20), (1100, 33), (50, 1)])
def test_ledoit_wolf_equals_scikit_learns(n: int, d: int, dtype: str) -> None:
    x = cloud(n, d, dtype)
    e = cs.Ellipsoid.fit(x)
    parts = [cs.Whitening.from_ellipsoid(e, shrinkage="ledoit-wolf", rows=x, n_threads=1)]
    parts.append(cs.Whitening.from_ellipsoid(e, shrinkage="ledoit-wolf", rows=x))
    covariance, weight = peers.ledoit_wolf(wide(x))
    # The covariance enters squared, the weight is a quotient of two such sums.
    close = 1e-10 if dtype == "float64" else 20 * SINGLE
    for w in parts:
        assert w.ledoit_wolf
        assert w.shrinkage == pytest.approx(weight, rel=close, abs=1e-14)
        used = (w.axes * w.variances) @ w.axes.T * (n - 1) / n
        np.testing.assert_allclose(used, covariance, atol=close * np.trace(covariance))
    assert parts[0].shrinkage == parts[1].shrinkage
    if d > 1:
        assert oracle.ledoit_wolf(x) == pytest.approx(weight, rel=1e-10)
        assert "by Ledoit-Wolf" in repr(parts[0])


def test_ledoit_wolf_where_rows_were_left_out() -> None:
    x = cloud(100, 8, "float64")
    x[3], x[70, 2] = 0, np.nan
    e = cs.Ellipsoid.fit(x, on_invalid="skip")
    w = cs.Whitening.from_ellipsoid(e, shrinkage="ledoit-wolf", rows=x)
    valid = np.delete(x, [3, 70], axis=0)
    assert w.shrinkage == pytest.approx(peers.ledoit_wolf(valid)[1], rel=1e-10)


def test_ledoit_wolf_refuses_other_rows() -> None:
    x = cloud(100, 8, "float64")
    e = cs.Ellipsoid.fit(x)
    for other in (x[:-1], x + 0.1, 1.01 * x):
        with pytest.raises(cs.MismatchError, match=r"rows: \d+ valid rows .* wanted the same rows"):
            cs.Whitening.from_ellipsoid(e, shrinkage="ledoit-wolf", rows=other)
    with pytest.raises(cs.MismatchError, match="rows: the rows have 7 features"):
        cs.Whitening.from_ellipsoid(e, shrinkage="ledoit-wolf", rows=x[:, 1:])


def test_a_normalized_set_is_said_to_be_one() -> None:
    x = cloud(300, 12, "float64")
    assert not fitted(x).is_normalized
    w = fitted(x / np.linalg.norm(x, axis=1, keepdims=True))
    assert w.is_normalized
    assert ", normalized" in repr(w)
    assert w.to_dict()["is_normalized"] is True


def test_what_was_done_is_told() -> None:
    x = cloud(300, 12)
    e = cs.Ellipsoid.fit(x, encoder="ViT-B/32")
    w = cs.Whitening.from_ellipsoid(e, kind="pca", rank=5)
    assert (w.count, w.rank, w.dropped, w.noise, w.encoder) == (300, 5, 7, 1e-6, "ViT-B/32")
    assert w.tolerance == 12 * 2.0**-52
    text = repr(w)
    assert text.startswith("Whitening(pca, dim=12, rank=5, count=300, condition=")
    assert "dropped 7, tolerance=2.7e-15 and float32 noise 1e-06, raw, encoder='ViT-B/32')" in text
    double = cs.Ellipsoid.fit(x, precision="float64")
    assert cs.Whitening.from_ellipsoid(double).noise == 0
    assert cs.Whitening.from_ellipsoid(double.merge(e)).noise == 1e-6
    assert fitted(x.astype(np.float64)).noise == 0
    assert w.to_dict()["log_determinant"] == w.log_determinant
    with pytest.raises(ValueError, match="read-only"):
        w.matrix[0, 0] = 1


def test_the_eigenvalues_are_those_of_the_ellipsoid() -> None:
    x = cloud(300, 33, "float64")
    _, want = oracle.axes_and_variances(x)
    w = fitted(x)
    bound = Bounds(x).covariance.max() * 33
    assert_within(w.eigenvalues, want, bound, "eigenvalues")
    np.testing.assert_array_equal(w.variances, w.eigenvalues)
