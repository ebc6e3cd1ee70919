"""The file of an ellipsoid: safetensors, with what is not an array as JSON in its header."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from clipsoid import _native
from clipsoid._output import written_beside
from clipsoid.errors import StoreError
from clipsoid.results import Calibration

if TYPE_CHECKING:
    from clipsoid.ellipsoid import Ellipsoid

E = TypeVar("E", bound="Ellipsoid")
T = TypeVar("T")

FORMAT = "clipsoid.ellipsoid"
VERSION = 1

#: Scalars of the core's state that are floating-point numbers: kept exactly, in an array.
_NORMS = ("norm_mean", "norm_squares", "norm_min", "norm_max")
_COUNTS = ("count", "seen", "non_finite", "zero_norm")
_VECTORS = ("mean", "squares", "unit_sum")


def header(e: Ellipsoid, state: _native._State | None = None) -> dict[str, Any]:
    """Return how the ellipsoid was made, as it stands in the file; counts are those of `state`."""
    counts: dict[str, Any] = dict(e._state if state is None else state)
    calibration = None if e.calibration is None else e.calibration.to_dict()
    return {
        "format": FORMAT,
        "format_version": VERSION,
        "clipsoid_version": _native.__version__,
        **{name: int(counts[name]) for name in _COUNTS},
        "missing": e._missing,
        "rows_of_inputs": e._rows_of_inputs,
        "dim": e.dim,
        "covariance": e.has_covariance,
        "dtypes": sorted(e.dtypes),
        "precision": "float64" if counts["float64"] else "auto",
        "simd": sorted(e.simd_levels),
        "encoder": e.encoder,
        "temperature": e.temperature,
        "calibration": calibration,
        "dropped": list(e.dropped),
        "inputs": sorted(e.inputs),
    }


def to_bytes(e: Ellipsoid) -> bytes:
    """Return the file's contents."""
    return packed(header(e), sums_to_tensors(e._state, e._moments.scatter()))


def packed(made: Mapping[str, Any], tensors: dict[str, Any]) -> bytes:
    """Return the contents of a file of ours, from what stands in its header and its tensors."""
    from safetensors.numpy import save

    return save(tensors, metadata={"clipsoid": json.dumps(made)})


def sums_to_tensors(
    sums: _native._State, scatter: NDArray[np.float64] | None
) -> dict[str, NDArray[Any]]:
    """Return the sums of the core as tensors, but for the counts, which the header has."""
    state: dict[str, Any] = dict(sums)
    tensors = {name: np.ascontiguousarray(state[name]) for name in _VECTORS}
    tensors["norms"] = np.array([state[name] for name in _NORMS])
    if scatter is not None:
        dim = len(tensors["mean"])
        tensors["scatter"] = scatter.reshape(dim, dim)
    return tensors


def write_ellipsoid(e: Ellipsoid, path: str | os.PathLike[str]) -> None:
    """Write the file beside its place and rename it into it."""
    with written_beside(path) as temporary:
        temporary.write_bytes(to_bytes(e))


def is_ellipsoid(path: Path) -> bool:
    """Whether a file looks like one that `write_ellipsoid` wrote, whatever its name."""
    return is_of_format(path, FORMAT)


def is_of_format(path: Path, wanted: str) -> bool:
    """Whether a file says at its beginning that it is of a format of ours."""
    try:
        with path.open("rb") as file:
            return wanted.encode() in file.read(4096)
    except OSError:
        return False


def read_ellipsoid(cls: type[E], path: str | os.PathLike[str]) -> E:
    """Read the file."""
    return read_file(path, lambda contents: from_bytes(cls, contents))


def read_file(path: str | os.PathLike[str], decode: Callable[[bytes], T]) -> T:
    """Return what `decode` makes of the contents of a file; its errors name the file."""
    path = Path(path)
    try:
        contents = path.read_bytes()
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror or error}") from None
    try:
        return decode(contents)
    except StoreError as error:
        raise StoreError(f"{path}: {error}") from None


def from_bytes(cls: type[E], contents: bytes) -> E:
    """Return the ellipsoid that `to_bytes` was given."""
    made, tensors = unpacked(contents, FORMAT, VERSION, "an ellipsoid")
    check_fields(made, FIELDS)
    check_tensors(tensors, shapes(made["dim"], made["covariance"]))
    moments = _native.Moments.from_state(*sums_from_tensors(made, tensors))
    e = of_moments(cls, made, moments)
    if made["calibration"] is not None:
        e._calibration = Calibration(**made["calibration"])
    return e


def sums_from_tensors(
    made: Mapping[str, Any], tensors: Mapping[str, Any]
) -> tuple[_native._State, NDArray[np.float64] | None]:
    """Return what `sums_to_tensors` and the header were made of."""
    scatter = tensors.get("scatter")
    state: Any = {
        **{name: made[name] for name in _COUNTS},
        **{name: tensors[name] for name in _VECTORS},
        **dict(zip(_NORMS, tensors["norms"].tolist(), strict=True)),
        "float64": made["precision"] == "float64",
    }
    return state, None if scatter is None else scatter.reshape(-1)


def of_moments(cls: type[E], made: Mapping[str, Any], moments: _native.Moments) -> E:
    """Return the ellipsoid that has these moments, and otherwise what the header says."""
    # The matrix is not made and thrown away again: only the state is the file's.
    e = cls(
        made["dim"],
        covariance=False,
        precision=made["precision"],
        encoder=made["encoder"],
        temperature=made["temperature"],
    )
    e._moments = moments
    e._missing, e._rows_of_inputs = made["missing"], made["rows_of_inputs"]
    e._dtypes, e._inputs = frozenset(made["dtypes"]), frozenset(made["inputs"])
    e._simd, e._dropped = frozenset(made["simd"]), tuple(made["dropped"])
    return e


def unpacked(
    contents: bytes, wanted: str, version: int, what: str
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the header and the tensors of a file of a format of ours, unchecked but for that."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        tensors = load(contents)
        # The library gives no access to the header of bytes; its layout is 8 bytes of length, then
        # JSON, both of which `load` has just validated.
        length = int.from_bytes(contents[:8], "little")
        metadata = json.loads(contents[8 : 8 + length]).get("__metadata__", {})
        made = json.loads(metadata["clipsoid"])
    except (SafetensorError, KeyError, ValueError, RecursionError):
        raise StoreError(f"is not {what} file, or is damaged") from None
    if not isinstance(made, dict):
        raise StoreError(f"is not {what} file, or is damaged")
    found = made.get("format"), made.get("format_version")
    if found[0] != wanted:
        raise StoreError(f"is of format {found[0]!r}; wanted {wanted!r}")
    if found[1] != version:
        raise StoreError(
            f"is of format {wanted!r} version {found[1]!r}; "
            f"this clipsoid ({_native.__version__}) reads version {version}"
        )
    return made, tensors


def check_fields(made: dict[str, Any], fields: Mapping[str, Callable[[Any], bool]]) -> None:
    """Raise unless the header has each field, of its kind."""
    for name, is_kind in fields.items():
        if name not in made:
            raise StoreError(f"is damaged: its header has no {name!r}")
        if not is_kind(made[name]):
            raise StoreError(f"is damaged: {name!r} in its header is {made[name]!r}")


def check_tensors(tensors: dict[str, Any], shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Raise unless there are these float64 tensors."""
    for name, shape in shapes.items():
        if name not in tensors:
            raise StoreError(f"is damaged: it has no tensor {name!r}")
        found = tensors[name]
        if found.shape != shape or found.dtype != np.float64:
            raise StoreError(
                f"is damaged: tensor {name!r} is {found.dtype} of shape {found.shape}; "
                f"wanted float64 of shape {shape}"
            )


def is_count(value: Any) -> bool:
    """Return whether a value of the header is a count."""
    return type(value) is int and 0 <= value < 2**63


def is_number(value: Any) -> bool:
    """Return whether a value of the header is a number."""
    return type(value) in (int, float)


def is_text(value: Any) -> bool:
    """Return whether a value of the header is a text."""
    return isinstance(value, str)


def is_list_of_text(value: Any) -> bool:
    """Return whether a value of the header is a list of texts."""
    return isinstance(value, list) and all(map(is_text, value))


def _is_calibration(value: Any) -> bool:
    kinds: dict[str, Callable[[Any], bool]] = dict.fromkeys(
        ("slope", "intercept", "pearson", "inverse_slope", "inverse_intercept"), is_number
    )
    kinds |= {"count": is_count, "member": lambda member: isinstance(member, bool)}
    return (
        isinstance(value, dict)
        and value.keys() == kinds.keys()
        and all(is_kind(value[name]) for name, is_kind in kinds.items())
    )


#: What each field of the header has to be.
FIELDS: dict[str, Callable[[Any], bool]] = {
    **dict.fromkeys((*_COUNTS, "missing", "rows_of_inputs"), is_count),
    **dict.fromkeys(("dtypes", "simd", "dropped", "inputs"), is_list_of_text),
    "covariance": lambda covariance: isinstance(covariance, bool),
    "dim": lambda dim: is_count(dim) and dim > 0,
    "precision": lambda precision: precision in ("auto", "float64"),
    "encoder": lambda encoder: encoder is None or is_text(encoder),
    "temperature": lambda t: t is None or (is_number(t) and t > 0),
    "calibration": lambda value: value is None or _is_calibration(value),
}


def shapes(dim: int, covariance: bool) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the tensors."""
    wanted: dict[str, tuple[int, ...]] = {
        **dict.fromkeys(_VECTORS, (dim,)),
        "norms": (len(_NORMS),),
    }
    if covariance:
        wanted["scatter"] = (dim, dim)
    return wanted
