"""The covariance matrix: entries and eigenvalues, where naive schemes lose both."""

from __future__ import annotations

import numpy as np
import pytest

import clipsoid as cs
from bounds import SINGLE, Bounds, assert_within, eigenvalues
from clipsoid import _native
from oracle import reference
from unit.samples import BLOCK, DTYPES, cloud, wide

#: Panels of the product are 4 to 32 features wide; rows are multiplied 256 at a time.
SHAPES = [
    *[(n, 17) for n in (2, 3, 255, 256, 257, BLOCK - 1, BLOCK, BLOCK + 1)],
    *[(40, d) for d in (1, 2, 3, 7, 8, 9, 16, 17, 31, 33, 64, 100, 512)],
    (2 * BLOCK + 1, 100),
    (BLOCK + 1, 768),
]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("n", "d"), SHAPES)
def test_covariance_equals_the_oracle(n: int, d: int, dtype: str) -> None:
    x = cloud(n, d, dtype)
    got = cs.Ellipsoid.fit(x).covariance
    np.testing.assert_array_equal(got, got.T)
    bound = Bounds(x, dtype).covariance
    assert_within(got, reference.covariance(x), bound, "covariance")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("n", "d"), [(300, 33), (2 * BLOCK + 1, 64)])
def test_asked_for_in_float64_it_has_float64_accuracy(n: int, d: int, dtype: str) -> None:
    x = cloud(n, d, dtype)
    got = cs.Ellipsoid.fit(x, precision="float64").covariance
    assert_within(got, reference.covariance(x), Bounds(x).covariance, "covariance")


def test_the_diagonal_is_the_square_of_std_up_to_ddof() -> None:
    x = cloud(200, 30, "float64")
    e, bound = cs.Ellipsoid.fit(x), Bounds(x)
    want = e.std**2 * 200 / 199
    assert_within(np.diag(e.covariance), want, 4 * np.diag(bound.covariance), "variances")


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_drifting_rows_with_a_large_mean(dtype: str) -> None:
    # The mean is 60 standard deviations away and moves by 10 of them: an uncentred float32
    # product, or one centred on the first block, fails this by orders of magnitude.
    rng = np.random.default_rng(3)
    n, d = 6000, 48
    drift = np.linspace(0, 2.5, n)[:, None] * rng.choice([-1, 1], d)
    x = (15 + drift + 0.25 * rng.standard_normal((n, d))).astype(DTYPES[dtype])
    want = reference.covariance(x)
    size = np.sqrt(np.outer(np.diag(want), np.diag(want)))
    assert_within(cs.Ellipsoid.fit(x).covariance, want, SINGLE * size, "covariance")


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_features_of_two_values(dtype: str) -> None:
    # All squares of a feature are equal, so that a float32 chain rounds the same way at each step.
    rng = np.random.default_rng(6)
    sign = rng.choice([-1, 1], (1024, 64))
    x = (sign * rng.uniform(0.5, 2, 64) + rng.uniform(0, 3, 64)).astype(DTYPES[dtype])
    want = reference.covariance(x)
    size = np.sqrt(np.outer(np.diag(want), np.diag(want)))
    assert_within(cs.Ellipsoid.fit(x).covariance, want, SINGLE * size, "covariance")


def test_small_eigenvalues_beside_a_large_mean_and_large_eigenvalues() -> None:
    # A spectrum over seven decades, off-centre by ten times the largest radius.
    rng = np.random.default_rng(4)
    n, d = 5000, 40
    radii = np.geomspace(1, 3e-4, d)
    rotation = np.linalg.qr(rng.standard_normal((d, d)))[0]
    rows = 10 * rng.standard_normal(d) / np.sqrt(d) + rng.standard_normal((n, d)) * radii @ rotation
    x = rows.astype(np.float32)
    want = np.linalg.eigvalsh(reference.covariance(x))
    exact = np.linalg.eigvalsh(cs.Ellipsoid.fit(x, precision="float64").covariance)
    bound = eigenvalues(reference.covariance(x), 1e-11)
    assert_within(exact, want, bound, "eigenvalues of the float64 product")
    assert_within(exact, want, 1e-3 * want, "relatively")
    single = np.linalg.eigvalsh(cs.Ellipsoid.fit(x).covariance)
    bound = eigenvalues(reference.covariance(x), SINGLE)
    assert_within(single, want, bound, "eigenvalues of the float32 product")


def test_invalid_rows_leave_no_trace() -> None:
    x = cloud(2500, 20)
    dirty = x.copy()
    bad = [0, 1, 700, BLOCK - 1, BLOCK, 2 * BLOCK, 2499]
    dirty[bad[::2]] = 0
    dirty[bad[1::2], 7] = np.nan
    clean = np.delete(x, bad, axis=0)
    e = cs.Ellipsoid.fit(dirty, on_invalid="skip")
    bound = Bounds(clean, "float32").covariance
    assert_within(e.covariance, reference.covariance(clean), bound, "covariance")


def test_opposite_constant_and_duplicate_features() -> None:
    rng = np.random.default_rng(5)
    a = rng.standard_normal(400)
    x = np.stack([a, -a, np.full(400, 3.7), a], axis=1)
    e = cs.Ellipsoid.fit(x)
    variance = a.var(ddof=1)
    sign = np.array([1.0, -1.0, 0.0, 1.0])
    bound = Bounds(x).covariance + 1e-15
    assert_within(e.covariance, variance * np.outer(sign, sign), bound, "covariance")
    np.testing.assert_array_equal(e.covariance[2], 0)
    assert e.std[2] == 0
    # What does not vary has no tilt: a NaN, no number.
    np.testing.assert_array_equal(np.isnan(e.off_diagonal_dominance), [False, False, True, False])
    assert_within(e.off_diagonal_dominance[[0, 1, 3]], 2.0, 1e-12, "dominance")


def test_means_only_has_no_covariance_and_says_why() -> None:
    e = cs.Ellipsoid.fit(wide(cloud(30, 4)), covariance=False)
    assert not e.has_covariance
    for name in ("covariance", "off_diagonal_dominance", "off_diagonal_dominance_null"):
        with pytest.raises(cs.UnavailableError, match="covariance=False"):
            getattr(e, name)


def test_dominance_and_its_null_are_one_computation(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = []
    compute = _native.off_diagonal_dominance

    def counting(covariance: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
        counts.append(count)
        return compute(covariance, count)

    monkeypatch.setattr(_native, "off_diagonal_dominance", counting)

    def pair(e: cs.Ellipsoid) -> tuple[np.ndarray, np.ndarray]:
        return e.off_diagonal_dominance, e.off_diagonal_dominance_null

    x = cloud(1500, 12)
    e = cs.Ellipsoid.fit(x[:1000])
    want = compute(e.covariance, 1000)
    for array in pair(e):
        array[:] = 0  # the caller's own
    np.testing.assert_array_equal(pair(e), want)
    assert counts == [1000]
    # Of the rows seen so far: neither those of a failed update nor those before an update.
    with pytest.raises(cs.InvalidRowError):
        e.update(np.full((3, 12), np.nan))
    np.testing.assert_array_equal(pair(e), want)
    merged = e.merge(cs.Ellipsoid.fit(x[1000:]))
    np.testing.assert_array_equal(pair(merged), compute(merged.covariance, 1500))
    e.update(x[1000:])
    np.testing.assert_array_equal(pair(e), compute(e.covariance, 1500))
    assert counts == [1000, 1500, 1500]
