"""Rows that the tests share: clouds like those of CLIP, in every element type and memory layout."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

import clipsoid as cs

DTYPES: dict[str, Any] = {
    "float16": np.float16,
    "bfloat16": ml_dtypes.bfloat16,
    "float32": np.float32,
    "float64": np.float64,
}

TESTS = Path(__file__).parents[1]

#: Rows to a block of the library: what its edges have to be tested around.
BLOCK = 1024


def cloud(n: int, d: int, dtype: str = "float32", seed: int = 0, offset: float = 0.7) -> Any:
    """Off-centre, elongated and tilted, with lengths that vary by a factor of two."""
    rng = np.random.default_rng([seed, n, d])
    center = offset * np.where(rng.random(d) < 0.5, -1, 1) * rng.uniform(0.5, 1.5, d)
    scales = np.geomspace(1, 0.1, d)
    tilt = 0.3 * rng.standard_normal((n, 1)) * rng.standard_normal(d)
    rows = center + scales * rng.standard_normal((n, d)) + tilt
    rows *= rng.uniform(0.7, 1.4, (n, 1))
    return rows.astype(DTYPES[dtype])


def wide(x: Any) -> np.ndarray:
    return np.asarray(x).astype(np.float64)


def fortran(x: np.ndarray) -> np.ndarray:
    return np.asfortranarray(x)


def strided(x: np.ndarray) -> np.ndarray:
    """Every other row and every third column of something larger."""
    whole = np.full((2 * len(x), 3 * x.shape[1]), 77, x.dtype)
    whole[::2, ::3] = x
    return whole[::2, ::3]


def reversed_both_ways(x: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(x[::-1, ::-1])[::-1, ::-1]


def gapped(x: np.ndarray) -> np.ndarray:
    """Contiguous rows with a gap after each."""
    whole = np.full((len(x), x.shape[1] + 5), 77, x.dtype)
    whole[:, 2:-3] = x
    return whole[:, 2:-3]


def big_endian(x: np.ndarray) -> np.ndarray:
    return x.astype(x.dtype.newbyteorder(">"))


def big_endian_fortran(x: np.ndarray) -> np.ndarray:
    return np.asfortranarray(big_endian(x))


def packed_field(x: np.ndarray) -> np.ndarray:
    """A field of packed records: rows lie at odd distances."""
    records = np.zeros(len(x), [("flag", "u1"), ("row", x.dtype, (x.shape[1],))])
    records["row"] = x
    return records["row"]


def misaligned(x: np.ndarray) -> np.ndarray:
    """Contiguous, from an odd address on."""
    memory = np.frombuffer(bytearray(b"\0" + x.tobytes()), np.uint8)
    return memory[1:].view(x.dtype).reshape(x.shape)


def read_only(x: np.ndarray) -> np.ndarray:
    x = x.copy()
    x.flags.writeable = False
    return x


LAYOUTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    layout.__name__: layout
    for layout in (
        fortran,
        strided,
        reversed_both_ways,
        gapped,
        big_endian,
        big_endian_fortran,
        packed_field,
        misaligned,
        read_only,
    )
}


def snapshot(e: cs.Ellipsoid) -> dict[str, Any]:
    """Everything that an ellipsoid says of its rows, down to the bits."""
    arrays = {"mean": e.mean, "unit_mean": e.unit_mean, "std": e.std} if e.count else {}
    if e.has_covariance and e.count > 1:
        arrays["covariance"] = e.covariance
    plain = {
        "count": e.count,
        "dim": e.dim,
        "invalid": e.invalid,
        "norms": e.norms if e.count else None,
        "dtypes": e.dtypes,
        "has_covariance": e.has_covariance,
        "calibration": e.calibration,
        "dropped": e.dropped,
        "encoder": e.encoder,
        "temperature": e.temperature,
        "simd_levels": e.simd_levels,
    }
    return plain | {name: array.tobytes() for name, array in arrays.items()}


def run_python(script: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a script in an interpreter of its own, which must end well."""
    paths = [str(TESTS), *filter(None, [os.environ.get("PYTHONPATH")])]
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)} | environment,
    )
    assert done.returncode == 0, f"exit status {done.returncode}\n{done.stderr}"
    return done
