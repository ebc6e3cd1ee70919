"""A shard in the order of another one, by ids that both have."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from clipsoid._batch import CARRIERS, Batch
from clipsoid.errors import MismatchError
from clipsoid.store.base import Shard
from clipsoid.store.remote.path import RemotePath

if TYPE_CHECKING:
    import polars as pl

    from clipsoid.store.remote.ahead import Block


@dataclass(frozen=True, repr=False)
class ReorderedShard(Shard):
    """Rows of a shard in the order of another one.

    While it is read, the rows are in memory: those of one shard, once.

    Attributes
    ----------
    of : Shard
        The rows as they are stored.
    like : Shard
        The rows in the order that is wanted.
    id_column : str
        What tells them apart in both.
    """

    of: Shard = field(kw_only=True)
    like: Shard = field(kw_only=True)
    id_column: str = field(kw_only=True)

    @classmethod
    def by(cls, of: Shard, like: Shard, id_column: str) -> ReorderedShard:
        """Bring the rows of a shard into the order of another one."""
        return cls(
            of.path,
            of.name,
            of.count,
            of.dim,
            of.dtype,
            of.stamp,
            of.part,
            metadata=of.metadata,
            of=of,
            like=like,
            id_column=id_column,
        )

    def batches(self, max_bytes: int | None = None) -> Iterator[Batch]:
        """Rows in the order of the other shard."""
        order = order_by(self.of, self.like, self.id_column)
        # A pass over remote shards says by which requests they are read.
        stored = replace(self.of, path=self.path) if isinstance(self.path, RemotePath) else self.of
        place = np.empty(self.count, np.intp)
        place[order] = np.arange(self.count)
        rows = np.empty((self.count, self.dim), CARRIERS[self.dtype])
        missing: NDArray[np.bool_] | None = None
        for _, start, batch in stored.located_batches(max_bytes):
            where = place[start : start + len(batch)]
            rows[where] = batch.rows
            if batch.missing is not None:
                missing = np.zeros(self.count, bool) if missing is None else missing
                missing[where] = batch.missing
            del batch
        whole = Batch(rows, self.dtype, missing)
        step = self.rows_per_batch(max_bytes)
        for start in range(0, self.count, step):
            yield whole.part(start, start + step)

    def plan(self, max_bytes: int | None = None) -> Iterator[Block]:
        """As of the stored rows."""
        return self.of.plan(max_bytes)

    def schema(self) -> Mapping[str, pl.DataType]:
        """As of the stored rows."""
        return self.of.schema()

    def check_columns(self, names: Sequence[str]) -> None:
        """As of the stored rows."""
        self.of.check_columns(names)

    def columns(self, names: Sequence[str]) -> pl.DataFrame:
        """Columns in the order of the other shard."""
        return self.of.columns(names)[order_by(self.of, self.like, self.id_column)]


def order_by(of: Shard, like: Shard, id_column: str) -> NDArray[Any]:
    """Return, for each row of `like`, the number of the row of `of` with its id.

    Raises
    ------
    MismatchError
        If an id is null or there twice, or only one of them has it.
    """
    import polars as pl

    wanted, found = (shard.columns([id_column]).to_series() for shard in (like, of))
    if wanted.dtype != found.dtype:
        raise MismatchError(
            f"{like.path}: column {id_column} is {wanted.dtype}, that of {of.path} is "
            f"{found.dtype}; wanted one type"
        )
    for shard, ids in ((like, wanted), (of, found)):
        unusable = ids.is_duplicated() | ids.is_null()
        if unusable.any():
            row = int(unusable.arg_max() or 0)
            raise MismatchError(
                f"{shard.path}: row {row} has {id_column} {ids[row]!r}, which is no id of one row; "
                "wanted each once, to pair rows that are in another order"
            )
    numbered = pl.DataFrame({"id": found}).with_row_index("row")
    joined = pl.DataFrame({"id": wanted}).join(numbered, on="id", how="left", maintain_order="left")
    lost = joined["row"].is_null()
    if lost.any():
        row = int(lost.arg_max() or 0)
        raise MismatchError(
            f"{like.path}: row {row} has {id_column} {wanted[row]!r}, which no row of {of.path} "
            "has; wanted the same ids in both"
        )
    return joined["row"].to_numpy()
