"""Scores on disk: one parquet file per shard, complete or not there, in bounded memory."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from clipsoid._beside import Beside
from clipsoid._output import (
    PART_SUFFIX,
    as_output_errors,
    beside,
    check_local,
    new_folders,
    part_of,
    remove,
)
from clipsoid._scoring import Reference, kept, score_batches
from clipsoid._source import OnInvalid, Progress, as_source
from clipsoid.errors import OutputError, StoreError
from clipsoid.results import Scores
from clipsoid.store.base import Shard, Store
from clipsoid.store.beside import StoreBeside
from clipsoid.store.score_file import METADATA_KEY, SCORES, ScoreFile

#: Row numbers are 32 bits wide, as those of polars.
MAX_ROWS = 2**32 - 1

#: Columns that score files may have; id columns may not take their names.
COLUMNS = ("shard", "row", *SCORES, *Scores.BESIDE, "status")


@dataclass(frozen=True)
class Written:
    """What was written.

    Attributes
    ----------
    files : tuple of Path
        One per shard, in order.
    rows : int
        Rows of all files.
    status : dict of str to int
        Rows read, by status; under ``"skip"`` only those that are ``"ok"`` are in the files.
    """

    files: tuple[Path, ...]
    rows: int
    status: dict[str, int]


def write_scores(
    store: Store,
    reference: Reference,
    folder: Path,
    *,
    made: Mapping[str, Any],
    whole: Store | None = None,
    wanted: StoreBeside | None = None,
    id_columns: Sequence[str] = (),
    on_invalid: OnInvalid = "error",
    n_threads: int | None = None,
    progress: Progress | None = None,
) -> Written:
    """Score every shard into a parquet file of the same name in `folder`.

    Parameters
    ----------
    store : Store
        The rows.
    reference : Reference
        What they are scored against.
    folder : Path
        A new or empty folder, or one that holds nothing but score files of the same shards.
    whole : Store, optional
        The set that `store` is a part of: score files of its other shards may lie in `folder`.
    made : mapping
        How the scores were made; goes into the metadata of every file as JSON.
    wanted : StoreBeside, optional
        What is wanted of each row beside its scores.
    id_columns : sequence of str
        Columns of the shards to carry over.
    on_invalid : {"error", "skip", "null"}
        For invalid rows: raise, leave them out, or give them null scores and a status.
    n_threads, progress
        As for `Ellipsoid.fit`.

    Returns
    -------
    Written

    Raises
    ------
    OutputError
        If the folder holds anything else, or cannot be written.
    InvalidRowError, StoreError
        If a row or a file is at fault; the folder is then as it was.
    """
    check_id_columns(id_columns)
    targets = check_targets(store, folder, whole)
    if id_columns:
        for shard in store.shards:
            shard.check_columns(id_columns)
    source = as_source(store)
    more = Beside() if wanted is None else wanted.of(store, source)
    made = {**made, "reference": _digest(reference)}
    _check_neighbours(folder, targets, made)
    counts = np.zeros(len(Scores.STATUS), np.int64)
    first = rows = 0
    # Files get their names when all of them are complete and synced: a run that fails while it
    # computes or writes leaves the folder as it was.
    with new_folders(folder), ExitStack() as cleanup, as_output_errors(folder):
        parts = score_batches(
            source,
            reference,
            beside=more,
            on_invalid="null" if on_invalid == "skip" else on_invalid,
            n_threads=n_threads,
            progress=progress,
        )
        cleanup.enter_context(closing(parts))
        files: list[ScoreFile] = []
        for shard, target in zip(store.shards, targets, strict=True):
            target.parent.mkdir(parents=True, exist_ok=True)
            ids = shard.columns(list(id_columns)) if id_columns else None
            temporary = beside(target)
            cleanup.callback(remove, temporary)
            text = json.dumps({**made, "shard": shard.name, "shard_rows": shard.count})
            file = ScoreFile(temporary, shard.name, ids, text, more.names)
            cleanup.enter_context(closing(file))
            done = 0
            while done < shard.count:
                part = next(parts)
                counts += np.bincount(part.status, minlength=len(Scores.STATUS))
                done += len(part.row)
                part = replace(part, row=part.row - first)
                rows += file.write(kept(part) if on_invalid == "skip" else part)
            first += shard.count
            # One file is finished and synced while the next is computed.
            if files:
                files[-1].finish()
            file.end()
            files.append(file)
        # The reader checks the last file once more when it comes to its end.
        next(parts, None)
        if files:
            files[-1].finish()
        for file, target in zip(files, targets, strict=True):
            file.path.replace(target)
    return Written(tuple(targets), rows, dict(zip(Scores.STATUS, counts.tolist(), strict=True)))


def check_id_columns(names: Sequence[str]) -> None:
    """Refuse id columns that are named twice, or as a score column is."""
    for i, name in enumerate(names):
        if name in COLUMNS:
            raise StoreError(f"id column {name!r} has the name of a score column")
        if name in names[:i]:
            raise StoreError(f"id column {name!r} is given twice")


def _digest(reference: Reference) -> str:
    """Tell one reference from another."""
    digest = hashlib.blake2b(digest_size=16)
    digest.update(f"{reference.count} {reference.member}".encode())
    digest.update(reference.mean.tobytes() + reference.unit_mean.tobytes())
    return digest.hexdigest()


def _check_neighbours(folder: Path, targets: list[Path], made: Mapping[str, Any]) -> None:
    """Refuse a folder where shards of the same set were scored in another way."""
    import polars as pl

    for path in sorted(set(folder.rglob("*.parquet")) - set(targets)):
        theirs = json.loads(pl.read_parquet_metadata(path)[METADATA_KEY])
        for name in sorted(made.keys() & theirs.keys()):
            if made[name] != theirs[name]:
                raise OutputError(
                    f"{folder}: {path.relative_to(folder)} was scored with {name} "
                    f"{theirs[name]!r}, this run has {made[name]!r}; wanted one way for all shards"
                )


def check_targets(store: Store, folder: Path, whole: Store | None = None) -> list[Path]:
    """Return the score file of each shard: ``a/b_0.npy`` is scored into ``a/b_0.parquet``.

    A folder with anything in it but score files of the `whole` set is refused. What a killed run
    left half-written of the shards of `store` is removed.
    """
    check_local(folder)
    targets: dict[Path, Shard] = {}
    for shard in (whole or store).shards:
        if shard.count > MAX_ROWS:
            raise StoreError(f"{shard.path}: has {shard.count} rows; wanted at most {MAX_ROWS}")
        if folder.resolve() == shard.path.resolve().parent:
            raise OutputError(f"{folder}: holds the embeddings; wanted a folder of its own")
        target = folder / PurePosixPath(shard.name).with_suffix(".parquet")
        other = targets.setdefault(target, shard)
        if other is not shard:
            raise StoreError(f"{other.path} and {shard.path} would both be scored into {target}")
    names = {shard.name for shard in store.shards}
    own = {target for target, shard in targets.items() if shard.name in names}
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder}: is a file; wanted a new or empty folder")
    for path in sorted(folder.rglob("*")) if folder.exists() else []:
        if path.is_dir():
            continue
        if path.name.startswith(".") and path.name.endswith(PART_SUFFIX):
            if part_of(path) in own:
                path.unlink(missing_ok=True)
        elif path not in targets or not _is_score_file(path):
            raise OutputError(
                f"{folder}: holds {path.relative_to(folder)}, which is not a score file of these "
                "shards; wanted a new or empty folder"
            )
    return [target for target in targets if target in own]


def _is_score_file(path: Path) -> bool:
    import polars as pl

    try:
        return METADATA_KEY in pl.read_parquet_metadata(path)
    except (pl.exceptions.PolarsError, OSError):
        return False
