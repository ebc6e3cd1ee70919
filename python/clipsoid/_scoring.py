"""Rows in, scores out, batch by batch: the loop under every per-row method."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clipsoid import _native
from clipsoid._batch import Batch
from clipsoid._beside import Beside
from clipsoid._source import Located, OnInvalid, Progress, Source
from clipsoid.results import Scores


@dataclass(frozen=True, slots=True)
class Reference:
    """What rows are scored against: a fitted set, and whether the rows are part of it."""

    count: int
    mean: NDArray[np.float64]
    unit_mean: NDArray[np.float64]
    member: bool


def refuse_invalid(located: Located, status: NDArray[np.uint8]) -> None:
    """Raise for the first row whose status is not ok."""
    if status.any():
        row = int((status != 0).argmax())
        located.refuse(row, Scores.STATUS[int(status[row])])


def mark_missing(located: Located, status: NDArray[np.uint8]) -> None:
    """Set the status of rows that the source holds a null for."""
    if located.batch.missing is not None:
        status[located.batch.missing] = Scores.STATUS.index("missing")


def measured(
    source: Source, on_invalid: OnInvalid, measure: Callable[[Batch], tuple[NDArray[Any], ...]]
) -> Iterator[tuple[NDArray[Any], ...]]:
    """Measure each batch: arrays of one entry per row, the last of them the status."""
    for located in source.read():
        found = measure(located.batch)
        mark_missing(located, found[-1])
        if on_invalid == "error":
            refuse_invalid(located, found[-1])
        # The next batch is read while the caller works on this one: its memory is given up first.
        del located
        yield found


def score_batches(
    source: Source,
    reference: Reference,
    *,
    beside: Beside | None = None,
    on_invalid: OnInvalid = "error",
    n_threads: int | None = None,
    progress: Progress | None = None,
) -> Generator[Scores, None, None]:
    """Score every row of `source`; with ``"skip"``, invalid rows are left out."""
    beside = Beside() if beside is None else beside
    start = 0
    for located, partner, group in beside.along(source):
        batch = located.batch
        conformity, cosine, norm, status, pairs, in_group = _native.score(
            batch.rows,
            batch.dtype,
            reference.count,
            reference.mean,
            reference.unit_mean,
            reference.member,
            n_threads,
            None if partner is None else (partner.batch.rows, partner.batch.dtype),
            beside.native_groups(group),
        )
        mark_missing(located, status)
        if on_invalid == "error":
            refuse_invalid(located, status)
        row = np.arange(start, start + len(status))
        start += len(status)
        scores = Scores(row, conformity, cosine, norm, status)
        if partner is not None and pairs is not None:
            cosines, partner_status = pairs
            mark_missing(partner, partner_status)
            if on_invalid == "error":
                refuse_invalid(partner, partner_status)
            scores = replace(scores, cosine_to_partner=cosines)
        if beside.likelihood is not None:
            scores = replace(scores, log_likelihood=beside.likelihood.of(batch, n_threads))
        if group is not None:
            rows = beside.rows_of(group)
            scores = replace(scores, group_conformity=in_group, group_rows=rows)
        # The next batch is read while the caller works on this one: its memory is given up first.
        del located, partner, batch
        if progress is not None:
            progress(len(status))
        yield kept(scores) if on_invalid == "skip" and status.any() else scores


def conformity_batches(
    source: Source,
    reference: Reference,
    *,
    on_invalid: OnInvalid = "error",
    n_threads: int | None = None,
) -> Iterator[NDArray[np.float64]]:
    """Conformity alone of every row: less arithmetic, and a quarter of the memory of all scores."""
    count, unit_mean, member = reference.count, reference.unit_mean, reference.member
    for values, status in measured(
        source,
        on_invalid,
        lambda b: _native.conformity(b.rows, b.dtype, count, unit_mean, member, n_threads),
    ):
        yield values[status == 0] if on_invalid == "skip" and status.any() else values


def radius_batches(
    source: Source,
    mean: NDArray[np.float64],
    *,
    on_invalid: OnInvalid = "error",
    n_threads: int | None = None,
) -> Iterator[NDArray[np.float64]]:
    """Distance of every row from the mean, NaN for an invalid one."""
    for radii, _ in measured(
        source, on_invalid, lambda b: _native.distances(b.rows, b.dtype, mean, n_threads)
    ):
        yield radii


def kept(scores: Scores) -> Scores:
    """Return the rows whose status is ok."""
    ok = scores.status == 0
    return Scores(**{name: array[ok] for name, array in _arrays(scores).items()})


def joined(parts: list[Scores]) -> Scores:
    """Return all rows in order."""
    if len(parts) == 1:
        return parts[0]
    names = _arrays(parts[0])
    return Scores(**{name: np.concatenate([getattr(p, name) for p in parts]) for name in names})


def _arrays(scores: Scores) -> dict[str, NDArray[Any]]:
    """Return the arrays that there are, by name."""
    found = {field.name: getattr(scores, field.name) for field in fields(scores)}
    return {name: array for name, array in found.items() if array is not None}


def gather(parts: Iterator[NDArray[Any]]) -> NDArray[np.float64]:
    """Concatenate, without a copy where there is one part only."""
    arrays = list(parts)
    if len(arrays) == 1:
        return arrays[0]
    return np.concatenate(arrays) if arrays else np.empty(0)
