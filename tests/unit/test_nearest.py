"""Nearest rows: against plain sorting, ties, sets in parts, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import clipsoid as cs
from bounds import stated_conformity
from clipsoid import _native
from oracle import retrieval as oracle
from unit.samples import DTYPES, LAYOUTS, cloud, run_python, wide

every_dtype = pytest.mark.parametrize("dtype", DTYPES)
#: Off the boundaries of register tiles, tiles and blocks.
SHAPES = [(1, 1, 3), (5, 31, 2), (3, 257, 17), (260, 33, 9), (7, 1030, 130)]


def sets(q: int, n: int, d: int, dtype: str) -> tuple[np.ndarray, Any]:
    """Queries in float64, and rows of which every ninth is another's double."""
    x = cloud(n, d, "float64", offset=0.3)
    x[9::9] = x[4 % n]
    return cloud(q, d, "float64", seed=6, offset=0.3), x.astype(DTYPES[dtype])


def check(got: cs.NearestRows, s: np.ndarray, k: int, error: float) -> None:
    """As by sorting the cosines `s`, where the error cannot decide."""
    assert (got.index.dtype, got.similarity.dtype) == (np.int64, np.float64)
    assert got.index.shape == got.similarity.shape == (len(s), k)
    for r, (index, similarity) in enumerate(zip(got.index, got.similarity, strict=True)):
        want = np.array(sorted(range(s.shape[1]), key=lambda j: (-s[r, j], j)))
        assert len({*index}) == k
        np.testing.assert_array_equal(index, index[np.lexsort((index, -similarity))])
        assert (np.abs(similarity - s[r, index]) <= error).all()
        assert (np.abs(similarity - s[r, want[:k]]) <= error).all()
        # Where every gap to the next is wider than the error, or none at all, so is the order.
        gaps = -np.diff(s[r, want[: k + 1]])
        if ((gaps > 2 * error) | (gaps == 0)).all():
            np.testing.assert_array_equal(index, want[:k])


@every_dtype
@pytest.mark.parametrize(("q", "n", "d"), SHAPES, ids=str)
def test_as_by_sorting(q: int, n: int, d: int, dtype: str) -> None:
    queries, x = sets(q, n, d, dtype)
    s, error = oracle.cosines(queries, wide(x)), stated_conformity(dtype)
    for k in {1, min(n, 10), n} if n < 300 else (1, 10):
        check(cs.nearest_rows(queries, x, k=k), s, k, error)


def test_a_row_is_nearest_to_itself() -> None:
    for dtype in DTYPES:
        x = cloud(600, 64, dtype, offset=0.0)
        found = cs.nearest_rows(3 * wide(x), x)
        np.testing.assert_array_equal(found.index[:, 0], np.arange(600))
        assert (np.abs(found.similarity - 1) <= stated_conformity(dtype)).all()
        assert found.similarity.max() <= 1


@every_dtype
def test_ties_go_to_the_lower_number(dtype: str) -> None:
    x = cloud(700, 33, dtype)
    same = [3, 4, 255, 256, 300, 699]
    x[same] = x[3]
    found = cs.nearest_rows(wide(x)[3], x, k=len(same))
    assert found.index.tolist() == same
    assert len({*found.similarity}) == 1
    constant = np.ones((700, 5), DTYPES[dtype])
    assert cs.nearest_rows(np.ones(5), constant, k=700).index.tolist() == [*range(700)]


@every_dtype
def test_neither_threads_nor_batches_show(dtype: str, tmp_path: Path) -> None:
    queries, x = sets(40, 5000, 24, dtype)
    want = cs.nearest_rows(queries, x, k=7, n_threads=1)

    def same(got: cs.NearestRows) -> None:
        np.testing.assert_array_equal(got.index, want.index)
        np.testing.assert_array_equal(got.similarity, want.similarity)

    for n_threads in (2, 5, None):
        same(cs.nearest_rows(queries, x, k=7, n_threads=n_threads))
    # A query is what it is among others and alone.
    alone = [cs.nearest_rows(query, x, k=7) for query in queries[:5]]
    np.testing.assert_array_equal([one.similarity for one in alone], want.similarity[:5])
    parts = np.split(x, [3, 4, 1700, 4100])
    if dtype != "bfloat16":
        for i, part in enumerate(parts):
            np.save(tmp_path / f"{i}.npy", part)
        same(cs.nearest_rows(queries, tmp_path, k=7))
        same(cs.nearest_rows(queries, cs.open_store(tmp_path), k=7))
    if dtype == "float32":
        chunks = [pl.Series(part.tolist(), dtype=pl.Array(pl.Float32, 24)) for part in parts]
        same(cs.nearest_rows(queries, pl.concat(chunks), k=7))
        for layout in LAYOUTS.values():
            same(cs.nearest_rows(queries, layout(x), k=7))


def test_shards_of_several_types(tmp_path: Path) -> None:
    queries, x = sets(6, 300, 16, "float64")
    parts = [part.astype(t) for part, t in zip(np.split(x, 3), ("f2", "f4", "f8"), strict=True)]
    for i, part in enumerate(parts):
        np.save(tmp_path / f"{i}.npy", part)
    whole = np.concatenate([wide(part) for part in parts])
    found = cs.nearest_rows(queries, tmp_path, k=5)
    check(found, oracle.cosines(queries, whole), 5, stated_conformity("float32"))


def test_queries_of_any_shape_and_type() -> None:
    queries, x = sets(6, 50, 8, "float32")
    want = cs.nearest_rows(queries, x, k=2)
    grid = cs.nearest_rows(queries.reshape(2, 3, 8), x, k=2)
    assert grid.index.shape == grid.similarity.shape == (2, 3, 2)
    np.testing.assert_array_equal(grid.index.reshape(6, 2), want.index)
    one = cs.nearest_rows(queries[1].tolist(), x, k=2)
    assert one.index.tolist() == want.index[1].tolist()
    assert cs.nearest_rows(queries[:0], x, k=2).index.shape == (0, 2)
    narrow = queries.astype(np.float16)
    found, exact = (cs.nearest_rows(form, x) for form in (narrow, narrow.astype(np.float64)))
    np.testing.assert_array_equal(found.similarity, exact.similarity)
    column = pl.Series(queries.tolist(), dtype=pl.List(pl.Float64))
    np.testing.assert_array_equal(cs.nearest_rows(column, x, k=2).index, want.index)


def test_lengths_do_not_matter() -> None:
    queries, x = sets(5, 60, 8, "float64")
    want = cs.nearest_rows(queries, x, k=3)
    for scale in (2.0**-700, 2.0**700):
        found = cs.nearest_rows(queries * scale, x / scale, k=3)
        np.testing.assert_array_equal(found.index, want.index)
        np.testing.assert_allclose(found.similarity, want.similarity, rtol=0, atol=1e-14)


def test_the_result_in_words() -> None:
    queries, x = sets(6, 50, 8, "float32")
    found = cs.nearest_rows(queries.reshape(2, 3, 8), x, k=4)
    assert repr(found) == "NearestRows(the nearest 4 to each of 6)"
    said = found.to_dict()
    assert said["index"] is found.index and said["similarity"] is found.similarity
    assert (said["count"], said["dim"], said["dtype"]) == (50, 8, "float32")
    assert (said["version"], said["simd_level"]) == (cs.__version__, _native.simd_level())
    done: list[int] = []
    cs.nearest_rows(queries, x, progress=done.append)
    assert sum(done) == 50


def test_what_does_not_fit_is_refused() -> None:
    queries, x = sets(4, 9, 6, "float32")
    with pytest.raises(cs.ShapeError, match="x: found 9 rows, wanted 10 or more"):
        cs.nearest_rows(queries, x, k=10)
    with pytest.raises(cs.MismatchError, match="queries: the vectors have 5 features, x has 6"):
        cs.nearest_rows(queries[:, :5], x)
    for k in (0, -1, True, 1.5, "2"):
        with pytest.raises(ValueError, match=r"k=.*wanted an integer of 1 or more"):
            cs.nearest_rows(queries, x, k=k)
    with pytest.raises(ValueError, match="n_threads=0; wanted None"):
        cs.nearest_rows(queries, x, n_threads=0)
    with pytest.raises(cs.DTypeError, match="x: elements are int64"):
        cs.nearest_rows(queries, np.arange(6).reshape(1, 6))
    for bad in ([[1.0], [2.0, 3.0]], [b"a"]):
        with pytest.raises(cs.DTypeError, match=r"^queries: found a list; wanted numbers"):
            cs.nearest_rows(bad, x)
    with pytest.raises(cs.StoreError, match="nowhere"):
        cs.nearest_rows(["nowhere"], x)
    with pytest.raises(cs.ShapeError, match=r"queries: found shape \(\)"):
        cs.nearest_rows(np.float64(1), x)


@every_dtype
@pytest.mark.parametrize(
    ("value", "problem"), [(0, "has zero norm"), (np.nan, "not finite"), (-np.inf, "not finite")]
)
def test_rows_without_a_direction_are_refused(dtype: str, value: float, problem: str) -> None:
    queries, x = sets(8, 600, 6, dtype)
    bad = x.copy()
    bad[517] = value
    with pytest.raises(cs.InvalidRowError, match=f"^x: row 517 .*{problem}") as caught:
        cs.nearest_rows(queries, bad)
    assert caught.value.row == 517
    queries[5] = value
    with pytest.raises(cs.InvalidRowError, match=f"^queries: row 5 .*{problem}"):
        cs.nearest_rows(queries.reshape(2, 4, 6), x)


def test_rows_of_files_and_nulls_are_named(tmp_path: Path) -> None:
    queries, x = sets(2, 30, 4, "float32")
    x[25] = 0
    for i, part in enumerate(np.split(x, 3)):
        np.save(tmp_path / f"{i}.npy", part)
    with pytest.raises(cs.InvalidRowError, match=r"2\.npy: row 5 has zero norm$"):
        cs.nearest_rows(queries, tmp_path)
    column = pl.Series([[1.0, 2.0, 3.0, 4.0], None], dtype=pl.List(pl.Float32))
    with pytest.raises(cs.InvalidRowError, match="x: row 1 is missing"):
        cs.nearest_rows(queries, column)
    with pytest.raises(cs.InvalidRowError, match="queries: row 1 is missing"):
        cs.nearest_rows(column, x[:20])


PROBE = """
import numpy as np, clipsoid as cs
from unit.test_nearest import sets
found = [cs.nearest_rows(*sets(40, 1030, 33, t), k=9) for t in ("float16", "float32", "float64")]
np.savez(PATH, *[f.similarity for f in found])
"""


@pytest.mark.parametrize("level", _native.simd_levels())
def test_every_level(level: str, tmp_path: Path) -> None:
    path = tmp_path / "found.npz"
    run_python(f"PATH = {str(path)!r}\n{PROBE}", CLIPSOID_SIMD=level)
    with np.load(path) as found:
        for name, dtype in zip(found.files, ("float16", "float32", "float64"), strict=True):
            queries, x = sets(40, 1030, 33, dtype)
            want = -np.sort(-oracle.cosines(queries, wide(x)), axis=1)[:, :9]
            assert (np.abs(found[name] - want) <= stated_conformity(dtype)).all()
