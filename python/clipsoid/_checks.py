"""Options and vectors of numbers, checked: each message names the argument and what was found."""

from __future__ import annotations

from collections.abc import Callable
from numbers import Real
from operator import index
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def is_number(value: object) -> TypeGuard[Real]:
    """Whether `value` is one real number, of Python or of numpy; a truth value is none."""
    return isinstance(value, Real) and not isinstance(value, bool)


def checked_number(
    name: str,
    value: object,
    wanted: str = "a finite number",
    within: Callable[[float], bool] = lambda number: True,
) -> float:
    """Return `value` as a finite number for which `within` holds, or say what was `wanted`."""
    try:
        number = float(value) if is_number(value) else np.nan
    except OverflowError:
        number = np.inf
    if not np.isfinite(number) or not within(number):
        raise ValueError(f"{name}={value!r}; wanted {wanted}")
    return number


def checked_share(name: str, value: object) -> float:
    """Return `value` as a number between 0 and 1: a coverage, or the level of a test."""
    return checked_number(name, value, "a number between 0 and 1", lambda share: 0 < share < 1)


def checked_count(
    name: str, value: object, least: int = 1, most: int | None = None, *, also: str = ""
) -> int:
    """Return `value` as a whole number from `least` to `most`; `also` names what else is taken."""
    try:
        count = None if isinstance(value, (bool, np.bool_)) else index(value)  # type: ignore[arg-type]
    except TypeError:
        count = None
    if count is None or count < least or (most is not None and count > most):
        limits = f"of {least} or more" if most is None else f"from {least} to {most}"
        raise ValueError(f"{name}={value!r}; wanted {also}an integer {limits}")
    return count


def checked_seed(value: object) -> int:
    """Return `value` as a whole number of 0 or more."""
    return checked_count("seed", value, 0)


def numbers(value: Any) -> Array | None:
    """Return real numbers of any shape as float64; None where there is anything else among them."""
    if np.ma.isMaskedArray(value):
        return None
    try:
        # Truth values and text in lists are seen before numpy makes numbers of them.
        found = np.asarray(value) if hasattr(value, "__array__") else np.asarray(value, object)
    except (TypeError, ValueError):
        return None
    if found.dtype.kind == "O":
        if not all(map(is_number, found.flat)):
            return None
    elif found.dtype.kind not in "iuf" and found.dtype.name != "bfloat16":
        return None
    try:
        return found.astype(np.float64)
    except OverflowError:
        return None


def checked_numbers(
    name: str, value: Any, wanted: str = "a number, or an array of numbers"
) -> Array:
    """Return finite numbers of any shape, or say what was `wanted`."""
    found = numbers(value)
    if found is None:
        raise ValueError(f"{name}={value!r}; wanted {wanted}")
    check_finite(name, found)
    return found


def check_finite(name: str, found: Array) -> None:
    """Raise for the first of some numbers that is not finite."""
    finite = np.isfinite(found)
    if finite.all():
        return
    if not found.ndim:
        raise ValueError(f"{name}={found}; wanted a finite number")
    bad = int(finite.argmin())
    raise ValueError(f"{name}: number {bad} is {found.flat[bad]}; wanted finite numbers")
