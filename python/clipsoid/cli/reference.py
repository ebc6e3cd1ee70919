"""What ``clipsoid score`` scores rows against: their own set, an ellipsoid, another set, groups."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from clipsoid.cli import options as shared
from clipsoid.cli import sets

if TYPE_CHECKING:
    from clipsoid.ellipsoid import Ellipsoid
    from clipsoid.groups import GroupedEllipsoids
    from clipsoid.store import Shard, Store
    from clipsoid.store.score_folder import ScoreFolder


@dataclass(frozen=True, slots=True)
class Against:
    """What rows are scored against, as far as it is known before any pass.

    Attributes
    ----------
    member : bool
        Whether the rows belong to it.
    known : dict
        What tells it from another reference, as JSON.
    ellipsoid : Ellipsoid, optional
        As loaded; without it, it is to be fitted.
    groups : GroupedEllipsoids, optional
        As loaded.
    fit : callable, optional
        Fits the ellipsoid; its argument is where the fit may be kept while it goes on.
    fit_groups : callable, optional
        Fits the groups, if they are wanted and were not loaded; kept likewise.
    shards : tuple of Shard
        Those of another set that is fitted.
    """

    member: bool
    known: dict[str, Any]
    ellipsoid: Ellipsoid | None = None
    groups: GroupedEllipsoids | None = None
    fit: Callable[[Path], Ellipsoid] | None = None
    fit_groups: Callable[[Path], GroupedEllipsoids] | None = None
    shards: tuple[Shard, ...] = ()

    def fitted(self, job: ScoreFolder) -> tuple[Ellipsoid, GroupedEllipsoids | None]:
        """Return the reference and the groups: loaded, left by an earlier run, or fitted now."""
        from clipsoid.store.score_kept import kept_groups, kept_reference

        e, groups = self.ellipsoid, self.groups
        if e is None:
            assert self.fit is not None
            e = job.own(kept_reference(member=self.member), self.fit)
        if self.fit_groups is not None:
            groups = job.own(kept_groups(), self.fit_groups)
        return e, groups


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


def against_of(options: argparse.Namespace, store: Store, part: Store) -> Against:
    """Load what the rows of `part` are scored against, or say how it is fitted."""
    if options.by is not None:
        for shard in store.shards if options.ellipsoid is None else part.shards:
            shard.check_columns([options.by])
    if options.against is not None:
        return _other_set(options, part)
    if options.ellipsoid is not None:
        return _loaded(options, part)
    return Against(
        True,
        {"reference": "the set itself", "member": True, "encoder": options.encoder},
        fit=lambda kept: _fitted(options, store, shared.named(options), kept, least=2),
        fit_groups=None if options.by is None else lambda kept: fit_groups(options, store, kept),
    )


def fit_groups(options: argparse.Namespace, store: Store, kept: Path) -> GroupedEllipsoids:
    """Fit the groups of the column ``--by``; the fit is kept at `kept` while it goes on."""
    from clipsoid.cli.progress import progress
    from clipsoid.store import group_checkpoint

    with progress("fit groups", store.count, quiet=options.quiet) as tick:
        return group_checkpoint.fit_groups(
            store,
            options.by,
            kept,
            on_invalid=options.on_invalid,
            encoder=options.encoder,
            temperature=getattr(options, "temperature", None),
            n_threads=options.threads,
            progress=tick,
        )


def _fitted(
    options: argparse.Namespace, store: Store, name: str, kept: Path, least: int
) -> Ellipsoid:
    """Fit the means of a set, which has to have some valid rows."""
    from clipsoid.cli.output import plural
    from clipsoid.cli.progress import progress
    from clipsoid.errors import ShapeError
    from clipsoid.store.checkpoint import fit_store

    with progress("fit", store.count, quiet=options.quiet) as tick:
        e = fit_store(
            store,
            kept,
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
    from clipsoid.store.beside import digest_of
    from clipsoid.store.origin import common_origin

    other = sets.open_other("against", options)
    first = str(other.shards[0].path)
    if other.dim != part.dim:
        raise MismatchError(
            f"{first}: the rows have {other.dim} features, {part.shards[0].path} has {part.dim}"
        )
    common_origin(part, other, "the rows and those of --against")
    prints = frozenset(shard.fingerprint() for shard in other.shards if shard.count)
    member = is_member(Fitted(prints, fully_known=True), first, part, options)
    return Against(
        member,
        {"reference": digest_of(other), "member": member, "encoder": options.encoder},
        fit=lambda kept: _fitted(options, other, first, kept, least=1),
        shards=other.shards,
    )


def _loaded(options: argparse.Namespace, part: Store) -> Against:
    from clipsoid._groups_file import is_groups
    from clipsoid.ellipsoid import Ellipsoid
    from clipsoid.errors import MismatchError
    from clipsoid.groups import GroupedEllipsoids
    from clipsoid.store.score_kept import digest_of_reference

    groups = None
    if is_groups(Path(options.ellipsoid)):
        loaded = GroupedEllipsoids.load(options.ellipsoid)
        # Groups of arrays, and those merged of several columns, name none.
        if None not in (options.by, loaded.by) and options.by != loaded.by:
            raise MismatchError(
                f"{options.ellipsoid}: has the groups of column {loaded.by!r}, --by says "
                f"{options.by!r}; wanted one column"
            )
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
    found = Fitted(e.inputs, fully_known=e.fully_known)
    member = is_member(found, options.ellipsoid, part, options)
    reference = digest_of_reference(e.reference(member=member))
    known = {"reference": reference, "member": member, "encoder": e.encoder}
    return Against(member, known, e, groups)


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


class Fitted(NamedTuple):
    """Fingerprints of the files that something was fitted on, and whether they are all of it."""

    inputs: frozenset[str]
    fully_known: bool


def is_member(e: Fitted, name: str, store: Store, options: argparse.Namespace) -> bool:
    """Whether the rows of `store` belong to the set that was fitted.

    Known by a flag, or by the fingerprints of the files; refused when neither tells.
    """
    from clipsoid.errors import MismatchError
    from clipsoid.store.fingerprint import KINDS, kinds_of, tell_apart

    if options.members or options.outsiders:
        return bool(options.members)
    prints = [shard.fingerprint() for shard in store.shards if shard.count]
    known, total = sum(one in e.inputs for one in prints), len(prints)
    theirs, ours = kinds_of(e.inputs), kinds_of(prints)
    # None of them is among its files: that says something only if all its rows came from files,
    # whose fingerprints would be the same if the files were.
    if known == total or (known == 0 and e.fully_known and tell_apart(theirs | ours)):
        return known == total
    found = f"{known} of {total} shards are among those it was fitted on"
    if not e.fully_known:
        found += ", and some of its rows came from arrays in memory"
    elif known == 0:
        words = [[KINDS.get(kind, kind) for kind in sorted(of)] for of in (theirs, ours)]
        its, own = map(" and ".join, words)
        found += (
            f", but fingerprints by {own} differ from copy to copy"
            if theirs == ours
            else f", but fingerprints by {own} cannot be compared with its own, by {its}"
        )
    raise MismatchError(
        f"{name}: {found}, so it is unclear whether the rows are members of it; say --members "
        "(each row is left out of its own mean) or --outsiders"
    )
