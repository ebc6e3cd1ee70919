"""The file of a whitening: safetensors, with what is not an array as JSON in its header."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, get_args

import numpy as np

from clipsoid import _native
from clipsoid._file import (
    check_fields,
    check_tensors,
    is_count,
    is_ellipsoid,
    is_number,
    is_of_format,
    is_text,
    read_file,
    unpacked,
)
from clipsoid._output import written_beside
from clipsoid._spectrum import Kind
from clipsoid.ellipsoid import Ellipsoid
from clipsoid.errors import UnavailableError
from clipsoid.whitening import ARRAYS, SCALARS, Whitening

W = TypeVar("W", bound=Whitening)

FORMAT = "clipsoid.whitening"
VERSION = 1


def to_bytes(w: Whitening) -> bytes:
    """Return the file's contents."""
    from safetensors.numpy import save

    header = {
        "format": FORMAT,
        "format_version": VERSION,
        "clipsoid_version": _native.__version__,
        "dim": w.dim,
        "rank": w.rank,
        **{name: getattr(w, name) for name in SCALARS},
    }
    tensors = {name: np.ascontiguousarray(getattr(w, name)) for name in ARRAYS}
    return save(tensors, metadata={"clipsoid": json.dumps(header)})


def write_whitening(w: Whitening, path: str | os.PathLike[str]) -> None:
    """Write the file beside its place and rename it into it."""
    with written_beside(path) as temporary:
        temporary.write_bytes(to_bytes(w))


def is_whitening(path: Path) -> bool:
    """Whether a file looks like one that `write_whitening` wrote, whatever its name."""
    return is_of_format(path, FORMAT)


def read_whitening(cls: type[W], path: str | os.PathLike[str]) -> W:
    """Read the file."""
    return read_file(path, lambda contents: from_bytes(cls, contents))


def whitening_of(path: str | os.PathLike[str]) -> Whitening:
    """Read a whitening, or make one of the ellipsoid that a file holds.

    Raises
    ------
    StoreError
        If the file is missing, damaged, or neither.
    UnavailableError
        If it is an ellipsoid without covariance, or of too few rows.
    """
    if not is_ellipsoid(Path(path)):
        return Whitening.load(path)
    e = Ellipsoid.load(path)
    try:
        return Whitening.from_ellipsoid(e)
    except UnavailableError as error:
        raise UnavailableError(f"{path}: {error}") from None


def from_bytes(cls: type[W], contents: bytes) -> W:
    """Return the whitening that `to_bytes` was given."""
    made, tensors = unpacked(contents, FORMAT, VERSION, "a whitening")
    check_fields(made, _FIELDS)
    dim, rank = made["dim"], made["rank"]
    outputs = rank if made["kind"] == "pca" else dim
    shapes = {
        "mean": (dim,),
        "matrix": (outputs, dim),
        "inverse_matrix": (dim, outputs),
        "eigenvalues": (dim,),
        "variances": (rank,),
        "axes": (dim, rank),
    }
    check_tensors(tensors, shapes)
    return cls(**{name: made[name] for name in SCALARS}, **{name: tensors[name] for name in ARRAYS})


def _is_share(value: Any) -> bool:
    return is_number(value) and 0 <= value <= 1


def _is_flag(value: Any) -> bool:
    return isinstance(value, bool)


#: What each field of the header has to be.
_FIELDS: dict[str, Callable[[Any], bool]] = {
    **dict.fromkeys(("dim", "rank", "count"), lambda value: is_count(value) and value > 0),
    **dict.fromkeys(("floor", "shrinkage"), lambda value: value is None or _is_share(value)),
    **dict.fromkeys(("tolerance", "noise"), _is_share),
    **dict.fromkeys(("ledoit_wolf", "is_normalized"), _is_flag),
    "kind": lambda kind: kind in get_args(Kind),
    "floored": is_count,
    "encoder": lambda encoder: encoder is None or is_text(encoder),
}
