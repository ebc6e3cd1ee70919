"""What a selection reads: parquet files in order, what tells each from others, and frames."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from clipsoid.errors import SelectionError
from clipsoid.selection.table import Input, Table, as_selection_errors
from clipsoid.store.parquet_columns import read_header
from clipsoid.store.paths import AnyPath, find_files, in_order
from clipsoid.store.score_file import METADATA_KEY

if TYPE_CHECKING:
    import polars as pl

#: Tables of other formats are read whole; these are not.
SUFFIXES = (".parquet",)

Schema = dict[str, "pl.DataType"]


@dataclass(frozen=True, slots=True)
class Files:
    """Parquet files in the order of their names.

    Attributes
    ----------
    label : str
        What a message calls them.
    paths : tuple of Path
    inputs : tuple of Input
        What tells each from others.
    made : tuple of dict
        How each says that it was made; nothing in what others than clipsoid wrote.
    schemas : tuple of dict
        Types of the columns, by name.
    """

    label: str
    paths: tuple[Path, ...]
    inputs: tuple[Input, ...]
    made: tuple[dict[str, Any], ...]
    schemas: tuple[Schema, ...]

    @property
    def count(self) -> int:
        """Rows of all files."""
        return sum(one.rows for one in self.inputs)

    def some(self, numbers: Sequence[int]) -> Files:
        """Return some of the files, in another order."""
        return Files(
            self.label,
            tuple(self.paths[i] for i in numbers),
            tuple(self.inputs[i] for i in numbers),
            tuple(self.made[i] for i in numbers),
            tuple(self.schemas[i] for i in numbers),
        )

    def schema(self) -> Schema:
        """Return the types of the columns, which all files must have."""
        first = self.schemas[0]
        for path, schema in zip(self.paths, self.schemas, strict=True):
            if schema != first:
                names = sorted(set(first) ^ set(schema))
                names = names or [name for name in first if first[name] != schema[name]]
                raise SelectionError(
                    f"{path}: differs from {self.paths[0]} in {', '.join(names)}; wanted one schema"
                )
        return first


class Footer(NamedTuple):
    """What is read of one parquet file: see `Files`."""

    path: Path
    input: Input
    made: dict[str, Any]
    schema: Schema


def find(path: AnyPath) -> Files:
    """Find parquet files and read their footers.

    Files that are given in another order are the same set: 2 precedes 10, as in all of clipsoid.
    """
    return files_of(path, footers(path))


def files_of(path: AnyPath, found: Iterable[Footer]) -> Files:
    """Return the files that were found at `path`, one or more."""
    label = str(path if isinstance(path, (str, os.PathLike)) else path[0])
    paths, inputs, made, schemas = zip(*found, strict=True)
    return Files(label, paths, inputs, made, schemas)


def footers(path: AnyPath) -> Iterator[Footer]:
    """Find parquet files and read the footer of one after another, in order."""
    import polars as pl

    for file, name in sorted(find_files(path, SUFFIXES), key=lambda one: in_order(Path(one[1]))):
        if not isinstance(file, Path):
            raise SelectionError(f"{file}: is a URL; wanted files on a local disk")
        if not file.is_file():
            # A named pipe would be waited for.
            raise SelectionError(f"{file}: is no regular file; wanted parquet")
        with as_selection_errors(str(file)):
            text = pl.read_parquet_metadata(file).get(METADATA_KEY)
        header = read_header(file)
        digest = hashlib.blake2b(text.encode(), digest_size=16).hexdigest() if text else None
        found = Input(name, header.rows, header.stamp.size, digest)
        yield Footer(file, found, json.loads(text) if text else {}, dict(header.types))


def scan(files: Sequence[Path]) -> pl.LazyFrame:
    """Return the rows of files, one after another."""
    import polars as pl

    # The paths are names, not patterns, whatever is in them.
    return pl.scan_parquet(list(files), glob=False, hive_partitioning=False)


def table_of_files(found: Files) -> Table:
    """Return parquet files as a table."""
    return Table(found.label, scan(found.paths), found.schema(), found.count, found.inputs)


def table_of_frame(frame: pl.DataFrame | pl.LazyFrame, label: str) -> Table:
    """Return a frame as a table."""
    import polars as pl

    lazy = frame.lazy()
    with as_selection_errors(label):
        schema = dict(lazy.collect_schema())
        count = lazy.select(pl.len()).collect(engine="streaming").item()
    return Table(label, lazy, schema, count)
