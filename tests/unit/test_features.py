"""Ranges and histograms of features: the very counts of numpy, at every level, in every layout."""

from __future__ import annotations

import io
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import clipsoid as cs
from clipsoid import _native
from clipsoid._features import bin_edges, fitted, histograms
from clipsoid._source import as_source
from oracle import features as oracle
from unit.samples import BLOCK, DTYPES, LAYOUTS, cloud, run_python, wide

every_dtype = pytest.mark.parametrize("dtype", DTYPES)
#: Around the rows of a block, and the features that are taken together (32 and more).
SHAPES = [(2, 1), (7, 40), (BLOCK - 1, 5), (BLOCK + 1, 9), (2 * BLOCK, 33), (40, 513)]


def counted(x: Any, low: Any, high: Any, bins: int = 50, n_threads: int | None = None) -> Any:
    return histograms(as_source(x), np.asarray(low), np.asarray(high), bins, n_threads)


def check(x: Any, bins: int = 50) -> None:
    """Ranges and counts are numpy's."""
    e, found = fitted(as_source(x), None)
    low, high = oracle.ranges(x)
    np.testing.assert_array_equal(found.low, low)
    np.testing.assert_array_equal(found.high, high)
    np.testing.assert_array_equal(found.mean, e.mean)
    np.testing.assert_array_equal(found.std, e.std)
    got = counted(x, low, high, bins)
    np.testing.assert_array_equal(got, oracle.histograms(x, low, high, bins))


@every_dtype
@pytest.mark.parametrize(("n", "d"), SHAPES)
def test_equals_numpy(n: int, d: int, dtype: str) -> None:
    check(cloud(n, d, dtype))


@pytest.mark.parametrize("bins", [1, 2, 7, 128, 129, 1000, 5000])
def test_bins(bins: int) -> None:
    check(cloud(300, 70, "float16"), bins)


@every_dtype
def test_numbers_on_edges(dtype: str) -> None:
    # Steps of a tenth, which every type rounds up and down; whole numbers, all of them edges.
    steps = (np.arange(41)[:, None] + np.arange(19)) * 0.1 - 1
    whole = (np.arange(65)[:, None] * 7 + np.arange(19)) % 65
    for x, bins in ((steps, 10), (steps, 20), (steps, 40), (whole + 1, 64), (whole + 1, 32)):
        check(x.astype(DTYPES[dtype]), bins)


@given(st.integers(1, 60), st.integers(2, 80), st.integers(0, 2**32 - 1))
def test_coarse_numbers(bins: int, n: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = rng.integers(-8, 9, (n, 11)) * rng.choice([0.1, 0.3, 1 / 7, 1]) + rng.choice([9, 1e3, -1e6])
    x[:2] = [x.min(axis=0) - 0.1, x.max(axis=0) + 0.3]
    check(x, bins)


@pytest.mark.parametrize("scale", [1e-320, 3e-310, 1e-308, 1e-306, 1e-300, 1e-40, 1e100, 1e152])
def test_ranges_of_any_size_beside_another(scale: float) -> None:
    rng = np.random.default_rng(7)
    x = rng.uniform(-1, 1, (500, 12))
    x[:, 3:9] *= scale
    x[:50, 5] = np.linspace(x[:, 5].min(), x[:, 5].max(), 50)
    low, high = oracle.ranges(x)
    # The range of the features alone: that of the kernel, as a fit refuses squares of 1e152.
    np.testing.assert_array_equal(_native.feature_ranges(x, "float64", 1), (low, high))
    got = counted(x, low, high, 49)
    np.testing.assert_array_equal(got, oracle.histograms(x, low, high, 49))


def test_subnormal_elements_of_narrow_types() -> None:
    rng = np.random.default_rng(8)
    for dtype, step in (("float16", 2.0**-24), ("bfloat16", 2.0**-133), ("float32", 2.0**-149)):
        check((rng.integers(-90, 91, (300, 10)) * step).astype(DTYPES[dtype]), 18)


@pytest.mark.parametrize("offset", [0.0, 1.0, -1e6, 1e12])
@pytest.mark.parametrize("ulps", [1, 4, 60, 300, 20_000])
def test_bins_of_few_units_in_the_last_place(offset: float, ulps: int) -> None:
    # numpy refuses bins without a width; an edge then belongs to the last bin that begins there.
    rng = np.random.default_rng(9)
    x = offset + rng.integers(0, ulps + 1, (200, 9)) * np.spacing(abs(offset))
    x[:2] = [[offset], [offset + ulps * np.spacing(abs(offset))]]
    low, high = oracle.ranges(x)
    got = counted(x, low, high)
    for column, edges, counts in zip(x.T, bin_edges(low, high, 50), got, strict=True):
        np.testing.assert_array_equal(counts, oracle.by_definition(column, edges))
        np.testing.assert_array_equal(edges, np.linspace(column.min(), column.max(), 51))


@every_dtype
def test_features_that_do_not_vary(dtype: str) -> None:
    x = cloud(300, 40, dtype)
    x[:, 3:30] = 0.7
    x[:, 31] = 0
    low, high = oracle.ranges(x)
    got = counted(x, low, high)
    varies = low < high
    want = oracle.histograms(x[:, varies], low[varies], high[varies], 50)
    np.testing.assert_array_equal(got[varies], want)
    assert (~varies).sum() == 28 and (got[~varies, 0] == 300).all()


@every_dtype
@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(layout: str, dtype: str) -> None:
    x = cloud(BLOCK + 70, 45, dtype)
    check(LAYOUTS[layout](x))


@every_dtype
def test_threads_and_batches_do_not_show(dtype: str, tmp_path: Path) -> None:
    x = cloud(5 * BLOCK + 3, 37, dtype)
    low, high = oracle.ranges(x)
    want = counted(x, low, high, n_threads=1)
    for threads in (2, 3, None):
        np.testing.assert_array_equal(counted(x, low, high, n_threads=threads), want)
    parts = [counted(part, low, high) for part in np.split(x, [1, 800, 801])]
    np.testing.assert_array_equal(sum(parts), want)
    if dtype == "bfloat16":
        return
    for i, part in enumerate(np.split(x, [1, 800, 801])):
        np.save(tmp_path / f"{i}.npy", part)
    np.testing.assert_array_equal(counted(tmp_path, low, high), want)
    _, found = fitted(as_source(tmp_path), 2)
    np.testing.assert_array_equal((found.low, found.high), (low, high))


def test_element_types_that_differ_between_files(tmp_path: Path) -> None:
    x, y = cloud(300, 9, "float16"), cloud(200, 9, "float64", seed=1)
    np.save(tmp_path / "0.npy", x)
    np.save(tmp_path / "1.npy", y)
    both = np.concatenate([wide(x), y])
    low, high = oracle.ranges(both)
    _, found = fitted(as_source(tmp_path), None)
    np.testing.assert_array_equal((found.low, found.high), (low, high))
    got = counted(tmp_path, low, high)
    np.testing.assert_array_equal(got, oracle.histograms(both, low, high, 50))


PROBE = """
import io, numpy as np
from clipsoid import _native
from clipsoid._features import fitted, histograms
from clipsoid._source import as_source
from unit.samples import DTYPES, cloud
from unit.test_features import SHAPES
assert _native.simd_level() == LEVEL
found = {}
for dtype in DTYPES:
    for n, d in SHAPES:
        x = cloud(n, d, dtype)
        for layout, rows in (("C", x), ("F", np.asfortranarray(x))):
            _, f = fitted(as_source(rows), 2)
            counts = histograms(as_source(rows), f.low, f.high, 20, 2)
            found[f"{dtype} {n} {d} {layout}"] = np.column_stack([f.low, f.high, counts])
out = io.BytesIO()
np.savez(out, **found)
print(out.getvalue().hex())
"""


@cache
def wanted(n: int, d: int, dtype: str) -> Any:
    x = cloud(n, d, dtype)
    low, high = oracle.ranges(x)
    return np.column_stack([low, high, oracle.histograms(x, low, high, 20)])


@pytest.mark.parametrize("level", _native.simd_levels())
def test_every_level(level: str) -> None:
    done = run_python(PROBE.replace("LEVEL", repr(level)), CLIPSOID_SIMD=level)
    with np.load(io.BytesIO(bytes.fromhex(done.stdout.strip()))) as file:
        found = dict(file)
    assert len(found) == 2 * len(DTYPES) * len(SHAPES)
    for dtype in DTYPES:
        for n, d in SHAPES:
            for layout in "CF":
                name = f"{dtype} {n} {d} {layout}"
                np.testing.assert_array_equal(found[name], wanted(n, d, dtype), name)


@pytest.mark.parametrize("place", [0, 5, BLOCK + 1])
def test_unusable_rows_are_refused_with_their_number(place: int) -> None:
    for value, what in ((np.nan, "holds a value"), (np.inf, "holds a value"), (0, "has zero norm")):
        x = cloud(BLOCK + 20, 12, "float32")
        x[place] = value
        with pytest.raises(cs.InvalidRowError, match=rf"^rows: row {place} {what}"):
            fitted(as_source(x, "rows"), 2)
    column = pl.Series([[1.0, 2.0], None, [0.0, 1.0]])
    with pytest.raises(cs.InvalidRowError, match=r"^rows: row 1 is missing \(a null embedding\)"):
        fitted(as_source(column, "rows"), None)


def test_the_core_refuses_what_is_no_histogram() -> None:
    x = cloud(10, 4)
    found = _native.FeatureHistograms(np.zeros((3, 2)))
    with pytest.raises(cs.MismatchError, match="rows: found 4 features, expected 3"):
        found.update(x, "float32", None)
    with pytest.raises(RuntimeError, match="3 features with 0 bins each"):
        _native.FeatureHistograms(np.zeros((3, 1)))
