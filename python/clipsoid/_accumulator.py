"""The accumulating half of an ellipsoid: rows come in, ellipsoids merge, nothing is half done."""

from __future__ import annotations

import threading
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from clipsoid import _native
from clipsoid._checks import checked_number
from clipsoid._source import (
    Located,
    OnInvalid,
    Progress,
    Source,
    as_source,
    check_policy,
    check_threads,
)
from clipsoid.errors import InvalidRowError, MismatchError, ShapeError
from clipsoid.results import Calibration, Invalid

#: Most features of a row, and most with a covariance matrix (2 GB of it).
MAX_DIM = 1 << 24
MAX_COVARIANCE_DIM = 1 << 14


class Accumulator:
    """What `Ellipsoid` is before anything is asked of it: see there."""

    def __init__(
        self,
        dim: int,
        *,
        covariance: bool = True,
        precision: Literal["auto", "float64"] = "auto",
        encoder: str | None = None,
        temperature: float | None = None,
    ) -> None:
        if not isinstance(dim, (int, np.integer)) or dim < 1:
            raise ShapeError(f"dim={dim!r}; wanted an integer of 1 or more")
        if precision not in ("auto", "float64"):
            raise ValueError(f"precision={precision!r}; wanted 'auto' or 'float64'")
        if temperature is not None:
            temperature = checked_number(
                "temperature", temperature, "a number above 0", lambda t: t > 0
            )
        if dim > MAX_DIM or (covariance and dim > MAX_COVARIANCE_DIM):
            raise ShapeError(
                f"rows have {dim} features, a covariance takes {8e-9 * dim**2:,.0f} GB; wanted at "
                f"most {MAX_COVARIANCE_DIM} with covariance and {MAX_DIM} without "
                "(is the array transposed?)"
            )
        self._dim = int(dim)
        self._moments = _native.Moments(self._dim, covariance, precision == "float64")
        # What was made of the sums, or for these rows: void when rows come in.
        self._summary: _native._State | None = None
        self._dominance: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None
        self._calibration: Calibration | None = None
        # Of the rows seen, those that were null, and those that came from files.
        self._missing = 0
        self._rows_of_inputs = 0
        self._dtypes: frozenset[str] = frozenset()
        self._inputs: frozenset[str] = frozenset()
        self._dropped: tuple[str, ...] = ()
        self._simd: frozenset[str] = frozenset()
        self._lock = threading.RLock()
        self.encoder = encoder
        self.temperature = temperature

    @classmethod
    def fit(
        cls,
        x: Any,
        *,
        covariance: bool = True,
        on_invalid: OnInvalid = "error",
        precision: Literal["auto", "float64"] = "auto",
        encoder: str | None = None,
        temperature: float | None = None,
        n_threads: int | None = None,
        progress: Progress | None = None,
    ) -> Self:
        """Fit to a set of rows.

        Parameters
        ----------
        x : array, tensor, column, path or store of shape (n, d)
            Raw embeddings: float16, bfloat16, float32 or float64. numpy arrays of any layout,
            torch CPU tensors, Arrow and Polars columns of lists, and stores on disk are read in
            place and never copied whole.
        covariance : bool, default=True
            Whether to keep the covariance matrix.
        on_invalid : {"error", "skip", "null"}, default="error"
            What to do with a row that is missing, not finite or of zero norm: raise, or leave it
            out and count it ("skip" and "null" are the same here).
        precision, encoder, temperature
            See the class.
        n_threads : int, optional
            Most threads to use; all that the process may use by default.
        progress : callable, optional
            Called with the number of rows of each batch that is done.

        Returns
        -------
        Ellipsoid

        Raises
        ------
        InvalidRowError
            If a row is invalid and the policy is "error".
        DTypeError, ShapeError, StoreError
            If the rows cannot be read.
        """
        source = as_source(x)
        e = cls(
            source.dim,
            covariance=covariance,
            precision=precision,
            encoder=encoder,
            temperature=temperature,
        )
        return e._add(source, on_invalid, n_threads, progress)

    def update(
        self, x: Any, *, on_invalid: OnInvalid = "error", n_threads: int | None = None
    ) -> Self:
        """Add rows; a calibration becomes void.

        Parameters
        ----------
        x, on_invalid, n_threads
            As for `fit`. On an error, no row is added.

        Returns
        -------
        Ellipsoid
            This one.
        """
        return self._add(as_source(x), on_invalid, n_threads, None)

    def _add(
        self,
        source: Source,
        on_invalid: OnInvalid,
        n_threads: int | None,
        progress: Progress | None,
    ) -> Self:
        check_policy(on_invalid)
        check_threads(n_threads)
        source.expect_dim(self.dim, "the ellipsoid")
        with self._lock:
            return self._add_locked(source, on_invalid != "error", n_threads, progress)

    def _add_locked(
        self, source: Source, skip: bool, n_threads: int | None, progress: Progress | None
    ) -> Self:
        before = self.__dict__ | {"_moments": self._moments.copy()}
        try:
            for located in source.read():
                self._add_batch(located, skip, n_threads)
                if progress is not None:
                    progress(len(located.batch))
                del located
            self._add_inputs(source)
        except BaseException:
            # A failed call, however late, leaves the ellipsoid as it was.
            self.__dict__.update(before)
            raise
        return self

    def _add_inputs(self, source: Source) -> None:
        """Keep which files the rows of `source` came from."""
        inputs = source.inputs()
        self._rows_of_inputs += source.count if inputs else 0
        self._inputs |= set(inputs)

    def _add_batch(self, located: Located, skip: bool, n_threads: int | None) -> None:
        batch = located.batch
        first = self._moments.seen
        try:
            self._moments.update(batch.rows, batch.dtype, skip, n_threads)
        except InvalidRowError as error:
            located.refuse_native(error.row - first, error.status)
        self._summary = self._dominance = self._calibration = None
        self._dtypes |= {batch.dtype}
        self._simd |= {_native.simd_level()}
        if batch.missing is not None:
            self._missing += int(batch.missing.sum())

    def merge(self, *others: Self, n_threads: int | None = None) -> Self:
        """Return the ellipsoid of the rows of all, as if they had been fitted together.

        What cannot be merged is dropped, and `dropped` names it: the calibration; the covariance,
        if one of the ellipsoids has none; encoder and temperature, if one does not know them.

        Parameters
        ----------
        *others : Ellipsoid
            Of the same dimension. Merging in another order agrees to 1e-12 relative.
        n_threads : int, optional
            Most threads to use; all that the process may use by default.

        Returns
        -------
        Ellipsoid
            A new one.

        Raises
        ------
        MismatchError
            If dimensions, encoders or temperatures differ.
        """
        check_threads(n_threads)
        for other in others:
            if not isinstance(other, Accumulator):
                raise TypeError(f"merge takes ellipsoids, found {type(other).__qualname__}")
        merged = type(self).__new__(type(self))
        merged.__dict__.update(self.__dict__)
        merged._lock = threading.RLock()
        merged._moments = self._moments.copy()
        merged._summary = merged._dominance = merged._calibration = None
        dropped = dict.fromkeys(self._dropped)
        # One without rows has nothing to object with: it may start a reduction.
        everyone = [e for e in (self, *others) if e._moments.seen] or [self]
        for name in ("encoder", "temperature"):
            values = {getattr(e, name) for e in everyone}
            known = values - {None}
            if len(known) > 1:
                both = " and ".join(sorted(map(repr, known)))
                raise MismatchError(f"the {name}s of the ellipsoids differ: {both}")
            # One that is not known cannot vouch for the other.
            setattr(merged, name, known.pop() if len(values) == 1 and known else None)
            if len(values) > 1:
                dropped[name] = None
        if any(e._calibration is not None for e in everyone):
            dropped["calibration"] = None
        if len({e.has_covariance for e in everyone}) > 1:
            dropped["covariance"] = None
        for other in others:
            if other.dim != self.dim:
                raise MismatchError(f"ellipsoids have {self.dim} and {other.dim} features")
            merged._moments.merge(other._moments, n_threads)
            merged._missing += other._missing
            merged._rows_of_inputs += other._rows_of_inputs
            merged._dtypes |= other._dtypes
            merged._inputs |= other._inputs
            merged._simd |= other._simd
            dropped.update(dict.fromkeys(other._dropped))
        merged._dropped = tuple(dropped)
        return merged

    @property
    def _state(self) -> _native._State:
        with self._lock:
            if self._summary is None:
                self._summary = self._moments.state()
            return self._summary

    def _need(self, rows: int, what: str) -> None:
        if self.count < rows:
            out = f" ({self.invalid.total} were left out)" if self.invalid.total else ""
            raise ShapeError(f"{what}: found {counted(self.count)}{out}, wanted {rows} or more")

    @property
    def dim(self) -> int:
        """Number of features."""
        return self._dim

    @property
    def count(self) -> int:
        """Number of valid rows."""
        return int(self._state["count"])

    @property
    def invalid(self) -> Invalid:
        """Rows that were left out, by reason."""
        non_finite = self._state["non_finite"] - self._missing
        return Invalid(non_finite, self._state["zero_norm"], self._missing)

    @property
    def dtypes(self) -> frozenset[str]:
        """Element types of the rows seen."""
        return self._dtypes

    @property
    def inputs(self) -> frozenset[str]:
        """Fingerprints of the files that were fitted; empty for arrays."""
        return self._inputs

    @property
    def simd_levels(self) -> frozenset[str]:
        """SIMD levels that the sums were computed with; bits may differ between levels."""
        return self._simd

    @property
    def dropped(self) -> tuple[str, ...]:
        """What a merge could not keep."""
        return self._dropped

    @property
    def has_covariance(self) -> bool:
        """Whether `covariance` can be had."""
        with self._lock:
            return self._moments.has_scatter

    @property
    def fully_known(self) -> bool:
        """Whether every row seen came from a file whose fingerprint is among `inputs`."""
        return 0 < self._moments.seen == self._rows_of_inputs


def counted(rows: int) -> str:
    """Return a number of valid rows in words."""
    return f"{rows:,} valid row" + ("" if rows == 1 else "s")
