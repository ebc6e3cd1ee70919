"""Scores on disk: one parquet file per shard, complete or not there, in bounded memory."""

from __future__ import annotations

import hashlib
import json
import queue
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from clipsoid._output import (
    PART_SUFFIX,
    as_output_errors,
    beside,
    new_folders,
    part_of,
    remove,
    sync,
)
from clipsoid._scoring import Reference, kept, score_batches
from clipsoid._source import OnInvalid, Progress, as_source
from clipsoid.errors import OutputError, StoreError
from clipsoid.results import Scores
from clipsoid.store.base import Shard, Store

if TYPE_CHECKING:
    import polars as pl

#: Key of the JSON text in a score file's metadata that says how it was made.
METADATA_KEY = "clipsoid"

#: Rows handed to the writer at a time: frames of a few thousand rows cost more than they hold.
FRAME_ROWS = 1 << 17

#: Rows of a row group.
GROUP_ROWS = 1 << 20

#: Row numbers are 32 bits wide, as those of polars.
MAX_ROWS = 2**32 - 1

#: Columns that every score file has; id columns may not take their names.
COLUMNS = ("shard", "row", "conformity", "cosine_to_mean", "norm", "status")


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
    made = {**made, "reference": _digest(reference)}
    _check_neighbours(folder, targets, made)
    counts = np.zeros(len(Scores.STATUS), np.int64)
    rows = 0
    # Files get their names when all of them are complete and synced: a run that fails while it
    # computes or writes leaves the folder as it was.
    with new_folders(folder), ExitStack() as cleanup, as_output_errors(folder):
        complete: list[tuple[Path, Path]] = []
        for shard, target in zip(store.shards, targets, strict=True):
            target.parent.mkdir(parents=True, exist_ok=True)
            ids = shard.columns(list(id_columns)) if id_columns else None
            parts = score_batches(
                as_source(replace(store, shards=(shard,))),
                reference,
                on_invalid="null" if on_invalid == "skip" else on_invalid,
                n_threads=n_threads,
                progress=progress,
            )
            temporary = beside(target)
            cleanup.callback(remove, temporary)
            text = json.dumps({**made, "shard": shard.name, "shard_rows": shard.count})
            with _Sink(temporary, shard.name, ids, text) as sink:
                for part in parts:
                    counts += np.bincount(part.status, minlength=len(Scores.STATUS))
                    rows += sink.write(kept(part) if on_invalid == "skip" else part)
            sync(temporary)
            complete.append((temporary, target))
        for temporary, target in complete:
            temporary.replace(target)
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


class _Sink:
    """A parquet file that grows by frames, written by polars in a thread of its own.

    The caller computes the next scores meanwhile; at most two frames wait. An error of the writer
    is raised by the next `write` or at the end.
    """

    def __init__(self, path: Path, shard: str, ids: pl.DataFrame | None, made: str) -> None:
        self.path, self.shard, self.ids, self.made = path, shard, ids, made
        self._parts: list[Scores] = []
        self._waiting = 0
        self._frames: queue.Queue[pl.DataFrame | None] = queue.Queue(maxsize=2)
        self._error: BaseException | None = None
        self._finished = False
        self._thread = threading.Thread(target=self._write, name="clipsoid-scores", daemon=True)

    def write(self, part: Scores) -> int:
        """Append scores; the number of rows is returned."""
        self._raise_error()
        self._parts.append(part)
        self._waiting += len(part.row)
        if self._waiting >= FRAME_ROWS:
            self._flush()
        return len(part.row)

    def _flush(self) -> None:
        if self._waiting:
            self._put(self._frame())
        self._parts, self._waiting = [], 0

    def _put(self, frame: pl.DataFrame | None) -> None:
        while self._thread.is_alive():
            try:
                return self._frames.put(frame, timeout=0.2)
            except queue.Full:
                continue

    def _frame(self) -> pl.DataFrame:
        import polars as pl

        def joined(name: str) -> Any:
            arrays = [getattr(part, name) for part in self._parts]
            return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)

        row, status = joined("row"), joined("status")
        columns: dict[str, Any] = {
            "shard": pl.repeat(self.shard, len(row), dtype=pl.String, eager=True),
            "row": row.astype(np.uint32),
        }
        if self.ids is not None:
            columns |= self.ids[row].to_dict()
        for name in ("conformity", "cosine_to_mean", "norm"):
            with np.errstate(over="ignore"):
                values = joined(name).astype(np.float32)
            # A null, and never a number, where there is no score, or none that float32 holds.
            values[~np.isfinite(values)] = np.nan
            columns[name] = pl.Series(values).fill_nan(None)
        columns["status"] = pl.Series(status).cat.to(pl.Enum(Scores.STATUS))
        return pl.DataFrame(columns)

    def _schema(self) -> dict[str, Any]:
        import polars as pl

        ids = {} if self.ids is None else dict(self.ids.schema)
        scores = dict.fromkeys(("conformity", "cosine_to_mean", "norm"), pl.Float32)
        places = {"shard": pl.String, "row": pl.UInt32}
        return {**places, **ids, **scores, "status": pl.Enum(Scores.STATUS)}

    def _write(self) -> None:
        from polars.io.plugins import register_io_source

        def frames(*_: Any) -> Iterator[pl.DataFrame]:
            while (frame := self._frames.get()) is not None:
                yield frame

        try:
            register_io_source(frames, schema=self._schema()).sink_parquet(
                self.path,
                # Scores are noise to a compressor; shard names and row numbers are not.
                compression="lz4",
                row_group_size=GROUP_ROWS,
                metadata={METADATA_KEY: self.made},
            )
            self._finished = True
        except BaseException as error:  # raised again, as an OutputError, by the caller's thread
            self._error = error

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # On an error, too, the writer comes to a regular end: polars, when it is interrupted, may
        # still be writing when it returns. Whoever made the file removes it.
        try:
            if kind is None:
                self._flush()
        finally:
            self._put(None)
            self._thread.join()
        if kind is None:
            self._raise_error()
            if not self._finished:
                raise OutputError(f"{self.path.parent}: cannot be written: the writer ended early")

    def _raise_error(self) -> None:
        if self._error is not None:
            number = getattr(self._error, "errno", None)
            reason = getattr(self._error, "strerror", None) or str(self._error).strip()
            raise OutputError(
                number, f"{self.path.parent}: cannot be written: {reason or self._error!r}"
            ) from None
