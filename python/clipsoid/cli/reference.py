"""What ``clipsoid score`` scores rows against: their own set, an ellipsoid, another set, groups."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from clipsoid.cli import options as shared

if TYPE_CHECKING:
    from clipsoid.ellipsoid import Ellipsoid
    from clipsoid.groups import GroupedEllipsoids
    from clipsoid.store import Store


@dataclass(frozen=True, slots=True)
class Against:
    """A fitted set, its groups if they are wanted, and whether the rows belong to it."""

    ellipsoid: Ellipsoid
    member: bool
    groups: GroupedEllipsoids | None = None


def check_options(options: argparse.Namespace) -> None:
    """Refuse options that do not go together."""
    if options.outsiders and options.ellipsoid is None and options.against is None:
        options.usage(
            "--outsiders needs --ellipsoid or --against: rows are members of their own set"
        )
    if options.against_key is not None and options.against is None:
        options.usage("--against-key needs --against")
    if options.by is not None and options.against is not None:
        options.usage("--by takes the groups of PATH or of --ellipsoid; --against has none")


def reference_of(options: argparse.Namespace, store: Store, part: Store) -> Against:
    """Fit or load what the rows of `part` are scored against."""
    if options.by is not None:
        for shard in store.shards if options.ellipsoid is None else part.shards:
            shard.check_columns([options.by])
    if options.against is not None:
        return _other_set(options, part)
    if options.ellipsoid is not None:
        return _loaded(options, part)
    e = _fitted(options, store, shared.named(options), least=2)
    groups = None if options.by is None else fit_groups(options, store)
    return Against(e, True, groups)


def fit_groups(options: argparse.Namespace, store: Store) -> GroupedEllipsoids:
    """Fit the groups of the column ``--by``."""
    from clipsoid.cli.progress import progress
    from clipsoid.groups import GroupedEllipsoids

    with progress("fit groups", store.count, quiet=options.quiet) as tick:
        return GroupedEllipsoids.fit(
            store,
            options.by,
            on_invalid=options.on_invalid,
            encoder=options.encoder,
            temperature=getattr(options, "temperature", None),
            n_threads=options.threads,
            progress=tick,
        )


def _fitted(options: argparse.Namespace, store: Store, name: str, least: int) -> Ellipsoid:
    """Fit the means of a set, which has to have some valid rows."""
    from clipsoid.cli.output import plural
    from clipsoid.cli.progress import progress
    from clipsoid.ellipsoid import Ellipsoid
    from clipsoid.errors import ShapeError

    with progress("fit", store.count, quiet=options.quiet) as tick:
        e = Ellipsoid.fit(
            store,
            covariance=False,
            on_invalid=options.on_invalid,
            encoder=options.encoder,
            n_threads=options.threads,
            progress=tick,
        )
    if e.count < least:
        out = f", {e.invalid.total} left out" if e.invalid.total else ""
        found = plural(e.count, "valid row")
        raise ShapeError(f"{name}: found {found}{out}, wanted {least} or more")
    return e


def _other_set(options: argparse.Namespace, part: Store) -> Against:
    from clipsoid.errors import MismatchError
    from clipsoid.store import open_store

    key = options.key if options.against_key is None else options.against_key
    other = open_store(options.against, key=key, dtype=options.dtype)
    first = str(other.shards[0].path)
    if other.dim != part.dim:
        raise MismatchError(
            f"{first}: the rows have {other.dim} features, {part.shards[0].path} has {part.dim}"
        )
    shared.common_origin(part, other, "the rows and those of --against")
    e = _fitted(options, other, first, least=1)
    return Against(e, is_member(e, first, part, options))


def _loaded(options: argparse.Namespace, part: Store) -> Against:
    from clipsoid._groups_file import is_groups
    from clipsoid.ellipsoid import Ellipsoid
    from clipsoid.errors import MismatchError
    from clipsoid.groups import GroupedEllipsoids

    groups = None
    if is_groups(Path(options.ellipsoid)):
        loaded = GroupedEllipsoids.load(options.ellipsoid)
        e = loaded.whole
        groups = None if options.by is None else loaded
    elif options.by is not None:
        raise MismatchError(
            f"{options.ellipsoid}: is no file of groups; wanted one that fit --by wrote, or no "
            "--ellipsoid"
        )
    else:
        e = Ellipsoid.load(options.ellipsoid)
    _check_fits(e, part, options)
    return Against(e, is_member(e, options.ellipsoid, part, options), groups)


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


def is_member(e: Ellipsoid, name: str, store: Store, options: argparse.Namespace) -> bool:
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
        f"{name}: {found}, so it is unclear whether the rows are members of it; say --members "
        "(each row is left out of its own mean) or --outsiders"
    )
