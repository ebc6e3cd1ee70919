"""The sums of many groups of rows, in one pass over a source."""

from __future__ import annotations

import numpy as np

from clipsoid import _native
from clipsoid._beside import Beside, Groups
from clipsoid._labels import Label, Labels
from clipsoid._source import OnInvalid, Progress, Source
from clipsoid.errors import InvalidRowError


def sums_of(
    source: Source,
    labels: Labels,
    known: tuple[Label, ...],
    on_invalid: OnInvalid,
    n_threads: int | None,
    progress: Progress | None,
) -> tuple[_native.GroupMoments, int]:
    """Return the sums, and how many rows were missing."""
    sums = _native.GroupMoments(len(known), source.dim)
    here = Groups(np.empty(0, np.uint64), np.empty((0, 0)), False, lambda: labels.numbers(known))
    skip, missing = on_invalid != "error", 0
    for located, _, group in Beside(groups=here).along(source):
        assert group is not None
        batch, first = located.batch, sums.seen
        try:
            sums.update(batch.rows, batch.dtype, group, skip, n_threads)
        except InvalidRowError as error:
            located.refuse_native(error.row - first, error.status)
        if batch.missing is not None:
            missing += int(batch.missing.sum())
        if progress is not None:
            progress(len(batch))
        del located, batch
    return sums, missing
