"""A fit that a kill does not undo: its sums are kept at ends of shards, to the bit."""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from clipsoid import _native
from clipsoid._batch import CARRIERS
from clipsoid._file import (
    FIELDS,
    check_fields,
    check_tensors,
    header,
    is_count,
    of_moments,
    packed,
    read_file,
    shapes,
    sums_from_tensors,
    sums_to_tensors,
    unpacked,
)
from clipsoid._output import written_beside
from clipsoid._source import Located, OnInvalid, Progress, as_source, check_policy, check_threads
from clipsoid.ellipsoid import Ellipsoid
from clipsoid.errors import StoreError
from clipsoid.store.base import Store
from clipsoid.store.job import Job

FORMAT, VERSION = "clipsoid.checkpoint", 1

#: Seconds between two checkpoints.
EVERY = 30.0

#: Most of the time that may go into writing them: with a covariance of many features, that takes
#: longer than `EVERY` allows for.
SHARE = 0.02


class Pace:
    """When a checkpoint is due: every so often, and so seldom that writing takes little time."""

    def __init__(self) -> None:
        self._last, self._pause = time.monotonic(), EVERY

    def is_due(self) -> bool:
        """Whether it is time for one."""
        return time.monotonic() - self._last >= self._pause

    @contextmanager
    def writing(self) -> Generator[None, None, None]:
        """Take the time of writing one."""
        begun = time.monotonic()
        yield
        self._last = time.monotonic()
        self._pause = max(EVERY, (self._last - begun) / SHARE)


def checkpoint_of(path: Path) -> Path:
    """Return where the checkpoint of the fit into `path` is kept: hidden, beside it."""
    return path.with_name(f".{path.name}.checkpoint")


def fit_store(
    store: Store,
    checkpoint: Path,
    *,
    covariance: bool = True,
    on_invalid: OnInvalid = "error",
    precision: Literal["auto", "float64"] = "auto",
    encoder: str | None = None,
    temperature: float | None = None,
    n_threads: int | None = None,
    progress: Progress | None = None,
) -> Ellipsoid:
    """Fit as `Ellipsoid.fit` does, from where a run that was killed left its checkpoint.

    The result has the bits of a fit without interruption. The checkpoint is of size ``O(d)``,
    ``O(d^2)`` with covariance, and takes 2 percent of the time at most; whoever has saved the
    ellipsoid removes it.

    Parameters
    ----------
    store : Store
        The rows.
    checkpoint : Path
        Where it is, or is to be kept.
    covariance, on_invalid, precision, encoder, temperature, n_threads, progress
        As for `Ellipsoid.fit`.

    Returns
    -------
    Ellipsoid

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
    options: dict[str, Any] = {
        "covariance": covariance,
        "precision": precision,
        "encoder": encoder,
        "temperature": temperature,
    }
    job = Job.of(store, {**options, "on_invalid": on_invalid})
    if checkpoint.exists():
        e, done = _read(checkpoint, job)
        if progress is not None and e._moments.seen:
            progress(e._moments.seen)
    else:
        e, done = Ellipsoid(store.dim, **options), 0
    pace = Pace()
    for shard, start, batch in replace(store, shards=store.shards[done:]).located_batches():
        if start == 0:
            # Rows of this shard arrive, so all the shards before it were read to their ends.
            while store.shards[done] is not shard:
                done += 1
            if done and pace.is_due():
                with pace.writing():
                    _write(checkpoint, e, job, done)
        located = Located(str(shard.path), start, batch, check=shard.check_unchanged)
        e._add_batch(located, on_invalid != "error", n_threads)
        if progress is not None:
            progress(len(batch))
        del batch, located
    e._add_inputs(as_source(store))
    return e


def read_kept(
    path: Path, wanted: str, version: int, what: str
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read the header and the tensors of a checkpoint; its faults are named with the way on."""
    try:
        return read_file(path, lambda contents: unpacked(contents, wanted, version, what))
    except StoreError as error:
        raise StoreError(f"{error}; remove it to begin again") from None


@contextmanager
def sound(path: Path, made: dict[str, Any], job: Job) -> Generator[None, None, None]:
    """Check a checkpoint within; its faults are named with the file and the way on."""
    try:
        yield
        if made["shards"] > len(job.rows):
            raise StoreError(f"is damaged: it is of {made['shards']} shards of {len(job.rows)}")
    except StoreError as error:
        raise StoreError(f"{path}: {error}; remove it to begin again") from None


def _write(path: Path, e: Ellipsoid, job: Job, done: int) -> None:
    """Keep the sums of the first `done` shards, and the rows that wait for their block to fill."""
    sums, scatter, dtype, waiting = e._moments.snapshot()
    made = {
        **header(e, sums),
        "format": FORMAT,
        "format_version": VERSION,
        "shards": done,
        "waiting_dtype": dtype,
        "job": job.to_dict(),
    }
    contents = packed(made, {**sums_to_tensors(sums, scatter), "waiting": waiting})
    with written_beside(path) as temporary:
        temporary.write_bytes(contents)


def _read(path: Path, job: Job) -> tuple[Ellipsoid, int]:
    """Return what `_write` kept, if it is of this job."""
    made, tensors = read_kept(path, FORMAT, VERSION, "a checkpoint")
    job.check(path, Job.read(path, made.get("job")))
    with sound(path, made, job):
        check_fields(made, _FIELDS)
        waiting = tensors.pop("waiting", None)
        check_tensors(tensors, shapes(made["dim"], made["covariance"]))
        carrier = CARRIERS[made["waiting_dtype"]]
        if waiting is None or waiting.nbytes % (made["dim"] * carrier.itemsize):
            raise StoreError("is damaged: its waiting rows are incomplete")
    moments = _native.Moments.restore(
        *sums_from_tensors(made, tensors),
        waiting.view(carrier).reshape(-1, made["dim"]),
        made["waiting_dtype"],
    )
    return of_moments(Ellipsoid, made, moments), made["shards"]


#: What each field of the header has to be.
_FIELDS = FIELDS | {"shards": is_count, "waiting_dtype": lambda dtype: dtype in CARRIERS}
