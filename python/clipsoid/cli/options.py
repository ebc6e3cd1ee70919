"""Options that several commands share, and the help texts that go with them."""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import polars as pl

    from clipsoid.store import Store

MAX_THREADS = 4096

#: Most numbers of START:STOP:COUNT: a sweep takes 50 to 80 bytes for each of them and pair.
MAX_NUMBERS = 100_000

PATH_HELP = (
    "embeddings: .npy, .npz, .parquet, .safetensors or .pt files, a folder of them as its "
    "producer laid it out, or a quoted pattern such as 'img_emb_{00000..00041}.npy' or "
    "'shards/*.npy'; also behind s3://, gs://, hf:// and http(s)://"
)


def command(commands: Any, name: str, run: Any, summary: str) -> argparse.ArgumentParser:
    """Add a command."""
    parser: argparse.ArgumentParser = commands.add_parser(
        name, help=summary, description=summary[0].upper() + summary[1:] + ".", allow_abbrev=False
    )
    parser.set_defaults(run=run, usage=parser.error)
    return parser


def add_set(parser: argparse.ArgumentParser) -> None:
    """Add what is said about a set of which every row is to be read."""
    parser.add_argument("path", metavar="PATH", nargs="+", help=PATH_HELP)
    parser.add_argument(
        "--key", metavar="NAME", help="npz member, parquet column or tensor that holds the rows"
    )
    parser.add_argument(
        "--modality",
        choices=("image", "text"),
        help="which rows of a set that holds both",
    )
    add_dtype(parser)


def add_rows(parser: argparse.ArgumentParser) -> None:
    """Add what is said about rows to be read, all or some."""
    add_set(parser)
    parser.add_argument(
        "--on-invalid",
        choices=("error", "skip", "null"),
        default="error",
        help="rows that are missing, not finite or zero: stop (default), leave them out, or keep "
        "their place with a null score",
    )
    parser.add_argument("--shards", type=_part, metavar="i/n", help="only every n-th shard, from i")
    parser.add_argument("--encoder", metavar="NAME", help="the model that made the embeddings")


def add_pairs(parser: argparse.ArgumentParser) -> None:
    """Add what is said about images and texts to be read, row by row."""
    parser.add_argument(
        "set",
        metavar="SET",
        nargs="?",
        help="images and texts in one place: a folder of clipsoid embed, clip-retrieval or "
        "DataComp, or a file that holds both",
    )
    parser.add_argument("--images", metavar="PATH", nargs="+", help=PATH_HELP)
    parser.add_argument("--texts", metavar="PATH", nargs="+", help="their texts, row by row")
    parser.add_argument(
        "--key", metavar="NAME", help="npz member, parquet column or tensor that holds the rows"
    )
    for name in ("image", "text"):
        parser.add_argument(
            f"--{name}-key", metavar="NAME", help=f"the same of the {name}s, if it is another"
        )
    add_dtype(parser)


def add_alphas(parser: argparse.ArgumentParser) -> None:
    """Add the grid of a sweep."""
    parser.add_argument(
        "--alphas",
        type=numbers,
        metavar="LIST",
        help="multiples of the mean to take away: START:STOP:COUNT, or numbers with commas "
        "between them (default: -1:1:41)",
    )


def add_dtype(parser: argparse.ArgumentParser) -> None:
    """Add the element type that is insisted on."""
    parser.add_argument(
        "--dtype",
        choices=("float16", "bfloat16", "float32", "float64"),
        help="what every shard must hold; 'bfloat16' also reads 2-byte void .npy as bfloat16",
    )


def add_common(parser: argparse.ArgumentParser) -> None:
    """Add what every command takes."""
    parser.add_argument("--threads", type=_threads, metavar="N", help="most threads (default: all)")
    add_output(parser)


def add_output(parser: argparse.ArgumentParser) -> None:
    """Add what is said about standard output and standard error."""
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.add_argument("--quiet", action="store_true", help="no progress, and no result but JSON")


def read_table(path: Path) -> pl.DataFrame:
    """Read what goes with the rows: a .csv file, all of it as text, or a .parquet file."""
    import polars as pl

    from clipsoid.errors import StoreError

    try:
        # As text, for 00017 is a name and not a number.
        is_csv = path.suffix.lower() == ".csv"
        return pl.read_csv(path, infer_schema=False) if is_csv else pl.read_parquet(path)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise StoreError(f"{path}: cannot be read: {error}") from None


def named(options: argparse.Namespace) -> str:
    """Return what a message calls the rows."""
    return shortened(options.path)


def shortened(paths: Sequence[str]) -> str:
    """Return the first of some paths, and how many more there are."""
    more = len(paths) - 1
    return str(paths[0]) + (f" and {more} more" if more else "")


def selected(store: Store, options: argparse.Namespace) -> Store:
    """Return the part of the set that ``--shards`` names."""
    from clipsoid.errors import StoreError

    if options.shards is None:
        return store
    i, n = options.shards
    part = store.select(i, n)
    if not part.shards:
        raise StoreError(f"--shards {i}/{n}: there are only {len(store.shards)} shards")
    return part


def _threads(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= MAX_THREADS:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to {MAX_THREADS}")
    return int(text)


def positive(text: str) -> float:
    """Read a finite number above 0."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return value


def check_temperature(options: argparse.Namespace) -> None:
    """Refuse a temperature whose logits are out of range."""
    from clipsoid._sweeping import LEAST_TEMPERATURE

    if options.temperature is not None and options.temperature < LEAST_TEMPERATURE:
        options.usage(
            f"--temperature: {options.temperature:g} is too small; wanted {LEAST_TEMPERATURE} or "
            "more"
        )


def check_report(options: argparse.Namespace) -> None:
    """Refuse, before any work is done, a page that could not be written after it."""
    if options.report is None:
        for name in ("title", "image_root"):
            if getattr(options, name, None) is not None:
                options.usage(f"--{name.replace('_', '-')} needs --report")
        return
    from clipsoid._extras import check_report as check_extra
    from clipsoid.report.files import check_page_target

    check_extra("reports")
    check_page_target(options.report)


def natural(text: str) -> int:
    """Read a whole number of 0 or more."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of 0 or more")
    return int(text)


def counting(text: str) -> int:
    """Read a whole number of 1 or more."""
    value = natural(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of 1 or more")
    return value


def numbers(text: str) -> tuple[float, ...]:
    """Read ``START:STOP:COUNT`` or numbers with commas between them.

    In decimals, so that 0 and -0.1 are on the grid if they are on paper.
    """
    try:
        if ":" in text:
            start, stop, count = text.split(":")
            ends, steps = (Decimal(start), Decimal(stop)), int(count) - 1
            if not 1 <= steps < MAX_NUMBERS:
                raise argparse.ArgumentTypeError(
                    f"{text!r}: COUNT is {count}; wanted 2 to {MAX_NUMBERS}"
                )
            grid = [ends[0] + (ends[1] - ends[0]) * i / steps for i in range(steps + 1)]
        else:
            grid = [Decimal(number) for number in text.split(",")]
        found = tuple(map(float, grid))
    except (ArithmeticError, ValueError):
        raise argparse.ArgumentTypeError(
            f"{text!r} is neither START:STOP:COUNT nor numbers with commas between them"
        ) from None
    for number in found:
        if not math.isfinite(number):
            raise argparse.ArgumentTypeError(f"{text!r}: {number} is not a finite number")
    return found


def take_negative_lists(parser: argparse.ArgumentParser) -> None:
    """Let lists that begin with a minus sign be values, as argparse lets numbers, not options."""
    parser._negative_number_matcher = re.compile(r"-\.?\d")


def _part(text: str) -> tuple[int, int]:
    i, slash, n = text.partition("/")
    if not (slash and i.isdecimal() and n.isdecimal() and int(i) < int(n)):
        raise argparse.ArgumentTypeError(f"{text!r} is not i/n with 0 <= i < n, such as 0/4")
    return int(i), int(n)
