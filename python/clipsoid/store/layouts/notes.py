"""What looks wrong with a set, by the headers of its files and of its metadata."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice, pairwise
from typing import TYPE_CHECKING

from clipsoid.errors import MismatchError, StoreError
from clipsoid.store.layouts.names import number_of
from clipsoid.store.layouts.pairing import check_shards
from clipsoid.store.opening import SUFFIXES
from clipsoid.store.origin import read_manifest
from clipsoid.store.paths import folder_of, place_of
from clipsoid.store.score_parts import some_of

if TYPE_CHECKING:
    from clipsoid.store.base import Shard
    from clipsoid.store.layouts.embedding_set import EmbeddingSet
    from clipsoid.store.metadata import Metadata

#: Layouts whose shards are numbered from 0 on.
NUMBERED = ("clip-retrieval", "clipsoid")


def shard_gaps(found: EmbeddingSet) -> Iterator[str]:
    """Say which shards are missing, by the other modality or by a gap in the numbers."""
    if found.image is not None and found.text is not None:
        try:
            check_shards(found.image, found.text)
        except MismatchError as error:
            yield str(error)
    # Whoever names files chooses among them.
    if found.kind not in NUMBERED or folder_of(found.path, SUFFIXES) is None:
        return
    for name, store in found.stores.items():
        found_numbers = [number_of(shard.path) for shard in store.shards]
        if None in found_numbers:
            continue
        numbers = sorted({-1, *(number for number in found_numbers if number is not None)})
        gaps = (gap for low, high in pairwise(numbers) for gap in range(low + 1, high))
        first = list(islice(gaps, len(numbers)))
        # Dates are numbers, too: where more are missing than there are, they do not count shards.
        if first and len(first) < len(numbers):
            listed = ", ".join(map(str, first[:3])) + (", ..." if first[3:] else "")
            yield f"{name}: no shard of number {listed} (an empty partition writes none)"


def notes_of(found: EmbeddingSet) -> Iterator[str]:
    """Say what looks wrong by the headers."""
    manifest = read_manifest(place_of(found.path))
    if manifest is not None and not manifest.get("complete"):
        yield f"{found.path}: is not finished, its manifest says; clipsoid embed goes on with it"
    yield from shard_gaps(found)
    for name, store in found.stores.items():
        if len(store.dtypes) > 1:
            counts = {
                dtype: sum(shard.dtype == dtype for shard in store.shards)
                for dtype in sorted(store.dtypes)
            }
            mixed = ", ".join(f"{count} of {dtype}" for dtype, count in counts.items())
            yield f"{name}: shards differ in element type: {mixed}"
        empty = [shard.name for shard in store.shards if not shard.count]
        if empty:
            yield f"{name}: shards without rows: {some_of(empty)}"
    yield from _metadata_notes(found)


def _metadata_notes(found: EmbeddingSet) -> Iterator[str]:
    """Say which metadata do not fit their shards."""
    from clipsoid.store.metadata import STATUS

    # Both sides of a set may share them.
    described: dict[tuple[Metadata, int], Shard] = {}
    for store in found.stores.values():
        for shard in store.shards:
            if shard.metadata is not None:
                described.setdefault((shard.metadata, shard.count), shard)
    for (metadata, count), shard in described.items():
        try:
            rows = metadata.count()
            if rows != count and not (rows > count and STATUS in metadata.schema()):
                yield f"{metadata.path}: has {rows} rows, {shard.path} has {count} embeddings"
        except StoreError as error:
            yield str(error)
    for name, store in found.stores.items():
        without = [shard.name for shard in store.shards if shard.metadata is None]
        if described and without:
            yield f"{name}: shards without metadata: {some_of(without)}"
