"""``clipsoid merge``: one ellipsoid from several, or one folder of scores."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from clipsoid.cli import options as shared


def add_parser(commands: Any) -> None:
    """Add the command."""
    parser = shared.command(
        commands, "merge", run, "merge ellipsoids, or folders of scores, that were made apart"
    )
    parser.add_argument(
        "files",
        nargs="+",
        metavar="PATH",
        help="ellipsoids of one dimension, groups, or folders that parts of a set were scored into",
    )
    parser.add_argument("--out", required=True, metavar="PATH", help="where the merged one goes")
    parser.add_argument(
        "--partial",
        action="store_true",
        help="merge folders although shards of the set are in none of them",
    )
    shared.add_common(parser)


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    folders = [Path(path) for path in options.files if Path(path).is_dir()]
    if len(folders) == len(options.files):
        _merge_scores(folders, options)
    elif folders:
        options.usage(f"{folders[0]} is a folder; wanted ellipsoids only, or folders only")
    elif options.partial:
        options.usage("--partial is for folders of scores")
    else:
        _merge_ellipsoids(options)


def _merge_scores(folders: list[Path], options: argparse.Namespace) -> None:
    from dataclasses import asdict

    from clipsoid.cli.output import lines, plural, show
    from clipsoid.store.score_merge import merge_scores
    from clipsoid.store.score_parts import some_of

    merged = merge_scores(folders, Path(options.out), partial=options.partial)
    text = {
        "merged": f"{plural(merged.rows, 'row')} in {plural(merged.files, 'file')}, of "
        f"{plural(len(folders), 'folder')}",
    }
    if merged.missing:
        names = some_of(list(merged.missing))
        text["missing"] = f"{len(merged.missing):,} of {merged.shards:,} shards: {names}"
    text["written"] = f"{options.out}/"
    show(options, {"out": options.out, "folders": folders, **asdict(merged)}, lines(text))


def _merge_ellipsoids(options: argparse.Namespace) -> None:
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
