"""``clipsoid merge``: one ellipsoid from several."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from clipsoid.cli import options as shared


def add_parser(commands: Any) -> None:
    """Add the command."""
    parser = shared.command(commands, "merge", run, "merge ellipsoids that were fitted apart")
    parser.add_argument(
        "files", nargs="+", metavar="FILE", help="ellipsoids of one dimension, or groups"
    )
    parser.add_argument("--out", required=True, metavar="FILE", help="where the merged one goes")
    shared.add_common(parser)


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    from clipsoid._file import is_ellipsoid
    from clipsoid._groups_file import is_groups
    from clipsoid._output import check_writable
    from clipsoid.cli.groups import merge_files
    from clipsoid.cli.output import save
    from clipsoid.ellipsoid import Ellipsoid
    from clipsoid.errors import MismatchError

    if is_groups(Path(options.files[0])):
        merge_files(options)
        return
    check_writable(options.out, is_ellipsoid)
    first, *others = options.files
    merged = Ellipsoid.load(first)
    for file in others:
        other = Ellipsoid.load(file)
        twice = merged.inputs & other.inputs
        if twice:
            raise MismatchError(f"{file}: was fitted on {len(twice)} of the same shards as before")
        try:
            merged = merged.merge(other, n_threads=options.threads)
        except MismatchError as error:
            raise MismatchError(f"{file}: {error}") from None
    save(options, merged, files=options.files)
