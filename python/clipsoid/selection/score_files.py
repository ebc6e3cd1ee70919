"""Score files as a table, and the metadata of the same rows beside them."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clipsoid.errors import MismatchError, SelectionError
from clipsoid.selection.rules import is_path
from clipsoid.selection.table import Input, Table, as_selection_errors
from clipsoid.store.paths import AnyPath, find_files
from clipsoid.store.score_file import METADATA_KEY
from clipsoid.store.score_parts import JOURNALS, finished

if TYPE_CHECKING:
    import polars as pl

#: Tables of other formats are read whole; these are not.
SUFFIXES = (".parquet",)


def open_table(scores: Any, metadata: Any = None, on: str | None = None) -> Table:
    """Open scores, in files or in a frame, and what is known of their rows beside them."""
    import polars as pl

    if isinstance(scores, (pl.DataFrame, pl.LazyFrame)):
        table = _of_frame(scores)
    elif is_path(scores):
        table = _of_files(scores)
    else:
        raise ValueError(
            f"scores: found {type(scores).__name__}; wanted the path of score files, or a frame of "
            "Polars"
        )
    if metadata is None:
        if on is not None:
            raise ValueError(f"on={on!r} without metadata=; wanted both")
        return table
    return _joined(table, metadata, on) if on is not None else _beside(table, scores, metadata)


def _of_frame(frame: pl.DataFrame | pl.LazyFrame, label: str = "scores") -> Table:
    import polars as pl

    lazy = frame.lazy()
    with as_selection_errors(label):
        schema = dict(lazy.collect_schema())
        count = lazy.select(pl.len()).collect(engine="streaming").item()
    return Table(label, lazy, schema, count)


def _of_files(path: AnyPath) -> Table:
    label, files, inputs, made = _files(path)
    _check_complete(Path(label), [file for file, _ in files])
    frame = _scan([file for file, _ in files])
    with as_selection_errors(label):
        schema = dict(frame.collect_schema())
    known = [one for one in made if one is not None]
    if known and len(known) < len(made):
        odd = files[made.index(None)][0]
        raise SelectionError(f"{odd}: was not written by clipsoid score, as others here were")
    common = _one_reference(files, made) if known else {}
    count = sum(one.rows for one in inputs)
    return Table(
        label, frame, schema, count, tuple(inputs), (), common, tuple(_notes(known, count))
    )


def _files(
    path: AnyPath,
) -> tuple[str, list[tuple[Path, str]], list[Input], list[dict[str, Any] | None]]:
    """Return the files by name, what tells each from others, and how it says it was made."""
    import polars as pl

    label = str(path if isinstance(path, (str, os.PathLike)) else path[0])
    # By name, so that a list in another order is the same set.
    files: list[tuple[Path, str]] = []
    for file, name in sorted(find_files(path, SUFFIXES), key=lambda found: found[1]):
        if not isinstance(file, Path):
            raise SelectionError(f"{file}: is a URL; wanted score files on a local disk")
        files.append((file, name))
    inputs, made = [], []
    for file, name in files:
        with as_selection_errors(str(file)):
            text = pl.read_parquet_metadata(file).get(METADATA_KEY)
            rows = _scan([file]).select(pl.len()).collect().item()
            size = file.stat().st_size
        digest = hashlib.blake2b(text.encode(), digest_size=16).hexdigest() if text else None
        inputs.append(Input(name, rows, size, digest))
        made.append(json.loads(text) if text else None)
    return label, files, inputs, made


def _scan(files: Sequence[Path]) -> pl.LazyFrame:
    import polars as pl

    # The paths are names, not patterns, whatever is in them.
    return pl.scan_parquet(list(files), glob=False, hive_partitioning=False)


def _check_complete(path: Path, files: Sequence[Path]) -> None:
    """Refuse score files of a run that has not come to its end."""
    folders = [path] if path.is_dir() else dict.fromkeys(file.parent for file in files)
    for folder in folders:
        if any(folder.glob(JOURNALS)):
            finished(folder)


def _one_reference(
    files: Sequence[tuple[Path, str]], made: Sequence[dict[str, Any] | None]
) -> dict[str, Any]:
    """Return what all score files say of how they were made; the reference must be one."""
    first, *others = (dict(one) for one in made if one is not None)
    for (file, _), other in zip(files[1:], others, strict=True):
        if other.get("reference") != first.get("reference"):
            raise MismatchError(
                f"{file}: was scored against reference {other.get('reference')}, {files[0][0]} "
                f"against {first.get('reference')}; wanted scores of one reference"
            )
        first = {name: value for name, value in first.items() if other.get(name) == value}
    return {name: first[name] for name in sorted(first) if name not in ("shard", "shard_rows")}


def _notes(made: Sequence[dict[str, Any]], count: int) -> Iterator[str]:
    """Say what is missing among the score files of a set."""
    shards = [one["shard_rows"] for one in made if "shard_rows" in one]
    if len(shards) < len(made) or not made:
        return
    whole = made[0].get("ellipsoid_rows", 0) if made[0].get("member") else 0
    if sum(shards) < whole:
        yield f"these are {sum(shards):,} of the {whole:,} rows of the set: shards are missing"
    if count < sum(shards):
        yield f"{sum(shards) - count:,} rows of the shards have no line in their score files"


def _without_known(table: Table, columns: Sequence[str]) -> tuple[list[str], tuple[str, ...]]:
    """Return which columns of the metadata are new, and a note on the others."""
    new = [name for name in columns if name not in table.schema]
    twice = [name for name in columns if name in table.schema]
    note = f"columns of the metadata that the scores have as well: {', '.join(twice)}"
    return new, (*table.notes, *([f"{note}; those of the scores count"] if twice else []))


def _joined(table: Table, metadata: Any, on: str) -> Table:
    """Join metadata by an id column; its ids and columns that are used are held in memory."""
    import polars as pl

    is_frame = isinstance(metadata, (pl.DataFrame, pl.LazyFrame))
    beside = _of_frame(metadata, "metadata") if is_frame else _plain_files(metadata)
    table.check_column(on, "on")
    beside.check_column(on, "on")
    if table.schema[on] != beside.schema[on]:
        raise SelectionError(
            f"{beside.label}: {on!r} is {beside.schema[on]}, in the scores {table.schema[on]}; "
            "wanted one type"
        )
    ids = beside.frame.select(on).drop_nulls()
    with as_selection_errors(beside.label):
        twice = ids.group_by(on).len().filter(pl.col("len") > 1).sort(on).head(1)
        found = twice.collect(engine="streaming")
        if len(found):
            raise SelectionError(f"{beside.label}: {on} {found.item(0, 0)!r} is there twice")
        alone = table.frame.select(on).join(ids, on=on, how="anti").select(pl.len())
        missing = alone.collect(engine="streaming").item()
    new, notes = _without_known(table, [name for name in beside.schema if name != on])
    if missing:
        notes = (*notes, f"{missing:,} rows have no metadata")
    return Table(
        table.label,
        table.frame.join(beside.frame.select(on, *new), on=on, how="left", maintain_order="left"),
        table.schema | {name: beside.schema[name] for name in new},
        table.count,
        table.scores,
        beside.scores,
        table.made,
        notes,
    )


def _plain_files(path: AnyPath) -> Table:
    label, files, inputs, _ = _files(path)
    frame = _scan([file for file, _ in files])
    with as_selection_errors(label):
        schema = dict(frame.collect_schema())
    return Table(label, frame, schema, sum(one.rows for one in inputs), tuple(inputs))


def _beside(table: Table, scores: Any, metadata: Any) -> Table:
    """Put metadata beside the scores: file by file, by the numbers of the rows in a shard."""
    from polars.io.plugins import register_io_source

    if not is_path(scores) or not is_path(metadata):
        raise ValueError("metadata= of a frame, or beside one, needs on=, the column of ids")
    _, files, _, made = _files(scores)
    label, others, inputs, _ = _files(metadata)
    if len(files) != len(others):
        raise SelectionError(
            f"{label}: has {len(others)} files beside {len(files)} of scores; wanted one for each "
            "shard, or --on and the name of a column of ids"
        )
    schema = _scan([others[0][0]]).collect_schema()
    for (file, _), known, (other, _), found in zip(files, made, others, inputs, strict=True):
        rows = (known or {}).get("shard_rows")
        if rows != found.rows:
            wanted = f"the {rows} of the shard" if known else "a score file"
            raise SelectionError(f"{other}: has {found.rows} rows beside {file}; wanted {wanted}")
        if (odd := _scan([other]).collect_schema()) != schema:
            names = sorted(set(schema) ^ set(odd)) or [n for n in schema if schema[n] != odd[n]]
            raise SelectionError(
                f"{other}: differs from {others[0][0]} in {', '.join(names)}; wanted one schema"
            )
    new, notes = _without_known(table, list(schema))
    full = table.schema | {name: schema[name] for name in new}

    def batches(
        columns: list[str] | None,
        predicate: pl.Expr | None,
        n_rows: int | None,
        batch_size: int | None,
    ) -> Iterator[pl.DataFrame]:
        wanted = list(full) if columns is None else columns
        for (file, _), (other, _) in zip(files, others, strict=True):
            rows = _scan([file])
            if beside := [name for name in wanted if name in new]:
                # By a column of numbers: what was left out when scoring leaves gaps.
                numbered = _scan([other]).select(beside).with_row_index("row")
                rows = rows.join(numbered, on="row", how="left", maintain_order="left")
            frame = rows.select(wanted).collect(engine="streaming")
            if predicate is not None:
                frame = frame.filter(predicate)
            if n_rows is not None:
                frame = frame.head(n_rows)
                n_rows -= frame.height
            yield frame
            if n_rows == 0:
                return

    return Table(
        table.label,
        register_io_source(batches, schema=full),
        full,
        table.count,
        table.scores,
        tuple(inputs),
        table.made,
        notes,
    )
