"""Whitening of real embeddings, and of rows with the moments of raw ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from sklearn import covariance as peers
from threadpoolctl import threadpool_limits

import clipsoid as cs
from bounds import SINGLE, UNIT, assert_within
from oracle import whitening as oracle

Reader = Callable[[str], Path]
N = 4000


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Spectra of this size gain little by threads, and threads wait for one another under load."""
    with threadpool_limits(1, user_api="blas"):
        yield


@pytest.fixture(scope="module", params=["image", "text"])
def rows(request: pytest.FixtureRequest, real_data: Reader) -> np.ndarray:
    with np.load(real_data("coco500_clip_vitb16.npz")) as file:
        return file[request.param]


class Law:
    """A normal law with the moments of a modality, and rows of it."""

    def __init__(self, name: str, mean: np.ndarray, covariance: np.ndarray) -> None:
        self.name = name
        self.mean = mean.astype(np.float64)
        values, self.axes = np.linalg.eigh(covariance.astype(np.float64))
        # The text covariance has rank 765: the other three are what storage in float32 made of 0.
        values[: 3 if name == "text" else 0] = 0
        self.values = values
        noise = np.random.default_rng(1).standard_normal((N, 768))
        self.x = self.mean + noise @ (np.sqrt(values) * self.axes).T

    @cached_property
    def ellipsoid(self) -> cs.Ellipsoid:
        return cs.Ellipsoid.fit(self.x)

    @cached_property
    def whitening(self) -> cs.Whitening:
        return cs.Whitening.from_ellipsoid(self.ellipsoid, kind="pca")


@pytest.fixture(scope="module", params=["image", "text"])
def law(request: pytest.FixtureRequest, real_data: Reader) -> Law:
    with np.load(real_data("coco_vitl14_moments.npz")) as moments:
        return Law(request.param, *(moments[f"{request.param}_{m}"] for m in ("mean", "cov")))


def test_fewer_rows_than_features(rows: np.ndarray) -> None:
    # 500 rows of length 1 with 512 features: 499 directions at most, and those of the sphere.
    precise = rows.astype(np.float64)
    w = cs.Whitening.from_ellipsoid(cs.Ellipsoid.fit(precise), kind="pca")
    assert (w.rank, w.is_normalized) == (499, True)
    z = w.transform(precise)
    assert np.abs(oracle.covariance(z) - np.eye(499)).max() < 1e-8
    np.testing.assert_allclose((z**2).sum(axis=1), 499 * 499 / 500, rtol=1e-8)
    np.testing.assert_allclose(w.inverse(z), precise, atol=1e-10)
    with pytest.raises(cs.UnavailableError, match="499 of 512 eigenvalues"):
        cs.Whitening.from_ellipsoid(cs.Ellipsoid.fit(precise), kind="cholesky")


def test_float32_rows_keep_what_float32_products_can_tell(rows: np.ndarray) -> None:
    w = cs.Whitening.from_ellipsoid(cs.Ellipsoid.fit(rows))
    axes, variances = oracle.axes_and_variances(rows)
    # First-order noise of an axis, twice either way: a direction of half of it must go, one of
    # twice as much must stay.
    noise = SINGLE * (axes**2 * np.diag(oracle.covariance(rows))[:, None]).sum(axis=0)
    assert (variances[:499] > 2 * noise[:499]).sum() <= w.rank <= (variances > noise / 2).sum()
    assert_within(w.variances, variances[: w.rank], noise[: w.rank], "variances")


def test_shrunk_it_equals_scikit_learn_and_scipy(rows: np.ndarray) -> None:
    precise = rows.astype(np.float64)
    covariance, weight = peers.ledoit_wolf(precise)
    law = stats.multivariate_normal(precise.mean(axis=0), covariance * 500 / 499)
    want = law.logpdf(precise)
    for x, kind, close in [
        (precise, "zca", 1e-9),
        (precise, "cholesky", 1e-9),
        (rows, "pca", 20 * SINGLE),
    ]:
        e = cs.Ellipsoid.fit(x)
        w = cs.Whitening.from_ellipsoid(e, kind=kind, shrinkage="ledoit-wolf", rows=x)
        assert w.shrinkage == pytest.approx(weight, rel=close)
        assert w.rank == 512
        np.testing.assert_allclose(w.log_likelihood(x), want, rtol=close)
        np.testing.assert_allclose(w.inverse(w.transform(x)), precise, rtol=0, atol=close)


def test_rank_of_raw_moments(law: Law) -> None:
    true = 765 if law.name == "text" else 768
    w = law.whitening
    assert w.rank == true
    z = w.transform(law.x)
    # Rounding of sums of N terms grows as sqrt(N), and whitening multiplies what it left of the
    # greatest variance: 5e9 times the least of the text.
    off = np.sqrt(N) * UNIT * w.variances[0] / np.sqrt(np.outer(w.variances, w.variances))
    assert_within(oracle.covariance(z), np.eye(true), off, "covariance of the whitened")
    narrow = law.x.astype(np.float32)
    precise = cs.Ellipsoid.fit(narrow, precision="float64")
    assert cs.Whitening.from_ellipsoid(precise).rank >= true
    single = cs.Whitening.from_ellipsoid(cs.Ellipsoid.fit(narrow), kind="pca")
    # None of the kept is noise: each is near its true variance of these rows, in its place.
    want = np.linalg.eigvalsh(precise.covariance)[::-1][: single.rank]
    assert_within(single.variances, want, 0.1 * want, "variances")
    assert 750 <= single.rank <= true
    if law.name == "text":
        # Cholesky is refused, and says what to do.
        with pytest.raises(cs.UnavailableError, match=r"765 of 768 .* give floor= or shrinkage="):
            cs.Whitening.from_ellipsoid(law.ellipsoid, kind="cholesky")


def test_likelihood_of_raw_moments(law: Law) -> None:
    narrow = law.x[:2000].astype(np.float32)
    w = law.whitening
    found = w.log_likelihood(narrow)
    want = oracle.log_density(narrow, w.mean, w.axes, w.variances)
    # float32 products: e in each coordinate along the axes, and |z| e + e^2 in a row's likelihood.
    matrix = np.abs(w.axes / np.sqrt(w.variances)).T
    y = narrow.astype(np.float64) - w.mean
    e = (36 + 768 / 32) * 2.0**-24 * (np.abs(y) @ matrix.T)
    z = np.abs(y @ (w.axes / np.sqrt(w.variances)))
    assert_within(found, want, (z * e + e**2).sum(axis=1), "log-likelihood")
    # And in truth far less: rounding has either sign.
    assert np.abs(found - want).max() < 0.1
    exact = w.log_likelihood(narrow, precision="float64")
    np.testing.assert_allclose(exact, want, rtol=0, atol=1e-4)
    assert abs(found.mean() - exact.mean()) < 1e-2


def test_normal_rows_are_found_normal(law: Law) -> None:
    w = law.whitening
    found = w.normality(law.x, sample=1000)
    spread = 4 * np.sqrt(0.05 * 0.95 / w.rank)
    assert abs(found.anderson_darling_fraction - 0.95) < spread
    assert abs(found.dagostino_pearson_fraction - 0.95) < spread


def test_the_widest_axes_of_real_rows_are_not_normal(rows: np.ndarray) -> None:
    # They are those of topics. Of 20 normal coordinates, 13 or fewer pass once in 30,000 cases.
    e = cs.Ellipsoid.fit(rows)
    real = cs.Whitening.from_ellipsoid(e, kind="pca", rank=20).normality(rows)
    assert real.anderson_darling_fraction <= 13 / 20
