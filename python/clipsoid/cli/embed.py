"""``clipsoid embed``: raw features of images and captions, by open_clip, into shards."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from clipsoid.cli import options as shared

if TYPE_CHECKING:
    from clipsoid.embed import Embedded

#: Broken rows that are named on the terminal; the manifest names all.
SHOWN = 5

#: Width of a terminal, and how many lines of it a broken row may take.
COLUMNS, SHOWN_LINES = 80, 3

#: Seconds after which the report says what the limit was: before that, it is the start. And the
#: fraction of the time above which the device is.
LONG, BUSY = 10.0, 0.8


def add_parser(commands: Any) -> None:
    """Add the command."""
    parser = shared.command(
        commands, "embed", run, "embed images and captions with a model of open_clip's, norms kept"
    )
    parser.add_argument(
        "images",
        metavar="IMAGES",
        nargs="*",
        help="a folder of pictures, a .csv, .tsv or .parquet table of their paths, or webdataset "
        "tars; none, to embed captions alone",
    )
    parser.add_argument(
        "--captions",
        metavar="FILE",
        help="captions of the pictures in IMAGES: a table with their paths, or COCO's .json; "
        "without IMAGES also .txt, a caption on each line",
    )
    parser.add_argument(
        "--out", required=True, metavar="DIR", help="folder of the set: new, or to be gone on with"
    )
    parser.add_argument(
        "--model",
        metavar="NAME",
        help="open_clip's name, hf-hub:ORG/NAME or local-dir:FOLDER (ViT-B-32)",
    )
    parser.add_argument(
        "--pretrained",
        metavar="TAG|FILE",
        help="open_clip's tag of the weights, or a checkpoint (laion2b_s34b_b79k, if no model is "
        "named)",
    )
    parser.add_argument(
        "--model-config", metavar="FILE", help="the architecture of a model of the file's name"
    )
    parser.add_argument(
        "--dtype",
        choices=("float16", "float32"),
        help="on disk (float32 after fp32, else float16)",
    )
    parser.add_argument(
        "--precision",
        choices=("fp32", "fp16", "bf16"),
        help="of products (fp32 on a CPU, fp16 on a GPU)",
    )
    parser.add_argument(
        "--batch-size",
        type=shared.counting,
        metavar="N",
        help="rows that are encoded together (32 on a CPU; found by trial on a GPU)",
    )
    parser.add_argument(
        "--workers",
        type=shared.natural,
        metavar="N",
        help="processes that decode for each device; 0 for threads (0 on a CPU, many on a GPU)",
    )
    parser.add_argument(
        "--device", metavar="NAME", help="cpu, cuda (all GPUs) or cuda:0,cuda:1 (all GPUs, or cpu)"
    )
    parser.add_argument(
        "--shard-rows",
        type=shared.counting,
        default=10_000,
        metavar="N",
        help="rows of a shard (10000)",
    )
    parser.add_argument(
        "--compile", action="store_true", help="compile the model: a slow start, then faster"
    )
    parser.add_argument(
        "--normalize", action="store_true", help="scale rows to length 1: their norms are lost"
    )
    parser.add_argument(
        "--on-error",
        choices=("skip", "fail"),
        default="skip",
        help="broken pictures: leave them out and record them (default), or stop",
    )
    for column in ("image", "caption"):
        parser.add_argument(f"--{column}-column", metavar="NAME", help="of a table")
    parser.add_argument(
        "--captions-per-image",
        type=shared.counting,
        metavar="N",
        help="at most; the first ones (all)",
    )
    shared.add_output(parser)


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    from contextlib import ExitStack

    from clipsoid.cli.output import lines, show
    from clipsoid.cli.progress import progress
    from clipsoid.embed import embed

    if not options.images and options.captions is None:
        options.usage("wanted IMAGES, --captions, or both")
    unit = "items" if options.images else "captions"
    with ExitStack() as stack:
        tick = None

        def prepared(items: int) -> None:
            nonlocal tick
            if items:
                tick = stack.enter_context(progress("embed", items, quiet=options.quiet, unit=unit))

        def encoded(items: int, busy: float) -> None:
            if tick is not None:
                tick(items, f"device busy {busy:.0%}")

        images = options.images
        made = embed(
            images[0] if len(images) == 1 else (images or None),
            options.captions,
            out=options.out,
            model=options.model,
            pretrained=options.pretrained,
            model_config=options.model_config,
            dtype=options.dtype,
            precision=options.precision,
            batch_size=options.batch_size,
            workers=options.workers,
            device=options.device,
            shard_rows=options.shard_rows,
            compile=options.compile,
            normalize=options.normalize,
            on_error=options.on_error,
            image_column=options.image_column,
            caption_column=options.caption_column,
            captions_per_image=options.captions_per_image,
            progress=encoded,
            prepared=prepared,
        )
    show(options, made.to_dict(), lines(dict(_report(made))))


def _report(made: Embedded) -> Iterator[tuple[str, str]]:
    from clipsoid.cli.output import plural
    from clipsoid.embed.files import printable

    parts = {"img_emb": "images", "text_emb": "captions"}
    found = " and ".join(kind for name, kind in parts.items() if (made.folder / name).is_dir())
    yield "embedded", f"{plural(made.rows, 'row')} x {made.dim} features: {found}"
    yield "model", made.model
    yield "temperature", f"{made.temperature:.6g}"
    if made.logit_bias is not None:
        yield "logit bias", f"{made.logit_bias:.6g}: trained with a sigmoid loss, not a softmax"
    if made.speeds:
        yield "speed", ", ".join(f"{speed:,.1f} {what}/s" for what, speed in made.speeds.items())
        limit = ""
        if made.seconds >= LONG:
            # Tokenising, where there are only captions.
            before = "decoding" if "images" in made.speeds else "tokenising"
            limit = f": the limit was {'the device' if made.device_busy > BUSY else before}"
        yield "time", f"{made.seconds:,.1f} s, device busy {made.device_busy:.0%}{limit}"
    else:
        yield "time", "nothing was left to be done"
    if made.passed_over:
        kinds = (f"{n:,} {kind or 'without suffix'}" for kind, n in made.passed_over.items())
        yield "passed over", f"{', '.join(kinds)}: no pictures"
    if made.broken:
        yield "broken", f"{plural(len(made.broken), 'row')}, left out"
        named = {
            f"  row {row['row']}": ": ".join(
                map(printable, filter(None, (row.get("image_path", "caption"), row["reason"])))
            )
            for row in made.broken[:SHOWN]
        }
        column = max(map(len, ["temperature", *named])) + 2
        for name, text in named.items():
            yield name, _wrapped(text, column)
        if len(made.broken) > SHOWN:
            yield "  ...", f"the others are in {made.folder}/manifest.json"
        if any("bytes" in row for row in made.broken):
            hint = "put other files in their place, and run the same command again"
            yield "  to mend", _wrapped(hint, column)
    yield "written", f"{made.folder}/"


def _wrapped(text: str, column: int) -> str:
    """Wrap a text that begins at a column; the manifest has what is cut off."""
    from textwrap import wrap

    lines = wrap(text, COLUMNS - column, max_lines=SHOWN_LINES, placeholder=" ...")
    return ("\n" + " " * column).join(lines)
