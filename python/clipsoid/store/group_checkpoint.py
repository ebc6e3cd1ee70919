"""A fit of groups that a kill does not undo: as `checkpoint` does for one ellipsoid."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from clipsoid import _native
from clipsoid._file import check_fields, check_tensors, is_count, packed
from clipsoid._group_merge import ARRAYS
from clipsoid._group_sums import GroupSums
from clipsoid._labels import labels_of
from clipsoid._output import written_beside
from clipsoid._source import OnInvalid, Progress, as_source, check_policy, check_threads
from clipsoid.errors import StoreError
from clipsoid.groups import GroupedEllipsoids
from clipsoid.store.base import Store
from clipsoid.store.checkpoint import Pace, read_kept, sound
from clipsoid.store.job import Job

FORMAT, VERSION = "clipsoid.groups.checkpoint", 1

_COUNTS = ("seen", "non_finite", "zero_norm")


def fit_groups(
    store: Store,
    by: str,
    checkpoint: Path,
    *,
    on_invalid: OnInvalid = "error",
    encoder: str | None = None,
    temperature: float | None = None,
    n_threads: int | None = None,
    progress: Progress | None = None,
) -> GroupedEllipsoids:
    """Fit as `GroupedEllipsoids.fit` does, from where a run that was killed left its checkpoint.

    The result has the bits of a fit without interruption. The checkpoint is of size ``O(g d)`` for
    g groups, and takes 2 percent of the time at most; whoever has saved the groups removes it. The
    values of the column are read anew: groups need all of them.

    Parameters
    ----------
    store : Store
        The rows.
    by : str
        The column.
    checkpoint : Path
        Where it is, or is to be kept.
    on_invalid, encoder, temperature, n_threads, progress
        As for `GroupedEllipsoids.fit`.

    Returns
    -------
    GroupedEllipsoids

    Raises
    ------
    OutputError, MismatchError
        If the checkpoint is of a fit with other options, or of other shards; it is left alone.
    StoreError
        If the checkpoint is damaged or of another version, or a shard cannot be read.
    InvalidRowError
        If a row is invalid and the policy is "error".
    """
    check_policy(on_invalid)
    check_threads(n_threads)
    known: dict[str, Any] = {"by": by, "encoder": encoder, "temperature": temperature}
    job = Job.of(store, {**known, "on_invalid": on_invalid}, columns=True)
    labels = labels_of(store, by, store.count).distinct(store.dim)
    if checkpoint.exists():
        sums, done = _read(checkpoint, job, (len(labels), store.dim))
        sums.known = labels
        if progress is not None and sums.native.seen:
            progress(sums.native.seen)
    else:
        sums, done = GroupSums(labels, _native.GroupMoments(len(labels), store.dim)), 0
    # Rows before each shard: which ones are finished is known by how many rows were seen.
    before = np.cumsum([0, *(shard.count for shard in store.shards)])
    pace = Pace()

    def at_start() -> None:
        finished = int(np.searchsorted(before, sums.native.seen))
        if finished and pace.is_due():
            with pace.writing():
                _write(checkpoint, sums, job, finished)

    left = replace(store, shards=store.shards[done:])
    source = as_source(left)
    sums.add(source, labels_of(left, by, left.count), on_invalid, n_threads, progress, at_start)
    return GroupedEllipsoids._of(sums, as_source(store), **known)


def _write(path: Path, sums: GroupSums, job: Job, done: int) -> None:
    """Keep the sums of the first `done` shards."""
    state: dict[str, Any] = dict(sums.native.state())
    made = {
        "format": FORMAT,
        "format_version": VERSION,
        "shards": done,
        "missing": sums.missing,
        **{name: int(state[name]) for name in _COUNTS},
        "job": job.to_dict(),
    }
    contents = packed(made, {name: np.ascontiguousarray(state[name]) for name in ARRAYS})
    with written_beside(path) as temporary:
        temporary.write_bytes(contents)


def _read(path: Path, job: Job, shape: tuple[int, int]) -> tuple[GroupSums, int]:
    """Return what `_write` kept, if it is of this job."""
    made, tensors = read_kept(path, FORMAT, VERSION, "a groups checkpoint")
    job.check(path, Job.read(path, made.get("job")))
    with sound(path, made, job):
        check_fields(made, dict.fromkeys((*_COUNTS, "shards", "missing"), is_count))
        matrices = dict.fromkeys(("mean", "squares", "unit_sum"), shape)
        check_tensors(tensors, {**matrices, "norms": (shape[0], 4)})
        count = tensors.get("count")
        if count is None or count.dtype != np.uint64 or count.shape != shape[:1]:
            raise StoreError(f"is damaged: it has no tensor 'count' of {shape[0]} uint64")
    native = _native.GroupMoments.restore(
        **{name: tensors[name] for name in ARRAYS}, **{name: made[name] for name in _COUNTS}
    )
    return GroupSums((), native, made["missing"]), made["shards"]
