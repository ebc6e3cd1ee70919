"""Conformity of moved rows against all pairs: element types, layouts, batches, rows that vanish."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import hypothesis
import ml_dtypes
import numpy as np
import polars as pl
import pytest
from hypothesis import strategies as st

import clipsoid as cs
from bounds import Bounds, assert_within
from oracle import matching as oracle
from oracle import reference
from unit.pair_samples import bring_near, mirrored
from unit.samples import BLOCK, DTYPES, LAYOUTS, cloud, run_python, wide

every_dtype = pytest.mark.parametrize("dtype", DTYPES)

#: On the default grid and off it, beyond 1, more than a panel of the core holds.
ALPHAS = [-3.0, -1.0, -0.35, 0.0, 0.05, 0.7, 0.9, 1.0, 1.1, 1.9, 5.0, 30.0, 1e3]


def bound(x: Any, alphas: Any) -> Any:
    """Of the moved rows' own sums, and of a mean that is off, over the shortest row that is left.

    The length's square is rounded, so that its error counts twice by the inverse of the length.
    """
    rows, center = wide(x), reference.mean(x)
    bounds = Bounds(x)
    found = []
    for alpha in alphas:
        left = np.linalg.norm(rows - alpha * center, axis=1)
        before = np.linalg.norm(rows, axis=1) + abs(alpha) * np.linalg.norm(center)
        # Where less than a sixteenth is left the row is measured directly.
        shrunk = min((before / left).max(), 32.0) ** 2
        moved = abs(alpha) * np.linalg.norm(bounds.mean) / left.min()
        found.append(bounds.conformity * shrunk + 2 * moved)
    return np.array(found)[:, None]


def check(x: Any, alphas: Any = ALPHAS, **options: Any) -> Any:
    got = cs.shifted_conformity(x, alphas, **options)
    assert (got.dtype, got.shape) == (np.float64, (len(alphas), len(x)))
    assert_within(got, oracle.shifted_conformity(x, alphas), bound(x, alphas), "conformity")
    return got


@every_dtype
@pytest.mark.parametrize(
    ("n", "d"), [(2, 1), (2, 9), (17, 33), (255, 16), (257, 130), (BLOCK + 1, 5), (700, 512)]
)
def test_every_size_and_element_type(n: int, d: int, dtype: str) -> None:
    alphas = [-1.0, 0.0, 0.4] if d == 1 else ALPHAS
    check(cloud(n, d, dtype), alphas)


def test_the_bound_is_a_tight_one() -> None:
    # A relative error of 1e-11 in one weight would be found.
    assert bound(cloud(257, 130, "float64"), [0.0, 0.7]).max() < 1e-10


@every_dtype
def test_no_move_is_conformity(dtype: str) -> None:
    x = cloud(500, 40, dtype)
    (got,) = cs.shifted_conformity(x, [0.0])
    assert_within(got, cs.conformity(x), Bounds(x).conformity, "conformity")


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_every_layout_gives_the_same_bits(layout: Any, dtype: str) -> None:
    x = cloud(BLOCK + 300, 19, dtype)
    want = cs.shifted_conformity(x, [-0.5, 1.0])
    np.testing.assert_array_equal(cs.shifted_conformity(layout(x), [-0.5, 1.0]), want)


def test_batches_files_and_threads_never_show(tmp_path: Path) -> None:
    x = cloud(2 * BLOCK + 321, 21)
    want = cs.shifted_conformity(x, ALPHAS, n_threads=1)
    np.testing.assert_array_equal(cs.shifted_conformity(x, ALPHAS, n_threads=2), want)
    cuts = [0, 5, 1000, BLOCK + 1, 2 * BLOCK + 300, len(x)]
    paths = []
    for i, (a, b) in enumerate(itertools.pairwise(cuts)):
        paths.append(tmp_path / f"{i}.npy")
        np.save(paths[-1], x[a:b])
    np.testing.assert_array_equal(cs.shifted_conformity(paths, ALPHAS), want)
    kind = pl.Array(pl.Float32, 21)
    column = pl.concat([pl.Series(x[a:b], dtype=kind) for a, b in ((0, 700), (700, len(x)))])
    np.testing.assert_array_equal(cs.shifted_conformity(column, ALPHAS), want)


def test_parts_of_several_element_types(tmp_path: Path) -> None:
    x = cloud(900, 12, "float16")
    for i, dtype in enumerate((np.float16, np.float32, np.float64)):
        np.save(tmp_path / f"{i}.npy", x[300 * i : 300 * (i + 1)].astype(dtype))
    got = cs.shifted_conformity(sorted(tmp_path.glob("*.npy")), [0.3, 1.0])
    np.testing.assert_array_equal(got, cs.shifted_conformity(x, [0.3, 1.0]))


def test_alphas_do_not_depend_on_each_other() -> None:
    x = cloud(300, 33)
    together = cs.shifted_conformity(x, ALPHAS)
    for alpha, want in zip(ALPHAS, together, strict=True):
        np.testing.assert_array_equal(cs.shifted_conformity(x, [alpha])[0], want)


@hypothesis.given(st.integers(-900, 900), st.integers(0, 5), st.randoms())
def test_neither_scale_nor_order_matters(exponent: int, seed: int, random: Any) -> None:
    x = cloud(37, 9, "float64", seed)
    alphas = [-1.0, 0.5, 1.0]
    want = cs.shifted_conformity(x, alphas)
    got = cs.shifted_conformity(np.ldexp(x, exponent), alphas)
    error = bound(x, alphas)
    assert_within(got, want, 2 * error, "scaled")
    order = np.array(random.sample(range(37), 37))
    assert_within(cs.shifted_conformity(x[order], alphas), want[:, order], 2 * error, "reordered")


def test_rows_of_very_different_lengths() -> None:
    rng = np.random.default_rng(0)
    x = cloud(200, 24, "float64")
    x *= 10 ** rng.uniform(-200, 200, (len(x), 1))
    # Whatever is left of most rows is the mean, turned round; no square is taken of any length.
    got = cs.shifted_conformity(x, [0.0, 0.5, 1.0, -1e200])
    assert np.isfinite(got).all()
    assert_within(got[0], oracle.shifted_conformity(x, [0.0])[0], 1e-12, "unmoved")
    assert_within(got[3], np.ones(200), 1e-12, "far away")
    few = (abs(x).max(axis=1) > abs(x).max() / 1e10).sum()
    assert (got[1] > 1 - 2 * (few + 1) / 200).sum() >= 200 - few


@every_dtype
@pytest.mark.parametrize("ratio", [0.2, 2e-2, 2e-3, 1e-6, 1e-9])
@pytest.mark.parametrize("alpha", [1.0, -1.0, 0.5])
def test_rows_that_nearly_vanish(alpha: float, ratio: float, dtype: str) -> None:
    # The means are exact, so that what is left of a row is exact too.
    (x, _), (mean, _) = mirrored(300, dtype)
    for row in (4, 264):
        bring_near(x, mean, row, alpha, ratio)
    np.testing.assert_array_equal(reference.mean(x), mean)
    got = cs.shifted_conformity(x, [0.25, alpha])
    assert_within(got, oracle.shifted_conformity(x, [0.25, alpha], mean), 1e-11, "conformity")


@every_dtype
@pytest.mark.parametrize(("alpha", "row"), [(1.0, 4), (-1.0, BLOCK + 8), (0.5, 0)])
def test_a_row_that_vanishes_is_named_with_its_alpha(
    alpha: float, row: int, dtype: str, tmp_path: Path
) -> None:
    (x, _), (mean, _) = mirrored(BLOCK + 30, dtype)
    bring_near(x, mean, row, alpha, 0.0)
    message = rf"row {row} vanishes at alpha = {alpha:g}: it is alpha times the mean"
    with pytest.raises(cs.InvalidRowError, match=f"^x: {message}$") as caught:
        cs.shifted_conformity(x, [-2.0, alpha, 2.0])
    assert (caught.value.row, caught.value.status) == (row, "vanishes")
    assert np.isfinite(cs.shifted_conformity(x, [-2.0, 0.75, 2.0])).all()
    if x.dtype == ml_dtypes.bfloat16:
        return
    cut = 3
    for i, part in enumerate((x[:cut], x[cut:])):
        np.save(tmp_path / f"{i}.npy", part)
    there = f"{int(row >= cut)}.npy: row {row - cut if row >= cut else row} vanishes"
    with pytest.raises(cs.InvalidRowError, match=there):
        cs.shifted_conformity(sorted(tmp_path.glob("*.npy")), [alpha])


def test_rows_about_the_origin_stay() -> None:
    x = np.array([[1.0, 2.0], [-1.0, -2.0], [3.0, -1.0], [-3.0, 1.0]])
    got = cs.shifted_conformity(x, [0.0, 1e300])
    np.testing.assert_array_equal(got[0], got[1])


@pytest.mark.parametrize("level", cs._native.simd_levels())
def test_every_level(level: str) -> None:
    run_python(
        "import numpy as np, clipsoid as cs\n"
        "from unit import test_shifted as t\n"
        "from unit.samples import cloud\n"
        f"assert cs._native.simd_level() == {level!r}\n"
        "for n, d in ((2, 3), (299, 33), (1050, 17)):\n"
        "    t.check(cloud(n, d))\n"
        "    t.check(cloud(n, d, 'float16'))\n",
        CLIPSOID_SIMD=level,
    )


@pytest.mark.parametrize(
    ("alphas", "message"),
    [
        ([], "alphas is empty"),
        (0.5, r"alphas=0\.5; wanted numbers"),
        (["a"], "wanted numbers"),
        ([0.0, math.nan], "alphas: number 1 is nan; wanted finite numbers"),
    ],
)
def test_alphas_that_are_none(alphas: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        cs.shifted_conformity(cloud(5, 3), alphas)


def test_bad_rows() -> None:
    x = cloud(50, 6, "float64")
    with pytest.raises(cs.ShapeError, match="x: found 1 rows, wanted 2 or more"):
        cs.shifted_conformity(x[:1], [0.0])
    with pytest.raises(ValueError, match="n_threads=0"):
        cs.shifted_conformity(x, [0.0], n_threads=0)
    for bad, status in ((np.nan, "non_finite"), (0.0, "zero_norm")):
        x[7] = bad
        with pytest.raises(cs.InvalidRowError, match=r"^x: row 7 ") as caught:
            cs.shifted_conformity(x, [0.0])
        assert caught.value.status == status
