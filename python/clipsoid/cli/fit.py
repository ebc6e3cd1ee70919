"""``clipsoid fit``: an ellipsoid from embeddings."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from clipsoid.cli import options as shared
from clipsoid.cli import sets


def add_parser(commands: Any) -> None:
    """Add the command."""
    parser = shared.command(commands, "fit", run, "fit an ellipsoid to embeddings, in one pass")
    shared.add_rows(parser)
    parser.add_argument("--out", required=True, metavar="FILE", help="where the ellipsoid goes")
    parser.add_argument(
        "--no-covariance",
        action="store_true",
        help="means only: runs at the speed of memory, enough for scores",
    )
    parser.add_argument(
        "--by",
        metavar="COLUMN",
        help="column beside the embeddings: means only, of the rows of each of its values, in one "
        "file",
    )
    parser.add_argument(
        "--precision",
        choices=("auto", "float64"),
        default="auto",
        help="what covariances are multiplied in: float32 for narrow rows (auto), or float64",
    )
    parser.add_argument(
        "--temperature",
        type=shared.positive,
        metavar="T",
        help="temperature of the encoder; kept in the file",
    )
    shared.add_common(parser)


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    from clipsoid._file import is_ellipsoid
    from clipsoid._output import check_writable, remove, remove_leftovers
    from clipsoid.cli.output import show_saved
    from clipsoid.cli.progress import progress
    from clipsoid.errors import ShapeError
    from clipsoid.store.checkpoint import checkpoint_of, fit_store
    from clipsoid.store.journal import lock_beside

    if options.by is not None:
        _run_by(options)
        return
    out = Path(options.out)
    check_writable(out, is_ellipsoid)
    store = shared.selected(sets.open_rows(options), options)
    checkpoint = checkpoint_of(out)
    with lock_beside(out):
        for path in (out, checkpoint):
            remove_leftovers(path)
        with progress("fit", store.count, quiet=options.quiet) as tick:
            e = fit_store(
                store,
                checkpoint,
                covariance=not options.no_covariance,
                on_invalid=options.on_invalid,
                precision=options.precision,
                encoder=options.encoder,
                temperature=options.temperature,
                n_threads=options.threads,
                progress=tick,
            )
        if not e.count:
            raise ShapeError(f"{shared.named(options)}: all {e.invalid.total} rows were left out")
        e.save(out)
        remove(checkpoint)
    show_saved(options, e)


def _run_by(options: argparse.Namespace) -> None:
    """Fit groups."""
    from clipsoid._groups_file import is_groups
    from clipsoid._output import check_writable, remove, remove_leftovers
    from clipsoid.cli.groups import save
    from clipsoid.cli.reference import fit_groups
    from clipsoid.errors import ShapeError
    from clipsoid.store.checkpoint import checkpoint_of
    from clipsoid.store.journal import lock_beside

    if options.precision != "auto":
        options.usage("--precision is that of a covariance, which groups do not have")
    out = Path(options.out)
    check_writable(out, is_groups, "file of groups")
    store = shared.selected(sets.open_rows(options), options)
    for shard in store.shards:
        shard.check_columns([options.by])
    checkpoint = checkpoint_of(out)
    with lock_beside(out):
        for path in (out, checkpoint):
            remove_leftovers(path)
        groups = fit_groups(options, store, checkpoint)
        if not groups.count.any():
            left_out = f"all {groups.invalid.total} rows were left out"
            raise ShapeError(f"{shared.named(options)}: {left_out}")
        save(options, groups)
        remove(checkpoint)
