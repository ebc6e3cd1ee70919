"""Choosing rows by their scores: rules, target distributions, files for the next tool.

The rows are read as often as the rules need, a batch at a time; in memory stays one bit for each.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from clipsoid.errors import SelectionError
from clipsoid.selection.recipe import check_inputs
from clipsoid.selection.result import ScoreDistribution, Selection
from clipsoid.selection.rules import BINS, Amount, Pick, Rules, is_histogram, rules_of
from clipsoid.selection.score_files import open_table
from clipsoid.selection.table import Table
from clipsoid.selection.target import Target, checked_target, equal_bins, read_target
from clipsoid.selection.work import Work

if TYPE_CHECKING:
    import polars as pl

__all__ = [
    "ScoreDistribution",
    "Selection",
    "opened_again",
    "select",
    "select_again",
    "selection_of",
]

#: Bins of the histograms that a selection shows.
SHOWN_BINS = 20


def select(
    scores: Any,
    *,
    where: str | pl.Expr | None = None,
    column: str = "conformity",
    above: float | None = None,
    below: float | None = None,
    quantiles: tuple[float, float] | None = None,
    fraction: float | None = None,
    per: str | None = None,
    pick: Pick = "highest",
    top: Amount | None = None,
    bottom: Amount | None = None,
    balance: bool = False,
    target: Any = None,
    rows: Amount | None = None,
    bins: int = BINS,
    seed: int = 0,
    metadata: Any = None,
    on: str | None = None,
    progress: Callable[[str], object] | None = None,
) -> Selection:
    """Choose rows by their scores.

    Rows whose status is not ``ok``, or that have no finite number in `column`, never enter. The
    rules that are given are applied in the order in which they are listed here, each to the rows
    that those before it left; shares and percentages are of these.

    Parameters
    ----------
    scores : str, Path, list of these, polars.LazyFrame or polars.DataFrame
        A folder of score files, a parquet file, a pattern, or a frame. With columns ``shard`` and
        ``row``, the rows of a shard must stand together, each once, in ascending order.
    where : str or polars.Expr, optional
        SQL, or an expression, over columns of scores and metadata; a null is no.
    column : str, default="conformity"
        The score that the other rules use: any column of numbers.
    above, below : float, optional
        Keep scores at or above the one, and below the other. A column of float32 is compared in
        float32.
    quantiles : (float, float), optional
        Keep this band of the rows in ascending order of their scores: from the rank ``LO * n``
        up to, and without, the rank ``HI * n``, both rounded. Bands that meet share no row.
    fraction : float, optional
        Keep this share of the rows, in (0, 1], of each stratum rounded to whole rows.
    per : str, optional
        With `fraction`: the column whose values are the strata; null is one of them.
    pick : {"highest", "lowest", "random"}, default="highest"
        With `fraction`: which rows of each stratum.
    top, bottom : int or str, optional
        Keep exactly so many rows of the highest, or lowest, scores: a number, or a percentage
        such as ``"10%"``.
    balance : bool, default=False
        Choose `rows` rows so that their histogram is as flat as the rows allow, over `bins` bins
        between the least and the greatest score: the common is thinned out, the rare stays.
    target : path, frame or mapping, optional
        Choose `rows` rows so that their histogram is as near as can be to that of other scores
        (a path or a frame with the same column, in `bins` bins over their range), or to a
        mapping, or JSON file, of ``edges`` and ``weights``. Rows outside all bins are left out.
    rows : int or str, optional
        How many rows ``balance`` or ``target`` chooses: a number, or a percentage.
    bins : int, default=50
        At most 10,000; of ``balance``, and of a ``target`` of scores.
    seed : int, default=0
        Of random choices. A row is chosen by a hash of the seed, its shard and its number there
        (or its number in a frame without these): whatever the threads or the platform.
    metadata : str, Path, list of these, or frame, optional
        Parquet of more columns: for each score file one of the same name or the same number, of
        the rows of its shard; rows that img2dataset failed to download are left out. With `on`,
        any files or a frame.
    on : str, optional
        Column of ids by which `metadata` is joined; each at most once there.
    progress : callable, optional
        Called with the name of each step before it begins.

    Returns
    -------
    Selection

    Raises
    ------
    SelectionError
        If a column is not there, an expression fails, fewer rows are left than are wanted, or
        none at all.
    MismatchError
        If score files were made against different references or of different encoders, or differ
        in what a column that is used depends on; or metadata have other rows than a shard.
    StoreError
        If there are no such files.
    ValueError
        If an option is out of range, lacks another that it needs, or has no effect.

    See Also
    --------
    select_again : The same selection from what was written beside it.

    Notes
    -----
    Of equal scores at a cut, the first rows are kept: by shard, then by row. Quantiles and cuts
    are exact: each takes two passes over a column of float32, four over float64, and more with
    many strata. Memory is one bit for each row, 8 MB of counters and a few batches of 262,144
    rows; with `on`, also the ids and those columns of the metadata that a rule uses.

    A histogram is brought near its target by giving each bin rows in proportion to its weight, as
    far as it has them; what bins that ran dry cannot give, the others share in proportion. No
    other choice of as many rows is nearer, in chi-square distance or Kullback-Leibler divergence,
    but for rounding to whole rows.

    Examples
    --------
    >>> import polars as pl, clipsoid as cs
    >>> scores = pl.DataFrame({"uid": ["a", "b", "c", "d"], "conformity": [0.4, 0.1, 0.3, 0.4]})
    >>> kept = cs.select(scores, where="uid <> 'd'", bottom="67%")
    >>> kept
    Selection(2 of 4 rows by conformity)
    >>> kept.removed
    {'where': 1, 'bottom': 1}
    >>> kept.frame.collect()["uid"].to_list()
    ['b', 'c']
    """
    rules = Rules(
        where=where,
        column=column,
        above=above,
        below=below,
        quantiles=quantiles,
        fraction=fraction,
        per=per,
        pick=pick,
        top=top,
        bottom=bottom,
        balance=balance,
        target=target,
        rows=rows,
        bins=bins,
        seed=seed,
    )
    return selection_of(open_table(scores, metadata, on), rules, on, progress)


def select_again(
    recipe: Mapping[str, Any],
    scores: Any,
    *,
    metadata: Any = None,
    progress: Callable[[str], object] | None = None,
) -> Selection:
    """Make a selection again from the JSON that was written beside one of its files.

    Parameters
    ----------
    recipe : mapping
        The JSON, read.
    scores, metadata
        As for `select`; the same files, wherever they lie now.
    progress : callable, optional
        Called with the name of each step before it begins.

    Returns
    -------
    Selection
        With the same rows; written in the same form by the same versions, the same bytes.

    Raises
    ------
    SelectionError
        If the files are not those that the recipe was made of, or one of its rules was an
        expression of Polars.
    """
    table, rules = opened_again(recipe, scores, metadata)
    return selection_of(table, rules, recipe["on"], progress)


def opened_again(
    recipe: Mapping[str, Any], scores: Any, metadata: Any = None
) -> tuple[Table, Rules]:
    """Open the files of which a recipe was made, and return its rules: see `select_again`."""
    table = open_table(scores, metadata, recipe["on"] if metadata is not None else None)
    if table.count != recipe["rows_in"]:
        raise SelectionError(
            f"{table.label}: has {table.count} rows; the recipe was made of {recipe['rows_in']}"
        )
    check_inputs("scores", recipe, table.scores)
    check_inputs("metadata", recipe, table.metadata)
    return table, Rules(**rules_of(recipe["rules"]))


def selection_of(
    table: Table, rules: Rules, on: str | None, progress: Callable[[str], object] | None
) -> Selection:
    """Choose rows of a table that is open."""
    step = progress or (lambda name: None)
    work = Work(table, rules.column, rules.seed)
    work.check(rules)
    goal = None if rules.target is None else _target(rules)
    step("reading scores")
    work.begin()
    shown = Target(equal_bins(*work.range(), SHOWN_BINS), np.ones(SHOWN_BINS))
    before = _distribution(work, shown)
    work.apply(rules, goal, step)
    step("distribution")
    return Selection(
        rows_in=table.count,
        rows_kept=work.kept,
        removed=work.removed,
        status=work.status,
        column=rules.column,
        before=before,
        after=_distribution(work, shown),
        rules=rules.to_dict(goal),
        notes=(*table.notes, *work.notes),
        _table=table,
        _mask=work.mask,
        _on=on,
    )


def _distribution(work: Work, bins: Target) -> ScoreDistribution:
    low, p5, p25, median, p75, p95, high = work.quantiles().tolist()
    return ScoreDistribution(
        count=work.kept,
        min=low,
        p5=p5,
        p25=p25,
        median=median,
        p75=p75,
        p95=p95,
        max=high,
        edges=bins.edges,
        counts=work.histogram(bins),
    )


def _target(rules: Rules) -> Target:
    """Return the target that the rules name: given, from a file, or of other scores."""
    found = rules.target
    if isinstance(found, Mapping):
        return checked_target("target", found)
    if is_histogram(found):
        return read_target(Path(found))
    other = Work(open_table(found), rules.column)
    other.begin()
    bins = Target(equal_bins(*other.range(), rules.bins), np.ones(rules.bins))
    return Target(bins.edges, other.histogram(bins).astype(np.float64))
