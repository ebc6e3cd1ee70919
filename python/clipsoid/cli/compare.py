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

#: Longer names of candidates are cut in the tables of a terminal.
LONGEST = 11


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
    parser.add_argument(
        "--paired",
        action="store_true",
        help="row j of every candidate, and of a reference with as many rows, is of one prompt",
    )
    parser.add_argument(
        "--level",
        type=_probability,
        default=0.05,
        metavar="P",
        help="of the tests; intervals cover with a probability of 1 - P (0.05)",
    )
    parser.add_argument(
        "--bins",
        type=shared.counting,
        default=50,
        metavar="N",
        help="of the histograms of the divergence (50)",
    )
    parser.add_argument(
        "--key", metavar="NAME", help="npz member, parquet column or tensor that holds the rows"
    )
    parser.add_argument(
        "--reference-key", metavar="NAME", help="the same of the reference, if it is another"
    )
    parser.add_argument(
        "--report", type=Path, metavar="FILE", help="where the figures go, as one HTML page"
    )
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

    names = [name for name, _ in options.candidates]
    for name in names:
        if names.count(name) > 1:
            options.usage(f"NAME=PATH: {name!r} is named twice")
    if options.report is not None:
        shared.check_report(options.report)
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
            paired=options.paired,
            level=options.level,
            bins=options.bins,
            n_threads=options.threads,
            progress=tick,
        )
    if options.report is not None:
        found.report(options.report)
    show(options, found.to_dict(), _text(found, options.report))


def _candidate(text: str) -> tuple[str, str]:
    name, equals, path = text.partition("=")
    if not (name and equals and path):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=PATH")
    if name == "reference":
        raise argparse.ArgumentTypeError(f"{text!r}: 'reference' is taken; wanted another name")
    return name, path


def _probability(text: str) -> float:
    value = shared.positive(text)
    if value >= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number between 0 and 1")
    return value


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
        parts.append(_pairs(paired, found.level))
    about = (
        f"Conformity to the {found.reference.count:,} rows of the reference: high is generic, low "
        "is rare, neither is better. Two-sided t tests, p Holm-corrected over "
        f"{len(found.tests)}."
    )
    if found.reference.conformity is None:
        about += " The mean of the ellipsoid counts as known; g and KL need its rows."
    else:
        about += " g is Hedges' g, KL that of the candidate from the reference, in nats."
    notes = [fill(about, 79)]
    notes += [fill(note, 79, initial_indent="- ", subsequent_indent="  ") for note in found.notes]
    notes += [] if report is None else [f"written  {report}"]
    return "\n\n".join([*parts, "\n".join(notes)])


def _candidates(found: Comparison) -> str:
    widths = (13, 10, 8, 8, 20, 7, 6, 8)
    heads = ("", "rows", "mean", "std", f"shift +- {_share(found.level)}", "g", "KL", "p")
    real = found.reference
    rows: list[tuple[str, ...]] = [
        ("reference", f"{real.count:,}", f"{real.mean:.4f}", _figure(real.std, 4))
    ]
    for one in found.candidates.values():
        row = (
            _short(one.name),
            f"{one.count:,}",
            f"{one.mean:.4f}",
            f"{one.std:.4f}",
            _shift(one.shift, one.shift_high),
            _figure(one.hedges_g, 2),
            _figure(None if one.divergence is None else one.divergence.kl_pq, 2),
            _p_value(one.p_corrected),
        )
        rows.append(row)
    return _table(heads, rows, widths)


def _pairs(tests: list[ComparisonTest], level: float) -> str:
    widths = (13, 13, 10, 20, 12, 12)
    heads = ("paired", "minus", "prompts", f"difference +- {_share(level)}", "t", "p")
    rows = [
        (
            _short(test.first),
            _short(test.second),
            f"{test.count:,}",
            _shift(test.difference, test.high),
            _figure(test.statistic, 2),
            _p_value(test.p_corrected),
        )
        for test in tests
    ]
    return _table(heads, rows, widths)


def _table(heads: tuple[str, ...], rows: Sequence[tuple[str, ...]], widths: tuple[int, ...]) -> str:
    """Align to the right, but for columns of names; a short row ends early."""
    names = [head in ("", "paired", "minus") for head in heads]
    lines = []
    for cells in (heads, *rows):
        padded = (
            f"{cell:<{width}}" if name else f"{cell:>{width}}"
            for cell, width, name in zip(cells, widths, names, strict=False)
        )
        lines.append("".join(padded).rstrip())
    rule = "-" * max(map(len, lines))
    return "\n".join([lines[0], rule, *lines[1:], rule])


def _short(name: str) -> str:
    return name if len(name) <= LONGEST else f"{name[: LONGEST - 2]}.."


def _share(level: float) -> str:
    return f"{100 * (1 - level):.4g} %"


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
