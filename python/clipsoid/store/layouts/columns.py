"""A column of the metadata as a sequence over all rows of a set, in the memory of one shard."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import Any, overload

from clipsoid.store.base import Store

#: What producers call the columns that a page shows: clip-retrieval and clipsoid; DataComp;
#: img2dataset and LAION.
CAPTIONS = ("caption", "text", "TEXT")
IMAGE_PATHS = ("image_path",)


class StoreColumn(Sequence[Any]):
    """Values of a column by the number of the row; those of the last shard asked for are kept.

    Parameters
    ----------
    store : Store
        Every shard of it has the column.
    name : str
        Of the column.
    """

    def __init__(self, store: Store, name: str) -> None:
        self.name = name
        self._shards = [shard for shard in store.shards if shard.count]
        self._ends = [*accumulate(shard.count for shard in self._shards)]
        self._kept: tuple[int, Sequence[Any]] = (-1, ())

    def __len__(self) -> int:
        return self._ends[-1]

    @overload
    def __getitem__(self, row: int) -> Any: ...
    @overload
    def __getitem__(self, row: slice) -> Sequence[Any]: ...
    def __getitem__(self, row: int | slice) -> Any:
        """Return the value of a row."""
        if isinstance(row, slice):
            return [self[i] for i in range(*row.indices(len(self)))]
        if not -len(self) <= row < len(self):
            raise IndexError(row)
        row %= len(self)
        i = bisect_right(self._ends, row)
        if self._kept[0] != i:
            self._kept = i, self._shards[i].columns([self.name]).to_series().to_list()
        first = self._ends[i] - self._shards[i].count
        return self._kept[1][row - first]


def column_of(store: Store, names: Iterable[str]) -> StoreColumn | None:
    """Return the first of some columns that the shards have, or None.

    Raises
    ------
    StoreError, MismatchError
        If the first shard has one, but another has not, or the metadata do not fit.
    """
    first = next(shard for shard in store.shards if shard.count)
    found = first.schema()
    name = next((name for name in names if name in found), None)
    if name is None:
        return None
    for shard in store.shards:
        if shard.count:
            shard.check_columns([name])
    return StoreColumn(store, name)
