"""``clipsoid whiten``: a whitening from an ellipsoid."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from clipsoid.cli import options as shared

if TYPE_CHECKING:
    from clipsoid.whitening import Whitening


def add_parser(commands: Any) -> None:
    """Add the command."""
    parser = shared.command(commands, "whiten", run, "make a whitening of an ellipsoid")
    parser.add_argument("ellipsoid", metavar="ELLIPSOID", help="with covariance, as fit wrote it")
    parser.add_argument("--out", required=True, metavar="FILE", help="where the whitening goes")
    parser.add_argument(
        "--kind",
        choices=("zca", "pca", "cholesky"),
        default="zca",
        help="which of the maps to unit covariance (default: zca); likelihoods are the same",
    )
    limits = parser.add_mutually_exclusive_group()
    limits.add_argument(
        "--floor",
        type=shared.positive,
        metavar="SHARE",
        help="raise variances below this share of the greatest to it",
    )
    limits.add_argument(
        "--shrinkage",
        type=shared.positive,
        metavar="WEIGHT",
        help="mix the covariance with a sphere of the same mean variance, by this weight",
    )
    limits.add_argument(
        "--rank", type=shared.counting, metavar="K", help="keep the K widest directions only"
    )
    shared.add_output(parser)


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    from clipsoid._output import check_writable
    from clipsoid._whitening_file import is_whitening
    from clipsoid.cli.output import show
    from clipsoid.ellipsoid import Ellipsoid
    from clipsoid.errors import UnavailableError
    from clipsoid.whitening import Whitening

    for name in ("floor", "shrinkage"):
        value = getattr(options, name)
        if value is not None and value > 1:
            options.usage(f"--{name}: {value:g} is too great; wanted 1 or less")
    check_writable(options.out, is_whitening, "whitening")
    e = Ellipsoid.load(options.ellipsoid)
    try:
        w = Whitening.from_ellipsoid(
            e,
            kind=options.kind,
            floor=options.floor,
            shrinkage=options.shrinkage,
            rank=options.rank,
        )
    except UnavailableError as error:
        raise UnavailableError(f"{options.ellipsoid}: {error}") from None
    w.save(options.out)
    result = {"out": options.out, **report(w)}
    show(options, result, f"{describe(w)}\n{'written':<10}  {options.out}")


def report(w: Whitening) -> dict[str, Any]:
    """Return everything small that a whitening knows."""
    return {**w.to_dict(), "kind": "whitening", "map": w.kind}


def describe(w: Whitening) -> str:
    """Return the same for people."""
    from clipsoid.cli.output import lines

    of = f"{w.count:,} {'normalised' if w.is_normalized else 'raw'} rows x {w.dim} features"
    text = {"whitening": f"{w.kind}, of {of}"}
    kept = f"{w.rank} of {w.dim}"
    text["directions"] = kept + (f", {w.dropped} dropped" if w.dropped else "")
    text["condition"] = f"{w.condition:.3g}"
    if w.floor is not None:
        text["floor"] = f"{w.floor:g}, {w.floored} raised to it"
    if w.shrinkage is not None:
        text["shrinkage"] = f"{w.shrinkage:g}"
    if w.encoder is not None:
        text["encoder"] = w.encoder
    return lines(text)
