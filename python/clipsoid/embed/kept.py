"""What a run keeps of an earlier one: shards whose files are there, of pictures as they were."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from clipsoid.embed.looks import Looks, bytes_of
from clipsoid.embed.shards import Layout, Record, cut
from clipsoid.errors import MismatchError

if TYPE_CHECKING:
    import polars as pl

#: Shards that are looked at side by side: over a network, each file is waited for.
THREADS = 16


def kept(frame: pl.DataFrame, records: Iterable[Record], layout: Layout) -> dict[int, Record]:
    """Return the records of the shards that need not be made again, by their numbers.

    A shard is made again if one of its files is gone or has another length, or if a picture that
    was left out is of another size now, as one is that was missing.

    Raises
    ------
    MismatchError
        If pictures of a finished shard have changed: rows of two sets would be mixed.
    """
    finished = [record for record in records if _is_there(record, layout)]
    with ThreadPoolExecutor(THREADS, "clipsoid-kept") as pool:
        same = pool.map(lambda record: _is_same(frame, record, layout), finished)
        return {record.number: record for record in finished if next(same)}


def _is_there(record: Record, layout: Layout) -> bool:
    for name, size in record.files.items():
        try:
            if (layout.folder / name).stat().st_size != size:
                return False
        except OSError:
            return False
    return True


def _is_same(frame: pl.DataFrame, record: Record, layout: Layout) -> bool:
    """Whether the pictures that were left out are as they were; the others must be."""
    shard = cut(frame, record.number, layout)
    if shard.image_of is None:
        return True
    broken = {
        int(shard.image_of[row["row"] - record.first]): row["bytes"]
        for row in record.broken
        if "bytes" in row
    }
    in_order = [place for i, place in enumerate(shard.places) if i not in broken]
    now = Looks(in_order).look(in_order)
    for what, then, found in (
        ("sizes", record.pictures, now.sizes),
        ("times", record.times, now.times),
    ):
        # Times are known only while a set is not finished.
        if then not in (None, found):
            raise MismatchError(
                f"{layout.folder}: pictures of rows {record.first} to "
                f"{record.first + record.read - 1} have changed since they were embedded: the "
                f"{what} of their files differ; wanted the same files, or a new folder"
            )
    return all(bytes_of(shard.places[i]) == size for i, size in broken.items())
