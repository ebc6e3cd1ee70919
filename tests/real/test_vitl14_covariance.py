"""Covariances with the spectrum of real embeddings: raw CLIP ViT-L/14, MS-COCO, 768 features."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import clipsoid as cs
from bounds import SINGLE, UNIT, Bounds, assert_within
from oracle import reference

N = 20_000


class Drawn:
    """Rows of a normal law with a modality's moments, and the covariance of these very rows."""

    def __init__(self, mean: np.ndarray, covariance: np.ndarray, seed: int) -> None:
        values, vectors = np.linalg.eigh(covariance.astype(np.float64))
        radii = np.sqrt(values.clip(min=0))
        noise = np.random.default_rng(seed).standard_normal((N, len(mean)), dtype=np.float32)
        self.x = (mean + noise @ (radii * vectors).T).astype(np.float32)
        self.covariance = reference.covariance(self.x)
        self.eigenvalues, self.vectors = np.linalg.eigh(self.covariance)
        self.sigma = np.sqrt(np.diag(self.covariance))
        self.fitted = cs.Ellipsoid.fit(self.x).covariance


@pytest.fixture(scope="module", params=["image", "text"])
def drawn(request: pytest.FixtureRequest, real_data: Callable[[str], Path]) -> Drawn:
    with np.load(real_data("coco_vitl14_moments.npz")) as moments:
        name, seed = request.param, ["image", "text"].index(request.param)
        return Drawn(moments[f"{name}_mean"], moments[f"{name}_cov"], seed)


def test_the_drawn_rows_are_as_hard_as_real_ones(drawn: Drawn) -> None:
    # Off-centre, and ill-conditioned: or the bounds below would prove little.
    assert np.linalg.norm(drawn.x.mean(axis=0)) > 0.5 * np.linalg.norm(drawn.sigma)
    assert drawn.eigenvalues[-1] / drawn.eigenvalues[0] > 1e4


def test_entries_from_float32_rows(drawn: Drawn) -> None:
    size = np.outer(drawn.sigma, drawn.sigma)
    assert_within(drawn.fitted, drawn.covariance, SINGLE * size, "covariance")


def test_eigenvalues_from_float32_products(drawn: Drawn) -> None:
    """Each eigenvalue moves by what the rounding of the products makes of its own direction.

    To first order ``v^T E v`` with ``|E_ij| <= SINGLE sigma_i sigma_j``; the signs of E being
    independent, that has the size ``SINGLE sum_i v_i^2 sigma_i^2``.
    """
    got = np.linalg.eigvalsh(drawn.fitted)
    first_order = SINGLE * (drawn.vectors**2 * drawn.sigma[:, None] ** 2).sum(axis=0)
    assert_within(got, drawn.eigenvalues, first_order, "eigenvalues")
    # None is negative beyond rounding, and all that are not mere rounding themselves are right.
    assert got[0] >= -first_order[0]
    significant = drawn.eigenvalues > 1e-6 * drawn.eigenvalues[-1]
    assert significant.sum() > 700
    relative = 1e-3 * drawn.eigenvalues[significant]
    assert_within(got[significant], drawn.eigenvalues[significant], relative, "relatively")


def test_float64_products_err_by_float64_rounding(drawn: Drawn) -> None:
    e = cs.Ellipsoid.fit(drawn.x, precision="float64")
    assert_within(e.covariance, drawn.covariance, Bounds(drawn.x).covariance, "covariance")
    got = np.linalg.eigvalsh(e.covariance)
    # Backward error of eigvalsh and of both products: some d units of the largest eigenvalue.
    rounding = 10 * len(got) * UNIT * drawn.eigenvalues[-1]
    assert_within(got, drawn.eigenvalues, rounding, "eigenvalues")
    assert got[0] >= -rounding


def test_an_uncentred_float32_product_would_fail(drawn: Drawn) -> None:
    # The naive way loses the small eigenvalues altogether: the tests above can fail.
    mean = drawn.x.mean(axis=0, dtype=np.float64)
    naive = (drawn.x.T @ drawn.x / N - np.outer(mean, mean)) * (N / (N - 1))
    error = np.abs(np.linalg.eigvalsh(naive) - drawn.eigenvalues)
    assert error[0] > 0.05 * drawn.eigenvalues[0]
