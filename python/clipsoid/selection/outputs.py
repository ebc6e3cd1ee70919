"""Selections on disk: uid files, lists of ids, parquet, and beside each how it was made."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from clipsoid._output import as_output_errors, check_writable, written_beside
from clipsoid.errors import OutputError, SelectionError
from clipsoid.selection.recipe import FORMAT, FORMAT_VERSION, file_digest, is_recipe, made_of
from clipsoid.selection.rules import OptionError
from clipsoid.selection.table import Table, as_selection_errors
from clipsoid.store.score_file import GROUP_ROWS, METADATA_KEY

if TYPE_CHECKING:
    from clipsoid.selection.result import Selection

SUFFIXES = (".npy", ".parquet", ".txt")

ID_COLUMN = "uid"

#: A uid of DataComp: 32 hexadecimal digits.
UID = "^[0-9a-fA-F]{32}$"


def recipe_path(path: Path) -> Path:
    """Return where it is said how a file was made."""
    return path.with_name(f"{path.name}.json")


def check_suffixes(paths: Sequence[Path]) -> None:
    """Refuse files of other kinds: which options a selection makes use of depends on the kinds."""
    for path in paths:
        if path.suffix.lower() not in SUFFIXES:
            raise OutputError(
                f"{path}: the suffix is {path.suffix or 'missing'!r}; wanted .npy for uids, .txt "
                "for ids, .parquet for rows"
            )


def check_targets(paths: Sequence[Path]) -> None:
    """Refuse, before any work is done, files that could not or must not be written after it."""
    seen = set()
    for path in paths:
        if path.resolve() in seen:
            raise OutputError(f"{path}: is named twice; wanted every file once")
        seen.add(path.resolve())
        recipe = recipe_path(path)
        # No .npy says what wrote it: the recipe beside it does, as long as nobody changed either.
        for one, ours in ((recipe, is_recipe(recipe)), (path, is_recipe(recipe, path))):
            if one.is_file() and not ours:
                raise OutputError(
                    f"{one}: is there already and was not written by select; wanted a new name"
                )
            check_writable(one, lambda _: True)


def write_selection(
    selection: Selection,
    names: Sequence[str | os.PathLike[str]],
    id_column: str,
    columns: Sequence[str] | None,
    progress: Callable[[str], object] | None,
) -> None:
    """Write files that get their names when all of them are complete."""
    paths = [Path(name) for name in names]
    check_suffixes(paths)
    check_used(paths, ids=id_column != ID_COLUMN, columns=columns is not None)
    check_targets(paths)
    check_columns(selection._table, paths, id_column, columns)
    with ExitStack() as stack:
        for path in paths:
            if progress is not None:
                progress(f"writing {path.name}")
            temporary = stack.enter_context(written_beside(path))
            extra: dict[str, Any] = {}
            with as_output_errors(path):
                match path.suffix.lower():
                    case ".parquet":
                        extra = {} if columns is None else {"columns": list(columns)}
                        _write_parquet(selection, temporary, path, columns)
                    case ".npy":
                        extra = {"id_column": id_column}
                        uids = _sorted_uids(selection, id_column)
                        with temporary.open("wb") as file:
                            np.save(file, uids)
                    case ".txt":
                        extra = {"id_column": id_column}
                        _write_ids(selection, temporary, id_column)
                recipe = stack.enter_context(written_beside(recipe_path(path)))
                text = {
                    "format": FORMAT,
                    "format_version": FORMAT_VERSION,
                    "file": path.name,
                    "bytes": temporary.stat().st_size,
                    "sha256": file_digest(temporary),
                    **extra,
                    **made_of(selection),
                }
                recipe.write_text(json.dumps(text, indent=2) + "\n", "utf-8")


def holds_ids(paths: Sequence[Path]) -> bool:
    """Whether one of some files holds ids."""
    return any(path.suffix.lower() in (".npy", ".txt") for path in paths)


def holds_columns(paths: Sequence[Path]) -> bool:
    """Whether one of some files holds rows with their columns."""
    return any(path.suffix.lower() == ".parquet" for path in paths)


def check_used(paths: Sequence[Path], *, ids: bool, columns: bool) -> None:
    """Refuse an id column, or columns, that were given and that no file makes use of."""
    if ids and not holds_ids(paths):
        raise OptionError("{id_column} needs a file of ids, .npy or .txt")
    if columns and not holds_columns(paths):
        raise OptionError("{columns} needs a .parquet file")


def check_columns(
    table: Table, paths: Sequence[Path], id_column: str, columns: Sequence[str] | None
) -> None:
    """Refuse columns that are not there, or not what is to be written of them."""
    import polars as pl

    if holds_ids(paths):
        table.check_column(id_column, "id column")
    kind = table.schema.get(id_column)
    if any(path.suffix.lower() == ".npy" for path in paths) and kind != pl.String:
        raise SelectionError(
            f"{table.label}: {id_column!r} is {kind}; wanted uids of 32 hexadecimal digits"
        )
    if holds_columns(paths):
        for name in table.schema if columns is None else columns:
            table.check_column(name, "columns")
        if columns is not None and len(set(columns)) < len(columns):
            raise SelectionError(f"columns: found {', '.join(columns)}; wanted each once")


def _write_parquet(
    selection: Selection, temporary: Path, path: Path, columns: Sequence[str] | None
) -> None:
    import polars as pl

    frame = selection.frame if columns is None else selection.frame.select(columns)
    # As score files, so that a selection can be selected from again.
    made = {**selection._table.made, "format": FORMAT}
    try:
        frame.sink_parquet(
            temporary,
            compression="zstd",
            row_group_size=GROUP_ROWS,
            metadata={METADATA_KEY: json.dumps(made)},
        )
    except pl.exceptions.PolarsError as error:
        raise OutputError(f"{path}: cannot be written: {str(error).splitlines()[0]}") from None


def _sorted_uids(selection: Selection, column: str) -> NDArray[Any]:
    """Return the uids as DataComp's tools read them: two halves of 64 bits, sorted."""
    import polars as pl

    label, uids = selection._table.label, np.empty(selection.rows_kept, "u8,u8")
    first = 0
    for place, batch in _with_places(selection, column):
        text = batch[column]
        malformed = ~text.str.contains(UID).fill_null(False)
        if malformed.any():
            at = int(malformed.arg_max() or 0)
            raise SelectionError(
                f"{label}: {place(batch, at)}: {column} is {text[at]!r}; wanted 32 hexadecimal "
                "digits"
            )
        some = uids[first : first + len(text)]
        for half, start in (("f0", 0), ("f1", 16)):
            digits = text.str.slice(start, 16)
            some[half] = digits.str.to_integer(base=16, dtype=pl.UInt64).to_numpy()
        first += len(text)
    # Two stable sorts of plain numbers: numpy compares records one by one.
    uids = uids[np.lexsort((uids["f1"], uids["f0"]))]
    twice = uids[1:] == uids[:-1]
    if twice.any():
        high, low = uids[int(twice.argmax())].tolist()
        _raise_twice(selection, column, f"{high:016x}{low:016x}")
    return uids


def _raise_twice(selection: Selection, column: str, uid: str) -> None:
    found = []
    for place, batch in _with_places(selection, column):
        same = batch[column].str.to_lowercase() == uid
        found += [place(batch, at) for at in same.fill_null(False).arg_true().to_list()]
    raise _twice(selection, column, uid, *found[:2])


def _with_places(selection: Selection, column: str) -> Any:
    """Yield batches of a column, and what tells where a row of it lies."""
    table = selection._table
    columns = [*dict.fromkeys(["shard", "row", column])] if table.has_places else [column]
    first = 0
    for batch in selection._batches(columns, None, None, None):
        if table.has_places:
            yield lambda b, at: f"{b['shard'][at]}, row {b['row'][at]}", batch
        else:
            yield lambda b, at, first=first: f"row {first + at} of those kept", batch
        first += batch.height


def _write_ids(selection: Selection, temporary: Path, column: str) -> None:
    """Write one id per line."""
    import polars as pl

    label = selection._table.label
    hashes, first = np.empty(selection.rows_kept, np.uint64), 0
    with temporary.open("w", encoding="utf-8", newline="\n") as file:
        for place, batch in _with_places(selection, column):
            with as_selection_errors(repr(column), "cannot be written as text"):
                text = batch[column].cast(pl.String)
            odd = text.is_null() | text.str.contains(r"[\r\n]").fill_null(False)
            if odd.any():
                at = int(odd.arg_max() or 0)
                raise SelectionError(
                    f"{label}: {place(batch, at)}: {column} is {text[at]!r}; wanted an id of one "
                    "line"
                )
            file.writelines(f"{one}\n" for one in text)
            hashes[first : first + len(text)] = text.hash().to_numpy()
            first += len(text)
    hashes.sort()
    # Almost always an id that is there twice; the ids themselves tell.
    for alike in np.unique(hashes[1:][hashes[1:] == hashes[:-1]]):
        _check_hash(selection, column, int(alike))


def _check_hash(selection: Selection, column: str, alike: int) -> None:
    """Refuse an id that is there twice, among those of one hash."""
    import polars as pl

    seen: dict[str, str] = {}
    for place, batch in _with_places(selection, column):
        text = batch[column].cast(pl.String)
        for at in (text.hash() == alike).arg_true().to_list():
            if text[at] in seen:
                raise _twice(selection, column, text[at], seen[text[at]], place(batch, at))
            seen[text[at]] = place(batch, at)


def _twice(selection: Selection, column: str, one: str, first: str, second: str) -> SelectionError:
    return SelectionError(
        f"{selection._table.label}: {second}: {column} {one!r} is that of {first}; wanted each once"
    )
