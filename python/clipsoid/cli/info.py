"""``clipsoid info``: what a file or a set of embeddings is."""

from __future__ import annotations

import argparse
import math
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clipsoid.cli import options as shared

if TYPE_CHECKING:
    from clipsoid.ellipsoid import Ellipsoid

ELLIPSOID_SUFFIX = ".ellipsoid"


def add_parser(commands: Any) -> None:
    """Add the command."""
    parser = shared.command(
        commands, "info", run, "say what a file of clipsoid or a set of embeddings holds"
    )
    parser.add_argument(
        "path",
        metavar="PATH",
        nargs="+",
        help="an ellipsoid, groups, a whitening, a report, scores, a selection, a recipe, ids or "
        "uids of select, or embeddings (see fit)",
    )
    parser.add_argument(
        "--key", metavar="NAME", help="npz member, tensor or column (parquet, Arrow)"
    )
    parser.add_argument("--dtype", help=argparse.SUPPRESS)
    shared.add_common(parser)


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    from clipsoid._file import is_ellipsoid
    from clipsoid._groups_file import is_groups
    from clipsoid._whitening_file import is_whitening
    from clipsoid.cli.output import show
    from clipsoid.cli.products import show_product
    from clipsoid.groups import GroupedEllipsoids
    from clipsoid.report import is_page
    from clipsoid.whitening import Whitening

    path = Path(options.path[0])
    if len(options.path) == 1 and show_product(options, path):
        return
    if len(options.path) == 1 and path.is_file():
        if is_page(path):
            _show_page(options, path)
            return
        if is_groups(path):
            from clipsoid.cli import groups

            found = GroupedEllipsoids.load(path)
            show(options, groups.report(found), groups.describe(found))
            return
        if is_whitening(path):
            from clipsoid.cli import whiten

            w = Whitening.load(path)
            show(options, whiten.report(w), whiten.describe(w))
            return
    if (
        len(options.path) == 1
        and path.is_file()
        and (path.suffix == ELLIPSOID_SUFFIX or is_ellipsoid(path))
    ):
        from clipsoid.ellipsoid import Ellipsoid

        e = Ellipsoid.load(path)
        show(options, report(e), describe(e))
        return
    from clipsoid.cli.survey import show_set

    show_set(options)


def _show_page(options: argparse.Namespace, path: Path) -> None:
    """Say what a report was made of; as JSON, all of it."""
    import json

    from clipsoid.cli.output import lines, size_of
    from clipsoid.report import page_payload

    kind, text = page_payload(path)
    if options.json:
        print(json.dumps(json.loads(text), indent=2))
    elif not options.quiet:
        size = size_of(path.stat().st_size)
        print(lines({"report": f"{size}, of a {kind}", "data": f"clipsoid info {path} --json"}))


def report(e: Ellipsoid) -> dict[str, Any]:
    """Return everything small that an ellipsoid knows."""
    from clipsoid._file import header
    from clipsoid.errors import UnavailableError

    result: dict[str, Any] = {"kind": "ellipsoid", **header(e)}
    result["inputs"] = len(e.inputs)
    if e.count:
        result |= {
            "is_normalized": e.is_normalized,
            "norms": e.norms.to_dict(),
            "mean_norm": float((e.mean @ e.mean) ** 0.5),
            "unit_mean_norm": float((e.unit_mean @ e.unit_mean) ** 0.5),
        }
        with suppress(UnavailableError):  # norms near the end of the range of float64
            result["center_ratio"] = e.center_ratio
    if e.count > 1:
        result["mean_conformity"] = e.mean_conformity
        if e.has_covariance:
            result |= _tilt(e)
    return result


def _tilt(e: Ellipsoid) -> dict[str, float]:
    import numpy as np

    from clipsoid.errors import UnavailableError

    try:
        odd, null = e.off_diagonal_dominance, e.off_diagonal_dominance_null
    except UnavailableError:
        return {}
    if np.isnan(odd).all():
        return {}
    return {
        "off_diagonal_dominance_median": float(np.nanmedian(odd)),
        "off_diagonal_dominance_over_null_median": float(np.nanmedian(odd / null)),
    }


def describe(e: Ellipsoid) -> str:
    """Return the same for people."""
    from clipsoid.cli.output import lines, number, plural

    known = report(e)
    kind = "normalised" if known.get("is_normalized") else "raw"
    text = {
        "ellipsoid": f"{e.count:,} rows x {e.dim} features",
        "elements": ", ".join(sorted(e.dtypes)) + (f", {kind}" if e.count else ""),
    }
    if e.invalid.total:
        left_out = {name: n for name, n in e.invalid.to_dict().items() if n}
        text["left out"] = ", ".join(f"{n:,} {name}" for name, n in left_out.items())
    if e.encoder is not None:
        text["encoder"] = e.encoder
    if e.count:
        norms = e.norms
        text["centre ratio"] = number(known.get("center_ratio", math.nan))
        text["norms"] = (
            f"{number(norms.mean)} +- {number(norms.variance**0.5)}, "
            f"{number(norms.min)} to {number(norms.max)}"
        )
    if e.count > 1:
        text["mean conformity"] = number(e.mean_conformity)
    if "off_diagonal_dominance_median" in known:
        text["off-diag. dominance"] = (
            f"{number(known['off_diagonal_dominance_median'])}, "
            f"{number(known['off_diagonal_dominance_over_null_median'])} x untilted"
        )
    else:
        text["covariance"] = "yes" if e.has_covariance else "none (means only)"
    if e.calibration is not None:
        c = e.calibration
        text["calibration"] = f"c ~ {c.slope:.4f} cos(m, x) {c.intercept:+.4f}, r = {c.pearson:.6f}"
    if e.dropped:
        text["dropped in a merge"] = ", ".join(e.dropped)
    if e.count and e.is_normalized:
        text["note"] = "norms are 1: shell, centre ratio and tilt describe the sphere"
    text["fitted on"] = plural(len(e.inputs), "shard") if e.inputs else "arrays in memory"
    return lines({f"{name:<21}": value for name, value in text.items()})
