"""GroupedEllipsoids: one means-only ellipsoid for each group of rows, all fitted in one pass."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from clipsoid import _native
from clipsoid._beside import Beside, Groups
from clipsoid._checks import checked_number
from clipsoid._group_merge import ARRAYS, combined, merged
from clipsoid._group_sums import GroupSums
from clipsoid._labels import Label, Labels, labels_of
from clipsoid._scoring import joined, score_batches
from clipsoid._shown import Shown
from clipsoid._source import (
    OnInvalid,
    Progress,
    Source,
    as_source,
    check_policy,
    check_threads,
    opened,
)
from clipsoid.ellipsoid import Ellipsoid
from clipsoid.results import Invalid, Scores
from clipsoid.whitening import Whitening

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class GroupedEllipsoids(Shown):
    """Means-only ellipsoids of the groups of a set: of its classes, sources or languages.

    Made by `fit`. ``groups[label]`` is the ellipsoid of one group. It can be merged, pickled and
    written to a file.

    Attributes
    ----------
    labels : tuple of str, int, bool or None
        Of the groups: None, of the rows whose value is null, first; then in ascending order.
    count : ndarray of uint64 of shape (g,)
        Valid rows of each group.
    mean, squares, unit_sum : ndarray of float64 of shape (g, d)
        Raw means; sums of squared deviations from them; sums of the rows scaled to length 1.
    norms : ndarray of float64 of shape (g, 4)
        Of the row norms: mean, sum of squared deviations, minimum, maximum.
    invalid : Invalid
        Rows that were left out, of all groups.
    dtypes : frozenset of str
        Element types of the rows.
    simd_levels : frozenset of str
        SIMD levels that the sums were computed with.
    by : str or None
        The column that the labels came from.
    encoder, temperature
        As those of `Ellipsoid`.
    inputs : frozenset of str
        Fingerprints of the files that were fitted; empty for arrays.
    rows_of_inputs : int
        How many of the rows read came from those files.

    Examples
    --------
    >>> import numpy as np, clipsoid as cs
    >>> x = np.array([[1.0, 0.0], [0.0, 2.0], [3.0, 4.0], [1.0, 1.0]])
    >>> groups = cs.GroupedEllipsoids.fit(x, ["cat", "cat", "cat", "dog"])
    >>> groups
    GroupedEllipsoids(2 groups, count=4, dim=2, float64)
    >>> groups["cat"].count, groups["dog"].count
    (3, 1)
    >>> groups.score(x, ["cat", "cat", "cat", "dog"], member=True).group_conformity.round(6)
    array([0.3, 0.4, 0.7, nan])
    """

    labels: tuple[Label, ...]
    count: NDArray[np.uint64]
    mean: Array
    squares: Array
    unit_sum: Array
    norms: Array
    invalid: Invalid
    dtypes: frozenset[str]
    simd_levels: frozenset[str]
    by: str | None
    encoder: str | None
    temperature: float | None
    inputs: frozenset[str]
    rows_of_inputs: int

    def __post_init__(self) -> None:
        for name in ARRAYS:
            getattr(self, name).setflags(write=False)

    @classmethod
    def fit(
        cls,
        x: Any,
        by: Any,
        *,
        on_invalid: OnInvalid = "error",
        encoder: str | None = None,
        temperature: float | None = None,
        n_threads: int | None = None,
        progress: Progress | None = None,
    ) -> Self:
        """Fit to a set of rows, group by group.

        Parameters
        ----------
        x : array, tensor, column, path or store of shape (n, d)
            Raw embeddings, as for `Ellipsoid.fit`.
        by : str or sequence of n values
            The name of a column beside the embeddings of a path or store, or the value of each
            row: text, whole numbers or booleans. Rows whose value is null form a group, too.
        on_invalid, encoder, temperature, n_threads, progress
            As for `Ellipsoid.fit`.

        Returns
        -------
        GroupedEllipsoids

        Raises
        ------
        ShapeError
            If there are more than ``2**26 / d`` groups, or not one value for each row.
        DTypeError
            If the values are of another type.
        InvalidRowError, StoreError
            As for `Ellipsoid.fit`.

        Notes
        -----
        ``O(N d)`` time in float64, ``O(g d)`` memory for g groups, of which there may be 131,072
        with 512 features. The bits do not depend on threads or batches. The values of a column
        are read twice, one shard at a time: once to find the groups.
        """
        check_policy(on_invalid)
        check_threads(n_threads)
        if temperature is not None:
            temperature = checked_number(
                "temperature", temperature, "a number above 0", lambda t: t > 0
            )
        x, source = _opened(x)
        labels = labels_of(x, by, source.count)
        found = labels.distinct(source.dim)
        sums = GroupSums(found, _native.GroupMoments(len(found), source.dim))
        sums.add(source, labels, on_invalid, n_threads, progress)
        column = by if isinstance(by, str) else None
        return cls._of(sums, source, by=column, encoder=encoder, temperature=temperature)

    @classmethod
    def _of(cls, sums: GroupSums, source: Source, **known: Any) -> Self:
        """Return what was fitted to all rows of `source`."""
        state = sums.native.state()
        inputs = frozenset(source.inputs())
        return cls(
            labels=sums.known,
            **{name: state[name] for name in ARRAYS},  # type: ignore[literal-required]
            invalid=Invalid(state["non_finite"] - sums.missing, state["zero_norm"], sums.missing),
            dtypes=source.dtypes,
            simd_levels=frozenset({_native.simd_level()}),
            inputs=inputs,
            rows_of_inputs=source.count if inputs else 0,
            **known,
        )

    def score(
        self,
        x: Any,
        by: Any,
        *,
        member: bool = False,
        partner: Any = None,
        whitening: Whitening | None = None,
        on_invalid: OnInvalid = "error",
        n_threads: int | None = None,
    ) -> Scores:
        """Score rows against all groups together, and each against its own group.

        Parameters
        ----------
        x, by
            As for `fit`. A value that the groups do not have is that of no group.
        member : bool, default=False
            Whether the rows belong to the fitted set: each is then left out of its own means.
        partner, whitening, on_invalid, n_threads
            As for `Ellipsoid.score`.

        Returns
        -------
        Scores
            With ``group_conformity`` and ``group_rows``.
        """
        check_policy(on_invalid)
        check_threads(n_threads)
        x, source = _opened(x)
        source.expect_dim(self.dim, "the groups")
        whole = self.whole.reference(member=member)
        groups = self.scoring_groups(labels_of(x, by, source.count), member=member)
        beside = Beside.of(source, partner=partner, whitening=whitening, groups=groups)
        parts = score_batches(
            source, whole, beside=beside, on_invalid=on_invalid, n_threads=n_threads
        )
        return joined(list(parts))

    def scoring_groups(self, labels: Labels, *, member: bool) -> Groups:
        """Return the groups as the scoring loop takes them."""
        return Groups(self.count, self.unit_sum, member, lambda: labels.numbers(self.labels))

    @property
    def dim(self) -> int:
        """Number of features."""
        return int(self.mean.shape[1])

    @property
    def whole(self) -> Ellipsoid:
        """The ellipsoid of all groups together."""
        one = combined(np.zeros(len(self), np.intp), 1, [self])
        e = self._ellipsoid(*(array[0] for array in one), invalid=self.invalid)
        e._inputs, e._rows_of_inputs = self.inputs, self.rows_of_inputs
        return e

    def __getitem__(self, label: Label) -> Ellipsoid:
        """Return the ellipsoid of a group, means only."""
        try:
            at = self.labels.index(label)
        except ValueError:
            raise KeyError(label) from None
        return self._ellipsoid(*(getattr(self, name)[at] for name in ARRAYS), invalid=Invalid())

    def __contains__(self, label: object) -> bool:
        return label in self.labels

    def __iter__(self) -> Iterator[Label]:
        return iter(self.labels)

    def __len__(self) -> int:
        return len(self.labels)

    def _ellipsoid(
        self,
        count: Any,
        mean: Array,
        squares: Array,
        unit_sum: Array,
        norms: Array,
        *,
        invalid: Invalid,
    ) -> Ellipsoid:
        state: Any = {
            "count": int(count),
            "seen": int(count) + invalid.total,
            "non_finite": invalid.non_finite + invalid.missing,
            "zero_norm": invalid.zero_norm,
            "float64": False,
            "mean": mean,
            "squares": squares,
            "unit_sum": unit_sum,
            **dict(zip(NORMS, norms.tolist(), strict=True)),
        }
        e = Ellipsoid(
            self.dim, covariance=False, encoder=self.encoder, temperature=self.temperature
        )
        e._moments = _native.Moments.from_state(state, None)
        e._missing, e._dtypes, e._simd = invalid.missing, self.dtypes, self.simd_levels
        return e

    def merge(self, *others: Self) -> Self:
        """Return the groups of the rows of all, as if they had been fitted together.

        Parameters
        ----------
        *others : GroupedEllipsoids
            Of the same dimension. Merging in another order agrees to 1e-12 relative.

        Returns
        -------
        GroupedEllipsoids
            A new one. Encoder, temperature and column are None where one does not know them, or
            the columns differ.

        Raises
        ------
        MismatchError
            If dimensions, encoders, temperatures or the types of labels differ.
        ShapeError
            If there are too many groups together.
        """
        for other in others:
            if not isinstance(other, GroupedEllipsoids):
                raise TypeError(f"merge takes groups, found {type(other).__qualname__}")
        return replace(self, **merged([self, *others]))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write to a file: safetensors, with a JSON header. Complete or not there at all.

        Raises
        ------
        OutputError
            If the file cannot be written.
        """
        from clipsoid._groups_file import write_groups

        write_groups(self, path)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read from a file that `save` wrote. Nothing is unpickled.

        Raises
        ------
        StoreError
            If the file is missing, damaged or holds no groups.
        """
        from clipsoid._groups_file import read_groups

        return read_groups(cls, path)

    def __reduce__(self) -> tuple[Any, ...]:
        from clipsoid._groups_file import from_bytes, to_bytes

        return from_bytes, (type(self), to_bytes(self))

    def __repr__(self) -> str:
        parts = [f"{len(self)} group" + ("" if len(self) == 1 else "s")]
        parts += [f"count={int(self.count.sum())}", f"dim={self.dim}"]
        if self.dtypes:
            parts.append("+".join(sorted(self.dtypes)))
        if self.by is not None:
            parts.append(f"by={self.by!r}")
        if self.encoder is not None:
            parts.append(f"encoder={self.encoder!r}")
        if self.invalid.total:
            parts.append(f"left out {self.invalid.total} invalid rows")
        return f"GroupedEllipsoids({', '.join(parts)})"


#: Columns of `norms`, by their names in the state of the core.
NORMS = ("norm_mean", "norm_squares", "norm_min", "norm_max")


def _opened(x: Any) -> tuple[Any, Source]:
    """Return rows, a store where they are files, and the same as a source."""
    x = opened(x)
    return x, as_source(x)
