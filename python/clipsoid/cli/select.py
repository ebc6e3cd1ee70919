"""``clipsoid select``: rows by their scores, and the files that the next tool reads."""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clipsoid.cli import options as shared

if TYPE_CHECKING:
    from clipsoid.selection import ScoreDistribution, Selection
    from clipsoid.selection.rules import Rules

#: Columns of a terminal that a bar takes.
BAR = 20

BLOCKS = " ▏▎▍▌▋▊▉█"


def add_parser(commands: Any) -> None:
    """Add the command."""
    parser = shared.command(
        commands, "select", run, "choose rows by their scores: rules, targets, files of ids"
    )
    parser.add_argument(
        "scores",
        metavar="SCORES",
        nargs="+",
        help="a folder that clipsoid score wrote, parquet files, or a quoted pattern of them",
    )
    parser.add_argument(
        "--out",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="where the rows go: .parquet, .npy (uids of DataComp) or .txt (ids); may be repeated",
    )
    _add_rules(parser.add_argument_group("rules, applied in this order"))
    _add_target(parser.add_argument_group("a distribution to choose after, last of all"))
    _add_inputs(parser.add_argument_group("more columns, and columns of the output"))
    shared.add_output(parser)


def _add_rules(group: Any) -> None:
    group.add_argument(
        "--where", metavar="SQL", help="such as \"norm > 9 AND caption LIKE '%%cat%%'\""
    )
    group.add_argument(
        "--column", metavar="NAME", help="the score of all that follows (conformity)"
    )
    group.add_argument("--above", type=_finite, metavar="X", help="scores of X or more")
    group.add_argument("--below", type=_finite, metavar="X", help="scores below X")
    group.add_argument(
        "--quantiles",
        type=_band,
        metavar="LO:HI",
        help="a band of the rows by rank, 0 <= LO < HI <= 1",
    )
    group.add_argument(
        "--fraction",
        type=_share,
        metavar="F",
        help="that share of the rows, of each stratum: 0.1, or 10%%",
    )
    group.add_argument("--per", metavar="COLUMN", help="with --fraction: what makes the strata")
    pick = group.add_mutually_exclusive_group()
    for name in ("lowest", "random"):
        pick.add_argument(
            f"--{name}",
            dest="pick",
            action="store_const",
            const=name,
            help=f"with --fraction: the {name} scores, not the highest"
            if name == "lowest"
            else "with --fraction: any scores, by the seed",
        )
    ends = group.add_mutually_exclusive_group()
    for name, scores in (("top", "highest"), ("bottom", "lowest")):
        ends.add_argument(
            f"--{name}", type=_amount, metavar="K", help=f"so many of the {scores} scores, or 10%%"
        )


def _add_target(group: Any) -> None:
    goal = group.add_mutually_exclusive_group()
    goal.add_argument(
        "--balance", action="store_true", default=None, help="as flat as the rows allow"
    )
    goal.add_argument(
        "--target",
        metavar="FILE",
        help="as near as can be to other scores (parquet, or a folder), or to edges and weights "
        "(.json)",
    )
    group.add_argument("--rows", type=_amount, metavar="N", help="how many rows, or 10%%")
    group.add_argument("--bins", type=shared.counting, metavar="N", help="of the histogram (50)")
    group.add_argument("--seed", type=shared.natural, metavar="N", help="of random choices (0)")


def _add_inputs(group: Any) -> None:
    group.add_argument(
        "--metadata",
        metavar="PATH",
        help="parquet of more columns: a file of the same name or number for each shard, row by "
        "row, or any with --on",
    )
    group.add_argument("--on", metavar="COLUMN", help="ids that scores and metadata have")
    group.add_argument("--id-column", metavar="NAME", help="ids of .npy and .txt (uid)")
    group.add_argument(
        "--columns", metavar="NAMES", help="of .parquet, with commas between them (all)"
    )
    group.add_argument(
        "--recipe", type=Path, metavar="FILE", help="rules as a FILE.json beside an output has them"
    )


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    from clipsoid.cli.output import show
    from clipsoid.cli.progress import announced
    from clipsoid.selection import opened_again, selection_of
    from clipsoid.selection.outputs import ID_COLUMN, check_columns, holds_columns, holds_ids
    from clipsoid.selection.recipe import read_recipe
    from clipsoid.selection.score_files import open_table

    given = _checked(options)
    _check_places(options)
    scores = options.scores if len(options.scores) > 1 else options.scores[0]
    with announced("select", quiet=options.quiet) as step:
        recipe = {"on": options.on}
        if given is not None:
            rules, table = given, open_table(scores, options.metadata, options.on)
        else:
            recipe = read_recipe(options.recipe)
            table, rules = opened_again(recipe, scores, options.metadata)
        # What the recipe says of its file counts where files are of that kind.
        id_column, columns = ID_COLUMN, None
        if holds_ids(options.out):
            known = recipe.get("id_column", ID_COLUMN)
            id_column = known if options.id_column is None else options.id_column
        if holds_columns(options.out):
            named = options.columns
            columns = recipe.get("columns") if named is None else named.split(",")
        check_columns(table, options.out, id_column, columns)
        selection = selection_of(table, rules, recipe["on"], step)
        if options.out:
            selection.write(*options.out, id_column=id_column, columns=columns, progress=step)
    result = {"out": options.out, **selection.to_dict()}
    show(options, result, _text(selection, options))


def _checked(options: argparse.Namespace) -> Rules | None:
    """Return the rules; what is wrong with options alone is said before any file is opened.

    With a recipe, which has all rules, there are none.
    """
    from clipsoid.errors import SelectionError
    from clipsoid.selection.outputs import check_suffixes, check_used
    from clipsoid.selection.rules import DEFAULTS, OPTIONS, OptionError, Rules

    flags = {name: f"--{name.replace('_', '-')}" for name in OPTIONS}
    flags["pick"] = f"--{options.pick}" if options.pick else "--random"
    given = {name: getattr(options, name) for name in DEFAULTS}
    given = {name: value for name, value in given.items() if value is not None}
    check_suffixes(options.out)
    try:
        check_used(
            options.out, ids=options.id_column is not None, columns=options.columns is not None
        )
        if options.recipe is not None:
            for name in (*given, *(["on"] if options.on is not None else [])):
                options.usage(f"--recipe has all rules; {flags[name]} cannot be added")
            return None
        if options.on is not None and options.metadata is None:
            raise OptionError("{on} needs {metadata}")
        rules = Rules(**given)
        # Also what was given as it would be without.
        rules.check_used(given)
    except OptionError as error:
        options.usage(error.said(flags))
    except SelectionError as error:
        options.usage(f"--{error}")
    except ValueError as error:
        # Of one option: its name, =, and what was found.
        options.usage("--" + str(error).replace("=", " ", 1))
    return rules


def _check_places(options: argparse.Namespace) -> None:
    """Refuse, before any work is done, files that could not or must not be written after it."""
    from clipsoid.errors import OutputError
    from clipsoid.selection.outputs import check_targets

    for path in options.out:
        for scores in map(Path, options.scores):
            if scores.is_dir() and path.resolve().is_relative_to(scores.resolve()):
                raise OutputError(
                    f"{path}: lies among the scores of {scores}; wanted another place"
                )
    check_targets(options.out)


def _text(selection: Selection, options: argparse.Namespace) -> str:
    from clipsoid.cli.output import lines

    share = 100 * selection.rows_kept / selection.rows_in
    text = {"kept": f"{selection.rows_kept:,} of {selection.rows_in:,} rows ({share:.3g} %)"}
    for name, count in selection.removed.items():
        text[f"- {name}"] = f"{count:>{len(f'{selection.rows_in:,}')},}"
        odd = {word: n for word, n in selection.status.items() if word != "ok"}
        if name == "status" and odd:
            text["- status"] += f"   {', '.join(f'{n:,} {word}' for word, n in odd.items())}"
    text["score"] = selection.column
    tail = {f"note{' ' * i}": note for i, note in enumerate(selection.notes)}
    if options.out:
        tail["written"] = ", ".join(map(str, options.out))
    both = {"before": selection.before, "after": selection.after}
    parts = [lines(text), _quantiles(both), "\n".join(_histogram(both))]
    return "\n\n".join(parts + ([lines(tail)] if tail else []))


def _quantiles(both: dict[str, ScoreDistribution]) -> str:
    from clipsoid.cli.output import number

    heads = ("min", "5 %", "25 %", "median", "75 %", "95 %", "max")
    names = ("min", "p5", "p25", "median", "p75", "p95", "max")
    body = [" " * 8 + "".join(f"{head:>10}" for head in heads)]
    for name, found in both.items():
        cells = (number(getattr(found, one)) for one in names)
        body.append(f"{name:<8}" + "".join(f"{cell:>10}" for cell in cells))
    return "\n".join(body)


def _histogram(both: dict[str, ScoreDistribution]) -> Iterator[str]:
    """Yield a line for each bin: where it begins, and bars, each side to its own scale."""
    from clipsoid.cli.output import number

    yield f"{'from':>8}" + "".join(f"  {name:<{BAR}} {'rows':>12}" for name in both)
    before = both["before"]
    if before.min == before.max:
        # One value has no distribution: the bins around it would be empty but for one.
        counts = "".join(f"  {_bar(1, 1):<{BAR}} {found.count:>12,}" for found in both.values())
        yield f"{number(before.min):>8}{counts}"
        return
    edges = before.edges
    for i, edge in enumerate(edges[:-1].tolist()):
        line = f"{number(edge):>8}"
        for found in both.values():
            count, most = int(found.counts[i]), int(found.counts.max())
            line += f"  {_bar(count, most):<{BAR}} {count:>12,}"
        yield line


def _bar(count: int, most: int) -> str:
    """Return a bar in eighths of a letter; one row shows, too."""
    full, rest = divmod(-(-count * BAR * 8 // most), 8)
    return "█" * full + BLOCKS[rest].strip()


def _amount(text: str) -> int | str:
    """Read a number of rows, or a percentage."""
    from clipsoid.selection.rules import rows_of

    amount = int(text) if text.isdecimal() else text
    try:
        rows_of("amount", amount, 0)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a number of rows, 1 or more, or a percentage such as 10%"
        ) from None
    return amount


def _band(text: str) -> tuple[float, float]:
    """Read ``LO:HI``."""
    try:
        low, high = map(float, text.split(":"))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not LO:HI, such as 0.05:0.5") from None
    return low, high


def _finite(text: str) -> float:
    """Read one finite number."""
    try:
        found = float(text)
    except ValueError:
        found = math.nan
    if not math.isfinite(found):
        raise argparse.ArgumentTypeError(f"{text!r} is no finite number")
    return found


def _share(text: str) -> float:
    """Read a share of something: a number, or a percentage."""
    return _finite(text[:-1]) / 100 if text.endswith("%") else _finite(text)
