"""What every function accepts as rows, arrays and stores alike: batches that know their place."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal, NoReturn

from clipsoid._arrays import array_batches
from clipsoid._batch import Batch
from clipsoid._checks import checked_count
from clipsoid.errors import InvalidRowError, MismatchError, ShapeError

OnInvalid = Literal["error", "skip", "null"]

#: More threads than any machine has are a mistake.
MAX_THREADS = 4096

#: Called with the number of rows of each batch that is done.
Progress = Callable[[int], object]

_PROBLEMS = {
    "non_finite": "holds a value that is not finite (NaN or infinity), or its norm is not",
    "zero_norm": "has zero norm",
    "missing": "is missing (a null embedding)",
}

_POLICIES = '; the policy "skip" leaves invalid rows out, "null" gives them a null score'


@dataclass(frozen=True, slots=True)
class Located:
    """A batch and where it lies: row `start` of `label`, an argument or a file.

    `has_policies` says whether the caller offers a choice of what to do with an invalid row, and
    `policies` which. `check` raises if the file has changed: rows that look invalid may be what was
    written over it.
    """

    label: str
    start: int
    batch: Batch
    has_policies: bool = True
    policies: str = _POLICIES
    check: Callable[[], None] | None = None

    def part(self, start: int, stop: int | None = None) -> Located:
        """Return rows `start` to `stop` of the batch, at their place."""
        return replace(self, start=self.start + start, batch=self.batch.part(start, stop))

    def refuse(self, row: int, status: str, *, policies: bool = True) -> NoReturn:
        """Raise for row `row` of the batch; `policies` says whether there are any to name."""
        if self.check is not None:
            self.check()
        problem = _PROBLEMS[status] + (self.policies if policies and self.has_policies else "")
        error = InvalidRowError(f"{self.label}: row {self.start + row} {problem}")
        error.row, error.status = self.start + row, status
        raise error from None

    def refuse_native(self, row: int, status: str, *, policies: bool = True) -> NoReturn:
        """Raise for a row that the core found invalid: it reads a missing row as NaN."""
        missing = self.batch.missing
        missed = missing is not None and missing[row]
        self.refuse(row, "missing" if missed else status, policies=policies)

    def refuse_again(self, row: int, error: InvalidRowError) -> NoReturn:
        """Raise what the core said of a row, under its number in the batch: `row`."""
        if self.check is not None:
            self.check()
        what = str(error).removeprefix(f"row {error.row} ")
        found = InvalidRowError(f"{self.label}: row {self.start + row} {what}")
        found.row, found.status = self.start + row, error.status
        raise found from None


@dataclass(frozen=True)
class Source:
    """Rows that can be read more than once.

    Attributes
    ----------
    name : str
        What messages call the whole: the argument, or the first file.
    dim, count : int
        Features and rows.
    dtypes : frozenset of str
        Element types as stored.
    read : callable
        Gives an iterator over all rows, from the start.
    inputs : callable
        Gives the fingerprints of the files; none for arrays.
    """

    name: str
    dim: int
    count: int
    dtypes: frozenset[str]
    read: Callable[[], Iterator[Located]]
    inputs: Callable[[], tuple[str, ...]]

    def place(self, row: int) -> tuple[Located, int]:
        """Return the batch that row `row` of all lies in, and its number in that batch."""
        for located in self.read():
            if row < len(located.batch):
                return located, row
            row -= len(located.batch)
        raise IndexError(row)

    def expect_dim(self, dim: int, of: str) -> None:
        """Raise unless the rows have `dim` features."""
        if self.dim != dim:
            raise MismatchError(f"{self.name}: the rows have {self.dim} features, {of} has {dim}")

    def expect_rows(self, least: int) -> None:
        """Raise unless there are `least` rows."""
        if self.count < least:
            raise ShapeError(f"{self.name}: found {self.count} rows, wanted {least} or more")

    def without_policies(self) -> Source:
        """Return the same rows for a call that refuses invalid ones: its messages offer nothing."""

        def read() -> Iterator[Located]:
            for located in self.read():
                yield replace(located, has_policies=False)
                del located

        return replace(self, read=read)


def is_path(x: object) -> bool:
    """Whether `x` names files: a path, or a list of nothing else."""
    if isinstance(x, (list, tuple)):
        return bool(x) and all(isinstance(one, (str, os.PathLike)) for one in x)
    return isinstance(x, (str, os.PathLike))


def opened(x: Any) -> Any:
    """Open what names files, in any layout; a set of one modality is its rows, all else is as is.

    Raises
    ------
    StoreError
        If a set holds images and texts.
    """
    if is_path(x):
        from clipsoid.store import open_set

        x = open_set(x)
    return x.only() if hasattr(x, "only") and hasattr(x, "modality") else x


def as_source(x: Any, name: str = "x") -> Source:
    """Rows of an array, a tensor, a column, a path, a store or a set of one modality.

    Raises
    ------
    DTypeError, ShapeError, StoreError, MismatchError
        If they cannot be had; the message names the argument or the file.
    """
    if isinstance(x, Source):
        return x
    x = opened(x)
    if hasattr(x, "located_batches"):
        store = x

        def read_store() -> Iterator[Located]:
            for shard, start, batch in store.located_batches():
                yield Located(str(shard.path), start, batch, check=shard.check_unchanged)
                del batch

        def inputs() -> tuple[str, ...]:
            return tuple(sorted({shard.fingerprint() for shard in store.shards if shard.count}))

        first = str(store.shards[0].path)
        return Source(first, store.dim, store.count, store.dtypes, read_store, inputs)

    batches = array_batches(x, name)
    if not batches:
        raise ShapeError(f"{name}: the column has no chunk; wanted 1 row or more")

    def read_arrays() -> Iterator[Located]:
        start = 0
        for batch in batches:
            yield Located(name, start, batch)
            start += len(batch)

    return Source(
        name,
        batches[0].dim,
        sum(len(batch) for batch in batches),
        frozenset(batch.dtype for batch in batches),
        read_arrays,
        tuple,
    )


def joined_dtypes(*sources: Source) -> str:
    """Return the element types of all, in one word."""
    return "+".join(sorted(frozenset[str]().union(*(source.dtypes for source in sources))))


def check_policy(on_invalid: str) -> None:
    """Raise unless `on_invalid` names a policy."""
    if on_invalid not in ("error", "skip", "null"):
        raise ValueError(f"on_invalid={on_invalid!r}; wanted 'error', 'skip' or 'null'")


def check_threads(n_threads: object) -> None:
    """Raise unless `n_threads` is None or a positive integer."""
    if n_threads is not None:
        checked_count("n_threads", n_threads, most=MAX_THREADS, also="None (all) or ")
