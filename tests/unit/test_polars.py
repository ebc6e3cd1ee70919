"""Polars columns: lists and arrays, sliced, in chunks, with nulls, in half precision."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

import clipsoid as cs
from unit.samples import cloud, snapshot

FLOATS = {"float16": pl.Float16, "float32": pl.Float32, "float64": pl.Float64}


def as_array(x: np.ndarray) -> pl.Series:
    made = pl.Series("embedding", x)
    assert made.dtype == pl.Array(FLOATS[x.dtype.name], x.shape[1])
    return made


def as_list(x: np.ndarray) -> pl.Series:
    return as_array(x).arr.to_list()


every_column = pytest.mark.parametrize("column", [as_array, as_list])
every_dtype = pytest.mark.parametrize("dtype", FLOATS)


@every_column
@every_dtype
def test_a_column_is_its_matrix(column, dtype: str) -> None:
    x = cloud(1300, 7, dtype)
    made, plain = column(x), cs.Ellipsoid.fit(x)
    assert snapshot(cs.Ellipsoid.fit(made)) == snapshot(plain)
    np.testing.assert_array_equal(plain.conformity(made), plain.conformity(x))
    for method in ("linear", "pairwise"):
        np.testing.assert_array_equal(
            cs.conformity(made, method=method), cs.conformity(x, method=method)
        )


@every_column
@every_dtype
def test_slices_and_chunks(column, dtype: str) -> None:
    x = cloud(1300, 7, dtype)
    made = column(x)
    for start, length in ((0, 5), (1, 1299), (700, 33)):
        got = cs.Ellipsoid.fit(made.slice(start, length))
        assert snapshot(got) == snapshot(cs.Ellipsoid.fit(x[start : start + length]))
    chunks = pl.concat([made[:400], made[400:401], made[401:]], rechunk=False)
    assert chunks.n_chunks() == 3
    assert snapshot(cs.Ellipsoid.fit(chunks)) == snapshot(cs.Ellipsoid.fit(x))
    filtered = made.filter(pl.Series(np.arange(1300) % 3 == 0))
    assert snapshot(cs.Ellipsoid.fit(filtered)) == snapshot(cs.Ellipsoid.fit(x[::3]))


@every_column
def test_nulls_are_missing_rows(column) -> None:
    x = cloud(200, 4)
    rows = column(x)
    gone = [0, 63, 64, 199]
    made = pl.select(pl.when(~pl.Series(np.isin(np.arange(200), gone))).then(rows)).to_series()
    assert made.null_count() == 4
    got = cs.conformity(made, on_invalid="null")
    np.testing.assert_array_equal(np.flatnonzero(np.isnan(got)), gone)
    want = cs.conformity(np.delete(x, gone, axis=0))
    np.testing.assert_allclose(np.delete(got, gone), want, rtol=1e-12)
    assert cs.Ellipsoid.fit(made, on_invalid="skip").invalid == cs.Invalid(missing=4)
    with pytest.raises(cs.InvalidRowError, match=r"row 0 .*missing"):
        cs.Ellipsoid.fit(made)


def test_what_is_no_column_of_embeddings() -> None:
    frame = pl.DataFrame({"embedding": pl.Series(cloud(3, 2))})
    with pytest.raises(cs.DTypeError, match="found a table; wanted one of its columns"):
        cs.Ellipsoid.fit(frame)
    for column in (pl.Series([1.0, 2.0]), pl.Series([[1, 2]]), pl.Series(["a"])):
        with pytest.raises(cs.DTypeError, match=r"^x: "):
            cs.Ellipsoid.fit(column)
    with pytest.raises(cs.ShapeError, match="row 1 has 1 elements"):
        cs.Ellipsoid.fit(pl.Series([[1.0, 2.0], [3.0]]))
    with pytest.raises(cs.ShapeError, match="element 0 is null"):
        cs.Ellipsoid.fit(pl.Series([[1.0, 2.0], [None, 3.0]]))
