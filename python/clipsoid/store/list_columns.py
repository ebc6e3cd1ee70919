"""Columns of lists, in parquet and Arrow files: which one is meant, and what its lists must be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from clipsoid.errors import DTypeError, StoreError
from clipsoid.store.files import Place

WANTED = "a list or array of float16, float32 or float64"


def choose_column(
    path: Place, key: str | None, schema: Mapping[str, object], fit: Sequence[str]
) -> str:
    """Choose the column of embeddings: `key`, or the only one whose type is `fit` for them.

    Raises
    ------
    StoreError, DTypeError
        The columns that exist are named, with their types.
    """
    listed = ", ".join(f"{name} ({kind})" for name, kind in schema.items())
    if key is None:
        if len(fit) == 1:
            return fit[0]
        if not fit:
            raise StoreError(f"{path}: no column is {WANTED}; found {listed or 'no columns'}")
        raise StoreError(
            f"{path}: {len(fit)} columns are {WANTED}: {', '.join(fit)}; wanted key= with one"
        )
    if key not in schema:
        raise StoreError(f"{path}: has no column {key!r}; found {listed or 'no columns'}")
    if key not in fit:
        raise DTypeError(f"{path}: column {key!r} is {schema[key]}; wanted {WANTED}")
    return key


def check_lengths(
    label: str,
    dim: int,
    lengths: np.ndarray[Any, np.dtype[Any]],
    numbers: np.ndarray[Any, np.dtype[Any]],
) -> None:
    """Refuse lists that are not `dim` long; `numbers` are those of their rows in the file."""
    if (lengths == dim).all():
        return
    other = np.flatnonzero(lengths != lengths[0])
    if len(other):
        raise StoreError(
            f"{label}: the list of row {numbers[other[0]]} has {lengths[other[0]]} elements, "
            f"that of row {numbers[0]} has {lengths[0]}; wanted one length"
        )
    raise StoreError(
        f"{label}: the list of row {numbers[0]} has {lengths[0]} elements; "
        f"wanted {dim}, as in the rest of the set"
    )


def null_element(label: str, row: int, element: int) -> StoreError:
    """Return the error for a null inside a list."""
    return StoreError(
        f"{label}, row {row}: element {element} is null; wanted a number, or a null in place of "
        "the whole list"
    )
