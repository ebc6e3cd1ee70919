"""Log-likelihood against scipy and the definition; tests of normality against scipy's."""

from __future__ import annotations

import copy
import pickle
import sys
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

import clipsoid as cs
from bounds import NARROW, assert_within
from clipsoid import _extras, normality
from oracle import whitening as oracle
from unit.samples import DTYPES, cloud, wide

KINDS = ("zca", "pca", "cholesky")
every_dtype = pytest.mark.parametrize("dtype", DTYPES)


def fitted(x: Any, **options: Any) -> cs.Whitening:
    return cs.Whitening.from_ellipsoid(cs.Ellipsoid.fit(x), **options)


def rounding(w: cs.Whitening, x: Any, dtype: str) -> np.ndarray:
    """Of half of |z|^2, from the error of each coordinate along an axis."""
    unit = 2.0**-24 if dtype in NARROW else 2.0**-53
    matrix = (w.axes / np.sqrt(w.variances)).T
    y = wide(x) - w.mean
    e = (36 + w.dim / 32) * unit * (np.abs(y) @ np.abs(matrix).T)
    z = np.abs(y @ matrix.T)
    return (z * e + e**2).sum(axis=1) + 1e-13 * (z**2).sum(axis=1) + 1e-13 * w.dim


@every_dtype
@pytest.mark.parametrize(("n", "d"), [(60, 1), (257, 7), (300, 33), (400, 130)])
def test_it_is_the_log_density_of_the_normal_law(n: int, d: int, dtype: str) -> None:
    x = cloud(n, d, dtype)
    w = fitted(x)
    # The law of the ellipsoid itself: how far its covariance is from the rows' is tested elsewhere.
    e = cs.Ellipsoid.fit(x)
    want = stats.multivariate_normal(e.mean, e.covariance).logpdf(wide(x))
    # scipy's own eigenvalues are off by rounding too: relative to the least of them.
    other = 1e-14 * w.condition * (1 + np.abs(want))
    got = w.log_likelihood(x)
    assert (got.dtype, got.shape) == (np.float64, (n,))
    assert_within(got, want, rounding(w, x, dtype) + other, "log-likelihood")


@pytest.mark.parametrize("options", [{}, {"floor": 0.05}, {"shrinkage": 0.2}], ids=str)
@pytest.mark.parametrize("determinant", [True, False])
def test_every_kind_gives_the_same_and_that_of_the_changed_spectrum(
    options: dict[str, float], determinant: bool
) -> None:
    x = cloud(300, 20, "float64")
    found = [
        fitted(x, kind=kind, **options).log_likelihood(x, determinant=determinant) for kind in KINDS
    ]
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])
    c = oracle.covariance(x)
    if "floor" in options:
        c = oracle.floored(c, options["floor"])
    if "shrinkage" in options:
        c = oracle.shrunk(c, options["shrinkage"])
    want = stats.multivariate_normal(x.mean(axis=0), c).logpdf(x)
    if not determinant:
        want += np.linalg.slogdet(c)[1] / 2
    np.testing.assert_allclose(found[0], want, rtol=1e-10)
    # It is also minus half the squared length of a whitened row, whatever the kind.
    for kind in KINDS:
        w = fitted(x, kind=kind, **options)
        half = -((w.transform(x) ** 2).sum(axis=1) + 20 * np.log(2 * np.pi)) / 2
        np.testing.assert_allclose(w.log_likelihood(x, determinant=False), half, rtol=1e-10)


@pytest.mark.parametrize("rank", [1, 5, 19])
def test_dropped_directions_do_not_count(rank: int) -> None:
    x = cloud(300, 20, "float64")
    axes, variances = oracle.axes_and_variances(x)
    want = oracle.log_density(x, x.mean(axis=0), axes[:, :rank], variances[:rank])
    np.testing.assert_allclose(fitted(x, rank=rank).log_likelihood(x), want, rtol=1e-10)


def test_mean_over_the_rows_themselves() -> None:
    # The squared lengths of n whitened rows add up to (n - 1) d.
    x = cloud(400, 30)
    w = fitted(x)
    want = -(399 / 400 * 30 + 30 * np.log(2 * np.pi)) / 2
    assert w.log_likelihood(x, determinant=False).mean() == pytest.approx(want, rel=1e-5)


@every_dtype
@pytest.mark.parametrize("n", [20, 300])
def test_normality_equals_scipys(n: int, dtype: str) -> None:
    x = cloud(n, 7, dtype)
    w = fitted(x)
    found = w.normality(x)
    z = w.transform(x, precision="float64")
    # The same sums over another memory layout, hence in another order.
    want = stats.normaltest(z)
    np.testing.assert_allclose(found.dagostino_pearson, want.statistic, rtol=1e-10)
    np.testing.assert_allclose(found.dagostino_pearson_p, want.pvalue, rtol=1e-10)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        want = [stats.anderson(column).statistic for column in z.T]
    np.testing.assert_allclose(found.anderson_darling, want, rtol=1e-9)
    assert (found.count, found.total, found.seed, found.level) == (n, n, 0, 0.05)


def test_p_values_at_published_points() -> None:
    # Upper tail of A^2 (1 + 0.75 / n + 2.25 / n^2): Stephens in D'Agostino & Stephens 1986,
    # Table 4.7.
    points = {
        0.341: 0.5,
        0.470: 0.25,
        0.561: 0.15,
        0.631: 0.1,
        0.752: 0.05,
        0.873: 0.025,
        1.035: 0.01,
    }
    for n in (20, 1000):
        statistic = np.array(list(points)) / (1 + 0.75 / n + 2.25 / n**2)
        found = normality.anderson_darling_p(statistic, n)
        np.testing.assert_allclose(found, list(points.values()), rtol=0.02)
    a = np.linspace(0, 400, 100_001)
    p = normality.anderson_darling_p(a, 10**6)
    assert ((p >= 0) & (p <= 1)).all()
    # Where two pieces of the approximation meet, they differ by less than 0.003.
    assert np.diff(p).max() < 0.003


def test_normal_rows_pass_at_the_level_and_others_fail() -> None:
    rng = np.random.default_rng(7)
    x = rng.standard_normal((2000, 400))
    tested = fitted(x, kind="pca").normality(x)
    for level in (0.01, 0.05, 0.2):
        found = replace(tested, level=level)
        # Of 400 coordinates, a share of `level` fails, to four standard deviations.
        spread = 4 * np.sqrt(level * (1 - level) / 400)
        for share in (found.anderson_darling_fraction, found.dagostino_pearson_fraction):
            assert abs(share - (1 - level)) < spread
    y = np.exp(rng.standard_normal((2000, 30)))
    found = fitted(y).normality(y)
    assert (found.anderson_darling_fraction, found.dagostino_pearson_fraction) == (0, 0)
    assert found.anderson_darling_p.max() < 1e-10


@every_dtype
def test_a_sample_is_drawn_by_its_seed(dtype: str) -> None:
    x = cloud(3000, 9, dtype)
    w = fitted(x)
    found = w.normality(x, sample=100, seed=3)
    assert (found.count, found.total, found.seed) == (100, 3000, 3)
    parts = found.anderson_darling
    np.testing.assert_array_equal(parts, w.normality(x, sample=100, seed=3).anderson_darling)
    assert (parts != w.normality(x, sample=100, seed=4).anderson_darling).all()
    # Rows in several batches are one set.
    rows = np.random.default_rng(3).choice(3000, 100, replace=False, shuffle=False)
    again = w.normality(x[np.sort(rows)], n_threads=1)
    np.testing.assert_array_equal(parts, again.anderson_darling)
    assert "100 of 3000 rows" in repr(found)


def test_a_sample_of_a_store_is_that_of_the_array(tmp_path: Path) -> None:
    x = cloud(1000, 9)
    for i, part in enumerate(np.array_split(x, 7)):
        np.save(tmp_path / f"{i}.npy", part)
    store = cs.open_store([tmp_path / f"{i}.npy" for i in range(7)])
    w = fitted(x)
    one, other = (w.normality(rows, sample=200, seed=1) for rows in (x, store))
    np.testing.assert_array_equal(one.anderson_darling, other.anderson_darling)
    bad = x.copy()
    bad[::2, 0] = np.nan
    with pytest.raises(cs.InvalidRowError, match=r"x: row [0-9]*[02468] holds a value") as caught:
        w.normality(bad, sample=200, seed=1)
    assert np.isnan(bad[caught.value.row, 0])
    assert w.normality(bad, sample=200, seed=1, on_invalid="skip").count < 200


def test_coordinates_that_do_not_vary() -> None:
    x = cloud(300, 5, "float64")
    w = fitted(x, kind="pca")
    y = w.inverse(w.transform(x) * [1, 0, 1, 1, 1])
    z = w.transform(y)
    z[:, 1] = z[0, 1]
    found = normality.normality_of(z, total=300, fit_count=300, dim=5, rank=5, seed=0, level=0.05)
    assert np.isnan(found.anderson_darling[1])
    assert np.isnan(found.dagostino_pearson_p[1])
    assert not np.isnan(np.delete(found.anderson_darling, 1)).any()
    assert found.to_dict()["anderson_darling_fraction"] == found.anderson_darling_fraction
    with pytest.raises(cs.UnavailableError, match="no coordinate of the rows varies"):
        w.normality(np.repeat(x[:1], 30, axis=0))


def test_options_of_normality() -> None:
    x = cloud(100, 4)
    w = fitted(x)
    refused: list[tuple[dict[str, Any], str]] = [
        ({"sample": 19}, "sample=19; wanted an integer of 20 or more"),
        ({"sample": 1e3}, "sample=1000.0"),
        ({"seed": -1}, "seed=-1; wanted an integer of 0 or more"),
        ({"level": 0}, "level=0; wanted a number between 0 and 1"),
        ({"level": "5%"}, "level='5%'"),
    ]
    for options, message in refused:
        with pytest.raises(ValueError, match=message):
            w.normality(x, **options)
    with pytest.raises(cs.ShapeError, match="normality: found 19 valid rows, wanted 20 or more"):
        w.normality(x[:19])


def test_without_scipy(monkeypatch: pytest.MonkeyPatch) -> None:
    x = cloud(100, 4)
    w = fitted(x)
    monkeypatch.setattr(_extras, "find_spec", lambda name: None)
    with pytest.raises(cs.UnavailableError, match=r'scipy, .* pip install "clipsoid\[stats\]"'):
        w.normality(x)
    assert "scipy" in sys.modules


def by_file(w: cs.Whitening, folder: Path) -> cs.Whitening:
    w.save(folder / "w.whitening")
    return cs.Whitening.load(folder / "w.whitening")


def by_pickle(w: cs.Whitening, _: Path) -> cs.Whitening:
    return pickle.loads(pickle.dumps(w))


def by_deepcopy(w: cs.Whitening, _: Path) -> cs.Whitening:
    return copy.deepcopy(w)


@pytest.mark.parametrize("round_trip", [by_file, by_pickle, by_deepcopy])
@pytest.mark.parametrize(
    "options",
    [{}, {"kind": "pca", "rank": 4}, {"kind": "cholesky", "floor": 0.1}, {"shrinkage": 1.0}],
    ids=str,
)
def test_a_round_trip_keeps_every_bit(
    tmp_path: Path,
    options: dict[str, Any],
    round_trip: Callable[[cs.Whitening, Path], cs.Whitening],
) -> None:
    x = cloud(100, 9)
    w = fitted(x, **options)
    back = round_trip(w, tmp_path)
    assert repr(back) == repr(w)
    assert back.to_dict() == w.to_dict()
    np.testing.assert_array_equal(back.transform(x), w.transform(x))
    np.testing.assert_array_equal(back.inverse(back.transform(x)), w.inverse(w.transform(x)))
    np.testing.assert_array_equal(back.log_likelihood(x), w.log_likelihood(x))
    np.testing.assert_array_equal(back.eigenvalues, w.eigenvalues)
    assert not back.matrix.flags.writeable


def test_files_that_are_none(tmp_path: Path) -> None:
    path = tmp_path / "w"
    x = cloud(100, 9)
    with pytest.raises(cs.StoreError, match="w: No such file"):
        cs.Whitening.load(path)
    path.write_bytes(b"nothing")
    with pytest.raises(cs.StoreError, match="w: is not a whitening file, or is damaged"):
        cs.Whitening.load(path)
    cs.Ellipsoid.fit(x).save(path)
    with pytest.raises(
        cs.StoreError, match=r"is of format 'clipsoid\.ellipsoid'; wanted 'clipsoid\.w"
    ):
        cs.Whitening.load(path)
    fitted(x).save(path)
    with pytest.raises(
        cs.StoreError, match=r"is of format 'clipsoid\.whitening'; wanted 'clipsoid\.e"
    ):
        cs.Ellipsoid.load(path)
    whole = path.read_bytes()
    damaged: list[tuple[bytes, bytes, str]] = [
        (b'\\"kind\\": \\"zca\\"', b'\\"kind\\": \\"abc\\"', "'kind' in its header is 'abc'"),
        (b'\\"rank\\": 9', b'\\"rank\\": 8', "tensor 'variances' is float64 of shape"),
        (b'\\"floored\\"', b'\\"flooded\\"', "its header has no 'floored'"),
    ]
    for old, new, message in damaged:
        assert whole.count(old) == 1
        path.write_bytes(whole.replace(old, new))
        with pytest.raises(cs.StoreError, match=message):
            cs.Whitening.load(path)
    with pytest.raises(cs.OutputError, match="none"):
        fitted(x).save(tmp_path / "none" / "w")
