"""The layout of an array in memory never shows in a result: not in one bit."""

from __future__ import annotations

import numpy as np
import pytest

import clipsoid as cs
from bounds import Bounds, assert_within
from oracle import reference
from unit.samples import BLOCK, DTYPES, LAYOUTS, cloud, snapshot

every_dtype = pytest.mark.parametrize("dtype", DTYPES)
every_layout = pytest.mark.parametrize("layout", LAYOUTS)


@every_dtype
@every_layout
@pytest.mark.parametrize("d", [1, 9, 33])
def test_every_layout_gives_the_same_bits(layout: str, dtype: str, d: int) -> None:
    x = cloud(BLOCK + 130, d, dtype)
    other = LAYOUTS[layout](x)
    np.testing.assert_array_equal(other, x)
    plain, e = cs.Ellipsoid.fit(x), cs.Ellipsoid.fit(other)
    assert snapshot(e) == snapshot(plain)
    for member in (False, True):
        got = e.conformity(other, member=member)
        np.testing.assert_array_equal(got, plain.conformity(x, member=member))
    np.testing.assert_array_equal(e.cosine_to_mean(other), plain.cosine_to_mean(x))
    assert e.shell(other) == plain.shell(x)
    got = cs.conformity(other, method="pairwise")
    np.testing.assert_array_equal(got, cs.conformity(x, method="pairwise"))
    assert_within(cs.conformity(other), reference.conformity(x), Bounds(x).conformity, "oracle")


def test_layouts_are_what_they_are_called() -> None:
    x = cloud(6, 4, "float32")
    made = {name: layout(x) for name, layout in LAYOUTS.items()}
    assert made["fortran"].flags.f_contiguous
    assert made["reversed_both_ways"].strides == (-16, -4)
    assert not made["big_endian"].dtype.isnative
    assert made["packed_field"].strides[0] % 4 == 1
    assert not made["misaligned"].flags.aligned
    assert not made["read_only"].flags.writeable


@every_dtype
def test_a_row_repeated_by_a_stride_of_zero(dtype: str) -> None:
    row = cloud(1, 9, dtype)
    x = np.broadcast_to(row, (1500, 9))
    e = cs.Ellipsoid.fit(x)
    np.testing.assert_array_equal(e.mean, row[0].astype(np.float64))
    np.testing.assert_array_equal(e.std, 0)
    np.testing.assert_array_equal(e.covariance, 0)
    assert_within(cs.conformity(x), np.ones(1500), Bounds(row).conformity, "conformity")


@every_dtype
def test_packed_records_beyond_one_conversion(dtype: str) -> None:
    x = cloud(20_000, 3, dtype)
    field = LAYOUTS["packed_field"](x)
    assert snapshot(cs.Ellipsoid.fit(field)) == snapshot(cs.Ellipsoid.fit(x))
    np.testing.assert_array_equal(cs.conformity(field), cs.conformity(x))


def test_the_input_is_left_alone() -> None:
    x = cloud(300, 8)
    before = x.tobytes()
    e = cs.Ellipsoid.fit(x)
    e.calibrate(x)
    e.shell(x)
    cs.conformity(x, method="pairwise")
    assert x.tobytes() == before


def test_rows_may_be_overwritten_once_update_has_returned() -> None:
    # A reader reuses its buffer; the rows that wait for their block must be copies.
    x = cloud(700, 8)
    buffer, e = np.empty((100, 8), np.float32), cs.Ellipsoid(8)
    for start in range(0, 700, 100):
        buffer[:] = x[start : start + 100]
        e.update(buffer)
        buffer[:] = np.nan
    assert snapshot(e) == snapshot(cs.Ellipsoid.fit(x))
