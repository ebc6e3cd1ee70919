"""The sums of many groups of rows, in one pass over a source."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from clipsoid import _native
from clipsoid._beside import Beside, Groups
from clipsoid._labels import Label, Labels
from clipsoid._source import OnInvalid, Progress, Source
from clipsoid.errors import InvalidRowError


@dataclass(slots=True)
class GroupSums:
    """Sums of groups that rows are added to.

    Attributes
    ----------
    known : tuple of Label
        Values that rows may have; each is a group.
    native : GroupMoments
        The sums.
    missing : int
        Rows that were missing; the core counts them among those that are not finite.
    """

    known: tuple[Label, ...]
    native: _native.GroupMoments
    missing: int = 0

    def add(
        self,
        source: Source,
        labels: Labels,
        on_invalid: OnInvalid,
        n_threads: int | None,
        progress: Progress | None,
        at_start: Callable[[], None] | None = None,
    ) -> None:
        """Add the rows of a source; `at_start` is called before the first row of each file."""
        here = Groups(
            np.empty(0, np.uint64), np.empty((0, 0)), False, lambda: labels.numbers(self.known)
        )
        for located, _, group in Beside(groups=here).along(source):
            assert group is not None
            if at_start is not None and located.start == 0:
                at_start()
            batch, first = located.batch, self.native.seen
            try:
                self.native.update(batch.rows, batch.dtype, group, on_invalid != "error", n_threads)
            except InvalidRowError as error:
                located.refuse_native(error.row - first, error.status)
            if batch.missing is not None:
                self.missing += int(batch.missing.sum())
            if progress is not None:
                progress(len(batch))
            del located, batch
