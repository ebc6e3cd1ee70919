"""What is to be kept: the rules of a selection, checked."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from clipsoid._checks import checked_count, checked_number, checked_seed, is_number
from clipsoid.errors import SelectionError
from clipsoid.selection.target import MAX_BINS, Target, checked_target

if TYPE_CHECKING:
    import polars as pl

#: A number of rows, or a share of them as text: ``"10%"``.
Amount = int | str

Pick = Literal["highest", "lowest", "random"]
PICKS = ("highest", "lowest", "random")

BINS = 50


class OptionError(ValueError):
    """Options that do not go together.

    In `text`, names in braces stand for options: whoever shows it says how these are written.
    """

    def __init__(self, text: str) -> None:
        super().__init__(text.format_map({name: f"{name}=" for name in OPTIONS}))
        self.text = text

    def said(self, names: Mapping[str, str]) -> str:
        """Return the message with other names of the options."""
        return self.text.format_map(names)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """The rules of a selection, by the names of the options of `select`."""

    where: str | pl.Expr | None = None
    column: str = "conformity"
    above: float | None = None
    below: float | None = None
    quantiles: tuple[float, float] | None = None
    fraction: float | None = None
    per: str | None = None
    pick: Pick = "highest"
    top: Amount | None = None
    bottom: Amount | None = None
    balance: bool = False
    target: Any = None
    rows: Amount | None = None
    bins: int = BINS
    seed: int = 0

    def __post_init__(self) -> None:
        if self.where is not None:
            expression(self.where)
        for name in ("above", "below"):
            if getattr(self, name) is not None:
                checked_number(name, getattr(self, name))
        if self.quantiles is not None:
            _check_band(self.quantiles)
        if self.fraction is not None:
            checked_number(
                "fraction", self.fraction, "a number above 0, up to 1", lambda x: 0 < x <= 1
            )
        if self.pick not in PICKS:
            raise ValueError(f"pick={self.pick!r}; wanted 'highest', 'lowest' or 'random'")
        for name in ("top", "bottom", "rows"):
            if getattr(self, name) is not None:
                rows_of(name, getattr(self, name), 0)
        if self.top is not None and self.bottom is not None:
            raise OptionError("{top} and {bottom} are given; wanted one of them")
        checked_count("bins", self.bins, 1, MAX_BINS)
        checked_seed(self.seed)
        if self.balance and self.target is not None:
            raise OptionError("{balance} and {target} are given; wanted one of them")
        if isinstance(self.target, Mapping):
            checked_target("target", self.target)
        if self.rows is None and (self.balance or self.target is not None):
            name = "balance" if self.balance else "target"
            raise OptionError(f"{{{name}}} needs {{rows}}: how many to choose")
        self.check_used([name for name in AT_TIMES if getattr(self, name) != DEFAULTS[name]])

    def check_used(self, given: Collection[str]) -> None:
        """Refuse an option that was given and that nothing here makes use of."""
        if self.fraction is None:
            for name in ("per", "pick"):
                if name in given:
                    raise OptionError(f"{{{name}}} needs {{fraction}}")
        if "rows" in given and not self.balance and self.target is None:
            raise OptionError("{rows} needs {balance} or {target}")
        if "bins" in given and not (self.balance or self._is_target_of_scores):
            raise OptionError("{bins} needs {balance}, or a {target} of other scores")
        if "seed" in given and not self.is_random:
            raise OptionError("{seed} has no effect: nothing is chosen at random")

    @property
    def _is_target_of_scores(self) -> bool:
        return self.target is not None and not is_histogram(self.target)

    @property
    def is_random(self) -> bool:
        """Whether the seed matters."""
        return self.pick == "random" or self.rows is not None

    def to_dict(self, target: Target | None = None) -> dict[str, Any]:
        """Return what was asked for, by name, without options that nothing asks for.

        A `target` stands there as its edges and weights, wherever they came from.
        """
        is_sql = self.where is None or isinstance(self.where, str)
        found = {
            "where": self.where if is_sql else {"polars": str(self.where)},
            **{field.name: getattr(self, field.name) for field in fields(self)[1:]},
            "quantiles": None if self.quantiles is None else list(self.quantiles),
            "target": None if target is None else target.to_dict(),
        }
        if not self.is_random:
            del found["seed"]
        if not self.balance:
            del found["bins"], found["balance"]
        if self.fraction is None:
            del found["pick"]
        return {name: value for name, value in found.items() if value is not None}


def is_histogram(target: object) -> bool:
    """Whether a target is one of edges and weights, in a mapping or a JSON file."""
    if isinstance(target, (str, os.PathLike)):
        return Path(target).suffix == ".json"
    return isinstance(target, Mapping)


def rules_of(found: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of `select` from what `Rules.to_dict` made of them."""
    known = {field.name for field in fields(Rules)}
    for name in found:
        if name not in known:
            raise SelectionError(f"rules: found {name!r}; wanted {', '.join(sorted(known))}")
    if isinstance(found.get("where"), Mapping):
        raise SelectionError(
            f"rules: where was the Polars expression {found['where'].get('polars')}, which only "
            "Python can say again; wanted SQL"
        )
    return dict(found)


DEFAULTS = {field.name: field.default for field in fields(Rules)}

#: Rules that mean something only together with others.
AT_TIMES = ("per", "pick", "rows", "bins", "seed")

#: Names of all options that messages speak of.
OPTIONS = (*DEFAULTS, "metadata", "on", "id_column", "columns")


def expression(where: str | pl.Expr) -> pl.Expr:
    """Return what SQL or an expression asks of a row.

    Raises
    ------
    SelectionError
        If the text is no expression of SQL.
    """
    import polars as pl

    if isinstance(where, pl.Expr):
        return where
    if not isinstance(where, str):
        raise ValueError(f"where={where!r}; wanted SQL or an expression of Polars")
    try:
        return pl.sql_expr(where)
    except pl.exceptions.PolarsError as error:
        reason = str(error).strip().splitlines()[0]
        raise SelectionError(f"where: {reason}") from None


def share_of(share: float) -> Fraction:
    """Return a share as it is on paper: a tenth is 1/10."""
    return Fraction(str(share))


def rounded(share: Fraction, count: int) -> int:
    """Return a share of some rows: the nearest whole number, of two the greater one."""
    return int(share * count + Fraction(1, 2))


def rows_of(name: str, amount: Amount, count: int) -> int:
    """Return a number of rows, of which there are `count`, from a number or a percentage."""
    if isinstance(amount, str) and amount.endswith("%"):
        try:
            share = Fraction(amount[:-1]) / 100
        except (ValueError, ZeroDivisionError):
            share = Fraction(0)
        if not 0 < share <= 1:
            raise ValueError(f"{name}={amount!r}; wanted a percentage above 0, up to 100%")
        return rounded(share, count)
    return checked_count(name, amount, also="a percentage such as '10%', or ")


def _check_band(band: object) -> None:
    ends = band if isinstance(band, (tuple, list)) and len(band) == 2 else ()
    if not ends or not all(map(is_number, ends)) or not 0 <= ends[0] < ends[1] <= 1:
        raise ValueError(f"quantiles={band!r}; wanted two numbers, 0 <= LO < HI <= 1")


def is_path(value: object) -> bool:
    """Whether a value names files."""
    return isinstance(value, (str, os.PathLike)) or (
        isinstance(value, (list, tuple)) and all(isinstance(one, (str, Path)) for one in value)
    )
