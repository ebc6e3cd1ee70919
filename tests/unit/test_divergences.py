"""Divergences of two samples: closed forms, scipy's figures, ties, intervals, bad input."""

from __future__ import annotations

import math
from typing import Any

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st
from scipy import stats

import clipsoid as cs
from oracle import matching as oracle

FIGURES = ("kl_pq", "kl_qp", "kde_kl_pq", "kde_kl_qp", "js", "wasserstein")
WITH_INTERVAL = ("kde_kl_pq", "kde_kl_qp", "js", "wasserstein")


def normals(n: int, m: int, shift: float, scale: float = 1.0, seed: int = 0) -> tuple[Any, Any]:
    rng = np.random.default_rng([seed, n, m])
    return rng.normal(size=n), rng.normal(shift, scale, m)


@pytest.mark.parametrize(
    ("n", "m", "bins"), [(1, 1, 1), (1, 7, 5), (2, 2, 50), (300, 300, 50), (400, 77, 13)]
)
def test_histogram_figures_equal_the_oracle(n: int, m: int, bins: int) -> None:
    p, q = normals(n, m, 0.4, 1.3)
    found = cs.divergence(p, q, bins=bins)
    for name, want in oracle.histogram_figures(p, q, bins).items():
        # Sums of at most a thousand rounded terms, each below 30.
        assert getattr(found, name) == pytest.approx(want, rel=1e-12, abs=1e-12), name
    counts, edges = np.histogram(p, bins, (min(p.min(), q.min()), max(p.max(), q.max())))
    np.testing.assert_array_equal(found.edges, edges)
    np.testing.assert_array_equal(found.counts_p, counts)
    assert (found.counts_q.dtype, found.counts_q.sum()) == (np.int64, m)


@pytest.mark.parametrize(("shift", "scale"), [(0.5, 1.0), (0.3, 0.8), (0.0, 1.4)])
def test_kernel_figures_equal_those_of_scipy(shift: float, scale: float) -> None:
    p, q = normals(700, 500, shift, scale)
    want, step = oracle.kernel_figures(p, q)
    found = cs.divergence(p, q)
    # Sharing a number out between two points widens its kernel by less than step^2 / 4.
    assert step < 0.05
    for name, figure in want.items():
        assert getattr(found, name) == pytest.approx(figure, rel=step**2, abs=step**2), name


@pytest.mark.parametrize(("shift", "scale"), [(0.5, 1.0), (1.0, 1.0), (0.3, 0.8)])
def test_closed_forms_of_normal_laws(shift: float, scale: float) -> None:
    n = 100_000
    found = cs.divergence(*normals(n, n, shift, scale))
    forth = math.log(scale) + (1 + shift**2) / (2 * scale**2) - 0.5
    back = -math.log(scale) + (scale**2 + shift**2) / 2 - 0.5
    # Four deviations of the log-likelihood ratio's mean, near sqrt(2 KL / n) for either sample,
    # and a variance that the kernel widens by its own: (0.9 n^(-1/5))^2 = 0.8 %.
    for got, want in ((found.kde_kl_pq, forth), (found.kde_kl_qp, back)):
        assert got == pytest.approx(want, abs=4 * math.sqrt(4 * want / n) + 0.03 * want)


def test_wasserstein_of_quantiles_is_exact() -> None:
    x = stats.norm.ppf((np.arange(1000) + 0.5) / 1000)
    assert cs.divergence(x, x + 0.7).wasserstein == pytest.approx(0.7, rel=1e-13)
    # Quantiles that stretch move by their own length.
    assert cs.divergence(x, 1.5 * x).wasserstein == pytest.approx(0.5 * np.abs(x).mean(), rel=1e-12)
    assert cs.divergence([0.0], [3.0, 5.0]).wasserstein == 4


@hypothesis.given(
    st.lists(st.integers(-20, 20), min_size=1, max_size=40),
    st.lists(st.integers(-20, 20), min_size=1, max_size=40),
)
def test_ties_everywhere(p: list[int], q: list[int]) -> None:
    # Whole numbers: most occur in both, many several times.
    found = cs.divergence(p, q, bins=7)
    want = oracle.histogram_figures(p, q, 7)
    if max(p + q) > min(p + q):
        for name, figure in want.items():
            assert getattr(found, name) == pytest.approx(figure, rel=1e-12, abs=1e-12), name
    assert 0 <= found.js <= math.log(2)
    turned = cs.divergence(q, p, bins=7)
    assert (turned.kl_pq, turned.kde_kl_pq) == (found.kl_qp, found.kde_kl_qp)
    assert turned.wasserstein == pytest.approx(found.wasserstein, rel=1e-14)
    # Twice the same numbers are the same law.
    twice = cs.divergence(p + p, q, bins=7)
    for name in ("kl_pq", "js", "wasserstein"):
        assert getattr(twice, name) == pytest.approx(getattr(found, name), rel=1e-12, abs=1e-15)


@pytest.mark.parametrize("same", [[0.3], [1.0] * 5, [0.1, 0.5, 0.5, 0.9], [-1e300], [5e-324, 0.0]])
def test_equal_samples_differ_by_nothing(same: list[float]) -> None:
    found = cs.divergence(same, same[::-1], interval=0.9)
    assert [getattr(found, name) for name in FIGURES] == [0] * 6
    assert found.intervals["wasserstein"] == (0, 0)
    assert found.counts_p.sum() == len(same)


def test_constants_apart_and_a_constant_beside_a_spread() -> None:
    found = cs.divergence([1.0] * 9, [2.0] * 4)
    assert found.wasserstein == 1
    assert found.js == pytest.approx(math.log(2), rel=1e-15)
    # All of p in a bin of q's floor: 1 log(1 / 1e-10), and q's bin pays the floor's share.
    assert found.kl_pq == pytest.approx(math.log(1e10), rel=1e-8)
    found = cs.divergence([0.0] * 50, np.linspace(-1, 1, 101))
    assert np.isfinite([getattr(found, name) for name in FIGURES]).all()
    assert found.kde_kl_pq > found.kde_kl_qp / 10 > 0


def test_samples_that_agree_to_rounding_are_one_number() -> None:
    p = 1 - np.arange(20) * 2.0**-53
    found = cs.divergence(p, p[:5])
    assert [getattr(found, name) for name in FIGURES[:5]] == [0] * 5
    assert found.wasserstein < 1e-14
    assert (np.diff(found.edges) > 0).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.int64])
def test_every_type_of_number(dtype: Any) -> None:
    p, q = ((10 * x).astype(dtype) for x in normals(100, 80, 0.5))
    a, b = (cs.divergence(x, y) for x, y in ((p, q), (p.astype(float).tolist(), q.astype(float))))
    assert [getattr(a, name) for name in FIGURES] == [getattr(b, name) for name in FIGURES]


@pytest.mark.parametrize("level", [0.5, 0.95])
def test_intervals_grow_with_coverage_and_repeat_by_seed(level: float) -> None:
    p, q = normals(300, 200, 0.5)
    one, two = (cs.divergence(p, q, interval=level, seed=3, resamples=50) for _ in range(2))
    assert one.intervals == two.intervals
    assert tuple(one.intervals) == WITH_INTERVAL
    other = cs.divergence(p, q, interval=level, seed=4, resamples=50).intervals
    wider = cs.divergence(p, q, interval=0.99, seed=3, resamples=50).intervals
    for name, (lower, upper) in one.intervals.items():
        assert 0 <= lower < upper
        assert wider[name].lower <= lower
        assert wider[name].upper > upper
        assert (other[name] == one.intervals[name]) == (name == "wasserstein")
    assert cs.divergence(p, q).intervals == {}


def coverage(
    trials: int, n: int, m: int, shift: float, resamples: int
) -> dict[str, tuple[int, float]]:
    """How many intervals of 0.95 there are, and the share of them that hold the laws' figure."""
    hits: dict[str, list[bool]] = {name: [] for name in WITH_INTERVAL}
    for seed in range(trials):
        p, q = normals(n, m, shift, seed=seed)
        found = cs.divergence(p, q, interval=0.95, seed=seed, resamples=resamples)
        inner = found.edges[1:-1]
        laws = [np.diff(np.r_[0, stats.norm.cdf(inner, at), 1]) for at in (0, shift)]
        truth = {
            "kde_kl_pq": shift**2 / 2,
            "kde_kl_qp": shift**2 / 2,
            "js": float(oracle.jensenshannon(*laws) ** 2),
            "wasserstein": shift,
        }
        for name, interval in found.intervals.items():
            if interval is not None:
                hits[name].append(interval.lower <= truth[name] <= interval.upper)
    return {name: (len(held), float(np.mean(held or [0]))) for name, held in hits.items()}


def test_intervals_cover() -> None:
    # Four binomial deviations, sqrt(0.95 * 0.05 / 120) each: a right interval fails once in 10^4.
    # The bare percentiles of the same resamples cover half the time (kernel) or never (js).
    for name, (count, share) in coverage(120, 300, 200, 0.3, 60).items():
        assert count >= 0.95 * 120, name
        assert abs(share - 0.95) <= 4 * math.sqrt(0.95 * 0.05 / count), name


#: Least coverage of 0.95 that the documentation states, over the cases that it names.
STATED = {"kde_kl_pq": 0.88, "kde_kl_qp": 0.88, "js": 0.82, "wasserstein": 0.9}


@pytest.mark.parametrize(("shift", "most"), [(2.0, 1.0), (3.0, 0.2), (4.0, 0.02), (6.0, 0.0)])
def test_intervals_of_laws_far_apart_cover_or_are_not_given(shift: float, most: float) -> None:
    trials = 100
    for name, (count, share) in coverage(trials, 500, 500, shift, 60).items():
        least = STATED[name]
        if count >= 20:
            # Four binomial deviations below what is stated.
            assert share >= least - 4 * math.sqrt(least * (1 - least) / count), name
        if name.startswith("kde"):
            assert count <= most * trials, name
        if name == "wasserstein":
            assert count == trials


def test_a_bandwidth_too_wide_gives_no_interval() -> None:
    # Two modes, each as wide as the law in their midst: by Silverman's rule they are smoothed as
    # one wide law, and the divergence, 0.943 nats, is found some tenths too low at any number.
    rng = np.random.default_rng(0)
    for n in (1000, 5000):
        p, q = rng.normal(size=n), rng.normal(rng.choice([-2, 2], n), 1)
        found = cs.divergence(p, q, interval=0.95)
        assert found.kde_kl_pq < 0.88
        assert found.intervals["kde_kl_pq"] is None


def test_where_there_is_nothing_to_go_by_no_interval_is_given() -> None:
    for p, q in (([1.0] * 90, [2.0] * 90), (np.linspace(0, 1, 90), np.linspace(5, 6, 90))):
        found = cs.divergence(p, q, interval=0.95)
        assert [found.intervals[name] for name in WITH_INTERVAL[:3]] == [None] * 3
        assert found.intervals["wasserstein"] is not None
        assert found.to_dict()["intervals"]["js"] is None


def test_the_interval_of_wasserstein_covers() -> None:
    _, share = coverage(400, 250, 400, 0.4, 2)["wasserstein"]
    assert abs(share - 0.95) <= 4 * math.sqrt(0.95 * 0.05 / 400)


@pytest.mark.parametrize(
    ("bad", "error", "message"),
    [
        ([], cs.ShapeError, r"found shape \(0,\); wanted a vector of 1 number or more"),
        (3.0, cs.ShapeError, r"found shape \(\)"),
        ([[1.0, 2.0]], cs.ShapeError, r"found shape \(1, 2\)"),
        ([1.0, math.nan], ValueError, "number 1 is nan; wanted finite numbers"),
        ([math.inf, 0.0], ValueError, "number 0 is inf"),
        (["a"], cs.DTypeError, "found list; wanted real numbers"),
        (["1", "2"], cs.DTypeError, "found list; wanted real numbers"),
        (b"12", cs.DTypeError, "found bytes; wanted real numbers"),
        (np.array(["1", "2"]), cs.DTypeError, "found <U1; wanted real numbers"),
        ([True, 0.5], cs.DTypeError, "found list; wanted real numbers"),
        (np.array([1 + 2j]), cs.DTypeError, "found complex128; wanted real numbers"),
        (np.ma.array([1.0], mask=[True]), cs.DTypeError, "wanted real numbers"),
        (None, cs.DTypeError, "found NoneType; wanted real numbers"),
    ],
)
def test_a_sample_that_is_none(bad: Any, error: type[Exception], message: str) -> None:
    for name, samples in (("p", (bad, [1.0])), ("q", ([1.0], bad))):
        with pytest.raises(error, match=rf"^{name}: .*({message})"):
            cs.divergence(*samples)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bins": 0}, "bins=0"),
        ({"bins": 2.5}, r"bins=2\.5"),
        ({"interval": 1.0}, r"interval=1\.0; wanted a number between 0 and 1"),
        ({"interval": 95}, "interval=95"),
        ({"seed": -1}, "seed=-1; wanted an integer of 0 or more"),
        ({"seed": "a"}, "seed='a'"),
        ({"resamples": 1}, "resamples=1; wanted an integer of 2 or more"),
    ],
)
def test_an_option_out_of_range(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        cs.divergence([1.0, 2.0], [1.5], **options)


def test_a_range_beyond_float64() -> None:
    with pytest.raises(ValueError, match=r"numbers reach from -1e\+308 to 1e\+308"):
        cs.divergence([-1e308], [1e308])


def test_what_the_result_says() -> None:
    found = cs.divergence(*normals(90, 90, 0.5), interval=0.9)
    assert repr(found).startswith("Divergence(kl_pq=")
    said = found.to_dict()
    assert said["wasserstein"] == found.wasserstein
    assert (said["interval"], said["seed"], said["resamples"]) == (0.9, 0, 200)
    assert said["version"] == cs.__version__
    assert said["intervals"]["js"].keys() == {"lower", "upper"}
