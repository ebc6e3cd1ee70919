"""An embedding set as Polars frames: which columns it has, and the rows of some of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import tee
from typing import TYPE_CHECKING, Any

import polars as pl

from clipsoid._batch import Batch
from clipsoid._gather import widened
from clipsoid.errors import StoreError
from clipsoid.store.base import BATCH_BYTES, Shard, Store, check_numbered
from clipsoid.store.readahead import read_ahead
from clipsoid.store.remote.path import RemotePath

if TYPE_CHECKING:
    from clipsoid.store.remote.ahead import Ahead

#: Where a row lies: the name of its shard, and its number in it.
PLACES = {"shard": pl.String(), "row": pl.UInt32()}

EMBEDDING = "embedding"


#: Rows of a frame that holds no embeddings.
FRAME_ROWS = 1 << 17

#: Element types of the column: polars has no bfloat16.
ELEMENTS = {"float16": pl.Float16, "float32": pl.Float32, "float64": pl.Float64}


@dataclass(frozen=True, slots=True)
class _Part:
    """Rows ``start : stop`` of a shard: what is known of them before they become a frame."""

    shard: Shard
    start: int
    stop: int
    #: Of the whole shard: its other columns, and which rows pass; None where nobody asks.
    columns: pl.DataFrame | None
    keep: pl.Series | None
    batch: Batch | None = None


@dataclass(frozen=True, slots=True)
class Frames:
    """What a LazyFrame reads a set by.

    Attributes
    ----------
    store : Store
        The set.
    columns : dict of str to polars dtype
        Those beside the embeddings, of every shard.
    element : str
        Element type of all embeddings: the widest that is stored.
    """

    store: Store
    columns: dict[str, pl.DataType]
    element: str

    @classmethod
    def of(cls, store: Store, columns: Sequence[str] | None) -> Frames:
        """Look at the headers of a set; `columns` are all that there are by default.

        Raises
        ------
        StoreError
            If shards lack one of the columns, have it in different types, have one whose name is
            taken, or more rows than can be counted.
        """
        for shard in store.shards:
            check_numbered(shard)
        return cls(store, _common_columns(store, columns), _widest(store.dtypes))

    @property
    def schema(self) -> dict[str, pl.DataType]:
        """Names and types of all columns, in order."""
        embedding = pl.Array(ELEMENTS[self.element], self.store.dim)
        return {**PLACES, **self.columns, EMBEDDING: embedding}

    def read(
        self,
        names: list[str] | None,
        predicate: pl.Expr | None,
        n_rows: int | None,
        batch_size: int | None,
    ) -> Iterator[pl.DataFrame]:
        """Read the rows that pass, with the columns `names`: what polars asks an IO source for.

        Parameters
        ----------
        names : list of str, optional
            All columns by default.
        predicate : polars expression, optional
            Of any columns.
        n_rows : int, optional
            Rows to look at, before the predicate.
        batch_size : int, optional
            Most rows of a frame.

        Yields
        ------
        polars.DataFrame
            In the order of rows; none without rows.
        """
        names = list(self.schema) if names is None else names
        conditions = [] if predicate is None else conjuncts(predicate)
        costly = [one for one in conditions if EMBEDDING in one.meta.root_names()]
        cheap = [one for one in conditions if EMBEDDING not in one.meta.root_names()]
        asked = {*names, *(root for one in conditions for root in one.meta.root_names())}
        needed = [name for name in self.schema if name in asked]
        parts, stop = self._parts(needed, cheap, n_rows)
        with closing(read_ahead(parts, stop=stop)) as parts:
            for part in parts:
                frame = self._frame(part, needed)
                if part.keep is not None:
                    frame = frame.filter(part.keep[part.start : part.stop])
                # A batch may go as soon as its frame, which may be a view of it, does.
                shard = part.shard
                del part
                if costly:
                    frame = frame.filter(costly)
                frame = frame.select(names)
                for start in range(0, len(frame), batch_size or len(frame)):
                    yield frame[start : start + batch_size] if batch_size else frame
                del frame
                shard.check_unchanged()

    def _parts(
        self, needed: list[str], cheap: list[pl.Expr], n_rows: int | None
    ) -> tuple[Iterator[_Part], Callable[[], None] | None]:
        """Read what is needed; the second ends what is on its way, of a remote set."""
        others = [name for name in needed if name in self.columns]
        chosen = self._chosen(others, cheap, n_rows)
        if EMBEDDING not in needed:
            return _sliced(self._described(chosen, others)), None
        if not any(isinstance(shard.path, RemotePath) for shard in self.store.shards):
            return _read(self._described(chosen, others)), None
        from clipsoid.store.remote.together import pass_over

        # Which shards are next is asked for while one is read. A part of a shard that cannot be
        # planned is fetched as it is read: no more than that.
        chosen, upcoming = tee(chosen)
        ahead = pass_over(shard for part in upcoming if (shard := _limited(part)) is not None)
        return _read(self._described(chosen, others), ahead), ahead.close

    def _chosen(
        self, others: list[str], cheap: list[pl.Expr], n_rows: int | None
    ) -> Iterator[_Part]:
        """Yield which rows of a shard are to be looked at; nothing of one of which none passes."""
        left = self.store.count if n_rows is None else n_rows
        by_place = [one for one in cheap if PLACES.keys() >= set(one.meta.root_names())]
        by_column = [one for one in cheap if not PLACES.keys() >= set(one.meta.root_names())]
        for shard in self.store.shards:
            count = min(shard.count, left)
            left -= count
            keep = self._passing(_Part(shard, 0, count, None, None), by_place)
            if not count or (keep is not None and not keep.any()):
                continue
            columns = self._columns(shard, others) if by_column else None
            keep = self._passing(_Part(shard, 0, count, columns, keep), by_column)
            if keep is None or keep.any():
                yield _Part(shard, 0, count, columns, keep)

    def _described(self, chosen: Iterable[_Part], others: list[str]) -> Iterator[_Part]:
        """Read the other columns, where no filter has read them."""
        for part in chosen:
            if others and part.columns is None:
                part = replace(part, columns=self._columns(part.shard, others))
            yield part

    def _columns(self, shard: Shard, names: list[str]) -> pl.DataFrame:
        # What has no value in one shard may have another type there.
        wanted = {name: self.columns[name] for name in names}
        return shard.columns(names).select(names).cast(wanted)  # type: ignore[arg-type]

    def _passing(self, part: _Part, conditions: list[pl.Expr]) -> pl.Series | None:
        """Which rows of `part` pass the conditions, and did before; None if there are none."""
        if not conditions:
            return part.keep
        roots = {root for one in conditions for root in one.meta.root_names()}
        passes = pl.all_horizontal(conditions).fill_null(value=False).alias("passes")
        found = []
        for start in range(part.start, part.stop, FRAME_ROWS):
            stop = min(start + FRAME_ROWS, part.stop)
            piece = _Part(part.shard, start, stop, part.columns, None)
            frame = self._frame(piece, [name for name in self.schema if name in {*roots, "row"}])
            # Beside the row numbers, so that a constant condition has a value for each.
            found.append(frame.select("row", passes)["passes"])
        keep = pl.concat(found) if found else pl.Series(dtype=pl.Boolean)
        return keep if part.keep is None else keep & part.keep

    def _frame(self, part: _Part, names: list[str]) -> pl.DataFrame:
        """Make the columns `names` of a part."""
        columns: list[pl.Series] = []
        for name in names:
            match name:
                case "shard":
                    length = part.stop - part.start
                    shard = pl.repeat(part.shard.name, length, dtype=pl.String, eager=True)
                    columns.append(shard.alias(name))
                case "row":
                    numbers = pl.int_range(part.start, part.stop, dtype=pl.UInt32, eager=True)
                    columns.append(numbers.alias(name))
                case "embedding":
                    assert part.batch is not None
                    columns.append(self._embeddings(part.batch))
                case _:
                    assert part.columns is not None
                    columns.append(part.columns[name][part.start : part.stop])
        return pl.DataFrame(columns)

    def _embeddings(self, batch: Batch) -> pl.Series:
        rows = widened(batch, self.element).rows
        # A flat array in C order becomes a column without a copy.
        series = pl.Series(EMBEDDING, rows.reshape(-1)).reshape(rows.shape)
        if batch.missing is None:
            return series
        there = pl.when(pl.Series(~batch.missing)).then(pl.col(EMBEDDING))
        return series.to_frame().select(there)[EMBEDDING]


def conjuncts(predicate: pl.Expr) -> list[pl.Expr]:
    """Take ``a & b & ...`` apart; the predicate itself if it is no such thing."""
    inputs = predicate.meta.pop()
    if len(inputs) == 2 and predicate.meta.eq(inputs[1] & inputs[0]):
        return [*conjuncts(inputs[1]), *conjuncts(inputs[0])]
    return [predicate]


def _sliced(chosen: Iterable[_Part]) -> Iterator[_Part]:
    """Cut what holds no embeddings into parts that frames are made of."""
    for part in chosen:
        for start in range(part.start, part.stop, FRAME_ROWS):
            yield replace(part, start=start, stop=min(start + FRAME_ROWS, part.stop))


def _read(chosen: Iterable[_Part], ahead: Ahead | None = None) -> Iterator[_Part]:
    """Read embeddings, batch by batch; of remote shards, by the requests of a pass."""
    for part in chosen:
        shard = _limited(part) or part.shard
        if ahead is not None:
            from clipsoid.store.remote.together import through

            shard = through(shard, ahead)
        for start, batch in _batches(shard, part.stop):
            stop = start + len(batch)
            if part.keep is None or part.keep[start:stop].any():
                yield replace(part, start=start, stop=stop, batch=batch)
            del batch


def _limited(part: _Part) -> Shard | None:
    """Return the rows that a part wants as a shard, if they can be had by themselves."""
    shard = part.shard
    return shard if part.stop == shard.count else shard.window(0, part.stop)


def _batches(shard: Shard, count: int) -> Iterator[tuple[int, Batch]]:
    """Batches of the first `count` rows, each with the number of its first row."""
    # A few rows are not worth a batch of the usual size.
    few = count * max(1, shard.dim) * 8
    max_bytes = few if count < shard.count and few < BATCH_BYTES else None
    for _, start, batch in shard.located_batches(max_bytes):
        left = count - start
        if len(batch) > left:
            missing = None if batch.missing is None else batch.missing[:left]
            batch = Batch(batch.rows[:left], batch.dtype, missing)
        done = start + len(batch)
        yield start, batch
        del batch
        # All rows are read to the end, where the shard is checked once more.
        if done == count < shard.count:
            return


def _widest(dtypes: frozenset[str]) -> str:
    """Return the narrowest element type of polars that holds all of these."""
    if "float64" in dtypes:
        return "float64"
    return "float16" if dtypes == {"float16"} else "float32"


def _common_columns(store: Store, names: Sequence[str] | None) -> dict[str, pl.DataType]:
    """Names and types of the columns that are asked for, the same in every shard."""
    common: dict[str, pl.DataType] = {}
    first: Shard | None = None
    for shard in store.shards:
        if names is not None:
            if not names:
                break
            shard.check_columns(names)
        found = {
            name: kind
            for name, kind in shard.schema().items()
            if (not _holds_embeddings(kind) if names is None else name in names)
        }
        if names is not None:
            found = {name: found[name] for name in names}
        if taken := sorted(found.keys() & {*PLACES, EMBEDDING}):
            raise StoreError(
                f"{shard.path}: column {taken[0]!r} has the name of a column that every scan has; "
                "wanted columns= with the others"
            )
        if first is None:
            first, common = shard, found
        elif other := sorted(found.keys() ^ common.keys()):
            has, lacks = (shard, first) if other[0] in found else (first, shard)
            raise StoreError(
                f"{has.path}: has a column {other[0]!r}, but {lacks.path} has none; "
                "wanted the same columns in every shard, or columns= with those that are"
            )
        for name, kind in found.items():
            if common[name] == pl.Null:
                common[name] = kind
            elif kind not in (common[name], pl.Null):
                raise StoreError(
                    f"{shard.path}: column {name!r} is {kind}, but {common[name]} in {first.path}; "
                    "wanted one type, or columns= without it"
                )
    return common


def _holds_embeddings(kind: Any) -> bool:
    """Whether a column of this type has the size of an embedding in every row."""
    return isinstance(kind, (pl.List, pl.Array)) and kind.inner.is_float()
