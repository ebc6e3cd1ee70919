"""Metadata beside scores: joined by an id, or row by row, a table for each shard."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clipsoid.errors import SelectionError
from clipsoid.selection.inputs import Files, find, scan, table_of_files, table_of_frame
from clipsoid.selection.table import Table, as_selection_errors
from clipsoid.store.layouts.names import number_of
from clipsoid.store.layouts.recognise import named_alike
from clipsoid.store.metadata import Metadata, Tables
from clipsoid.store.score_parts import some_of

if TYPE_CHECKING:
    import polars as pl


def joined(table: Table, metadata: Any, on: str) -> Table:
    """Join metadata by an id column; its ids and columns that are used are held in memory."""
    import polars as pl

    is_frame = isinstance(metadata, (pl.DataFrame, pl.LazyFrame))
    more = table_of_frame(metadata, "metadata") if is_frame else table_of_files(find(metadata))
    table.check_column(on, "on")
    more.check_column(on, "on")
    if table.schema[on] != more.schema[on]:
        raise SelectionError(
            f"{more.label}: {on!r} is {more.schema[on]}, in the scores {table.schema[on]}; "
            "wanted one type"
        )
    ids = more.frame.select(on).drop_nulls()
    with as_selection_errors(more.label):
        twice = ids.group_by(on).len().filter(pl.col("len") > 1).sort(on).head(1)
        found = twice.collect(engine="streaming")
        if len(found):
            raise SelectionError(f"{more.label}: {on} {found.item(0, 0)!r} is there twice")
        alone = table.frame.select(on).join(ids, on=on, how="anti").select(pl.len())
        missing = alone.collect(engine="streaming").item()
        if missing == table.count:
            there, here = (
                frame.select(on).drop_nulls().head(1).collect().to_series().to_list()
                for frame in (more.frame, table.frame)
            )
            raise SelectionError(
                f"{more.label}: has no {on} of the scores: its first are {there}, theirs {here}; "
                "wanted metadata of these rows"
            )
    new, notes = _without_known(table, [name for name in more.schema if name != on])
    if missing:
        notes = (*notes, f"{missing:,} rows have no metadata")
    return replace(
        table,
        frame=table.frame.join(
            more.frame.select(on, *new), on=on, how="left", maintain_order="left"
        ),
        schema=table.schema | {name: more.schema[name] for name in new},
        metadata=more.scores,
        notes=notes,
    )


def row_by_row(table: Table, scores: Files, metadata: Files) -> Table:
    """Put metadata beside score files, each table by the numbers of the rows in its shard."""
    from polars.io.plugins import register_io_source

    found = metadata.some(_tables(scores, metadata))
    schema = found.schema()
    described = []
    tables = Tables(found.paths)
    for path, made, file in zip(found.paths, scores.made, scores.paths, strict=True):
        if "shard_rows" not in made:
            raise SelectionError(
                f"{file}: does not say which shard it is of; wanted files of clipsoid score, or a "
                "column of ids to join by"
            )
        own, count, shard = Metadata(path, tables), made["shard_rows"], Path(made["shard"])
        own.check((), count, shard)
        described.append((own, count, shard))
    new, notes = _without_known(table, list(schema))
    full = table.schema | {name: schema[name] for name in new}

    def batches(
        columns: list[str] | None,
        predicate: pl.Expr | None,
        n_rows: int | None,
        batch_size: int | None,
    ) -> Iterator[pl.DataFrame]:
        wanted = list(full) if columns is None else columns
        known = [name for name in wanted if name in new]
        for file, (own, count, shard) in zip(scores.paths, described, strict=True):
            rows = scan([file])
            if known:
                # By a column of numbers: what was left out when scoring leaves gaps.
                numbered = own.columns(known, count, shard).lazy().with_row_index("row")
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

    unused = len(metadata.paths) - len(found.paths)
    if unused:
        notes = (*notes, f"{unused:,} files of metadata are of shards that are not here")
    return replace(
        table,
        frame=register_io_source(batches, schema=full),
        schema=full,
        metadata=found.inputs,
        notes=notes,
    )


def _tables(scores: Files, metadata: Files) -> list[int]:
    """Return the number of the table of each score file: that of its name, or of its number."""
    # Names below two folders, as if these were one.
    files, tables = ([Path("/", one.name) for one in side.inputs] for side in (scores, metadata))
    if len(files) == len(tables) == 1:
        numbers = {number_of(files[0]), number_of(tables[0])} - {None}
        if len(numbers) < 2:
            return [0]
    names = [one.name for one in metadata.inputs]
    number = {table: i for i, table in enumerate(tables)}
    owner: dict[int, Path] = {}
    alike = named_alike(files, tables)
    for file, path in zip(files, scores.paths, strict=True):
        if len(alike[file]) != 1:
            what = (
                f"{some_of([one.name for one in alike[file]])} have its number"
                if alike[file]
                else f"no metadata of its name or its number; found {some_of(names)}"
            )
            raise SelectionError(
                f"{path}: {what}; wanted one table for each shard, or a column of ids to join by"
            )
        (own,) = (number[one] for one in alike[file] if isinstance(one, Path))
        if own in owner:
            raise SelectionError(
                f"{metadata.paths[own]}: is called as {owner[own]} is, and as {path}; wanted a "
                "table for each shard, or a column of ids to join by"
            )
        owner[own] = path
    return list(owner)


def _without_known(table: Table, columns: Sequence[str]) -> tuple[list[str], tuple[str, ...]]:
    """Return which columns of the metadata are new, and a note on the others."""
    new = [name for name in columns if name not in table.schema]
    twice = [name for name in columns if name in table.schema]
    note = f"columns of the metadata that the scores have as well: {', '.join(twice)}"
    return new, (*table.notes, *([f"{note}; those of the scores count"] if twice else []))
