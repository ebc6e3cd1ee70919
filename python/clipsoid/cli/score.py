"""``clipsoid score``: a score for every row, one parquet file per shard."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clipsoid.cli import options as shared
from clipsoid.cli import sets

if TYPE_CHECKING:
    from clipsoid.ellipsoid import Ellipsoid
    from clipsoid.store import Store


def add_parser(commands: Any) -> None:
    """Add the command."""
    parser = shared.command(
        commands,
        "score",
        run,
        "score every row: exact conformity, cosine to the mean, norm, and more on request",
    )
    shared.add_rows(parser)
    parser.add_argument("--out", required=True, metavar="DIR", help="folder for the score files")
    reference = parser.add_mutually_exclusive_group()
    reference.add_argument(
        "--ellipsoid",
        metavar="FILE",
        help="score against this one; without it, against the rows of PATH themselves; with --by, "
        "the groups that fit --by wrote",
    )
    reference.add_argument(
        "--against",
        metavar="PATH",
        nargs="*",
        help="score against the rows of another set; without PATH, of the set's other modality",
    )
    parser.add_argument(
        "--against-key", metavar="NAME", help="what holds those rows, if it is another than --key"
    )
    membership = parser.add_mutually_exclusive_group()
    membership.add_argument(
        "--members",
        action="store_true",
        help="the rows belong to the ellipsoid: leave each out of its own mean",
    )
    membership.add_argument(
        "--outsiders", action="store_true", help="the rows do not belong to the ellipsoid"
    )
    parser.add_argument(
        "--partner",
        metavar="PATH",
        nargs="*",
        help="the other modality of the same rows, shard by shard: adds the cosine to it; without "
        "PATH, that of the set",
    )
    parser.add_argument(
        "--partner-key", metavar="NAME", help="what holds partners, if it is another than --key"
    )
    parser.add_argument(
        "--whitening",
        metavar="FILE",
        help="a whitening, or an ellipsoid with covariance: adds the log-likelihood",
    )
    parser.add_argument(
        "--by",
        metavar="COLUMN",
        help="column beside the embeddings, which is carried over: adds the conformity among the "
        "rows of the same value",
    )
    parser.add_argument(
        "--id-column",
        action="append",
        default=[],
        metavar="NAME",
        help="column beside the embeddings, in their parquet files or in metadata, to carry over "
        "to the scores; may be repeated",
    )
    parser.add_argument(
        "--report",
        type=Path,
        metavar="FILE",
        help="where the distributions go, as one HTML page; of id columns, caption and image_path "
        "are shown as such",
    )
    parser.add_argument("--title", metavar="TEXT", help="of the page")
    parser.add_argument(
        "--image-root",
        type=Path,
        metavar="DIR",
        help="where relative image paths begin (the folder of PATH)",
    )
    shared.add_common(parser)


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    from clipsoid.cli.beside import beside_of, open_beside
    from clipsoid.cli.output import lines, plural, show
    from clipsoid.cli.progress import progress
    from clipsoid.cli.reference import against_of, check_options
    from clipsoid.store.scores import ScoreFolder, score_into, score_job

    check_options(options)
    store = sets.open_rows(options)
    part = shared.selected(store, options)
    folder = Path(options.out)
    _check_place(folder, options)
    shared.check_report(options)
    id_columns = _id_columns(options)
    if id_columns:
        for shard in part.shards:
            shard.check_columns(id_columns)
    opened = open_beside(options, store)
    against = against_of(options, store, part)
    # Known before the first pass: nobody waits for a fit whose scores have no place.
    begun = score_job(
        store,
        {**against.known, **opened.known},
        id_columns,
        options.on_invalid,
        partner=opened.partners.values(),
        against=against.shards,
        has_groups=options.by is not None,
    )
    with ScoreFolder.hold(folder, store, begun, options.shards or (0, 1)) as job:
        e, groups = against.fitted(job)
        reference = e.reference(member=against.member)
        chosen = beside_of(options, opened, groups, member=against.member)
        made = how_made(e, part, member=against.member, on_invalid=options.on_invalid)
        made |= chosen.made
        left = sum(shard.count for shard in job.todo)
        with progress("score", left, quiet=options.quiet) as tick:
            written = score_into(
                job,
                reference,
                made=made,
                beside=chosen.beside,
                id_columns=id_columns,
                on_invalid=options.on_invalid,
                n_threads=options.threads,
                progress=tick,
            )
    if options.report is not None:
        from clipsoid.report import write_page
        from clipsoid.report.scores import scores_page

        first = Path(options.path[0])
        root = options.image_root or (first if first.is_dir() else first.parent)
        page = scores_page(written.files, made, title=options.title, root=root)
        write_page(page, options.report)
    result = {
        "out": options.out,
        **made,
        "rows": written.rows,
        "status": written.status,
        "without_group": written.without_group,
        "files": written.files,
        "scored_now": written.scored,
    }
    text = {
        "scored": f"{plural(written.rows, 'row')} in {plural(len(written.files), 'file')}",
        "against": f"{e.count:,} rows, each "
        + ("left out of its own mean" if against.member else "outside"),
        **chosen.words,
        "written": f"{folder}/",
    }
    before = len(written.files) - written.scored
    if before:
        all_done = "all files, by an earlier run: nothing was left to do"
        text["done before"] = (
            f"{before:,} of {plural(len(written.files), 'file')}" if written.scored else all_done
        )
    if written.without_group:
        found = f"{written.without_group:,} of {plural(written.rows, 'row')}"
        text["no group"] = f"{found}: the groups do not have their value of {options.by!r}"
    if options.report is not None:
        text["report"] = str(options.report)
    invalid = {name: n for name, n in written.status.items() if n and name != "ok"}
    if invalid:
        text["invalid"] = ", ".join(f"{n:,} {name}" for name, n in invalid.items())
    show(options, result, lines(text))


def _id_columns(options: argparse.Namespace) -> list[str]:
    """Return the columns to carry over: those that are named, and the one of the groups."""
    from clipsoid.store.scores import COLUMNS, check_id_columns

    check_id_columns(options.id_column)
    by = options.by is not None and options.by not in (*options.id_column, *COLUMNS)
    return [*options.id_column, *([options.by] if by else [])]


def _check_place(folder: Path, options: argparse.Namespace) -> None:
    """Refuse a folder among the embeddings: it would be read with them the next time."""
    from clipsoid.errors import OutputError

    for path in map(Path, options.path):
        if path.is_dir() and folder.resolve().is_relative_to(path.resolve()):
            raise OutputError(
                f"{folder}: lies among the embeddings of {path}; wanted another place"
            )


def how_made(e: Ellipsoid, store: Store, *, member: bool, on_invalid: str) -> dict[str, Any]:
    """Return what the score files of `store` say of how they were made."""
    from clipsoid import __version__
    from clipsoid._native import simd_level
    from clipsoid.store.beside import made_beside

    return {
        "clipsoid_version": __version__,
        "member": member,
        "ellipsoid_rows": e.count,
        "dim": e.dim,
        "encoder": e.encoder,
        "is_normalized": e.is_normalized,
        "on_invalid": on_invalid,
        "simd": simd_level(),
        "ellipsoid_simd": sorted(e.simd_levels),
        "dtypes": sorted(store.dtypes),
        **made_beside(),
    }
