"""What is computed of each row beside its scores: of partners, of a likelihood, of groups."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from clipsoid import _native
from clipsoid._batch import Batch
from clipsoid._source import Located, Source, as_source
from clipsoid.errors import MismatchError, ShapeError

if TYPE_CHECKING:
    from clipsoid.whitening import Whitening

Array = NDArray[np.float64]
Numbers = NDArray[np.uint32]

_PARTNER_POLICIES = (
    ', and rows have it as a partner; the policies "skip" and "null" leave the cosine to it null'
)


@dataclass(frozen=True, slots=True)
class Likelihood:
    """Log-likelihood of rows, from their squared lengths along the axes of a whitening."""

    centre: Array
    matrix: Array
    constant: float
    float64: bool

    def of(self, batch: Batch, n_threads: int | None) -> Array:
        """Return that of every row; NaN for one that is invalid."""
        squares, status = _native.affine_squares(
            batch.rows, batch.dtype, self.centre, self.matrix, self.float64, n_threads
        )
        squares[status != 0] = np.nan
        return np.asarray(-0.5 * (squares + self.constant))


def likelihood_of(whitening: Whitening, source: Source) -> Likelihood:
    """Return the log-likelihood of the rows of `source`, as `Whitening.log_likelihood` gives it.

    Raises
    ------
    MismatchError
        If the rows have other features.
    """
    source.expect_dim(whitening.dim, "the whitening")
    along = whitening._along_axes()
    double = "float64" in source.dtypes
    return Likelihood(along.centre, along.matrix, whitening._constant(), double)


@dataclass(frozen=True, slots=True)
class Groups:
    """The groups that rows are scored in, and which group each row is in.

    Attributes
    ----------
    count : ndarray of uint64 of shape (g,)
    unit_sum : ndarray of float64 of shape (g, d)
    member : bool
        Whether each row belongs to its group.
    numbers : callable
        Gives the numbers of the rows' groups, from the first row on, in runs of any length; one
        that is too great stands for no group.
    """

    count: NDArray[np.uint64]
    unit_sum: Array
    member: bool
    numbers: Callable[[], Iterator[Numbers]]


@dataclass(frozen=True, slots=True)
class Beside:
    """What is computed of each row beside its scores; None for what is not."""

    partner: Source | None = None
    likelihood: Likelihood | None = None
    groups: Groups | None = None

    @classmethod
    def of(
        cls,
        source: Source,
        *,
        partner: Any = None,
        whitening: Whitening | None = None,
        groups: Groups | None = None,
    ) -> Self:
        """Return what is computed of the rows of `source`, as arguments of a method say it."""
        return cls(
            None if partner is None else partners_of(source, as_source(partner, "partner")),
            None if whitening is None else likelihood_of(whitening, source),
            groups,
        )

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the scores that this adds, in order."""
        return (
            *(("cosine_to_partner",) if self.partner is not None else ()),
            *(("log_likelihood",) if self.likelihood is not None else ()),
            *(("group_conformity", "group_rows") if self.groups is not None else ()),
        )

    def along(self, source: Source) -> Iterator[tuple[Located, Located | None, Numbers | None]]:
        """Yield batches of rows, each with as many partners and numbers of groups."""
        numbers = None if self.groups is None else _Run(self.groups.numbers())
        for located, partner in in_step(source, self.partner):
            group = None if numbers is None else numbers.take(len(located.batch))
            yield located, partner, group
            del located, partner

    def native_groups(
        self, group: Numbers | None
    ) -> tuple[Numbers, NDArray[np.uint64], Array, bool] | None:
        """Return the groups as the core takes them."""
        if self.groups is None or group is None:
            return None
        return group, self.groups.count, self.groups.unit_sum, self.groups.member

    def rows_of(self, group: Numbers) -> NDArray[np.int64]:
        """Return the number of valid rows of each row's group."""
        assert self.groups is not None
        return np.append(self.groups.count, np.uint64(0)).astype(np.int64)[
            np.minimum(group, len(self.groups.count))
        ]


def check_partner(source: Source, partner: Source) -> None:
    """Raise unless `partner` has a row for each of `source`, with as many features.

    Raises
    ------
    ShapeError
        If they differ in number.
    MismatchError
        If they differ in dimension.
    """
    if partner.count != source.count:
        raise ShapeError(
            f"{partner.name}: found {partner.count} partners, wanted {source.count}, one for each "
            f"row of {source.name}"
        )
    if partner.dim != source.dim:
        raise MismatchError(
            f"{partner.name}: the partners have {partner.dim} features, the rows of "
            f"{source.name} have {source.dim}; wanted the same"
        )


def partners_of(source: Source, partner: Source) -> Source:
    """Return `partner` as what the rows of `source` are scored with: so its messages say."""
    check_partner(source, partner)

    def read() -> Iterator[Located]:
        for located in partner.read():
            yield replace(located, policies=_PARTNER_POLICIES)
            del located

    return replace(partner, read=read)


def in_step(source: Source, partner: Source | None) -> Iterator[tuple[Located, Located | None]]:
    """Yield the batches of both, cut where either of them ends."""
    if partner is None:
        for located in source.read():
            yield located, None
            del located
        return
    others, other = partner.read(), None
    for located in source.read():
        while len(located.batch):
            while other is None or not len(other.batch):
                other = next(others)
            length = min(len(located.batch), len(other.batch))
            pair = located.part(0, length), other.part(0, length)
            located, other = located.part(length), other.part(length)
            yield pair
            del pair
        del located
    # A reader checks its last file once more when it comes to its end.
    for _ in others:
        pass


class _Run:
    """Numbers that come in runs of any length, handed out in others."""

    def __init__(self, runs: Iterator[Numbers]) -> None:
        self._runs, self._rest = runs, np.empty(0, np.uint32)

    def take(self, length: int) -> Numbers:
        """Return the next ones."""
        while len(self._rest) < length:
            self._rest = np.concatenate([self._rest, next(self._runs)])
        taken, self._rest = self._rest[:length], self._rest[length:]
        return taken
