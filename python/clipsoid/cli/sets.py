"""What the options name, opened: one modality, its partners, or pairs."""

from __future__ import annotations

import argparse
import sys
from itertools import islice
from typing import TYPE_CHECKING

from clipsoid.cli.options import named

if TYPE_CHECKING:
    from clipsoid.store import EmbeddingSet, Store


def open_rows(options: argparse.Namespace) -> Store:
    """Open the whole set that the options name; what is known of its model need not be given."""
    from clipsoid.store import open_set

    path = options.path if len(options.path) > 1 else options.path[0]
    found = open_set(path, key=options.key, dtype=options.dtype)
    store = found.modality(options.modality) if options.modality else found.only()
    if not options.quiet:
        _warn_of_missing_shards(found)
    _fill_in(options, encoder=found.encoder, temperature=found.temperature)
    return store


def open_partner(options: argparse.Namespace, store: Store) -> Store | None:
    """Open the other side of the set that ``--partner`` names, if it is given."""
    from clipsoid.store.layouts.embedding_set import checked_pairs
    from clipsoid.store.layouts.pairing import check_numbers, paired_by_id
    from clipsoid.store.origin import common_origin

    if options.partner is None:
        if options.partner_key is not None:
            options.usage("--partner-key needs --partner")
        return None
    partner = open_other("partner", options)
    common_origin(store, partner, "rows and partners")
    check_numbers(store, partner)
    if store.count == partner.count and store.dim == partner.dim:
        partner, _ = paired_by_id(store, partner)
        checked_pairs(store, partner, named(options))
    return partner


def open_other(name: str, options: argparse.Namespace) -> Store:
    """Open what ``--partner`` or ``--against`` names; without a path, the set's other modality."""
    from clipsoid.store import open_set

    paths, own_key = getattr(options, name), getattr(options, f"{name}_key")
    if not paths and options.modality is None:
        options.usage(f"--{name} without PATH is the other modality: --modality says of which")
    path = paths or options.path
    key = options.key if own_key is None else own_key
    found = open_set(path if len(path) > 1 else path[0], key=key, dtype=options.dtype)
    other = {None: None, "image": "text", "text": "image"}[options.modality]
    if other in found.stores or not paths:
        return found.modality(str(other))
    return found.only()


def open_pairs(options: argparse.Namespace) -> tuple[Store, Store]:
    """Open the images and the texts; a warning says if a sample of the pairs seem to be none."""
    from clipsoid.store.layouts.embedding_set import checked_pairs

    if options.set is not None:
        if options.images or options.texts:
            options.usage("SET is in place of --images and --texts")
        pair = _pairs_of_set(options)
    elif not options.images or not options.texts:
        options.usage("wanted SET, or --images and --texts")
    else:
        pair = _pairs_of_two(options)
    # What does not pair up at all is refused by the command.
    if pair[0].count == pair[1].count and pair[0].dim == pair[1].dim:
        checked_pairs(*pair, str(options.set or options.images[0]))
    return pair


def _warn_of_missing_shards(found: EmbeddingSet) -> None:
    """Say once what shows that shards are missing: one side of a set by itself does not."""
    from clipsoid.store.layouts.notes import shard_gaps

    for note in islice(shard_gaps(found), 1):
        print(f"clipsoid: warning: {note}", file=sys.stderr)


def _pairs_of_set(options: argparse.Namespace) -> tuple[Store, Store]:
    from clipsoid.store import open_set

    if options.image_key or options.text_key:
        images = open_set(options.set, key=options.image_key or options.key, dtype=options.dtype)
        texts = open_set(options.set, key=options.text_key or options.key, dtype=options.dtype)
        return _sides(images, texts)
    return open_set(options.set, key=options.key, dtype=options.dtype).pairs()


def _pairs_of_two(options: argparse.Namespace) -> tuple[Store, Store]:
    from clipsoid.store import open_set
    from clipsoid.store.layouts.pairing import check_numbers, paired_by_id

    images = open_set(options.images, key=options.image_key or options.key, dtype=options.dtype)
    texts = open_set(options.texts, key=options.text_key or options.key, dtype=options.dtype)
    pair = _sides(images, texts)
    # Sides that are cut differently pair up row by row all the same.
    if len({sum(shard.count > 0 for shard in side.shards) for side in pair}) == 1:
        check_numbers(*pair)
        return pair[0], paired_by_id(*pair)[0]
    return pair


def _sides(images: EmbeddingSet, texts: EmbeddingSet) -> tuple[Store, Store]:
    """Of sets that have both, the modalities; else all of one, whatever its name says."""
    from clipsoid.store.origin import one_origin

    # A layout may name its model where no manifest does.
    one_origin(images.origin, texts.origin, "images and texts")
    return images.stores.get("image") or images.only(), texts.stores.get("text") or texts.only()


def _fill_in(options: argparse.Namespace, **known: object) -> None:
    """Set what a command takes and nobody gave."""
    for name, value in known.items():
        if getattr(options, name, value) is None:
            setattr(options, name, value)
