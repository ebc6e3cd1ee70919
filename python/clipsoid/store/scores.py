"""Scores on disk: one parquet file per shard, complete or not there, in bounded memory."""

from __future__ import annotations

import json
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clipsoid._beside import Beside
from clipsoid._output import as_output_errors, remove, temporary_beside
from clipsoid._scoring import Reference, kept, score_batches
from clipsoid._source import OnInvalid, Progress, as_source
from clipsoid.errors import InvalidRowError, StoreError
from clipsoid.results import Scores
from clipsoid.store.base import Shard, Store
from clipsoid.store.beside import StoreBeside
from clipsoid.store.job import Job
from clipsoid.store.score_file import SCORES, ScoreFile, Writer
from clipsoid.store.score_folder import ScoreFolder
from clipsoid.store.score_kept import digest_of_reference
from clipsoid.store.score_parts import finished, score_path

__all__ = ["ScoreFolder", "Written", "finished", "score_into", "score_job", "write_scores"]

#: Columns that score files may have; id columns may not take their names.
COLUMNS = ("shard", "row", *SCORES, *Scores.BESIDE, "status")


@dataclass(frozen=True, slots=True)
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
    scored : int
        Files that were written now; the others were finished by an earlier run.
    without_group : int or None
        Valid rows whose value the groups do not have; None where no groups were wanted.
    """

    files: tuple[Path, ...]
    rows: int
    status: dict[str, int]
    scored: int
    without_group: int | None


def write_scores(
    store: Store,
    reference: Reference,
    folder: Path,
    *,
    made: Mapping[str, Any],
    part: tuple[int, int] = (0, 1),
    beside: StoreBeside | None = None,
    id_columns: Sequence[str] = (),
    on_invalid: OnInvalid = "error",
    n_threads: int | None = None,
    progress: Progress | None = None,
) -> Written:
    """Score every shard into a parquet file of the same name in `folder`.

    A run that was stopped is gone on with: files that are finished are not made again.

    Parameters
    ----------
    store : Store
        The rows.
    reference : Reference
        What they are scored against.
    folder : Path
        A new or empty folder, or one in which the same job was begun.
    made : mapping
        How the scores were made; goes into the metadata of every file as JSON. A job that was
        begun with other values is not gone on with.
    part : tuple of int, default=(0, 1)
        ``(i, n)``: score every n-th shard of the set, from number i on. Parts may share a folder.
    beside : StoreBeside, optional
        What is computed of each row beside its scores.
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
    OutputError, MismatchError
        If the folder holds anything else, or cannot be written.
    InvalidRowError, StoreError
        If a row or a file is at fault; the files of the shards before it stay.
    """
    made = {**made, "reference": digest_of_reference(reference)}
    begun = score_job(
        store,
        made,
        id_columns,
        on_invalid,
        partner=() if beside is None else beside.partners.values(),
        has_groups=beside is not None and beside.groups is not None,
    )
    with ScoreFolder.hold(folder, store, begun, part) as job:
        return score_into(
            job,
            reference,
            made=made,
            beside=beside,
            id_columns=id_columns,
            on_invalid=on_invalid,
            n_threads=n_threads,
            progress=progress,
        )


def score_job(
    store: Store,
    made: Mapping[str, Any],
    id_columns: Sequence[str],
    on_invalid: OnInvalid,
    *,
    partner: Iterable[Shard] = (),
    against: Iterable[Shard] = (),
    has_groups: bool = False,
) -> Job:
    """Return what the bytes of score files depend on: the rows, and all else.

    Parameters
    ----------
    store, made, id_columns, on_invalid
        As for `write_scores`.
    partner, against : iterable of Shard
        Those of other sets that are read.
    has_groups : bool
        Whether a column of the shards says which group a row is in.
    """
    import polars as pl

    more = {"id_columns": list(id_columns), "on_invalid": on_invalid}
    return Job.of(
        store,
        {**made, **more, "polars_version": pl.__version__},
        partner=partner,
        against=against,
        columns=bool(id_columns) or has_groups,
    )


def score_into(
    job: ScoreFolder,
    reference: Reference,
    *,
    made: Mapping[str, Any],
    beside: StoreBeside | None = None,
    id_columns: Sequence[str] = (),
    on_invalid: OnInvalid = "error",
    n_threads: int | None = None,
    progress: Progress | None = None,
) -> Written:
    """Score what is left to be done in a folder that is held: see `write_scores`."""
    check_id_columns(id_columns)
    if id_columns:
        for shard in job.todo:
            shard.check_columns(id_columns)
    made = {**made, "reference": digest_of_reference(reference)}
    if job.todo:
        left = replace(job.store, shards=tuple(job.todo))
        source = as_source(left)
        more = Beside() if beside is None else beside.of(left, source)
        parts = score_batches(
            source,
            reference,
            beside=more,
            on_invalid="null" if on_invalid == "skip" else on_invalid,
            n_threads=n_threads,
            progress=progress,
        )
        _score(job, parts, made, id_columns, on_invalid, more.names)
    job.complete()
    records = job.records()
    has_groups = beside is not None and beside.groups is not None
    totals: NDArray[np.int64] = np.sum([record["status"] for record in records], axis=0)
    return Written(
        tuple(score_path(job.path, shard.name) for shard in job.store.shards),
        sum(record["rows"] for record in records),
        dict(zip(Scores.STATUS, totals.tolist(), strict=True)),
        len(job.todo),
        sum(record.get("without_group", 0) for record in records) if has_groups else None,
    )


def _score(
    job: ScoreFolder,
    parts: Generator[Scores, None, None],
    made: Mapping[str, Any],
    id_columns: Sequence[str],
    on_invalid: OnInvalid,
    names: Sequence[str],
) -> None:
    """Write the scores that come in parts, a file for each shard that is left to be done."""
    files: list[_Growing] = []
    is_verified = False
    first = 0
    with as_output_errors(job.path), closing(parts), ExitStack() as cleanup:
        writer = cleanup.enter_context(closing(Writer()))
        cleanup.callback(_discard, files)
        try:
            for shard in job.todo:
                files.append(_begun(writer, job.path, shard, made, id_columns, names))
                is_verified = False
                left = shard.count
                while left:
                    part = next(parts)
                    # The reader has come to this shard: those before it were as they should be.
                    is_verified = True
                    left -= len(part.row)
                    files[-1].write(replace(part, row=part.row - first), on_invalid)
                first += shard.count
                # One file is finished and synced while the next is computed.
                if is_verified:
                    _finish(job, files, but=1)
                files[-1].file.end()
            # The reader checks the last file once more when it comes to its end.
            next(parts, None)
        except (InvalidRowError, StoreError) as error:
            if is_verified or isinstance(error, InvalidRowError):
                _finish(job, files, but=1)
            raise
        _finish(job, files, but=0)


@dataclass(slots=True)
class _Growing:
    """A file that is being written, and what the journal will say of it."""

    shard: Shard
    file: ScoreFile
    status: NDArray[np.int64]
    rows: int = 0
    without_group: int | None = None

    def write(self, part: Scores, on_invalid: OnInvalid) -> None:
        self.status += np.bincount(part.status, minlength=len(Scores.STATUS))
        if part.group_rows is not None:
            none = np.count_nonzero((part.group_rows == 0) & (part.status == 0))
            self.without_group = (self.without_group or 0) + int(none)
        self.rows += self.file.write(kept(part) if on_invalid == "skip" else part)

    def line(self) -> dict[str, Any]:
        line = {"rows": self.rows, "status": self.status.tolist()}
        return line if self.without_group is None else {**line, "without_group": self.without_group}


def _begun(
    writer: Writer,
    folder: Path,
    shard: Shard,
    made: Mapping[str, Any],
    id_columns: Sequence[str],
    names: Sequence[str],
) -> _Growing:
    target = score_path(folder, shard.name)
    target.parent.mkdir(parents=True, exist_ok=True)
    ids = shard.columns(list(id_columns)) if id_columns else None
    text = json.dumps({**made, "shard": shard.name, "shard_rows": shard.count})
    file = writer.begin(ScoreFile(temporary_beside(target), shard.name, ids, text, names))
    return _Growing(shard, file, np.zeros(len(Scores.STATUS), np.int64))


def _finish(job: ScoreFolder, files: list[_Growing], *, but: int) -> None:
    """Give the files their names, in order, but for the last ones."""
    while len(files) > but:
        done = files[0]
        done.file.finish()
        job.finish(done.shard, done.file.path, done.line())
        del files[0]


def _discard(files: list[_Growing]) -> None:
    """Remove what is not finished."""
    for growing in files:
        growing.file.close()
        remove(growing.file.path)


def check_id_columns(names: Sequence[str]) -> None:
    """Refuse id columns that are named twice, or as a score column is."""
    for i, name in enumerate(names):
        if name in COLUMNS:
            raise StoreError(f"id column {name!r} has the name of a score column")
        if name in names[:i]:
            raise StoreError(f"id column {name!r} is given twice")
