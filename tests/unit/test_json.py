"""Results as JSON: what goes in comes out, and what does not fit is named."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

import clipsoid as cs
from clipsoid._json import decode, encode


class Two(NamedTuple):
    one: float
    other: float | None


@dataclass(frozen=True)
class Inner:
    numbers: NDArray[np.float64]
    grid: NDArray[np.int64]


@dataclass(frozen=True)
class Outer:
    name: str
    kind: Literal["a", "b"]
    flag: bool
    count: int
    value: float
    none: Inner | None
    inner: tuple[Inner, ...]
    two: Two
    table: pl.DataFrame
    by_name: dict[str, float]


def sample() -> Outer:
    numbers = np.array([1.5, math.nan, -math.inf, math.inf, 0.1])
    return Outer(
        name='</script> "quoted" é 日本',
        kind="b",
        flag=True,
        count=2**53 + 1,
        value=-math.inf,
        none=None,
        inner=(Inner(numbers, np.arange(6).reshape(2, 3)), Inner(np.empty(0), np.empty((0, 2)))),
        two=Two(0.1, None),
        table=pl.DataFrame(
            {
                "n": [1, 2],
                "x": [None, -math.inf],
                "empty": pl.Series([None, None], dtype=pl.Float64),
            }
        ),
        by_name={"a": math.nan, "b": 1.0},
    )


def travelled(value: Any, kind: Any) -> Any:
    return decode(kind, json.loads(json.dumps(encode(value), allow_nan=False)))


def test_everything_comes_back() -> None:
    want = sample()
    got = travelled(want, Outer)
    for name in ("name", "kind", "flag", "count", "value", "none", "two"):
        assert getattr(got, name) == getattr(want, name), name
    assert got.table.equals(want.table)
    assert got.table.schema == want.table.schema
    assert math.isnan(got.by_name["a"]) and got.by_name["b"] == 1.0
    for ours, theirs in zip(got.inner, want.inner, strict=True):
        np.testing.assert_array_equal(ours.numbers, theirs.numbers)
        np.testing.assert_array_equal(ours.grid.ravel(), theirs.grid.ravel())
        assert (ours.numbers.dtype, ours.grid.dtype) == (np.float64, np.int64)
    np.testing.assert_array_equal(got.inner[0].grid, want.inner[0].grid)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_every_digit_of_an_array_comes_back(dtype: type) -> None:
    numbers = np.random.default_rng(0).standard_normal(200).astype(dtype).astype(np.float64)
    got = travelled(Inner(numbers, np.arange(2)), Inner)
    np.testing.assert_array_equal(got.numbers, numbers)


def test_results_of_the_library_come_back() -> None:
    image, text, _ = cs.double_ellipsoid(300, seed=0)
    sweep = cs.loss_sweep(image, text, alphas=[-0.5, 0.0])
    got = travelled(sweep, cs.LossSweep)
    assert got.table.equals(sweep.table) and got.options == sweep.options
    histogram = cs.similarity_histogram(image)
    np.testing.assert_array_equal(
        travelled(histogram, cs.SimilarityHistogram).counts, histogram.counts
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"count": 1.5}, r"^count: found 1.5, wanted int$"),
        ({"count": True}, r"^count: found True, wanted int$"),
        ({"kind": "c"}, r"^kind: found 'c', wanted one of"),
        ({"value": "much"}, r"^value: found 'much', wanted float$"),
        ({"inner": [{"numbers": [1, "x"], "grid": []}]}, r"^inner\[0\]\.numbers: found 'x'"),
        ({"inner": [{"numbers": [1]}]}, r"^inner\[0\]: grid is missing$"),
        ({"inner": 3}, r"^inner: found 3, wanted a list$"),
        ({"table": {"columns": {}}}, r"^table: .*wanted types and columns"),
        ({"table": {"types": {"n": "Int8"}, "columns": {"n": [1]}}}, r"^table\.n: found 'Int8'"),
        ({"table": {"types": [], "columns": {}}}, r"^table: .*wanted types and columns"),
        ({"table": {"types": {"n": "Int64"}, "columns": {"n": [2**80]}}}, r"^table: "),
        ({"value": [1]}, r"^value: found \[1\], wanted float$"),
        (
            {"inner": [{"numbers": [1], "grid": [1.7]}]},
            r"^inner\[0\]\.grid: found 1.7, wanted int64$",
        ),
        ({"inner": [{"numbers": [1], "grid": [2**80]}]}, r"^inner\[0\]\.grid: "),
        ({"more": 1}, r"^JSON: more is unknown$"),
    ],
)
def test_what_does_not_fit_is_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises(cs.MismatchError, match=message):
        decode(Outer, encode(sample()) | change)


def test_what_has_no_form_is_refused() -> None:
    with pytest.raises(TypeError, match="complex has no form"):
        encode({"x": 1j})
