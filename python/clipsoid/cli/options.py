"""Options that several commands share, and the help texts that go with them."""

from __future__ import annotations

import argparse
import math
import re
import sys
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import polars as pl

    from clipsoid.store import EmbeddingSet, Store
    from clipsoid.store.origin import Origin

MAX_THREADS = 4096

#: Most numbers of START:STOP:COUNT: a sweep takes 50 to 80 bytes for each of them and pair.
MAX_NUMBERS = 100_000

#: Of the loss, where neither an option nor a manifest says another.
USUAL_TEMPERATURE = 0.01

PATH_HELP = (
    "embeddings: .npy, .npz, .parquet or .safetensors files, a folder of them as its producer "
    "laid it out, or a quoted pattern such as 'img_emb_{00000..00041}.npy' or 'shards/*.npy'; "
    "also behind s3://, gs://, hf:// and http(s)://"
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


def open_rows(options: argparse.Namespace) -> Store:
    """Open the whole set that the options name; what is known of its model need not be given."""
    from clipsoid.store import open_set

    path = options.path if len(options.path) > 1 else options.path[0]
    found = open_set(path, key=options.key, dtype=options.dtype)
    store = found.modality(options.modality) if options.modality else found.only()
    _fill_in(options, encoder=found.encoder, temperature=found.temperature)
    return store


def open_partner(options: argparse.Namespace, store: Store) -> Store | None:
    """Open the other side of the set that ``--partner`` names, if it is given."""
    from clipsoid.store.layouts.pairing import check_ids

    if options.partner is None:
        if options.partner_key is not None:
            options.usage("--partner-key needs --partner")
        return None
    partner = open_other("partner", options)
    common_origin(store, partner, "rows and partners")
    if store.count == partner.count and store.dim == partner.dim:
        check_ids(store, partner)
        _warn_of_strangers(store, partner, named(options), options)
    return partner


def open_other(name: str, options: argparse.Namespace) -> Store:
    """Open what ``--partner`` or ``--against`` names; without a path, the set's other modality."""
    from clipsoid.store import open_set

    paths, own_key = getattr(options, name), getattr(options, f"{name}_key")
    if not paths and options.modality is None:
        options.usage(f"--{name} without PATH is the other modality: --modality says of which")
    path = paths or options.path
    key = options.key if own_key is None else own_key
    found = open_set(path if len(path) > 1 else path[0], key=key, dtype=options.dtype)
    other = {None: None, "image": "text", "text": "image"}[options.modality]
    if other in found.stores or not paths:
        return found.modality(str(other))
    return found.only()


def open_pairs(options: argparse.Namespace) -> tuple[Store, Store]:
    """Open the images and the texts; the temperature is that of their model, if it is known.

    A sample of the pairs is looked at: a warning says that they seem to be none.
    """
    if options.set is not None:
        if options.images or options.texts:
            options.usage("SET is in place of --images and --texts")
        pair = _pairs_of_set(options)
    elif not options.images or not options.texts:
        options.usage("wanted SET, or --images and --texts")
    else:
        pair = _pairs_of_two(options)
    # What does not pair up at all is refused by the command.
    if pair[0].count == pair[1].count and pair[0].dim == pair[1].dim:
        _warn_of_strangers(*pair, str(options.set or options.images[0]), options)
    return pair


def _warn_of_strangers(x: Store, y: Store, name: str, options: argparse.Namespace) -> None:
    """Look at a sample of the pairs, and say if they seem to be none."""
    import warnings

    from clipsoid.store.layouts.embedding_set import checked_pairs

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        checked_pairs(x, y, name)
    for one in caught if not options.quiet else ():
        print(f"clipsoid: warning: {one.message}", file=sys.stderr)


def _pairs_of_set(options: argparse.Namespace) -> tuple[Store, Store]:
    from clipsoid.store import open_set

    if options.image_key or options.text_key:
        images = open_set(options.set, key=options.image_key or options.key, dtype=options.dtype)
        texts = open_set(options.set, key=options.text_key or options.key, dtype=options.dtype)
        pair = _side(images, "image"), _side(texts, "text")
        known = [images.origin, texts.origin]
    else:
        found = open_set(options.set, key=options.key, dtype=options.dtype)
        pair, known = found.pairs(), [found.origin]
    _fill_in(options, temperature=_common_temperature(known, options))
    return pair


def _pairs_of_two(options: argparse.Namespace) -> tuple[Store, Store]:
    from clipsoid.store import open_set

    images = open_set(options.images, key=options.image_key or options.key, dtype=options.dtype)
    texts = open_set(options.texts, key=options.text_key or options.key, dtype=options.dtype)
    known = [images.origin, texts.origin]
    _fill_in(options, temperature=_common_temperature(known, options))
    return _side(images, "image"), _side(texts, "text")


def _side(found: EmbeddingSet, name: str) -> Store:
    """Return a modality of a set that has both, or else all of it, whatever its name says."""
    return found.stores.get(name) or found.only()


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


def _common_temperature(made: Sequence[Origin | None], options: argparse.Namespace) -> float:
    """Return the temperature of the model that made both sides, or the usual one."""
    from clipsoid.errors import MismatchError

    if None not in made and made[0] != made[-1]:
        names = " and of ".join(repr(one.encoder) for one in made if one is not None)
        raise MismatchError(f"images and texts are of {names}; wanted one model")
    known = made[0] or made[-1]
    if known is None:
        return USUAL_TEMPERATURE
    if known.logit_bias is not None and not options.quiet:
        print(
            f"clipsoid: warning: {known.encoder} was trained with a sigmoid loss; the softmax loss "
            "of this command is not what it made small",
            file=sys.stderr,
        )
    return known.temperature


def common_origin(one: Store, other: Store, both: str) -> Origin | None:
    """Return what made two sets, if it is known of either; refuse two models."""
    from clipsoid.errors import MismatchError
    from clipsoid.store.origin import origin

    made = [origin(one), origin(other)]
    if None not in made and made[0] != made[1]:
        names = " and of ".join(repr(model.encoder) for model in made if model is not None)
        raise MismatchError(f"{both} are of {names}; wanted one model")
    return made[0] or made[1]


def _fill_in(options: argparse.Namespace, **known: object) -> None:
    """Set what a command takes and nobody gave."""
    for name, value in known.items():
        if getattr(options, name, value) is None:
            setattr(options, name, value)


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
