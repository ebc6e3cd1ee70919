"""The work of a selection: each rule takes rows out of the mask, in a fixed order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from functools import partial
from math import ceil
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from clipsoid.errors import SelectionError
from clipsoid.selection.cuts import (
    MAX_GROUPS,
    Counts,
    Run,
    keep_smallest,
    key_bits,
    keys_of,
    numbers_of,
    order_statistics,
    values_of,
)
from clipsoid.selection.mask import Bools, Mask
from clipsoid.selection.places import Order, hashes
from clipsoid.selection.rules import Amount, Rules, expression, rounded, rows_of, share_of
from clipsoid.selection.table import PLACE, Table, as_selection_errors
from clipsoid.selection.target import Target, equal_bins, fill

if TYPE_CHECKING:
    import polars as pl

#: Shares of the rows at which a distribution is described.
LEVELS = tuple(map(Fraction, ("0", "0.05", "0.25", "0.5", "0.75", "0.95", "1")))


@dataclass(slots=True)
class Work:
    """A table, which of its rows are in, and what each rule took out."""

    table: Table
    column: str
    seed: int = 0
    mask: Mask = field(init=False)
    kept: int = 0
    status: dict[str, int] = field(default_factory=dict)
    removed: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.table.check_column(self.column, "column")
        if not self.table.schema[self.column].is_numeric():
            kind = self.table.schema[self.column]
            raise SelectionError(
                f"{self.table.label}: {self.column!r} is {kind}; wanted a column of numbers"
            )
        self.mask = Mask(self.table.count)

    def check(self, rules: Rules) -> None:
        """Refuse what rules ask for and is not there, before any row is read."""
        if rules.where is not None:
            self._asked(expression(rules.where))
        if rules.per is not None:
            self.table.check_column(rules.per, "per")

    def begin(self) -> None:
        """Take in what has a status of ``ok`` and a number for its score; check the order."""
        import polars as pl

        order = Order(self.table.label)
        wanted = {*PLACE} if self.table.has_places else set()
        columns = [n for n in self.table.schema if n in {*wanted, "status", self.column}]
        status: Counter[str] = Counter()
        unscored = 0
        kind = self.table.schema.get("status", pl.String())
        if kind not in (pl.String, pl.Enum, pl.Categorical):
            raise SelectionError(f"{self.table.label}: 'status' is {kind}; wanted words")
        if wanted and not self.table.schema["row"].is_integer():
            kind = self.table.schema["row"]
            raise SelectionError(f"{self.table.label}: 'row' is {kind}; wanted whole numbers")
        for start, batch, _ in self.table.walk(self.mask, columns):
            if wanted:
                order.check(batch)
            ok = np.ones(batch.height, np.bool_)
            if "status" in columns:
                words = batch["status"].value_counts().cast({"status": pl.String})
                status.update(dict(words.iter_rows()))
                ok = (batch["status"] == "ok").fill_null(False).to_numpy()
            scored = np.isfinite(numbers_of(batch[self.column]))
            unscored += int(np.count_nonzero(ok & ~scored))
            self.mask.write(start, ok & scored)
            self.kept += int(np.count_nonzero(ok & scored))
        self.status = {str(name): count for name, count in sorted(status.items(), key=str)}
        if "status" in columns:
            self.removed["status"] = self.table.count - self.kept - unscored
        if unscored:
            self.removed["no score"] = unscored
        if not self.kept:
            raise SelectionError(
                f"{self.table.label}: none of {self.table.count} rows has a status of 'ok' and a "
                f"number in {self.column!r}"
            )

    def apply(self, rules: Rules, target: Target | None, step: Callable[[str], object]) -> None:
        """Apply all rules that were given."""
        for name, rule in self._steps(rules, target):
            step(name)
            before = self.kept
            rule()
            self.removed[name] = before - self.kept
            if not self.kept:
                raise SelectionError(f"{name}: leaves none of {before} rows")

    def _steps(
        self, rules: Rules, target: Target | None
    ) -> Iterator[tuple[str, Callable[[], None]]]:
        """Yield the rules that were given, in their order."""
        above, below = rules.above, rules.below
        if rules.where is not None:
            yield "where", partial(self._where, expression(rules.where))
        if above is not None:
            yield "above", partial(self._filter, lambda scores: scores >= above)
        if below is not None:
            yield "below", partial(self._filter, lambda scores: scores < below)
        if rules.quantiles is not None:
            yield "quantiles", partial(self._band, *rules.quantiles)
        if rules.fraction is not None:
            yield "fraction", partial(self._fraction, rules, rules.fraction)
        if rules.top is not None:
            yield "top", partial(self._end, "top", rules.top, highest=True)
        if rules.bottom is not None:
            yield "bottom", partial(self._end, "bottom", rules.bottom, highest=False)
        if rules.rows is not None:
            name = "balance" if rules.balance else "target"
            yield name, partial(self._aim, rules.rows, rules.bins, target)

    def range(self) -> tuple[float, float]:
        """Return the least and the greatest score of the rows that are in."""
        low, high = np.inf, -np.inf
        for values in self._scores():
            if len(values):
                low, high = min(low, float(values.min())), max(high, float(values.max()))
        return low, high

    def quantiles(self) -> NDArray[np.float64]:
        """Return the scores at `LEVELS`: each the least that as many of the rows do not exceed."""
        bits = key_bits(self.table.schema[self.column])
        ranks = [max(1, ceil(level * self.kept)) for level in LEVELS]
        keys = order_statistics(lambda: map(keys_of, self._scores()), bits, ranks)
        return values_of(keys, bits)

    def histogram(self, target: Target) -> Counts:
        """Count the rows that are in by the bins of a target."""
        counts = np.zeros(len(target.weights), np.int64)
        for values in self._scores():
            bins = target.bins_of(values)
            counts += np.bincount(bins[bins >= 0], minlength=len(counts))
        return counts

    def _scores(self) -> Iterator[NDArray[Any]]:
        for _, batch, kept in self.table.walk(self.mask, [self.column]):
            yield numbers_of(batch[self.column])[kept]

    def _recount(self, start: int, kept: Bools, before: Bools) -> None:
        self.mask.write(start, kept)
        self.kept -= int(np.count_nonzero(before)) - int(np.count_nonzero(kept))

    def _asked(self, wanted: pl.Expr) -> pl.LazyFrame:
        """Return a column of what is asked of each row."""
        import polars as pl

        frame = self.table.frame.with_columns(wanted.alias("__where")).select("__where")
        with as_selection_errors("where", "cannot be asked"):
            for name in wanted.meta.root_names():
                if not name.startswith("^"):
                    self.table.check_column(name, "where")
            kind = frame.collect_schema()["__where"]
        if kind != pl.Boolean:
            raise SelectionError(f"where: gives {kind}; wanted true or false")
        return frame

    def _where(self, wanted: pl.Expr) -> None:
        unknown = 0
        for start, batch in self.table.batches(self._asked(wanted), "where"):
            kept = self.mask.read(start, batch.height)
            unknown += int(np.count_nonzero(kept & batch["__where"].is_null().to_numpy()))
            true = batch["__where"].fill_null(False).to_numpy()
            self._recount(start, kept & true, kept)
        if unknown:
            self.notes.append(f"where is null for {unknown:,} rows, which are left out")

    def _filter(self, wanted: Callable[[NDArray[Any]], Bools]) -> None:
        for start, batch, kept in self.table.walk(self.mask, [self.column]):
            self._recount(start, kept & wanted(numbers_of(batch[self.column])), kept)

    def _band(self, low: float, high: float) -> None:
        first, last = (rounded(share_of(end), self.kept) for end in (low, high))
        self._keep(last)
        self._keep(first, drop=True)

    def _end(self, name: str, amount: Amount, *, highest: bool) -> None:
        rows = rows_of(name, amount, self.kept)
        if rows > self.kept:
            raise SelectionError(f"{name}: wanted {rows} rows, but only {self.kept} are left")
        self._keep(rows, descending=highest)

    def _keep(self, rows: int, *, descending: bool = False, drop: bool = False) -> None:
        """Keep so many rows of the lowest scores, or of the highest."""
        quota, available = np.array([rows]), np.array([self.kept])
        bits = key_bits(self.table.schema[self.column])
        keep_smallest(self._runs(descending), self.mask, bits, quota, available, drop=drop)
        self.kept = self.kept - rows if drop else rows

    def _fraction(self, rules: Rules, fraction: float) -> None:
        share = share_of(fraction)
        strata = {None: self.kept} if rules.per is None else self._strata(rules.per)
        available = np.array([*strata.values()], np.int64)
        quota = np.array([rounded(share, count) for count in available.tolist()], np.int64)
        bits = key_bits(self.table.schema[self.column])
        number = {name: i for i, name in enumerate(strata)}

        def group(batch: pl.DataFrame) -> NDArray[np.intp]:
            return _numbered(batch[rules.per], number) if rules.per is not None else _none(batch)

        columns = [] if rules.per is None else [rules.per]
        if rules.pick == "random":
            bits, runs = 64, self._random_runs(columns, group)
        else:
            runs = self._runs(rules.pick == "highest", columns, group)
        keep_smallest(runs, self.mask, bits, quota, available)
        self.kept = int(quota.sum())

    def _strata(self, column: str) -> dict[str | None, int]:
        """Return how many rows have each value of a column, as text; nulls are a stratum, too."""
        import polars as pl

        counts: Counter[str | None] = Counter()
        with as_selection_errors("per", "cannot be taken"):
            for _, batch, kept in self.table.walk(self.mask, [column]):
                values = batch[column].filter(pl.Series(kept)).cast(pl.String)
                counts.update(dict(values.value_counts().iter_rows()))
                if len(counts) > MAX_GROUPS:
                    raise SelectionError(
                        f"per: {column!r} has more than {MAX_GROUPS} values; wanted a column of "
                        "fewer strata"
                    )
        if set(counts) == {None}:
            raise SelectionError(f"per: {column!r} is null in every row that is left")
        return dict(sorted(counts.items(), key=lambda item: (item[0] is None, item[0])))

    def _aim(self, amount: Amount, bins: int, target: Target | None) -> None:
        """Choose rows at random in each bin; without a target, all bins weigh the same."""
        goal = target or Target(equal_bins(*self.range(), bins), np.ones(bins))
        available = self.histogram(goal)
        rows = rows_of("rows", amount, self.kept)
        rule = "balance" if target is None else "target"
        quota = np.array(fill(available.tolist(), goal.weights.tolist(), rows, rule), np.int64)

        def group(batch: pl.DataFrame) -> NDArray[np.intp]:
            return goal.bins_of(numbers_of(batch[self.column]))

        # What lies outside all bins is in none of them.
        self._filter(lambda values: goal.bins_of(values) >= 0)
        runs = self._random_runs([self.column], group)
        keep_smallest(runs, self.mask, 64, quota, available)
        self.kept = int(quota.sum())

    def _runs(
        self,
        descending: bool,
        columns: list[str] | None = None,
        group: Callable[[pl.DataFrame], NDArray[np.intp]] | None = None,
    ) -> Callable[[], Iterator[Run]]:
        """Return passes over rows keyed by their score."""
        bits = np.uint64((1 << key_bits(self.table.schema[self.column])) - 1)
        wanted = list(dict.fromkeys([self.column, *(columns or [])]))

        def runs() -> Iterator[Run]:
            for start, batch, kept in self.table.walk(self.mask, wanted):
                keys = keys_of(numbers_of(batch[self.column])[kept])
                number = (group or _none)(batch)[kept]
                yield start, kept, bits - keys if descending else keys, number

        return runs

    def _random_runs(
        self, columns: list[str], group: Callable[[pl.DataFrame], NDArray[np.intp]]
    ) -> Callable[[], Iterator[Run]]:
        """Return passes over rows keyed by a hash of the seed and their place."""
        places = list(PLACE) if self.table.has_places else [self.column]
        wanted = list(dict.fromkeys([*places, *columns]))

        def runs() -> Iterator[Run]:
            for start, batch, kept in self.table.walk(self.mask, wanted):
                keys = hashes(batch, start, self.seed, placed=self.table.has_places)
                yield start, kept, keys[kept], group(batch)[kept]

        return runs


def _none(batch: pl.DataFrame) -> NDArray[np.intp]:
    return np.zeros(batch.height, np.intp)


def _numbered(column: pl.Series, number: dict[str | None, int]) -> NDArray[np.intp]:
    """Return the number of each value; that of a value that was never in does not matter."""
    import polars as pl

    names = [name for name in number if name is not None]
    codes = column.cast(pl.String).cast(pl.Enum(names), strict=False).to_physical()
    null = number.get(None, 0)
    return codes.cast(pl.Int64).fill_null(null).to_numpy().astype(np.intp)
