"""The file of an ellipsoid: safetensors, with what is not an array as JSON in its header."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from clipsoid import _native
from clipsoid._output import written_beside
from clipsoid.errors import ClipsoidError, StoreError
from clipsoid.results import Calibration

if TYPE_CHECKING:
    from clipsoid.ellipsoid import Ellipsoid

E = TypeVar("E", bound="Ellipsoid")

FORMAT = "clipsoid.ellipsoid"
VERSION = 1

#: Scalars of the core's state that are floating-point numbers: kept exactly, in an array.
_NORMS = ("norm_mean", "norm_squares", "norm_min", "norm_max")
_COUNTS = ("count", "seen", "non_finite", "zero_norm")
_VECTORS = ("mean", "squares", "unit_sum")


def header(e: Ellipsoid) -> dict[str, Any]:
    """Return how the ellipsoid was made, as it stands in the file."""
    state: dict[str, Any] = dict(e._state)
    calibration = None if e.calibration is None else e.calibration.to_dict()
    return {
        "format": FORMAT,
        "format_version": VERSION,
        "clipsoid_version": _native.__version__,
        **{name: int(state[name]) for name in _COUNTS},
        "missing": e._missing,
        "dim": e.dim,
        "dtypes": sorted(e.dtypes),
        "precision": "float64" if state["float64"] else "auto",
        "simd": sorted(e.simd_levels),
        "encoder": e.encoder,
        "temperature": e.temperature,
        "calibration": calibration,
        "dropped": list(e.dropped),
        "inputs": sorted(e.inputs),
    }


def to_bytes(e: Ellipsoid) -> bytes:
    """Return the file's contents."""
    from safetensors.numpy import save

    state: dict[str, Any] = dict(e._state)
    tensors = {name: np.ascontiguousarray(state[name]) for name in _VECTORS}
    tensors["norms"] = np.array([state[name] for name in _NORMS])
    if state["scatter"] is not None:
        tensors["scatter"] = np.ascontiguousarray(state["scatter"].reshape(e.dim, e.dim))
    return save(tensors, metadata={"clipsoid": json.dumps(header(e))})


def write_ellipsoid(e: Ellipsoid, path: str | os.PathLike[str]) -> None:
    """Write the file beside its place and rename it into it."""
    with written_beside(path) as temporary:
        temporary.write_bytes(to_bytes(e))


def read_ellipsoid(cls: type[E], path: str | os.PathLike[str]) -> E:
    """Read the file."""
    path = Path(path)
    try:
        contents = path.read_bytes()
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror or error}") from None
    try:
        return from_bytes(cls, contents)
    except StoreError as error:
        raise StoreError(f"{path}: {error}") from None


def from_bytes(cls: type[E], contents: bytes) -> E:
    """Return the ellipsoid that `to_bytes` was given."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        tensors = load(contents)
        # The library gives no access to the header of bytes; its layout is 8 bytes of length, then
        # JSON, both of which `load` has just validated.
        length = int.from_bytes(contents[:8], "little")
        metadata = json.loads(contents[8 : 8 + length]).get("__metadata__", {})
        made = json.loads(metadata["clipsoid"])
    except (SafetensorError, KeyError, ValueError):
        raise StoreError("is not an ellipsoid file, or is damaged") from None
    if made.get("format") != FORMAT or made.get("format_version", 0) > VERSION:
        raise StoreError(
            f"is of format {made.get('format')} {made.get('format_version')}; "
            f"this clipsoid ({_native.__version__}) reads {FORMAT} up to {VERSION}"
        )
    try:
        scatter = tensors.get("scatter")
        state: Any = {
            **{name: made[name] for name in _COUNTS},
            **{name: tensors[name] for name in _VECTORS},
            **dict(zip(_NORMS, tensors["norms"].tolist(), strict=True)),
            "float64": made["precision"] == "float64",
            "scatter": None if scatter is None else scatter.reshape(-1),
        }
        e = cls(
            made["dim"],
            covariance=scatter is not None,
            precision=made["precision"],
            encoder=made["encoder"],
            temperature=made["temperature"],
        )
        e._moments = _native.Moments.from_state(state)
        e._missing = made["missing"]
        e._dtypes, e._inputs = frozenset(made["dtypes"]), frozenset(made["inputs"])
        e._simd, e._dropped = frozenset(made["simd"]), tuple(made["dropped"])
        if made["calibration"] is not None:
            e._calibration = Calibration(**made["calibration"])
    except (KeyError, TypeError, ValueError, OverflowError, ClipsoidError) as error:
        raise StoreError(f"is a damaged ellipsoid file ({error})") from None
    return e
