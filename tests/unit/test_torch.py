"""Torch tensors, read where they lie. The library never imports torch; these tests need it."""

from __future__ import annotations

import numpy as np
import pytest

import clipsoid as cs
from unit.samples import cloud, snapshot, wide

torch = pytest.importorskip("torch")

DTYPES = {
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
    "float32": torch.float32,
    "float64": torch.float64,
}
every_dtype = pytest.mark.parametrize("dtype", DTYPES)


def tensor(x: np.ndarray):
    return torch.from_numpy(wide(x)).to(DTYPES[x.dtype.name])


@every_dtype
def test_a_tensor_is_its_matrix(dtype: str) -> None:
    x = cloud(1300, 9, dtype)
    assert snapshot(cs.Ellipsoid.fit(tensor(x))) == snapshot(cs.Ellipsoid.fit(x))
    for method in ("linear", "pairwise"):
        got = cs.conformity(tensor(x), method=method)
        np.testing.assert_array_equal(got, cs.conformity(x, method=method))


@every_dtype
def test_views_and_gradients(dtype: str) -> None:
    x = cloud(1300, 9, dtype)
    plain = snapshot(cs.Ellipsoid.fit(x))
    transposed = tensor(x).T.contiguous().T
    assert not transposed.is_contiguous()
    parameter = torch.nn.Parameter(tensor(x))
    for view in (transposed, tensor(x).requires_grad_(), parameter, tensor(x)[:, None][:, 0]):
        assert snapshot(cs.Ellipsoid.fit(view)) == plain
    assert snapshot(cs.Ellipsoid.fit(tensor(x)[3::2, 1:])) == snapshot(
        cs.Ellipsoid.fit(x[3::2, 1:])
    )
    with torch.inference_mode():
        assert snapshot(cs.Ellipsoid.fit(tensor(x))) == plain


def test_tensors_that_are_no_embeddings() -> None:
    for bad in (torch.ones(3, 2, dtype=torch.int64), torch.ones(3, 2, dtype=torch.complex64)):
        with pytest.raises(cs.DTypeError, match=r"^x: "):
            cs.Ellipsoid.fit(bad)
    for dtype in DTYPES.values():
        for shape in ((3,), (2, 3, 4), (3, 0)):
            with pytest.raises(cs.ShapeError, match=r"^x: found shape"):
                cs.Ellipsoid.fit(torch.ones(shape, dtype=dtype))
    with pytest.raises(cs.DTypeError, match="to_dense"):
        cs.Ellipsoid.fit(torch.ones(3, 2).to_sparse())
    with pytest.raises(cs.DTypeError, match=r"meta.*x\.cpu\(\)"):
        cs.Ellipsoid.fit(torch.ones(3, 2, device="meta"))


def test_invalid_rows_are_named() -> None:
    x = torch.ones(50, 3, dtype=torch.bfloat16)
    x[7] = 0
    with pytest.raises(cs.InvalidRowError, match="row 7 "):
        cs.Ellipsoid.fit(x)
