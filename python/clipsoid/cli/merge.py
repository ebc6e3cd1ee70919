"""``clipsoid merge``: one ellipsoid from several, or one folder of scores."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from clipsoid.cli import options as shared

if TYPE_CHECKING:
    from clipsoid.ellipsoid import Ellipsoid
    from clipsoid.groups import GroupedEllipsoids

T = TypeVar("T", "Ellipsoid", "GroupedEllipsoids")


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
        _merge_fitted(options)


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


def _merge_fitted(options: argparse.Namespace) -> None:
    from clipsoid._file import is_ellipsoid
    from clipsoid._groups_file import is_groups
    from clipsoid._output import check_writable
    from clipsoid.cli import groups, output
    from clipsoid.ellipsoid import Ellipsoid
    from clipsoid.groups import GroupedEllipsoids

    if is_groups(Path(options.files[0])):
        check_writable(options.out, is_groups, "file of groups")
        merged = _merged(options.files, GroupedEllipsoids.load, GroupedEllipsoids.merge)
        groups.save(options, merged, files=options.files)
        return
    check_writable(options.out, is_ellipsoid)
    e = _merged(options.files, Ellipsoid.load, lambda x, y: x.merge(y, n_threads=options.threads))
    output.save(options, e, files=options.files)


def _merged(files: Sequence[str], load: Callable[[str], T], merge: Callable[[T, T], T]) -> T:
    """Load what was fitted apart and make it one; what does not fit is named by its file."""
    from clipsoid.cli.output import plural
    from clipsoid.errors import MismatchError

    first, *others = files
    merged = load(first)
    fitted_on = {first: merged.inputs}
    for file in others:
        if file in fitted_on:
            raise MismatchError(f"{file}: is named twice; wanted every file once")
        other = load(file)
        for before, inputs in fitted_on.items():
            # By digests of their contents: an ellipsoid does not keep names.
            if twice := len(inputs & other.inputs):
                raise MismatchError(
                    f"{file}: was fitted on {twice:,} of the {plural(len(inputs), 'shard')} of "
                    f"{before}; wanted every shard once"
                )
        fitted_on[file] = other.inputs
        try:
            merged = merge(merged, other)
        except MismatchError as error:
            raise MismatchError(f"{file}: {error}") from None
    return merged
