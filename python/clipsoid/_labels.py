"""Which group each row is in: values beside the rows, and their numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from clipsoid.errors import DTypeError, MismatchError, ShapeError

if TYPE_CHECKING:
    import polars as pl

    from clipsoid.store import Store

#: A value that groups rows; None is one, too.
Label = str | int | bool | None

#: Features of all groups together: 1.6 GB of sums.
MOST_NUMBERS = 1 << 26

#: The number of no group.
NO_GROUP = 2**32 - 1


@dataclass(frozen=True, slots=True)
class Labels:
    """The values of all rows.

    Attributes
    ----------
    name : str
        What messages call them.
    parts : callable
        Gives them in order, as series that `_checked` has seen, each with what messages call it.
    """

    name: str
    parts: Callable[[], Iterator[tuple[str, pl.Series]]]

    def distinct(self, dim: int) -> tuple[Label, ...]:
        """Return the values that occur: None first, then in ascending order.

        Raises
        ------
        ShapeError
            If there are too many for groups of `dim` features.
        MismatchError
            If they are of different types in different parts.
        """
        import polars as pl

        most = MOST_NUMBERS // dim
        found: pl.Series | None = None
        for name, part in self.parts():
            own = part.unique()
            if found is not None and pl.Null not in (found.dtype, own.dtype):
                _expect(name, own.dtype, found.dtype)
            if found is not None:
                kind = own.dtype if found.dtype == pl.Null else found.dtype
                own = pl.concat([found.cast(kind), own.cast(kind)]).unique()
            found = own
            if len(found) > most:
                raise ShapeError(
                    f"{self.name}: found {len(found):,} values up to {name}; wanted at most "
                    f"{most:,} groups of rows of {dim} features"
                )
        return () if found is None else tuple(found.sort(nulls_last=False).to_list())

    def numbers(self, known: Sequence[Label]) -> Iterator[NDArray[np.uint32]]:
        """Yield the place of each row's value among `known`, `NO_GROUP` where it is not there."""
        import polars as pl

        values = _checked("labels", pl.Series(list(known)))
        table = pl.DataFrame({"value": values, "number": np.arange(len(known), dtype=np.uint32)})
        for name, part in self.parts():
            if pl.Null not in (part.dtype, values.dtype):
                _expect(name, part.dtype, values.dtype)
            kind = part.dtype if values.dtype == pl.Null else values.dtype
            found = pl.DataFrame({"value": part.cast(kind)}).join(
                table.cast({"value": kind}),
                on="value",
                how="left",
                nulls_equal=True,
                maintain_order="left",
            )
            yield found["number"].fill_null(NO_GROUP).to_numpy()


def labels_of(x: Any, by: Any, count: int) -> Labels:
    """Return the values of a column of a store, or of an array, a list or a series.

    Raises
    ------
    StoreError
        If a shard lacks the column.
    ShapeError
        If there is not one value for each of the `count` rows.
    DTypeError
        If they are neither strings nor whole numbers nor booleans.
    """
    import polars as pl

    if isinstance(by, str):
        if not hasattr(x, "shards"):
            raise DTypeError(
                f"by={by!r} names a column, which only files have; wanted one value for each row"
            )
        return _column(x, by)
    try:
        series = pl.Series(by)
    except (TypeError, ValueError, pl.exceptions.PolarsError) as error:
        raise DTypeError(f"by: cannot be read as a column: {error}") from None
    if len(series) != count:
        raise ShapeError(f"by: found {len(series)} values, wanted {count}, one for each row")
    values = _checked("by", series)
    return Labels("by", lambda: iter([("by", values)]))


def _column(store: Store, name: str) -> Labels:
    for shard in store.shards:
        shard.check_columns([name])

    def parts() -> Iterator[tuple[str, pl.Series]]:
        for shard in store.shards:
            label = f"{shard.path}: column {name!r}"
            yield label, _checked(label, shard.columns([name])[name])

    return Labels(f"column {name!r}", parts)


def _checked(name: str, series: pl.Series) -> pl.Series:
    """Return values as text, whole numbers, booleans, or nulls alone."""
    import polars as pl

    kind = series.dtype
    if kind in (pl.Categorical, pl.Enum):
        return series.cast(pl.String)
    if kind.is_integer():
        try:
            return series.cast(pl.Int64)
        except pl.exceptions.InvalidOperationError:
            raise DTypeError(
                f"{name}: found whole numbers beyond 64 bits with a sign; wanted smaller ones"
            ) from None
    if kind in (pl.String, pl.Boolean, pl.Null):
        return series
    raise DTypeError(f"{name}: found values of type {kind}; wanted text, whole numbers or booleans")


def _expect(name: str, found: pl.DataType, wanted: pl.DataType) -> None:
    if found != wanted:
        raise MismatchError(
            f"{name}: found values of type {found}, wanted {wanted}, as the groups before have"
        )
