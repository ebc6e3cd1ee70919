"""The histogram of similarities: against numpy's, at its edges, every level, bad input."""

from __future__ import annotations

import io
from functools import cache
from typing import Any

import numpy as np
import pytest

import clipsoid as cs
from bounds import Bounds, stated_conformity
from clipsoid import _native
from oracle import reference
from oracle import retrieval as oracle
from unit.samples import DTYPES, cloud, run_python

SHAPES = [(2, 5, 3), (31, 2, 2), (255, 257, 17), (257, 255, 130), (600, 40, 33)]
OPTIONS: list[tuple[int, tuple[float, float]]] = [
    (1, (-1.0, 1.0)),
    (200, (-1.0, 1.0)),
    (7, (0.1, 0.7)),
    (5000, (-0.3, 0.95)),
]
every_dtype = pytest.mark.parametrize("dtype", DTYPES)
every_shape = pytest.mark.parametrize(("n", "m", "d"), SHAPES, ids=str)


def check(got: cs.SimilarityHistogram, cosines: Any, error: float) -> None:
    """Below every edge lie as many as by definition, but for those that an error could carry."""
    # Rounding carries no cosine past one, here as there.
    cosines = np.clip(cosines, -1, 1)
    assert (got.counts.dtype, got.total) == (np.int64, cosines.size)
    found = got.below + np.cumsum(np.r_[0, got.counts])
    assert found[-1] + got.above == cosines.size
    for edge, count in zip(got.edges[:-1], found[:-1], strict=True):
        assert (cosines < edge - error).sum() <= count <= (cosines < edge + error).sum()
    last = got.edges[-1]
    assert (cosines > last + error).sum() <= got.above <= (cosines > last - error).sum()


@every_dtype
@every_shape
@pytest.mark.parametrize(("bins", "limits"), OPTIONS)
def test_histograms_equal_the_definition(
    n: int, m: int, d: int, bins: int, limits: tuple[float, float], dtype: str
) -> None:
    x, y = cloud(n, d, dtype, offset=0.2), cloud(m, d, dtype, seed=5, offset=0.2)
    error = stated_conformity(dtype)
    between = cs.similarity_histogram(x, y, bins=bins, range=limits)
    np.testing.assert_array_equal(between.edges, np.linspace(*limits, bins + 1))
    s = oracle.cosines(x, y)
    check(between, s, error)
    assert between.mean == pytest.approx(s.mean(), abs=Bounds(x).unit_mean + Bounds(y).unit_mean)
    within = cs.similarity_histogram(x, bins=bins, range=limits)
    s = reference.cosine_matrix(x)[np.triu_indices(n, 1)]
    check(within, s, error)
    assert within.mean == pytest.approx(s.mean(), abs=Bounds(x).conformity)


def test_edges_belong_to_the_upper_bin_and_the_last_one_to_the_last() -> None:
    # Cosines 1, 0 and -1, exactly.
    x, y = np.array([[2.0, 0.0]]), np.array([[1.0, 0], [4, 0], [0, 1], [-1, 0], [0, -8]])
    got = cs.similarity_histogram(x, y, bins=4)
    assert (got.counts.tolist(), got.below, got.above) == ([1, 0, 2, 2], 0, 0)
    got = cs.similarity_histogram(x, y, bins=2, range=(-0.5, 0.0))
    assert (got.counts.tolist(), got.below, got.above) == ([0, 2], 1, 2)
    got = cs.similarity_histogram(x, y, bins=1, range=(0.0, 3.0))
    assert (got.counts.tolist(), got.below, got.above) == ([4], 1, 0)


@every_dtype
def test_duplicates_are_in_the_last_bin_however_they_round(dtype: str) -> None:
    x = cloud(300, 37, dtype)
    x[:] = x[0]
    got = cs.similarity_histogram(x, bins=10)
    assert got.counts[-1] == got.total == 300 * 299 // 2
    assert got.above == 0


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_threads_order_and_types_change_nothing(dtype: str) -> None:
    x, y = cloud(1100, 64, dtype), cloud(700, 64, dtype, seed=1)
    for others in (None, y):
        one = cs.similarity_histogram(x, others, n_threads=1)
        p = np.random.default_rng(0).permutation(len(x))
        for got in (
            cs.similarity_histogram(x, others, n_threads=2),
            cs.similarity_histogram(x, others, n_threads=3),
            cs.similarity_histogram(x[p] * 2, others),
        ):
            np.testing.assert_array_equal(got.counts, one.counts)
    turned = cs.similarity_histogram(y, x)
    np.testing.assert_array_equal(turned.counts, cs.similarity_histogram(x, y).counts)
    mixed = cs.similarity_histogram(x.astype(np.float64), y)
    check(mixed, oracle.cosines(x, y), stated_conformity("float64"))


def test_files_are_gathered(tmp_path) -> None:
    x = cloud(100, 8)
    np.save(tmp_path / "a.npy", x[:40])
    np.save(tmp_path / "b.npy", x[40:])
    got, want = cs.similarity_histogram(tmp_path), cs.similarity_histogram(x)
    np.testing.assert_array_equal(got.counts, want.counts)
    described = f"4950 cosines, 200 bins from -1 to 1, mean {got.mean:.4f}"
    assert repr(got) == f"SimilarityHistogram({described})"
    assert got.to_dict()["total"] == 4950


PROBE = """
import io, numpy as np, clipsoid as cs
from unit.samples import DTYPES, cloud
from unit.test_histogram import SHAPES
found = {}
for dtype in DTYPES:
    for n, m, d in SHAPES:
        x, y = cloud(n, d, dtype, offset=0.2), cloud(m, d, dtype, seed=5, offset=0.2)
        for name, others in (("between", y), ("within", None)):
            h = cs.similarity_histogram(x, others, bins=50, range=(-0.2, 0.8))
            found[f"{dtype} {n} {m} {d} {name}"] = np.r_[h.below, h.counts, h.above]
out = io.BytesIO()
np.savez(out, **found)
print(out.getvalue().hex())
"""


@cache
def probe(level: str) -> dict[str, np.ndarray]:
    done = run_python(PROBE, CLIPSOID_SIMD=level)
    with np.load(io.BytesIO(bytes.fromhex(done.stdout.strip()))) as found:
        return dict(found)


@pytest.mark.parametrize("level", _native.simd_levels())
@every_dtype
@every_shape
def test_every_level_equals_the_definition(n: int, m: int, d: int, dtype: str, level: str) -> None:
    x, y = cloud(n, d, dtype, offset=0.2), cloud(m, d, dtype, seed=5, offset=0.2)
    within = reference.cosine_matrix(x)[np.triu_indices(n, 1)]
    edges = np.linspace(-0.2, 0.8, 51)
    for name, s in (("between", oracle.cosines(x, y)), ("within", within)):
        below, *counts, above = probe(level)[f"{dtype} {n} {m} {d} {name}"]
        got = cs.SimilarityHistogram(edges, np.array(counts), int(below), int(above), 0.0)
        check(got, s, stated_conformity(dtype))


X = cloud(20, 4)


@pytest.mark.parametrize("bins", [0, -1, 2.5, None, 65_537])
def test_bad_bins(bins: Any) -> None:
    with pytest.raises(ValueError, match=r"bins=.*wanted"):
        cs.similarity_histogram(X, bins=bins)


@pytest.mark.parametrize(
    "limits",
    [
        *((1, -1), (0, 0), (0, np.nan), (-np.inf, 1), (-1e308, 1.5e308)),
        *((0.5, 0.5 + 1e-12), (1e9, 1e9 + 1), (0, 1, 2), ("a", "b"), None),
    ],
)
def test_a_bad_range(limits: Any) -> None:
    with pytest.raises(ValueError, match=r"range="):
        cs.similarity_histogram(X, range=limits)


def test_bad_rows_of_a_second_set() -> None:
    with pytest.raises(cs.ShapeError, match=r"^x: found 0 rows, wanted 1 or more"):
        cs.similarity_histogram(X[:0], X)
    with pytest.raises(cs.ShapeError, match=r"^y: found 0 rows, wanted 1 or more"):
        cs.similarity_histogram(X, X[:0])
    with pytest.raises(cs.MismatchError, match=r"^y: the rows have 3 features, x has 4"):
        cs.similarity_histogram(X, X[:, :3])
    bad = X.copy()
    bad[5] = 0
    with pytest.raises(cs.InvalidRowError, match=r"^x: row 5 has zero norm$"):
        cs.similarity_histogram(bad, X)
    with pytest.raises(cs.InvalidRowError, match=r"^y: row 5 has zero norm$"):
        cs.similarity_histogram(X, bad)
