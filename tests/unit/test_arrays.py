"""Objects that are rows by protocol: ``__array__`` and ``__dlpack__``, of any library or none."""

from __future__ import annotations

import sys
import threading
import types
from typing import Any

import numpy as np
import pytest

import clipsoid as cs
from unit.samples import DTYPES, cloud, run_python, snapshot


class ByArray:
    """Nothing but ``__array__``."""

    def __init__(self, x: Any) -> None:
        self.x = x

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        return np.array(self.x, dtype=dtype, copy=copy)


class ByDlpack:
    """Nothing but DLPack, as jax and cupy arrays on a CPU."""

    def __init__(self, x: np.ndarray) -> None:
        self.x = x

    def __dlpack__(self, **options: Any) -> Any:
        return self.x.__dlpack__(**options)

    def __dlpack_device__(self) -> Any:
        return self.x.__dlpack_device__()


class OnDevice(ByDlpack):
    """An array that lies on an accelerator."""

    def __dlpack__(self, **_: Any) -> Any:
        raise BufferError("the array is on a device that cannot be reached")

    def __dlpack_device__(self) -> Any:
        return (2, 0)


@pytest.mark.parametrize("dtype", DTYPES)
def test_anything_with_array(dtype: str) -> None:
    x = cloud(1100, 9, dtype)
    assert snapshot(cs.Ellipsoid.fit(ByArray(x))) == snapshot(cs.Ellipsoid.fit(x))
    np.testing.assert_array_equal(cs.conformity(ByArray(x)), cs.conformity(x))
    pairwise = cs.conformity(ByArray(x), method="pairwise")
    np.testing.assert_array_equal(pairwise, cs.conformity(x, method="pairwise"))


# numpy knows no bfloat16, so that it cannot take one by DLPack.
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_anything_with_dlpack(dtype: str, order: str) -> None:
    x = np.array(cloud(1100, 9, dtype), order=order)
    assert snapshot(cs.Ellipsoid.fit(ByDlpack(x))) == snapshot(cs.Ellipsoid.fit(x))
    np.testing.assert_array_equal(cs.conformity(ByDlpack(x)), cs.conformity(x))


def test_by_protocol_too_the_elements_must_be_embeddings() -> None:
    for wrap in (ByArray, ByDlpack):
        with pytest.raises(cs.DTypeError, match="int32"):
            cs.Ellipsoid.fit(wrap(np.ones((3, 2), np.int32)))
        with pytest.raises(cs.ShapeError, match=r"\(3,\)"):
            cs.Ellipsoid.fit(wrap(np.ones(3)))


def test_an_array_on_an_accelerator_is_refused_by_name() -> None:
    with pytest.raises(cs.DTypeError, match=r"^x: "):
        cs.Ellipsoid.fit(OnDevice(np.ones((3, 2))))


def test_an_ndarray_subclass_is_an_array() -> None:
    x = cloud(40, 5)

    class Named(np.ndarray):
        pass

    assert snapshot(cs.Ellipsoid.fit(x.view(Named))) == snapshot(cs.Ellipsoid.fit(x))


def test_a_memory_map_is_read_in_place(tmp_path: Any) -> None:
    x = cloud(3000, 7, "float16")
    np.save(tmp_path / "x.npy", x)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    assert snapshot(cs.Ellipsoid.fit(mapped)) == snapshot(cs.Ellipsoid.fit(x))


def stand_in_for_torch(monkeypatch: pytest.MonkeyPatch) -> Any:
    """As much of torch as the library asks for, where torch itself is not installed."""
    torch = types.SimpleNamespace(strided="strided", bfloat16="torch.bfloat16", int16="torch.int16")

    class Tensor:
        layout = "strided"

        def __init__(self, x: np.ndarray, device: str = "cpu") -> None:
            self.x, self.device = x, types.SimpleNamespace(type=device)
            # The library asks whether it *is* that type, as there is one object of each.
            name = x.dtype.name
            self.dtype = torch.bfloat16 if name == "bfloat16" else f"torch.{name}"

        def detach(self) -> Any:
            return self

        def view(self, dtype: str) -> Any:
            assert dtype == "torch.int16"
            return Tensor(self.x.view(np.int16))

        def numpy(self) -> np.ndarray:
            assert self.dtype != "torch.bfloat16", "torch gives numpy no bfloat16"
            return self.x

    Tensor.__module__ = "torch"
    monkeypatch.setitem(sys.modules, "torch", torch)
    return Tensor


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_tensor_by_its_protocol(dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    tensor, x = stand_in_for_torch(monkeypatch), cloud(60, 5, dtype)
    assert snapshot(cs.Ellipsoid.fit(tensor(x))) == snapshot(cs.Ellipsoid.fit(x))
    with pytest.raises(cs.DTypeError, match=r"wanted a CPU tensor: x\.cpu\(\)"):
        cs.Ellipsoid.fit(tensor(x, device="cuda"))


HEAVY = ("torch", "polars", "pyarrow", "scipy", "altair", "pandas", "sklearn", "safetensors")


def test_importing_imports_nothing_heavy() -> None:
    script = f"""
import sys, numpy
import clipsoid
print(*(name for name in {HEAVY!r} if name in sys.modules))
"""
    assert run_python(script).stdout.split() == []


def test_computing_imports_nothing_heavy() -> None:
    script = f"""
import sys, pickle, numpy as np, ml_dtypes, clipsoid as cs
x = np.random.default_rng(0).standard_normal((300, 8))
for dtype in (np.float16, ml_dtypes.bfloat16, np.float32, np.float64):
    e = cs.Ellipsoid.fit(x.astype(dtype))
    e.calibrate(x), e.shell(x), e.covariance, e.off_diagonal_dominance
    cs.conformity(x.astype(dtype), method="pairwise")
print(*(name for name in {HEAVY!r} if name in sys.modules))
pickle.dumps(e)
print(*(name for name in {HEAVY!r} if name in sys.modules))
"""
    # The file of an ellipsoid, and so a pickle, is written by safetensors.
    assert run_python(script).stdout.split() == ["safetensors"]


def test_rows_that_another_thread_writes_to_give_numbers_or_an_error_but_no_crash() -> None:
    x = cloud(60_000, 16)
    stop = threading.Event()

    def scribble() -> None:
        rng = np.random.default_rng(0)
        while not stop.is_set():
            x[rng.integers(0, len(x), 1000)] = np.nan
            x[rng.integers(0, len(x), 1000)] = 1

    writer = threading.Thread(target=scribble)
    writer.start()
    try:
        for _ in range(5):
            e = cs.Ellipsoid.fit(x, on_invalid="skip")
            assert 0 <= e.count <= len(x)
            assert cs.conformity(x, on_invalid="null").shape == (len(x),)
    finally:
        stop.set()
        writer.join()
