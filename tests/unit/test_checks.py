"""Options of the wrong kind: refused by name, whatever numpy would make of them."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

import clipsoid as cs
from clipsoid import _checks
from unit.samples import cloud

X = cloud(40, 5)
NO_NUMBERS = [True, np.True_, "0.5", b"0.5", 0.5j, np.complex64(0.5), None, [0.5], Decimal("0.5")]


@pytest.fixture(scope="module")
def e() -> cs.Ellipsoid:
    return cs.Ellipsoid.fit(X)


@pytest.mark.parametrize(
    "value", [1, 0.5, np.int64(1), np.uint8(1), np.float16(0.5), np.float64(0.5), Fraction(1, 2)]
)
def test_numbers_of_python_and_numpy(value: Any, e: cs.Ellipsoid) -> None:
    found = _checks.checked_number("x", value)
    assert type(found) is float and found == value
    # As options of any name.
    assert cs.Whitening.from_ellipsoid(e, floor=value).floor == float(value)
    assert cs.Whitening.from_ellipsoid(e, shrinkage=value).shrinkage == float(value)
    assert len(cs.tags(X, X + 1, threshold=value)) <= 5
    assert cs.contrastive_loss(X, X, temperature=value).temperature == float(value)
    assert cs.false_negatives(X, X, margin=value).image_to_text.count.sum() == 0


@pytest.mark.parametrize("value", [*NO_NUMBERS, np.array([0.1, 0.2]), np.nan, np.inf, 10**400])
def test_what_is_no_number_is_refused_by_name(value: Any, e: cs.Ellipsoid) -> None:
    calls = {
        "interval": lambda: cs.compare(e, {"a": X}, interval=value),
        "level": lambda: cs.Whitening.from_ellipsoid(e).normality(X, level=value),
        "threshold": lambda: cs.tags(X, X, threshold=value),
        "temperature": lambda: cs.contrastive_loss(X, X, temperature=value),
        "margin": lambda: cs.false_negatives(X, X, margin=value),
        "floor": lambda: cs.Whitening.from_ellipsoid(e, floor=value),
        "shrinkage": lambda: cs.Whitening.from_ellipsoid(e, shrinkage=value),
    }
    if value is None:
        # Their default.
        del calls["floor"], calls["shrinkage"], calls["temperature"]
    else:
        calls["interval"] = lambda: cs.divergence([1.0], [2.0], interval=value)
    for name, call in calls.items():
        with pytest.raises(ValueError, match=rf"^{name}=.*; wanted .*number"):
            call()


@pytest.mark.parametrize("value", [True, np.True_, 1.0, "1", np.array([1.0]), 0.5j, [1]])
def test_what_is_no_count_is_refused_by_name(value: Any, e: cs.Ellipsoid) -> None:
    calls = {
        "rank": lambda: cs.Whitening.from_ellipsoid(e, rank=value),
        "k": lambda: cs.nearest_rows(X[0], X, k=value),
        "bins": lambda: cs.divergence([1.0], [2.0], bins=value),
        "seed": lambda: cs.divergence([1.0], [2.0], seed=value),
        "sample": lambda: cs.Whitening.from_ellipsoid(e).normality(X, sample=value),
        "n_threads": lambda: cs.conformity(X, n_threads=value),
        "folds": lambda: cs.linear_separability(X, X, folds=value),
        "max_rows": lambda: cs.linear_separability(X, X, max_rows=value),
    }
    for name, call in calls.items():
        with pytest.raises(ValueError, match=rf"^{name}=.*; wanted .*integer"):
            call()
    assert cs.nearest_rows(X[0], X, k=np.int64(2)).index.shape == (2,)


def generated() -> Iterator[float]:
    yield from (0.0, 0.5)


@pytest.mark.parametrize(
    "alphas",
    [[0, 0.5], (0.0, 0.5), np.array([0, 0.5], np.float16), generated(), [Fraction(0), 0.5]],
)
def test_alphas_of_any_kind(alphas: Any) -> None:
    assert cs.loss_sweep(X, X, alphas=alphas).options.alphas == (0.0, 0.5)


@pytest.mark.parametrize(
    "alphas", ["01", b"01", ["0"], [True, 0.5], [0.5j], 0.5, [[0.5]], np.array(["0"]), [None]]
)
def test_alphas_that_are_none(alphas: Any) -> None:
    with pytest.raises(ValueError, match=r"^alphas=.*; wanted numbers, such as"):
        cs.loss_sweep(X, X, alphas=alphas)
    with pytest.raises(ValueError, match=r"^alphas=.*; wanted numbers, such as"):
        cs.shifted_conformity(X, alphas)


@pytest.mark.parametrize("value", ["0.5", None, True, 0.5j, [0.1, "0.2"], [[0.1], [0.2, 0.3]]])
def test_theta_and_alpha_that_are_none(value: Any) -> None:
    with pytest.raises(ValueError, match=r"^theta=.*; wanted a number, or an array of numbers"):
        cs.slerp(X[0], X[1], value)
    with pytest.raises(ValueError, match=r"^alpha=.*; wanted a number, or an array of numbers"):
        cs.vslerp(X[0], X[1], 0.5, value, X[2])
    with pytest.raises(ValueError, match=r"^alpha=.*; wanted a number, or an array of numbers"):
        cs.vslerp_grid(X[0], X[1], 0.5, value, X[2])


def test_numbers_that_are_not_finite_are_named() -> None:
    with pytest.raises(ValueError, match=r"^theta=nan; wanted a finite number"):
        cs.slerp(X[0], X[1], np.nan)
    with pytest.raises(ValueError, match=r"^theta: number 1 is inf; wanted finite numbers"):
        cs.slerp(X[0], X[1], [0.5, np.inf])


def test_the_level_of_a_test_may_be_a_numpy_scalar(e: cs.Ellipsoid) -> None:
    found = cs.Whitening.from_ellipsoid(e).normality(X, level=np.float32(0.25))
    assert type(found.level) is float and found.level == 0.25


def test_vectors_of_whole_numbers() -> None:
    want = cs.slerp([1.0, 0.0], [0.0, 2.0], 0.5)
    for kind in (np.int64, np.uint8, None):
        # A list of whole numbers is a vector, and so is an array of them.
        a, b = (
            ([1, 0], [0, 2]) if kind is None else (np.array([1, 0], kind), np.array([0, 2], kind))
        )
        np.testing.assert_array_equal(cs.slerp(a, b, 0.5), want)
    rows = np.array([[1.0, 0.0], [0.0, 1.0]])
    assert cs.nearest_rows(np.array([0, 3]), rows).index.tolist() == [1]


@pytest.mark.parametrize("captions", ["aaa", b"aaa", 3])
def test_captions_are_one_for_each_row(captions: Any) -> None:
    with pytest.raises(ValueError, match=r"^captions=.*; wanted one text for each row"):
        cs.analyze(X[:3], X[:3], captions=captions, leave_out=["linear_separability", "normality"])


def test_advice_is_given_only_where_it_can_be_taken(e: cs.Ellipsoid) -> None:
    bad = X.copy()
    bad[7] = np.nan
    for call in (
        lambda: cs.strongest_features(bad),
        lambda: cs.shifted_conformity(bad, [0.5]),
        lambda: cs.Whitening.from_ellipsoid(e).inverse(bad),
        lambda: cs.Whitening.from_ellipsoid(e, shrinkage="ledoit-wolf", rows=bad),
    ):
        with pytest.raises(cs.InvalidRowError, match="row 7 holds a value") as caught:
            call()
        assert "policy" not in str(caught.value)
