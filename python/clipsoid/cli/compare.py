"""``clipsoid compare``: how generic generated images or captions are beside real ones."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clipsoid.cli import options as shared

if TYPE_CHECKING:
    from clipsoid.comparison import Comparison, ComparisonTest
    from clipsoid.ellipsoid import Ellipsoid
    from clipsoid.store import Store

#: Columns of the tables that hold names, and what stands between two of them.
NAMES, BETWEEN = ("", "paired", "minus"), " minus "


def add_parser(commands: Any) -> None:
    """Add the command."""
    parser = shared.command(
        commands, "compare", run, "conformity of generated embeddings against real ones"
    )
    parser.add_argument(
        "reference", metavar="REFERENCE", help="an ellipsoid file, or embeddings (see fit)"
    )
    parser.add_argument(
        "candidates",
        metavar="NAME=PATH",
        nargs="+",
        type=_candidate,
        help="embeddings of what a generator made, and what to call it",
    )
    pairing = parser.add_mutually_exclusive_group()
    pairing.add_argument(
        "--paired",
        action="store_true",
        help="row j of every candidate, and of a reference with as many rows, is of one prompt",
    )
    pairing.add_argument(
        "--prompts",
        type=_named_path,
        action="append",
        default=[],
        metavar="NAME=FILE",
        help="the prompt of each row of a candidate, or of 'reference': integers or text in a "
        ".npy, .csv or .parquet file; may be repeated",
    )
    parser.add_argument(
        "--prompt-column",
        metavar="NAME",
        help="where they are in such a table, if it has several columns",
    )
    parser.add_argument(
        "--interval",
        type=_share,
        default=0.95,
        metavar="P",
        help="coverage of the intervals (0.95)",
    )
    parser.add_argument(
        "--bins",
        type=shared.counting,
        default=50,
        metavar="N",
        help="of the histograms of the divergence (50)",
    )
    parser.add_argument(
        "--key",
        metavar="NAME",
        help="npz member, tensor or column (parquet, Arrow) of the rows",
    )
    parser.add_argument(
        "--reference-key", metavar="NAME", help="the same of the reference, if it is another"
    )
    parser.add_argument(
        "--report", type=Path, metavar="FILE", help="where the figures go, as one HTML page"
    )
    parser.add_argument("--title", metavar="TEXT", help="of the page")
    shared.add_dtype(parser)
    shared.add_common(parser)


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    import warnings

    from clipsoid.cli.output import show
    from clipsoid.cli.progress import progress
    from clipsoid.ellipsoid import Ellipsoid
    from clipsoid.errors import SmallSampleWarning
    from clipsoid.expressiveness import compare
    from clipsoid.store import open_store

    _check_names(options)
    shared.check_report(options)
    reference = _open_reference(options)
    candidates = {
        name: open_store(path, key=options.key, dtype=options.dtype)
        for name, path in options.candidates
    }
    rows = sum(store.count for store in candidates.values())
    # An ellipsoid is fitted already; rows are read to be fitted, and to be scored.
    rows += 0 if isinstance(reference, Ellipsoid) else 2 * reference.count
    with progress("compare", rows, quiet=options.quiet) as tick, warnings.catch_warnings():
        # What it warns of is among the notes.
        warnings.simplefilter("ignore", SmallSampleWarning)
        found = compare(
            reference,
            candidates,
            paired=_paired(options, reference, candidates),
            interval=options.interval,
            bins=options.bins,
            n_threads=options.threads,
            progress=tick,
        )
    if options.report is not None:
        found.report(options.report, title=options.title)
    paths = {"reference": options.reference, **dict(options.candidates)}
    made = {"paths": paths, "paired": options.paired, "prompts": dict(options.prompts)}
    show(options, {**found.to_dict(), **made}, _text(found, options.report))


def _named_path(text: str) -> tuple[str, str]:
    name, equals, path = text.partition("=")
    if not (name and equals and path):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=PATH")
    return name, path


def _candidate(text: str) -> tuple[str, str]:
    name, path = _named_path(text)
    if name == "reference":
        raise argparse.ArgumentTypeError(f"{text!r}: 'reference' is taken; wanted another name")
    return name, path


def _share(text: str) -> float:
    value = shared.positive(text)
    if value >= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number between 0 and 1")
    return value


def _check_names(options: argparse.Namespace) -> None:
    """Refuse names that are given twice, and prompts of what has no name."""
    names = [name for name, _ in options.candidates]
    for flag, given in (("NAME=PATH", names), ("--prompts", [name for name, _ in options.prompts])):
        for name in given:
            if given.count(name) > 1:
                options.usage(f"{flag}: {name!r} is named twice")
    for name, _ in options.prompts:
        if name not in ("reference", *names):
            options.usage(f"--prompts: {name!r} is no candidate; wanted {', '.join(names)}")


def _paired(
    options: argparse.Namespace, reference: Ellipsoid | Store, candidates: dict[str, Store]
) -> bool | dict[str, Any]:
    """Return how rows pair up; what does not fit is named by its file."""
    from clipsoid.cli.prompts import read_prompts
    from clipsoid.ellipsoid import Ellipsoid
    from clipsoid.errors import MismatchError

    sets = dict(candidates)
    if not isinstance(reference, Ellipsoid):
        sets["reference"] = reference
    paths = {**dict(options.candidates), "reference": options.reference}
    if options.prompts:
        prompts = {}
        for name, file in options.prompts:
            if name not in sets:
                raise MismatchError(
                    f"--prompts {name}={file}: {options.reference} is an ellipsoid, which has no "
                    "rows; wanted embeddings"
                )
            count = sets[name].count
            prompts[name] = read_prompts(Path(file), options.prompt_column, count, paths[name])
        return prompts
    if options.paired:
        (first, count), *others = [(name, store.count) for name, store in candidates.items()]
        for name, other in others:
            if other != count:
                raise MismatchError(
                    f"--paired: {paths[name]} has {other} rows, {paths[first]} has {count}; wanted "
                    "as many: row j of each is of one prompt (else --prompts)"
                )
        if not others and ("reference" not in sets or sets["reference"].count != count):
            raise MismatchError(
                f"--paired: {paths[first]} has {count} rows, and nothing else has as many; wanted "
                "another candidate, or embeddings of as many rows as the reference"
            )
    return bool(options.paired)


def _open_reference(options: argparse.Namespace) -> Ellipsoid | Store:
    from clipsoid._file import is_ellipsoid
    from clipsoid.cli.info import ELLIPSOID_SUFFIX
    from clipsoid.ellipsoid import Ellipsoid
    from clipsoid.store import open_store

    path = Path(options.reference)
    if path.is_file() and (path.suffix == ELLIPSOID_SUFFIX or is_ellipsoid(path)):
        return Ellipsoid.load(path)
    key = options.reference_key or options.key
    return open_store(options.reference, key=key, dtype=options.dtype)


def _text(found: Comparison, report: Path | None) -> str:
    """Return the tables, and what to know before reading them."""
    from textwrap import fill

    parts = [_candidates(found)]
    paired = [test for test in found.tests if test.kind == "paired"]
    if paired:
        parts.append(_pairs(paired, found.interval))
    about = (
        f"Conformity to the {found.reference.count:,} rows of the reference: high is generic, low "
        "is rare, neither is better. Two-sided t tests, p Holm-corrected over "
        f"{len(found.tests)}."
    )
    if found.reference.conformity is None:
        about += " The mean of the ellipsoid counts as known; g and KL need its rows."
    else:
        about += " g is Hedges' g, KL that of the candidate from the reference, in nats."
    if paired:
        about += " d_z is the mean difference over the standard deviation of the differences."
    notes = [fill(about, 79)]
    notes += [fill(note, 79, initial_indent="- ", subsequent_indent="  ") for note in found.notes]
    notes += [] if report is None else [f"written  {report}"]
    return "\n\n".join([*parts, "\n".join(notes)])


def _candidates(found: Comparison) -> str:
    widths = (13, 10, 8, 8, 20, 7, 6, 8)
    heads = ("", "rows", "mean", "std", f"shift +- {_percent(found.interval)}", "g", "KL", "p")
    real = found.reference
    rows: list[tuple[str, ...]] = [
        ("reference", f"{real.count:,}", f"{real.mean:.4f}", _figure(real.std, 4))
    ]
    for one in found.candidates.values():
        row = (
            one.name,
            f"{one.count:,}",
            f"{one.mean:.4f}",
            f"{one.std:.4f}",
            _shift(one.shift, one.shift_upper),
            _figure(one.hedges_g, 2),
            _figure(None if one.divergence is None else one.divergence.kl_pq, 2),
            _p_value(one.p_corrected),
        )
        rows.append(row)
    return _table(heads, rows, widths)


def _pairs(tests: list[ComparisonTest], interval: float) -> str:
    widths = (13, 13, 9, 20, 9, 8, 8)
    heads = ("paired", "minus", "prompts", f"difference +- {_percent(interval)}", "t", "d_z", "p")
    rows = [
        (
            test.first,
            test.second,
            f"{test.count:,}",
            _shift(test.difference, test.upper),
            _figure(test.statistic, 2),
            _figure(test.cohens_dz, 2),
            _p_value(test.p_corrected),
        )
        for test in tests
    ]
    return _table(heads, rows, widths)


def _table(heads: tuple[str, ...], rows: Sequence[tuple[str, ...]], widths: tuple[int, ...]) -> str:
    """Align to the right, but for columns of names; a short row ends early.

    Names too long for their columns have a line of their own: cut, they might be the same.
    """
    names = [head in NAMES for head in heads]
    lines = []
    for cells in (heads, *rows):
        named = [cell for cell, name in zip(cells, names, strict=False) if name]
        if any(len(cell) >= width for cell, width in zip(named, widths, strict=False)):
            lines.append(BETWEEN.join(named))
            cells = ("",) * len(named) + cells[len(named) :]
        padded = (
            f"{cell:<{width}}" if name else f"{cell:>{width}}"
            for cell, width, name in zip(cells, widths, names, strict=False)
        )
        lines.append("".join(padded).rstrip())
    rule = "-" * max(map(len, lines))
    return "\n".join([lines[0], rule, *lines[1:], rule])


def _percent(interval: float) -> str:
    return f"{100 * interval:.4g} %"


def _shift(difference: float, high: float | None) -> str:
    reach = "none" if high is None else f"{high - difference:.4f}"
    return f"{difference:+.4f} +- {reach}"


def _figure(value: float | None, digits: int) -> str:
    return "none" if value is None else f"{value:.{digits}f}"


def _p_value(p: float | None) -> str:
    if p is None:
        return "none"
    if p == 0:
        return "<1e-300"
    return f"{p:.4f}" if p >= 1e-4 else f"{p:.0e}"
