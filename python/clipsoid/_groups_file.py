"""The file of ellipsoids by group: safetensors, with what is not an array as JSON in its header."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from clipsoid import _native
from clipsoid._file import (
    check_fields,
    check_tensors,
    is_count,
    is_list_of_text,
    is_number,
    is_of_format,
    is_text,
    read_file,
    unpacked,
)
from clipsoid._group_merge import ARRAYS
from clipsoid._output import written_beside
from clipsoid.errors import StoreError
from clipsoid.groups import GroupedEllipsoids
from clipsoid.results import Invalid

G = TypeVar("G", bound=GroupedEllipsoids)

FORMAT = "clipsoid.groups"
VERSION = 1

_INVALID = ("non_finite", "zero_norm", "missing")
_SETS = {"dtypes": "dtypes", "simd": "simd_levels", "inputs": "inputs"}
_PLAIN = ("by", "encoder", "temperature", "rows_of_inputs")


def to_bytes(groups: GroupedEllipsoids) -> bytes:
    """Return the file's contents."""
    from safetensors.numpy import save

    header = {
        "format": FORMAT,
        "format_version": VERSION,
        "clipsoid_version": _native.__version__,
        "groups": len(groups),
        "dim": groups.dim,
        **groups.invalid.to_dict(),
        **{name: sorted(getattr(groups, field)) for name, field in _SETS.items()},
        **{name: getattr(groups, name) for name in _PLAIN},
    }
    tensors = {name: np.ascontiguousarray(getattr(groups, name)) for name in ARRAYS}
    text = json.dumps(groups.labels, ensure_ascii=False).encode()
    tensors["labels"] = np.frombuffer(text, np.uint8)
    return save(tensors, metadata={"clipsoid": json.dumps(header)})


def write_groups(groups: GroupedEllipsoids, path: str | os.PathLike[str]) -> None:
    """Write the file beside its place and rename it into it."""
    with written_beside(path) as temporary:
        temporary.write_bytes(to_bytes(groups))


def is_groups(path: Path) -> bool:
    """Whether a file looks like one that `write_groups` wrote, whatever its name."""
    return is_of_format(path, FORMAT)


def read_groups(cls: type[G], path: str | os.PathLike[str]) -> G:
    """Read the file."""
    return read_file(path, lambda contents: from_bytes(cls, contents))


def from_bytes(cls: type[G], contents: bytes) -> G:
    """Return the groups that `to_bytes` was given."""
    made, tensors = unpacked(contents, FORMAT, VERSION, "a groups")
    check_fields(made, _FIELDS)
    groups, dim = made["groups"], made["dim"]
    shapes = {name: (groups, dim) for name in ("mean", "squares", "unit_sum")}
    check_tensors(tensors, {**shapes, "norms": (groups, 4)})
    count = tensors.get("count")
    if count is None or count.dtype != np.uint64 or count.shape != (groups,):
        raise StoreError(f"is damaged: it has no tensor 'count' of {groups} uint64")
    fields: dict[str, Any] = {name: tensors[name] for name in ARRAYS}
    fields |= {field: frozenset(made[name]) for name, field in _SETS.items()}
    fields |= {name: made[name] for name in _PLAIN}
    return cls(
        labels=_labels(tensors.get("labels"), groups),
        invalid=Invalid(*(made[name] for name in _INVALID)),
        **fields,
    )


def _labels(tensor: Any, groups: int) -> tuple[Any, ...]:
    """Return the labels: as many as there are groups, different ones, of one type."""
    try:
        labels = json.loads(tensor.tobytes())
        kinds = {type(label) for label in labels} - {type(None)}
        sound = (
            len(labels) == len(set(labels)) == groups
            and len(kinds) <= 1
            and kinds <= {str, int, bool}
        )
    except (AttributeError, TypeError, ValueError, RecursionError):
        sound = False
    if not sound:
        raise StoreError(f"is damaged: it has no tensor 'labels' of {groups} labels")
    return tuple(labels)


#: What each field of the header has to be.
_FIELDS: dict[str, Callable[[Any], bool]] = {
    **dict.fromkeys((*_INVALID, "groups", "rows_of_inputs"), is_count),
    **dict.fromkeys(_SETS, is_list_of_text),
    **dict.fromkeys(("by", "encoder"), lambda name: name is None or is_text(name)),
    "dim": lambda dim: is_count(dim) and dim > 0,
    "temperature": lambda t: t is None or (is_number(t) and t > 0),
}
