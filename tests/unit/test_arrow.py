"""Arrow columns by the C data interface: every list type, chunk, slice and null."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pytest

import clipsoid as cs
from unit.samples import cloud, snapshot

FLOATS = {"float16": pa.float16(), "float32": pa.float32(), "float64": pa.float64()}


def as_list(x: np.ndarray, large: bool = False) -> pa.Array:
    n, d = x.shape
    kind, offsets = (pa.LargeListArray, pa.int64()) if large else (pa.ListArray, pa.int32())
    ends = pa.array(np.arange(0, n * d + 1, d), offsets)
    return kind.from_arrays(ends, pa.array(x.reshape(-1)))


def as_large_list(x: np.ndarray) -> pa.Array:
    return as_list(x, large=True)


def as_fixed(x: np.ndarray) -> pa.Array:
    return pa.FixedSizeListArray.from_arrays(pa.array(x.reshape(-1)), x.shape[1])


Column = Callable[[np.ndarray], pa.Array]
every_column = pytest.mark.parametrize("column", [as_list, as_large_list, as_fixed])
every_dtype = pytest.mark.parametrize("dtype", FLOATS)


def with_nulls(x: np.ndarray, nulls: list[int], column: Column) -> pa.Array:
    mask = np.zeros(len(x), bool)
    mask[nulls] = True
    made = column(x)
    if column is as_fixed:
        return pa.FixedSizeListArray.from_arrays(made.values, x.shape[1], mask=pa.array(mask))
    kind = type(made)
    return kind.from_arrays(made.offsets, made.values, mask=pa.array(mask))


def assert_same(column: pa.Array | pa.ChunkedArray, x: np.ndarray) -> None:
    plain, e = cs.Ellipsoid.fit(x), cs.Ellipsoid.fit(column)
    assert snapshot(e) == snapshot(plain)
    got = e.conformity(column, member=True)
    np.testing.assert_array_equal(got, plain.conformity(x, member=True))
    assert e.shell(column) == plain.shell(x)
    pairwise = cs.conformity(column, method="pairwise")
    np.testing.assert_array_equal(pairwise, cs.conformity(x, method="pairwise"))


@every_column
@every_dtype
def test_a_column_is_its_matrix(column: Column, dtype: str) -> None:
    x = cloud(1500, 9, dtype)
    made = column(x)
    assert made.type.value_type == FLOATS[dtype]
    assert_same(made, x)


@every_column
@every_dtype
def test_slices(column: Column, dtype: str) -> None:
    x = cloud(1500, 5, dtype)
    for part in (slice(1, None), slice(0, 700), slice(13, 1400), slice(1497, None)):
        assert_same(column(x)[part], x[part])
    assert_same(column(x)[3:][5:90], x[8:93])


@every_column
@every_dtype
def test_chunks(column: Column, dtype: str) -> None:
    x = cloud(2500, 5, dtype)
    cuts = [0, 1, 3, 3, 1027, 2500]
    parts = [column(x[a:b]) for a, b in itertools.pairwise(cuts)]
    assert_same(pa.chunked_array(parts), x)
    assert_same(pa.chunked_array(parts)[2:2100], x[2:2100])
    table = pa.table({"id": np.arange(2500), "embedding": pa.chunked_array(parts)})
    assert_same(table["embedding"], x)


@every_column
@every_dtype
@pytest.mark.parametrize("chunked", [False, True])
def test_nulls_are_missing_rows(column: Column, dtype: str, chunked: bool) -> None:
    x = cloud(1300, 5, dtype)
    nulls = [0, 1, 7, 8, 640, 1299]
    made = with_nulls(x, nulls, column)
    assert made.null_count == len(nulls)
    if chunked:
        made = pa.chunked_array([made[:3], made[3:700], made[700:]])
    clean = np.delete(x, nulls, axis=0)
    e, plain = cs.Ellipsoid.fit(made, on_invalid="skip"), cs.Ellipsoid.fit(clean)
    assert e.count == plain.count
    assert e.invalid == cs.Invalid(missing=len(nulls))
    for method in ("linear", "pairwise"):
        want = cs.conformity(clean, method=method)
        got = cs.conformity(made, method=method, on_invalid="null")
        assert np.isnan(got[nulls]).all()
        np.testing.assert_allclose(np.delete(got, nulls), want, rtol=1e-12)
        skipped = cs.conformity(made, method=method, on_invalid="skip")
        np.testing.assert_array_equal(skipped, np.delete(got, nulls))
    assert e.shell(made, on_invalid="skip").count == len(clean)


@every_column
@pytest.mark.parametrize("first", [0, 5, 1299])
def test_a_null_is_refused_by_its_row(column: Column, first: int) -> None:
    x = cloud(1300, 5)
    made = with_nulls(x, [first, 1299], column)
    e = cs.Ellipsoid.fit(x)
    e.calibrate(x)
    before = snapshot(e)
    for rows in (made, pa.chunked_array([made[:4], made[4:]])):
        calls = [e.update, cs.conformity, e.conformity, e.shell, e.calibrate, pairwise]
        for call in calls:
            with pytest.raises(cs.InvalidRowError, match=f"row {first} .*missing") as caught:
                call(rows)
            assert (caught.value.row, caught.value.status) == (first, "missing")
            if rows is made:
                assert snapshot(e) == before


def pairwise(x: object) -> np.ndarray:
    return cs.conformity(x, method="pairwise")


@every_column
def test_an_error_in_a_later_chunk_changes_nothing(column: Column) -> None:
    x = cloud(300, 5)
    x[250] = 0
    e = cs.Ellipsoid.fit(cloud(40, 5, seed=1))
    before = snapshot(e)
    with pytest.raises(cs.InvalidRowError, match="row 250 "):
        e.update(pa.chunked_array([column(x[:200]), column(x[200:])]))
    assert snapshot(e) == before


@every_column
def test_slices_with_nulls(column: Column) -> None:
    x = cloud(100, 5)
    made = with_nulls(x, [0, 9, 10, 50, 99], column)
    for start, stop in ((0, 10), (1, 9), (3, 60), (9, 100), (10, 51)):
        got = cs.conformity(made[start:stop], on_invalid="null")
        missing = [row - start for row in (0, 9, 10, 50, 99) if start <= row < stop]
        np.testing.assert_array_equal(np.flatnonzero(np.isnan(got)), missing)
        clean = np.delete(x[start:stop], missing, axis=0)
        want = cs.conformity(clean)
        np.testing.assert_allclose(got[~np.isnan(got)], want, rtol=1e-12)


def test_nan_and_null_are_told_apart() -> None:
    x = cloud(50, 5)
    x[3, 2] = np.nan
    x[9] = 0
    made = with_nulls(x, [7, 20], as_list)
    e = cs.Ellipsoid.fit(made, on_invalid="null")
    assert e.invalid == cs.Invalid(non_finite=1, zero_norm=1, missing=2)
    merged = e.merge(e)
    assert merged.invalid == cs.Invalid(non_finite=2, zero_norm=2, missing=4)


def test_lists_with_gaps_between_them() -> None:
    # A null list may still span values, and a view may skip some.
    x = cloud(40, 3, "float64")
    offsets = np.arange(0, 121, 3, dtype=np.int32)
    mask = np.zeros(40, bool)
    mask[[4, 5, 30]] = True
    made = pa.ListArray.from_arrays(pa.array(offsets), pa.array(x.reshape(-1)), mask=pa.array(mask))
    got = cs.conformity(made, on_invalid="skip")
    np.testing.assert_allclose(got, cs.conformity(x[~mask]), rtol=1e-12)


def test_what_is_no_embedding_is_refused_by_name() -> None:
    lists = pa.list_(pa.float32())
    unequal = pa.array([[1, 2], [3, 4], [5]], lists)
    with pytest.raises(cs.ShapeError, match=r"^x: row 2 has 1 elements.*2"):
        cs.Ellipsoid.fit(unequal)
    with pytest.raises(cs.ShapeError, match=r"^x: row 3 has 1 elements.*2"):
        cs.Ellipsoid.fit(pa.chunked_array([unequal[:2], unequal[:1], unequal[2:]]))
    for inner in (lists, pa.list_(pa.float32(), 2)):
        with pytest.raises(cs.ShapeError, match=r"^x: row 1: element 1 is null"):
            cs.Ellipsoid.fit(pa.array([[1, 2], [3, None]], inner))
    ints = pa.array([[1, 2], [3, 4]])
    strings = pa.array(["a"])
    flat = pa.array([1.0, 2.0])
    nested = pa.array([[[1.0]]])
    for column in (ints, strings, flat, nested):
        with pytest.raises(cs.DTypeError, match=r"^x: .*wanted a list or fixed-size list"):
            cs.Ellipsoid.fit(column)


def test_a_table_is_refused_with_a_hint() -> None:
    table = pa.table({"embedding": as_list(cloud(5, 2))})
    for whole in (table, table.to_batches()[0]):
        with pytest.raises(cs.DTypeError, match="found a table; wanted one of its columns"):
            cs.Ellipsoid.fit(whole)


def test_columns_without_rows() -> None:
    lists = pa.list_(pa.float32())
    for column in (
        pa.array([], lists),
        pa.array([None, None], lists),
        pa.chunked_array([], lists),
        pa.chunked_array([pa.array([], lists)] * 2),
        pa.array([[], []], lists),
    ):
        with pytest.raises(cs.ShapeError, match=r"^x: .*wanted"):
            cs.Ellipsoid.fit(column)
    # Where the type says how wide a row is, no row is no error.
    empty = cs.Ellipsoid.fit(pa.array([None, None], pa.list_(pa.float32(), 4)), on_invalid="skip")
    assert (empty.dim, empty.count, empty.invalid.missing) == (4, 0, 2)


def test_rows_outlive_the_column() -> None:
    x = cloud(3000, 6)
    e = cs.Ellipsoid(6)
    for start in range(0, 3000, 500):
        e.update(as_list(x[start : start + 500]))
    assert snapshot(e) == snapshot(cs.Ellipsoid.fit(x))


def test_a_fixed_shape_tensor_is_a_fixed_size_list() -> None:
    x = cloud(30, 6)
    made = pa.FixedShapeTensorArray.from_numpy_ndarray(x)
    assert_same(made, x)


def test_a_chunk_without_rows_may_have_no_offsets() -> None:
    x = cloud(5, 2)
    bare = pa.Array.from_buffers(
        pa.list_(pa.float32()), 0, [None, None], children=[pa.array([], pa.float32())]
    )
    assert_same(pa.chunked_array([as_list(x), bare]), x)


def test_data_that_were_handed_out_before_are_refused() -> None:
    class Spent:
        """Gives the same capsules again and again; the first taker empties them."""

        def __init__(self) -> None:
            self.capsules = as_list(cloud(5, 2)).__arrow_c_array__()

        def __arrow_c_array__(self, requested: object = None) -> object:
            return self.capsules

    spent = Spent()
    assert cs.Ellipsoid.fit(spent).count == 5
    with pytest.raises(cs.ShapeError, match=r"^x: .*handed out before"):
        cs.Ellipsoid.fit(spent)


def test_misaligned_buffers_are_read() -> None:
    x = cloud(5, 3)
    shifted = pa.py_buffer(b"\0" + x.tobytes()).slice(1)
    offsets = pa.py_buffer(b"\0" + np.arange(0, 16, 3, dtype=np.int32).tobytes()).slice(1)
    values = pa.Array.from_buffers(pa.float32(), 15, [None, shifted])
    column = pa.Array.from_buffers(pa.list_(pa.float32()), 5, [None, offsets], children=[values])
    assert_same(column, x)
