"""``clipsoid score``: a score for every row, one parquet file per shard."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clipsoid.cli import options as shared

if TYPE_CHECKING:
    from clipsoid.ellipsoid import Ellipsoid
    from clipsoid.store import Store


def add_parser(commands: Any) -> None:
    """Add the command."""
    parser = shared.command(
        commands,
        "score",
        run,
        "score every row: exact conformity, cosine to the mean, norm",
    )
    shared.add_rows(parser)
    parser.add_argument("--out", required=True, metavar="DIR", help="folder for the score files")
    parser.add_argument(
        "--ellipsoid",
        metavar="FILE",
        help="score against this one; without it, against the rows of PATH themselves",
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
        "--id-column",
        action="append",
        default=[],
        metavar="NAME",
        help="parquet column to carry over to the scores; may be repeated",
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
    from clipsoid.cli.output import lines, plural, show
    from clipsoid.cli.progress import progress
    from clipsoid.ellipsoid import Ellipsoid
    from clipsoid.errors import OutputError
    from clipsoid.store.scores import (
        ScoreFolder,
        check_id_columns,
        digest_of,
        job_parameters,
        score_into,
    )

    if options.outsiders and options.ellipsoid is None:
        options.usage("--outsiders needs --ellipsoid: rows are members of their own set")
    store = shared.open_rows(options)
    part = shared.selected(store, options)
    folder = Path(options.out)
    for path in map(Path, options.path):
        if path.is_dir() and folder.resolve().is_relative_to(path.resolve()):
            raise OutputError(
                f"{folder}: lies among the embeddings of {path}; wanted another place"
            )
    shared.check_report(options)
    check_id_columns(options.id_column)
    if options.id_column:
        for shard in part.shards:
            shard.check_columns(options.id_column)
    e = None
    # Known before the first pass: nobody waits for a fit whose scores have no place.
    known: dict[str, Any] = {
        "reference": "the set itself",
        "member": True,
        "encoder": options.encoder,
    }
    if options.ellipsoid is not None:
        e = Ellipsoid.load(options.ellipsoid)
        _check_fits(e, part, options)
        known["member"] = is_member(e, part, options)
        known["reference"] = digest_of(e.reference(member=known["member"]))
        known["encoder"] = e.encoder
    parameters = job_parameters(known, options.id_column, options.on_invalid)
    with ScoreFolder.hold(folder, store, parameters, options.shards or (0, 1)) as job:
        if e is None:
            e = job.own_reference(lambda checkpoint: _own_fit(store, checkpoint, options))
        reference = e.reference(member=known["member"])
        if options.ellipsoid is None:
            job.check_reference(digest_of(reference))
        made = how_made(e, part, member=known["member"], on_invalid=options.on_invalid)
        left = sum(shard.count for shard in job.todo)
        with progress("score", left, quiet=options.quiet) as tick:
            written = score_into(
                job,
                reference,
                made=made,
                id_columns=options.id_column,
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
        "files": written.files,
        "scored_now": written.scored,
    }
    text = {
        "scored": f"{plural(written.rows, 'row')} in {plural(len(written.files), 'file')}",
        "against": f"{e.count:,} rows, each "
        + ("left out of its own mean" if made["member"] else "outside"),
        "written": f"{folder}/",
    }
    before = len(written.files) - written.scored
    if before:
        all_done = "all files, by an earlier run: nothing was left to do"
        text["done before"] = (
            f"{before:,} of {plural(len(written.files), 'file')}" if written.scored else all_done
        )
    if options.report is not None:
        text["report"] = str(options.report)
    invalid = {name: n for name, n in written.status.items() if n and name != "ok"}
    if invalid:
        text["invalid"] = ", ".join(f"{n:,} {name}" for name, n in invalid.items())
    show(options, result, lines(text))


def _own_fit(store: Store, checkpoint: Path, options: argparse.Namespace) -> Ellipsoid:
    """Fit the means of the set itself."""
    from clipsoid.cli.output import plural
    from clipsoid.cli.progress import progress
    from clipsoid.errors import ShapeError
    from clipsoid.store.checkpoint import fit_store

    with progress("fit", store.count, quiet=options.quiet) as tick:
        e = fit_store(
            store,
            checkpoint,
            covariance=False,
            on_invalid=options.on_invalid,
            encoder=options.encoder,
            n_threads=options.threads,
            progress=tick,
        )
    if e.count < 2:
        out = f", {e.invalid.total} left out" if e.invalid.total else ""
        found = plural(e.count, "valid row")
        raise ShapeError(f"{shared.named(options)}: found {found}{out}, wanted 2 or more")
    return e


def how_made(e: Ellipsoid, store: Store, *, member: bool, on_invalid: str) -> dict[str, Any]:
    """Return what the score files of `store` say of how they were made."""
    from clipsoid import __version__
    from clipsoid._native import simd_level

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
    }


def _check_fits(e: Ellipsoid, store: Store, options: argparse.Namespace) -> None:
    from clipsoid.errors import MismatchError

    if e.dim != store.dim:
        raise MismatchError(
            f"{options.ellipsoid}: was fitted on {e.dim} features, {store.shards[0].path} has "
            f"{store.dim}"
        )
    if None not in (e.encoder, options.encoder) and e.encoder != options.encoder:
        raise MismatchError(
            f"{options.ellipsoid}: was fitted on embeddings of {e.encoder!r}, these are of "
            f"{options.encoder!r}"
        )


def is_member(e: Ellipsoid, store: Store, options: argparse.Namespace) -> bool:
    """Whether the rows of `store` belong to the set that `e` was fitted on.

    Known by a flag, or by the fingerprints of the files; refused when neither tells.
    """
    from clipsoid.errors import MismatchError

    if options.members or options.outsiders:
        return bool(options.members)
    known = sum(shard.fingerprint() in e.inputs for shard in store.shards if shard.count)
    total = sum(1 for shard in store.shards if shard.count)
    # None of them is among its files: that says something only if all its rows came from files.
    if known == total or (known == 0 and e.fully_known):
        return known == total
    found = f"{known} of {total} shards are among those it was fitted on"
    if not e.fully_known:
        found += ", and some of its rows came from arrays in memory"
    raise MismatchError(
        f"{options.ellipsoid}: {found}, so it is unclear whether the rows are members of it; "
        "say --members (each row is left out of its own mean) or --outsiders"
    )
