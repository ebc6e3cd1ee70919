"""``clipsoid sweep``: the contrastive loss as a centre moves, as a table and as a chart."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clipsoid.cli import options as shared
from clipsoid.cli import sets

if TYPE_CHECKING:
    from clipsoid.sweep import LossSweep

FORMAT = "clipsoid.sweep"
VERSION = 1

#: Begins a table as CSV, which has no room for more.
CSV_HEAD = b"alpha,alignment,uniformity,loss,loss_image_to_text,"

TABLE_SUFFIXES = (".parquet", ".csv")

#: Rows of the table on a terminal, about.
SHOWN = 11


def add_parser(commands: Any) -> None:
    """Add the command."""
    parser = shared.command(
        commands, "sweep", run, "contrastive loss of pairs as the centre of a modality moves"
    )
    shared.add_pairs(parser)
    parser.add_argument(
        "--out",
        type=_target,
        action="append",
        default=[],
        metavar="FILE",
        help="where the table (.parquet, .csv) or the chart (.png, .svg, .html) goes; may be "
        "repeated",
    )
    shared.add_alphas(parser)
    parser.add_argument(
        "--shift",
        choices=("image", "text", "both"),
        default="image",
        help="the modality that moves (image)",
    )
    parser.add_argument(
        "--temperature",
        type=shared.positive,
        metavar="T",
        help="of the loss (the model's, or 0.01)",
    )
    parser.add_argument(
        "--partition",
        choices=("fixed", "each"),
        default="fixed",
        help="pairs count as matched if the image finds its text at alpha = 0 (fixed, the "
        "default), or at each alpha",
    )
    shared.add_common(parser)
    shared.take_negative_lists(parser)


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    from clipsoid.cli.output import show, write_together
    from clipsoid.cli.progress import progress
    from clipsoid.contrast import loss_sweep

    shared.check_temperature(options)
    _check_targets(options)
    images, texts = sets.open_pairs(options)
    with progress("sweep", images.count, quiet=options.quiet) as tick:
        sweep = loss_sweep(
            images,
            texts,
            alphas=options.alphas,
            shift=options.shift,
            temperature=options.temperature,
            partition=options.partition,
            n_threads=options.threads,
            progress=tick,
        )
    made = how_made(sweep)
    write_together({path: _contents(path, sweep, made) for path in options.out})
    result = {"out": options.out, **made, "table": sweep.table.rows(named=True)}
    show(options, result, f"{_table(sweep)}\n\n{_summary(sweep, options.out)}")


def how_made(sweep: LossSweep) -> dict[str, Any]:
    """Return what the files of a sweep say of how they were made."""
    made = sweep.options
    return {
        "format": FORMAT,
        "format_version": VERSION,
        "clipsoid_version": sweep.version,
        "alphas": list(made.alphas),
        "shift": made.shift,
        "temperature": made.temperature,
        "partition": made.partition,
        "count": made.count,
        "dim": made.dim,
        "dtype": made.dtype,
        "is_normalized": made.is_normalized,
        "image_norms": list(made.image_norms),
        "text_norms": list(made.text_norms),
        "simd": made.simd_level,
        "best_alpha": sweep.best_alpha,
        "refined_alpha": sweep.refined_alpha,
    }


def _target(text: str) -> Path:
    """Read the name of a file whose format is known by its suffix."""
    from clipsoid.report import FIGURE_SUFFIXES

    path = Path(text)
    if path.suffix.lower() not in (*TABLE_SUFFIXES, *FIGURE_SUFFIXES):
        raise argparse.ArgumentTypeError(
            f"{text}: the suffix is {path.suffix or 'missing'!r}; wanted "
            f"{' or '.join(TABLE_SUFFIXES)} for the table, {', '.join(FIGURE_SUFFIXES)} for the "
            "chart"
        )
    return path


def _check_targets(options: argparse.Namespace) -> None:
    """Refuse, before any work is done, a file that could not or must not be written after it."""
    from clipsoid._extras import check_report
    from clipsoid.cli.output import check_targets
    from clipsoid.errors import OutputError, UnavailableError
    from clipsoid.report import FIGURE_SUFFIXES

    check_targets(options, _is_ours, "clipsoid sweep")
    for path in options.out:
        if path.suffix.lower() in FIGURE_SUFFIXES:
            try:
                check_report()
            except UnavailableError as error:
                raise OutputError(f"{path}: cannot be written: {error}") from None


def _is_ours(path: Path) -> bool:
    """Whether a file is one that this command wrote, and writes in that format."""
    from clipsoid.cli.output import is_table_of
    from clipsoid.report import is_figure

    suffix = path.suffix.lower()
    if suffix == ".parquet":
        return is_table_of(path, FORMAT)
    try:
        contents = path.read_bytes()
    except OSError:
        return False
    if suffix == ".csv":
        return contents.startswith(CSV_HEAD)
    return is_figure(contents, suffix)


def _contents(path: Path, sweep: LossSweep, made: Mapping[str, Any]) -> bytes:
    """Return the contents of a file, by its suffix."""
    import io
    import json

    file = io.BytesIO()
    match path.suffix.lower():
        case ".parquet":
            sweep.table.write_parquet(file, metadata={"clipsoid": json.dumps(made)})
        case ".csv":
            sweep.table.write_csv(file)
        case suffix:
            from clipsoid.report import figure_bytes

            return figure_bytes(sweep.plot(), suffix, made)
    return file.getvalue()


def _table(sweep: LossSweep) -> str:
    """Return some rows over the whole grid and the least, marked."""
    table = sweep.table.sort("alpha")
    alphas = table["alpha"].to_list()
    best = alphas.index(sweep.best_alpha)
    nearest = min(range(len(alphas)), key=lambda i: abs(alphas[i]))
    step = -(-(len(alphas) - 1) // (SHOWN - 1)) or 1
    shown = sorted({*range(0, len(alphas), step), len(alphas) - 1, best, nearest})
    columns = {
        "alpha": ("alpha", 8),
        "loss": ("loss", 9),
        "alignment": ("alignment", 11),
        "uniformity": ("uniformity", 12),
        "loss_correct": ("matched", 10),
        "loss_misclassified": ("others", 10),
        "accuracy_image_to_text": ("to text", 9),
        "accuracy_text_to_image": ("to image", 9),
    }
    width = sum(width for _, width in columns.values())
    lines = [
        f"{'mean loss of pairs':>60}{'accuracy':>18}",
        "".join(f"{name:>{wide}}" for name, wide in columns.values()),
        "-" * width,
    ]
    for i in shown:
        row = table.row(i, named=True)
        cells = [f"{row['alpha'] + 0.0:.4g}"]
        cells += [_figure(row[name]) for name in [*columns][1:]]
        wides = (wide for _, wide in columns.values())
        line = "".join(f"{cell:>{wide}}" for cell, wide in zip(cells, wides, strict=True))
        lines.append(line + (" *" if i == best else ""))
    return "\n".join([*lines, lines[2]])


def _figure(value: float | None) -> str:
    """Return a figure; a loss near 0 keeps its digits."""
    from clipsoid.cli.output import number

    if value is None:
        return "none"
    return f"{value:.2e}" if 0 < abs(value) < 5e-4 else number(value)


def _summary(sweep: LossSweep, out: list[Path]) -> str:
    from clipsoid.cli.output import lines, number, plural

    made, table = sweep.options, sweep.table
    ends = {min(made.alphas), max(made.alphas)}
    best = f"{sweep.best_alpha + 0.0:.4g} *, loss {_figure(min(table['loss']))}"
    if sweep.best_alpha in ends and len(ends) > 1:
        best += ", at an end of the grid"
    matched = "at each alpha"
    if made.partition == "fixed":
        matched = f"{table['count_correct'][0]:,} of {made.count:,} pairs, at alpha 0"
    text = {
        "best alpha": best,
        "refined alpha": number(sweep.refined_alpha),
        "alphas": f"{len(made.alphas)} from {min(ends):.4g} to {max(ends):.4g}",
        "moved": {"both": "both centres"}.get(made.shift, f"{made.shift} centre"),
        "pairs": f"{made.count:,} x {plural(made.dim, 'feature')}, {made.dtype}, "
        + ("normalised" if made.is_normalized else "raw"),
        "temperature": f"{made.temperature:g}",
        "matched": matched,
    }
    if out:
        text["written"] = ", ".join(map(str, out))
    return lines(text)
