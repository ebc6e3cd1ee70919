"""What ``clipsoid score`` computes beside the scores: opened and checked before any pass."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clipsoid.cli import options as shared
from clipsoid.cli import sets

if TYPE_CHECKING:
    from clipsoid.groups import GroupedEllipsoids
    from clipsoid.store import Shard, Store
    from clipsoid.store.beside import StoreBeside
    from clipsoid.whitening import Whitening


#: Rows whose norms tell whether a set is normalised.
LOOKED_AT = 256


@dataclass(frozen=True, slots=True)
class Opened:
    """What the options name: partners of shards, a whitening, what tells them from others."""

    partner: Store | None
    partners: dict[str, Shard]
    whitening: Whitening | None
    known: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Chosen:
    """What is computed, what score files say of it, and what people are told."""

    beside: StoreBeside
    made: dict[str, Any]
    words: dict[str, str]


def open_beside(options: argparse.Namespace, store: Store) -> Opened:
    """Open partners and whitening; refuse what does not fit the set."""
    from clipsoid.store.beside import made_beside, paired

    partner = sets.open_partner(options, store)
    partners = {} if partner is None else paired(store, partner)
    whitening = contents = None
    if options.whitening is not None:
        whitening, contents = _whitening(options, store)
    known = made_beside(partner=partner, whitening=contents, by=options.by)
    return Opened(partner, partners, whitening, known)


def beside_of(
    options: argparse.Namespace,
    opened: Opened,
    groups: GroupedEllipsoids | None,
    *,
    member: bool,
) -> Chosen:
    """Return what is computed beside the scores against a reference."""
    from clipsoid.cli.output import plural
    from clipsoid.store.beside import StoreBeside, digest_of_groups

    whitening = opened.whitening
    beside = StoreBeside(opened.partners, whitening, groups, options.by or "", member)
    made = opened.known | {"groups": None if groups is None else digest_of_groups(groups)}
    words = {}
    if opened.partner is not None:
        words["partners"] = (
            shared.shortened(options.partner)
            if options.partner
            else "the other modality of the set"
        )
    if whitening is not None:
        words["likelihood"] = f"{plural(whitening.rank, 'direction')} of {options.whitening}"
    if groups is not None:
        words["groups"] = f"{plural(len(groups), 'value')} of column {options.by!r}"
    return Chosen(beside, made, words)


def _whitening(options: argparse.Namespace, store: Store) -> tuple[Whitening, bytes]:
    """Load a whitening, or make one of an ellipsoid, and return the file's contents."""
    from clipsoid._whitening_file import whitening_of
    from clipsoid.errors import MismatchError

    path = Path(options.whitening)
    whitening = whitening_of(path)
    if whitening.dim != store.dim:
        raise MismatchError(
            f"{path}: is of {whitening.dim} features, {store.shards[0].path} has {store.dim}"
        )
    if None not in (whitening.encoder, options.encoder) and whitening.encoder != options.encoder:
        raise MismatchError(
            f"{path}: is of embeddings of {whitening.encoder!r}, these are of {options.encoder!r}"
        )
    _check_kind(whitening, path, store, options)
    return whitening, path.read_bytes()


def _check_kind(
    whitening: Whitening, path: Path, store: Store, options: argparse.Namespace
) -> None:
    """Refuse raw rows under a whitening of normalised ones, and the reverse, by a sample."""
    from clipsoid.errors import MismatchError
    from clipsoid.store.layouts.looks import norm_sample

    is_normalized = norm_sample(store, LOOKED_AT).is_normalized
    if is_normalized is not None and is_normalized != whitening.is_normalized:
        kinds = "raw", "normalised"
        raise MismatchError(
            f"{path}: is of {kinds[whitening.is_normalized]} rows, those of "
            f"{shared.named(options)} are {kinds[is_normalized]}"
        )
