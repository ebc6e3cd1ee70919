"""``clipsoid analyze``: the whole paper on two sets, its key figures and its verdicts."""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clipsoid.cli import options as shared

if TYPE_CHECKING:
    from clipsoid.analysis import Analysis

#: What the table calls the key figures, and how many decimals they have.
LABELS = {
    "center_ratio": ("centre ratio |m| / |sigma|", 4),
    "shell_mean": ("shell: mean |x - m|", 4),
    "shell_variance": ("shell: variance", 4),
    "shell_rms": ("shell: rms", 4),
    "shell_relative_error": ("shell: error of the mean", 4),
    "dominance_ratio": ("tilt: ODD over untilted, median", 4),
    "mean_conformity": ("conformity: mean", 4),
    "std_conformity": ("conformity: standard deviation", 4),
    "pearson": ("Pearson, conformity and cosine", 4),
    "slope": ("slope, conformity on cosine", 4),
    "inverse_slope": ("slope, cosine on conformity", 4),
    "false_negatives_spearman_conformity": ("Spearman, false negatives", 4),
    "recall_at_1": ("recall at 1", 4),
    "recall_at_5": ("recall at 5", 4),
    "recall_at_10": ("recall at 10", 4),
    "median_rank": ("median rank", 1),
    "anderson_darling_pass": ("normal when whitened, A-D", 4),
    "dagostino_pearson_pass": ("normal when whitened, K2", 4),
    "greatest_separability": ("greatest separability", 4),
    "svm_accuracy_two_features": ("SVM, best two features", 4),
    "svm_accuracy": ("SVM, all features", 4),
    "gap_of_means": ("gap between the means", 4),
    "gap_of_unit_means": ("gap between the unit means", 4),
    "loss": ("contrastive loss at alpha 0", 4),
    "best_alpha_of_loss": ("alpha of the least loss", 4),
    "kl_image_text": ("KL of the conformities", 4),
    "best_alpha_of_match": ("alpha of the least KL", 4),
}

WIDTH = 79


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
        "--metadata",
        type=Path,
        metavar="FILE",
        help="captions and image paths, row by row: a .parquet or .csv file",
    )
    for column, default in (("caption", "caption"), ("image", "image_path")):
        parser.add_argument(
            f"--{column}-column", default=default, metavar="NAME", help=f"its column ({default})"
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
    images, texts = shared.open_pairs(options)
    with announced("analyze", quiet=options.quiet) as announce:
        found = analyze(
            images,
            texts,
            temperature=options.temperature,
            shift=options.shift,
            leave_out=options.leave_out,
            most_pairs=options.most_pairs,
            seed=options.seed,
            n_threads=options.threads,
            progress=announce,
            **_metadata(options),
        )
    text = found.to_json()
    if options.out is not None:
        with written_beside(options.out) as temporary, as_output_errors(options.out):
            temporary.write_text(text, encoding="utf-8")
    if options.json:
        print(json.dumps(json.loads(text), indent=2))
    elif not options.quiet:
        print("\n".join(_report(found, options.out)))


def _metadata(options: argparse.Namespace) -> dict[str, Any]:
    """Read captions and image paths; a column that is not there is left out."""
    import polars as pl

    from clipsoid.errors import StoreError

    path = options.metadata
    if path is None:
        return {}
    try:
        # Everything as text: 00017 is a name, not a number.
        is_csv = path.suffix.lower() == ".csv"
        frame = pl.read_csv(path, infer_schema=False) if is_csv else pl.read_parquet(path)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise StoreError(f"{path}: cannot be read: {error}") from None
    columns = {"captions": options.caption_column, "image_paths": options.image_column}
    found = {name: frame[c].to_list() for name, c in columns.items() if c in frame.columns}
    if not found:
        raise StoreError(
            f"{path}: has no column {' or '.join(columns.values())}; it has "
            f"{', '.join(frame.columns)}: --caption-column, --image-column"
        )
    return found


def _is_ours(path: Path) -> bool:
    with path.open("rb") as file:
        return b'"format": "clipsoid.analysis"' in file.read(80)


def _report(found: Analysis, out: Path | None) -> Iterator[str]:
    """Yield the lines of the table, the verdicts and the warnings."""
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
    if out is not None:
        yield f"written  {out}"
