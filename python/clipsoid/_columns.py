"""Scores of a Polars column: what the expressions call with one piece of it after another."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from clipsoid._native import zero_fills
from clipsoid._scoring import Reference, score_batches
from clipsoid._source import Source, as_source
from clipsoid.ellipsoid import Ellipsoid
from clipsoid.errors import DTypeError, InvalidRowError, MismatchError, StoreError
from clipsoid.partners import cosine
from clipsoid.results import Scores
from clipsoid.whitening import Whitening

Array = NDArray[np.float64]
OnInvalid = Literal["error", "null"]

_WANTED = "a list or array of Float16, Float32 or Float64"
_FLOATS = (pl.Float16(), pl.Float32(), pl.Float64())

#: What is wrong with an embedding, and the filter for all of which it is: a null is at no fault.
_PROBLEMS = {
    "non_finite": (
        "holds a value that is not finite (NaN or infinity), or its norm is not",
        "{column}.is_not_null(), {norm}.is_null()",
    ),
    "zero_norm": ("has zero norm", "{norm} == 0"),
}


@dataclass(frozen=True, slots=True)
class Scored:
    """What polars calls with the pieces of a column."""

    #: NaN for rows that have no score.
    measure: Callable[[Source], Array]
    of: Ellipsoid | Whitening | None
    on_invalid: OnInvalid

    def __call__(self, series: pl.Series) -> pl.Series:
        dim = _dim(series)
        if self.of is not None and dim not in (None, self.of.dim):
            what = f"the {type(self.of).__name__.lower()}"
            raise MismatchError(
                f"{_label(series)}: the rows have {dim} features, {what} has {self.of.dim}"
            )
        if series.null_count() == len(series):
            return _without_scores(series)
        with _whole_files(_label(series)):
            values = self.measure(as_source(series, _label(series)))
        found = pl.Series(series.name, values, nan_to_null=True)
        if self.on_invalid == "error":
            _refuse_invalid(series, found)
        return found


@dataclass(frozen=True, slots=True)
class Cosine:
    """As `Scored`, of two columns."""

    on_invalid: OnInvalid
    n_threads: int | None

    def __call__(self, columns: Sequence[pl.Series]) -> pl.Series:
        one, other = columns
        dims = _dim(one), _dim(other)
        if None not in dims and dims[0] != dims[1]:
            raise MismatchError(
                f"{_label(one)}: the rows have {dims[0]} features, {_label(other)} has {dims[1]}"
            )
        there = one.is_not_null() & other.is_not_null()
        if not there.any():
            found = _without_scores(one)
        else:
            sources = (as_source(series, _label(series)) for series in columns)
            with _whole_files(_label(one)):
                values = cosine(*sources, on_invalid="null", n_threads=self.n_threads)
            found = pl.Series(one.name, values, nan_to_null=True)
        if self.on_invalid == "error":
            for series in columns:
                _refuse_invalid(series, found)
        return found


@contextmanager
def _whole_files(label: str) -> Generator[None, None, None]:
    """Raise StoreError at the end if pages of a mapped file were gone: zeros were read for them.

    A column may be a view of a file that `scan` has read, and be used long after that.
    """
    before = zero_fills()
    yield
    if zero_fills() != before:
        raise StoreError(
            f"{label}: a file that was scanned was truncated while its rows were in use; wanted "
            "files that stay as they are until the query ends (CLIPSOID_READ=pread copies them)"
        )


def norms(source: Source, n_threads: int | None) -> Array:
    """Length of every row; NaN where it is not finite."""
    norm = np.concatenate([part.norm for part in _scores(source, n_threads)])
    norm[~np.isfinite(norm)] = np.nan
    return norm


def _scores(source: Source, n_threads: int | None = None) -> list[Scores]:
    """Norm and status of rows, which are the same against any set."""
    nothing = np.zeros(source.dim)
    reference = Reference(1, nothing, nothing, member=False)
    return list(score_batches(source, reference, on_invalid="null", n_threads=n_threads))


def _dim(series: pl.Series) -> int | None:
    """Return the number of features, None where lists hold nothing that tells it."""
    kind = series.dtype
    if isinstance(kind, (pl.List, pl.Array)) and kind.inner in _FLOATS:
        if isinstance(kind, pl.Array):
            return kind.size
        lengths = series.list.len().drop_nulls()
        return None if lengths.is_empty() else int(lengths[0])
    raise DTypeError(f"{_label(series)} is {kind}; wanted {_WANTED}")


def _label(series: pl.Series) -> str:
    return f"column {series.name!r}"


def _without_scores(series: pl.Series) -> pl.Series:
    return pl.repeat(None, len(series), dtype=pl.Float64, eager=True).alias(series.name)


def _refuse_invalid(series: pl.Series, found: pl.Series) -> None:
    """Raise for the first embedding that is there, has no score, and is at fault.

    Which rows an engine puts into a batch nobody knows: a filter finds them in the user's frame.
    """
    suspects = (found.is_null() & series.is_not_null()).arg_true()
    if suspects.is_empty():
        return
    parts = _scores(as_source(series.gather(suspects), _label(series)))
    statuses = np.concatenate([part.status for part in parts])
    for row, status in zip(suspects, statuses, strict=True):
        if status:
            problem, condition = _PROBLEMS[Scores.STATUS[status]]
            column = f"pl.col({series.name!r})"
            norm = f"{column}.clipsoid.norm(on_invalid='null')"
            raise InvalidRowError(
                f"{_label(series)}: row {row} of a batch of {len(series)} rows {problem}; "
                f".filter({condition.format(column=column, norm=norm)}) finds such rows, "
                "on_invalid='null' gives null for them"
            )
