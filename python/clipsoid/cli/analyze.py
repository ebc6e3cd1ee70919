"""``clipsoid analyze``: the whole paper on two sets, its key figures and its verdicts."""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clipsoid.cli import options as shared
from clipsoid.cli import sets

if TYPE_CHECKING:
    from clipsoid.analysis import Analysis
    from clipsoid.store import Store

WIDTH = 79

#: Where captions and image paths are looked for, unless columns are named.
COLUMNS = {"captions": "caption", "image_paths": "image_path"}


def add_parser(commands: Any) -> None:
    """Add the command."""
    from clipsoid.analysis.compute import PARTS

    parser = shared.command(
        commands, "analyze", run, "every property of the paper, on images and their texts"
    )
    shared.add_pairs(parser)
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="where the whole analysis goes, as JSON"
    )
    parser.add_argument(
        "--report", type=Path, metavar="FILE", help="where the figures go, as one HTML page"
    )
    parser.add_argument(
        "--figures",
        type=Path,
        metavar="DIR",
        help="folder for each figure as SVG, PNG and PDF, and its data as parquet",
    )
    parser.add_argument("--title", metavar="TEXT", help="of the page")
    parser.add_argument(
        "--metadata",
        type=Path,
        metavar="FILE",
        help="captions and image paths, row by row: a .parquet or .csv file (by default, those of "
        "the set)",
    )
    parser.add_argument(
        "--image-root",
        type=Path,
        metavar="DIR",
        help="where relative image paths begin (the folder of the metadata)",
    )
    for column, usual in zip(("caption", "image"), COLUMNS.values(), strict=True):
        parser.add_argument(
            f"--{column}-column", metavar="NAME", help=f"its column ({usual}, if it is there)"
        )
    parser.add_argument(
        "--leave-out",
        choices=PARTS,
        action="append",
        default=[],
        metavar="PART",
        help=f"a part that is not wanted; may be repeated: {', '.join(PARTS)}",
    )
    parser.add_argument(
        "--shift",
        choices=("image", "text", "both"),
        default="image",
        help="the modality that moves in the sweeps (image)",
    )
    shared.add_alphas(parser)
    parser.add_argument(
        "--bins", type=shared.counting, default=50, metavar="N", help="of every histogram (50)"
    )
    parser.add_argument(
        "--sample-rows",
        type=shared.counting,
        default=5_000,
        metavar="N",
        help="rows whose own figures are kept, to be drawn: a sample, of more (5000)",
    )
    parser.add_argument(
        "--temperature",
        type=shared.positive,
        metavar="T",
        help="of the loss (the model's, or 0.01)",
    )
    parser.add_argument(
        "--most-pairs",
        type=shared.natural,
        default=20_000,
        metavar="N",
        help="pairs that are compared with all others: a sample, of more (20000)",
    )
    parser.add_argument("--seed", type=shared.natural, default=0, help="of samples (0)")
    shared.add_common(parser)
    shared.take_negative_lists(parser)


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    import json

    from clipsoid._output import as_output_errors, check_writable, written_beside
    from clipsoid.analysis import analyze
    from clipsoid.cli.progress import announced
    from clipsoid.errors import OutputError

    shared.check_temperature(options)
    if options.most_pairs < 2:
        options.usage(f"--most-pairs: {options.most_pairs} is less than 2")
    if options.out is not None:
        if options.out.is_file() and not _is_ours(options.out):
            raise OutputError(
                f"{options.out}: is there already and was not written by clipsoid analyze; "
                "wanted a new name"
            )
        check_writable(options.out, lambda _: True)
    _check_drawn(options)
    images, texts = sets.open_pairs(options)
    described = _metadata(options, images)
    with announced("analyze", quiet=options.quiet) as announce:
        found = analyze(
            images,
            texts,
            temperature=options.temperature,
            shift=options.shift,
            alphas=options.alphas,
            bins=options.bins,
            sample_rows=options.sample_rows,
            leave_out=options.leave_out,
            most_pairs=options.most_pairs,
            seed=options.seed,
            n_threads=options.threads,
            progress=announce,
            **described,
        )
        text = found.to_json()
        written = list(_drawn(options, found, announce))
    if options.out is not None:
        with written_beside(options.out) as temporary, as_output_errors(options.out):
            temporary.write_text(text, encoding="utf-8")
        written.insert(0, options.out)
    if options.json:
        print(json.dumps(json.loads(text), indent=2))
    elif not options.quiet:
        print("\n".join(_report(found, written)))


def _check_drawn(options: argparse.Namespace) -> None:
    """Refuse, before any work is done, a page or figures that could not be made after it."""
    shared.check_report(options)
    if options.figures is not None:
        from clipsoid._extras import check_report
        from clipsoid.report.files import check_figures_target

        check_report("--figures")
        check_figures_target(options.figures)


def _drawn(
    options: argparse.Namespace, found: Analysis, announce: Callable[[str], None]
) -> Iterator[Path]:
    """Write page and figures; what was written is yielded."""
    if options.report is not None:
        announce("report")
        root = options.image_root
        if root is None and options.metadata is not None:
            root = options.metadata.parent
        found.report(options.report, title=options.title, image_root=root)
        yield options.report
    if options.figures is not None:
        announce("figures")
        found.save_figures(options.figures)
        yield options.figures


def _metadata(options: argparse.Namespace, images: Store) -> dict[str, Any]:
    """Read captions and image paths of the images, if there are any."""
    from clipsoid.errors import MismatchError, StoreError

    path, count = options.metadata, images.count
    if path is None:
        return _columns_beside(options, images)
    frame = shared.read_table(path)
    asked = {"captions": options.caption_column, "image_paths": options.image_column}
    columns = {name: column or COLUMNS[name] for name, column in asked.items()}
    found = {name: frame[c].to_list() for name, c in columns.items() if c in frame.columns}
    # A column that was named is wanted; of the usual ones, one will do.
    lacking = [columns[name] for name, column in asked.items() if column and name not in found]
    if lacking or not found:
        raise StoreError(
            f"{path}: has no column {' or '.join(lacking or columns.values())}; it has "
            f"{', '.join(frame.columns)}: --caption-column, --image-column"
        )
    if len(frame) != count:
        raise MismatchError(
            f"{path}: has {len(frame)} rows, the images have {count}; wanted one for each"
        )
    return found


def _columns_beside(options: argparse.Namespace, images: Store) -> dict[str, Any]:
    """Return captions and image paths that lie beside the images; a column that is named is wanted.

    Their values are read when they are asked for.
    """
    from clipsoid.store.layouts.columns import CAPTIONS, IMAGE_PATHS, StoreColumn, column_of

    found: dict[str, StoreColumn | None] = {}
    for name, asked, usual in (
        ("captions", options.caption_column, CAPTIONS),
        ("image_paths", options.image_column, IMAGE_PATHS),
    ):
        if asked is not None:
            for shard in images.shards:
                shard.check_columns([asked])
        found[name] = column_of(images, usual if asked is None else [asked])
    return {name: column for name, column in found.items() if column is not None}


def _is_ours(path: Path) -> bool:
    with path.open("rb") as file:
        return b'"format": "clipsoid.analysis"' in file.read(80)


def _report(found: Analysis, written: Iterable[Path]) -> Iterator[str]:
    """Yield the lines of the table, the verdicts and the warnings."""
    from clipsoid.analysis.tables import LABELS

    image, text = found.image, found.text
    kind = "normalised" if image.is_normalized or text.is_normalized else "raw"
    types = " and ".join(sorted({*image.dtypes, *text.dtypes}))
    yield f"{image.count:,} pairs, {image.dim} features, {types}, {kind}"
    rule = "-" * WIDTH
    yield from (rule, f"{'':<33}{'image':>11}{'paper':>11}{'text':>12}{'paper':>11}", rule)
    for row in found.to_frame().iter_rows(named=True):
        label, decimals = LABELS[row["figure"]]
        cells = (row[name] for name in ("image", "paper_image", "text", "paper_text"))
        shown = ["" if cell is None else f"{cell + 0.0:.{decimals}f}" for cell in cells]
        line = f"{label:<33}{shown[0]:>11}{shown[1]:>11}{shown[2]:>12}{shown[3]:>11}"
        yield line.rstrip()
    yield rule
    answers = {True: "holds", False: "does not hold", None: "cannot be judged"}
    for verdict in found.verdicts:
        yield f"{verdict.number}  {verdict.name:<57}{answers[verdict.holds]:>19}"
        detail = verdict.reason or f"{verdict.figure}; wanted {verdict.rule}"
        yield textwrap.fill(detail, WIDTH, initial_indent="   ", subsequent_indent="   ")
    yield rule
    for caution in found.warnings:
        yield textwrap.fill(caution, WIDTH, initial_indent="!  ", subsequent_indent="   ")
    for path in written:
        yield f"written  {path}"
