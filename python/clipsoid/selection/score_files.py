"""Score files as a table: complete, and made in one way."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from clipsoid.errors import MismatchError, SelectionError
from clipsoid.selection.inputs import Files, find, table_of_files, table_of_frame
from clipsoid.selection.metadata import joined, row_by_row
from clipsoid.selection.rules import OptionError, is_path
from clipsoid.selection.table import Table
from clipsoid.store.score_parts import JOURNALS, finished

#: What the scores of a column depend on, by the names in the metadata of score files.
DEPENDS = {
    "cosine_to_partner": ("partner",),
    "log_likelihood": ("whitening",),
    "group_conformity": ("by", "groups"),
    "group_rows": ("by", "groups"),
}


def open_table(scores: Any, metadata: Any = None, on: str | None = None) -> Table:
    """Open scores, in files or in a frame, and what is known of their rows beside them."""
    import polars as pl

    if metadata is None and on is not None:
        raise OptionError("{on} needs {metadata}")
    if isinstance(scores, (pl.DataFrame, pl.LazyFrame)):
        files, table = None, table_of_frame(scores, "scores")
    elif is_path(scores):
        files = find(scores)
        table = _of_files(files)
    else:
        raise ValueError(
            f"scores: found {type(scores).__name__}; wanted the path of score files, or a frame of "
            "Polars"
        )
    if metadata is None:
        return table
    if on is not None:
        return joined(table, metadata, on)
    if files is None or not is_path(metadata):
        raise ValueError("metadata= of a frame, or beside one, needs on=, the column of ids")
    return row_by_row(table, files, find(metadata))


def _of_files(found: Files) -> Table:
    _check_complete(Path(found.label), found.paths)
    if any(found.made) and not all(found.made):
        odd = found.paths[found.made.index({})]
        raise SelectionError(f"{odd}: was not written by clipsoid score, as others here were")
    for name in ("reference", "encoder"):
        if differs := _difference(found, name):
            raise MismatchError(differs)
    table = table_of_files(found)
    mixed = {
        column: f"{differs} for {column!r}"
        for column, names in DEPENDS.items()
        for name in names
        if column in table.schema and (differs := _difference(found, name))
    }
    notes = (*_notes(found), *(f"not to be compared: {differs}" for differs in mixed.values()))
    return replace(table, made=_common(found.made), mixed=mixed, notes=notes)


def _check_complete(path: Path, files: Sequence[Path]) -> None:
    """Refuse score files of a run that has not come to its end."""
    folders = [path] if path.is_dir() else dict.fromkeys(file.parent for file in files)
    for folder in folders:
        if any(folder.glob(JOURNALS)):
            finished(folder)


def _difference(found: Files, name: str) -> str | None:
    """Say which file was made in another way than those before it, if one was."""
    values = [made.get(name) for made in found.made]
    known = list(zip(found.paths, values, strict=True))
    if name == "encoder":
        # None is one that nobody has named.
        known = [(path, value) for path, value in known if value is not None]
    for path, value in known:
        if value != known[0][1]:
            return (
                f"{path}: was scored with {name} {value!r}, {known[0][0]} with {known[0][1]!r}; "
                f"wanted one {name}"
            )
    return None


def _common(made: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return what all score files say of how they were made."""
    return {
        name: value
        for name, value in sorted(made[0].items())
        if name not in ("shard", "shard_rows")
        and all(name in other and other[name] == value for other in made)
    }


def _notes(found: Files) -> Iterator[str]:
    """Say what is missing among the score files of a set."""
    shards = [made["shard_rows"] for made in found.made if "shard_rows" in made]
    if len(shards) < len(found.made):
        return
    first = found.made[0]
    whole = first.get("ellipsoid_rows", 0) if first.get("member") else 0
    if sum(shards) < whole:
        yield f"these are {sum(shards):,} of the {whole:,} rows of the set: shards are missing"
    if found.count < sum(shards):
        left_out = sum(shards) - found.count
        yield f"{left_out:,} rows of the shards have no line in their score files"
