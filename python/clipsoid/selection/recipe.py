"""How a file of a selection was made, as JSON beside it, and the way back."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from clipsoid.errors import SelectionError
from clipsoid.selection.table import Input

if TYPE_CHECKING:
    from clipsoid.selection.result import Selection

FORMAT = "clipsoid.selection"
FORMAT_VERSION = 1


def made_of(selection: Selection) -> dict[str, Any]:
    """Return what makes a selection again: rules, inputs and versions, and what came of them."""
    import polars as pl

    table = selection._table
    return {
        "rules": selection.rules,
        "on": selection._on,
        "scores": [asdict(one) for one in table.scores],
        "metadata": [asdict(one) for one in table.metadata],
        "rows_in": selection.rows_in,
        "rows_kept": selection.rows_kept,
        "removed": selection.removed,
        "status": selection.status,
        "reference": table.made.get("reference"),
        "versions": {
            "clipsoid": selection.version,
            "numpy": np.__version__,
            "polars": pl.__version__,
        },
    }


def read_recipe(path: Path) -> dict[str, Any]:
    """Read how a file was made.

    Raises
    ------
    SelectionError
        If it is no such file, or of another version.
    """
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise SelectionError(f"{path}: cannot be read: {error}") from None
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise SelectionError(f"{path}: is not the JSON that select writes beside a file")
    if found.get("format_version") != FORMAT_VERSION:
        raise SelectionError(
            f"{path}: is of version {found.get('format_version')!r}; wanted {FORMAT_VERSION}"
        )
    return found


def is_recipe(path: Path, of: Path | None = None) -> bool:
    """Whether a file is a recipe, and one `of` a file that is as it was when it was written."""
    if not path.is_file():
        return False
    try:
        found = read_recipe(path)
    except SelectionError:
        return False
    if of is None:
        return True
    return (
        of.is_file()
        and found.get("bytes") == of.stat().st_size
        and (found.get("sha256") == file_digest(of))
    )


def check_inputs(what: str, recipe: Mapping[str, Any], found: Sequence[Input]) -> None:
    """Refuse files that are not those which a recipe names."""
    wanted = recipe[what]
    if len(wanted) != len(found):
        raise SelectionError(
            f"{what}: found {len(found)} files; the recipe was made of {len(wanted)}"
        )
    for then, now in zip(wanted, map(asdict, found), strict=True):
        for name, value in then.items():
            if now[name] != value:
                raise SelectionError(
                    f"{what}: {now['name']} has {name} {now[name]!r}; the recipe was made of one "
                    f"with {value!r}"
                )


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
