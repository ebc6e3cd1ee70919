"""Results to JSON and back, by the annotations of their classes.

Dataclasses and named tuples become objects, arrays lists, frames their columns with their types.
What is not a number is null, what is infinite text.
"""

from __future__ import annotations

import math
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

import numpy as np

from clipsoid.errors import MismatchError

_INFINITIES = {"Infinity": math.inf, "-Infinity": -math.inf}


def encode(value: Any) -> Any:
    """Return what `json.dumps` can write."""
    match value:
        case None | bool() | str():
            return value
        case int() | np.integer():
            return int(value)
        case float() | np.floating():
            return _number(float(value))
        case Path():
            return str(value)
        case np.ndarray():
            return _array(value)
        case Mapping():
            return {str(name): encode(item) for name, item in value.items()}
        case _ if is_dataclass(value):
            return {field.name: encode(getattr(value, field.name)) for field in fields(value)}
        case tuple() if hasattr(value, "_asdict"):
            return encode(value._asdict())
        case tuple() | list() | frozenset():
            return [encode(item) for item in value]
        case _ if hasattr(value, "to_dicts"):
            return {
                "types": {name: str(kind) for name, kind in value.schema.items()},
                "columns": {name: encode(value[name].to_list()) for name in value.columns},
            }
    raise TypeError(f"{type(value).__name__} has no form in JSON")


def decode(kind: Any, value: Any, where: str = "") -> Any:
    """Return a value of type `kind` from what `encode` made of one.

    Raises
    ------
    MismatchError
        If the JSON does not fit; the message says where.
    """
    origin, inner = get_origin(kind), get_args(kind)
    if kind is Any:
        return value
    if origin in (Union, types.UnionType):
        return _one_of(inner, value, where)
    if origin is Literal:
        _expect(value in inner, where, f"one of {inner}", value)
        return value
    if origin is np.ndarray:
        _expect(isinstance(value, list), where, "a list", value)
        return _decoded_array(value, get_args(inner[1])[0], where)
    if origin is tuple:
        _expect(isinstance(value, list), where, "a list", value)
        repeated = len(inner) == 2 and inner[1] is Ellipsis
        each = [inner[0]] * len(value) if repeated else list(inner)
        _expect(len(each) == len(value), where, f"{len(each)} values", value)
        return tuple(
            decode(one, item, f"{where}[{i}]")
            for i, (one, item) in enumerate(zip(each, value, strict=True))
        )
    if origin is dict:
        _expect(isinstance(value, dict), where, "an object", value)
        return {name: decode(inner[1], item, f"{where}.{name}") for name, item in value.items()}
    if kind is float:
        return _decoded_number(value, where)
    if kind in (int, str, bool):
        _expect(type(value) is kind, where, kind.__name__, value)
        return value
    if is_dataclass(kind) or hasattr(kind, "_fields"):
        return _decoded_object(kind, value, where)
    if hasattr(kind, "to_dicts"):
        return _decoded_frame(value, where)
    raise TypeError(f"{kind} has no form in JSON")


def _number(value: float) -> float | str | None:
    if math.isnan(value):
        return None
    return value if math.isfinite(value) else ("Infinity" if value > 0 else "-Infinity")


def _array(values: np.ndarray[Any, Any]) -> Any:
    if values.dtype.kind != "f" or np.isfinite(values).all():
        return values.tolist()
    if values.ndim == 1:
        return [_number(value) for value in values.tolist()]
    return [_array(line) for line in values]


def _decoded_number(value: Any, where: str) -> float:
    if value is None:
        return math.nan
    if isinstance(value, str) and value in _INFINITIES:
        return _INFINITIES[value]
    _expect(isinstance(value, (int, float)) and not isinstance(value, bool), where, "float", value)
    return float(value)


def _decoded_array(value: list[Any], scalar: Any, where: str) -> np.ndarray[Any, Any]:
    def plain(item: Any) -> Any:
        if isinstance(item, list):
            return [plain(one) for one in item]
        if issubclass(scalar, np.floating):
            return _decoded_number(item, where)
        _expect(type(item) is (bool if scalar is np.bool_ else int), where, scalar.__name__, item)
        return item

    try:
        return np.array(plain(value), dtype=scalar)
    except MismatchError:
        raise
    except (TypeError, ValueError, OverflowError):
        _expect(False, where, f"an array of {scalar.__name__}", value)
        raise


def _decoded_object(kind: Any, value: Any, where: str) -> Any:
    _expect(isinstance(value, dict), where, "an object", value)
    hints = _hints(kind)
    names = kind._fields if hasattr(kind, "_fields") else [field.name for field in fields(kind)]
    missing, strange = set(names) - set(value), set(value) - set(names)
    if missing or strange:
        name = min(missing or strange)
        raise MismatchError(f"{where or 'JSON'}: {name} is {'missing' if missing else 'unknown'}")
    dot = f"{where}." if where else ""
    return kind(**{name: decode(hints[name], value[name], dot + name) for name in names})


def _decoded_frame(value: Any, where: str) -> Any:
    import polars as pl

    shaped = isinstance(value, dict) and value.keys() == {"types", "columns"}
    shaped = shaped and all(isinstance(part, dict) for part in value.values())
    _expect(shaped, where, "types and columns of a frame", value)
    known: dict[str, Callable[[], Any]] = {
        str(kind): kind for kind in (pl.Float64, pl.Int64, pl.UInt32, pl.String, pl.Boolean)
    }
    schema, columns = {}, {}
    for name, kind in value["types"].items():
        at, column = f"{where}.{name}", value["columns"].get(name)
        _expect(isinstance(kind, str) and kind in known, at, f"one of {', '.join(known)}", kind)
        _expect(isinstance(column, list), at, "a list", column)
        schema[name] = known[kind]()
        numbers = schema[name] == pl.Float64
        columns[name] = [
            _decoded_number(cell, at) if numbers and cell is not None else cell for cell in column
        ]
    try:
        return pl.DataFrame(columns, schema)
    except (TypeError, OverflowError, pl.exceptions.PolarsError) as error:
        raise MismatchError(f"{where}: {error}") from None


def _one_of(kinds: tuple[Any, ...], value: Any, where: str) -> Any:
    if value is None and types.NoneType in kinds:
        return None
    others = [kind for kind in kinds if kind is not types.NoneType]
    if len(others) > 1:
        raise TypeError(f"{where}: a union of {others} has no form in JSON")
    return decode(others[0], value, where)


@cache
def _hints(kind: Any) -> dict[str, Any]:
    """Return the annotations; frames are annotated by a name that only type checkers import."""
    import polars as pl

    return typing.get_type_hints(kind, localns={"pl": pl})


def _expect(holds: bool, where: str, wanted: str, value: Any) -> None:
    if not holds:
        found = repr(value)
        found = found if len(found) < 40 else f"{found[:37]}..."
        raise MismatchError(f"{where or 'JSON'}: found {found}, wanted {wanted}")
