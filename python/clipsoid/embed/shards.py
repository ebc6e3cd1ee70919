"""Shards in clip-retrieval's layout: features of images, of texts, and what they are of."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from clipsoid._output import PART_SUFFIX, written_beside
from clipsoid.embed.loader import NO_CAPTION, Kind, Missing, Place
from clipsoid.embed.looks import Looks, bytes_of
from clipsoid.errors import EmbedError

if TYPE_CHECKING:
    import polars as pl

#: Folder and stem of each file of a shard.
FOLDERS: dict[str, tuple[str, str]] = {
    "image": ("img_emb", ".npy"),
    "text": ("text_emb", ".npy"),
    "metadata": ("metadata", ".parquet"),
}


@dataclass(frozen=True, slots=True)
class Layout:
    """Where shards are, how many rows each has, and how their numbers are written.

    Attributes
    ----------
    folder : Path
        Of the set.
    rows, shard_rows : int
        Of the input, and of each shard.
    """

    folder: Path
    rows: int
    shard_rows: int

    @property
    def count(self) -> int:
        """Number of shards."""
        return -(-self.rows // self.shard_rows)

    @property
    def longest(self) -> int:
        """Rows of the longest shard."""
        return min(self.rows, self.shard_rows)

    def path(self, what: str, number: int) -> Path:
        """File of a shard: ``"image"``, ``"text"`` or ``"metadata"``."""
        folder, suffix = FOLDERS[what]
        width = max(4, len(str(self.count - 1)))
        return self.folder / folder / f"{folder}_{number:0{width}d}{suffix}"

    def remove_unfinished(self) -> None:
        """Remove what a killed run left half-written."""
        for folder, _ in FOLDERS.values():
            for path in self.folder.glob(f"{folder}/.{folder}_*{PART_SUFFIX}"):
                path.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class Record:
    """What is written of a shard into the manifest once its files are complete.

    Attributes
    ----------
    number, first, read : int
        Of the shard; the row of the input that it begins with; rows of the input that it has.
    rows : int
        Rows that its files hold: all that are in order.
    files : dict of str to int
        Their names within the set, and their lengths in bytes.
    pictures : str or None
        Digest of the sizes of the other pictures' files; None where there are no images.
    broken : list of dict
        The other rows: ``row`` of the input, ``image_path`` if there is one, ``reason``, and
        where it is the picture's and that is a file of its own, its ``bytes``; None if they
        cannot be read.
    times : str or None
        Digest of their times, as far as it is known: they differ from copy to copy, and are in no
        finished set.
    """

    number: int
    first: int
    read: int
    rows: int
    files: dict[str, int]
    pictures: str | None
    broken: list[dict[str, Any]]
    times: str | None = None


@dataclass(slots=True)
class Shard:
    """The shard in hand: features of each of its images, once, and of its captions.

    Attributes
    ----------
    number, first : int
        Of the shard; the row of the input that it begins with.
    frame : pl.DataFrame
        Its rows.
    places : list of Place
        Its images, each once, in the order in which they first occur.
    image_of : ndarray of shape (rows,) or None
        Number of each row's image.
    files : Looks, optional
        The files of its images, as they were before they were read.
    """

    number: int
    first: int
    frame: pl.DataFrame
    places: list[Place]
    image_of: np.ndarray[Any, Any] | None
    files: Looks | None = None
    features: dict[Kind, np.ndarray[Any, Any]] = field(default_factory=dict)
    reasons: dict[Kind, dict[int, str]] = field(default_factory=dict)

    def items(self, kind: Kind) -> list[Any]:
        """Images or captions to be encoded."""
        from clipsoid.embed.inputs import CAPTION_REASON

        if kind == "image":
            return self.places
        captions = self.frame["caption"].to_list()
        known = CAPTION_REASON in self.frame.columns
        reasons = self.frame[CAPTION_REASON].to_list() if known else [None] * len(captions)
        return [
            Missing(reason or NO_CAPTION) if text is None else text
            for text, reason in zip(captions, reasons, strict=True)
        ]

    def put(self, kind: Kind, numbers: np.ndarray[Any, Any], found: np.ndarray[Any, Any]) -> None:
        """Keep the features of the items with these numbers."""
        if kind not in self.features:
            count = len(self.places) if kind == "image" else self.frame.height
            self.features[kind] = np.zeros((count, found.shape[1]), found.dtype)
        self.features[kind][numbers] = found

    def fail(self, kind: Kind, number: int, reason: str) -> None:
        """Keep the reason why an item has no features."""
        self.reasons.setdefault(kind, {})[number] = reason

    def broken(self) -> dict[int, str]:
        """Rows that are left out, with the reason, of the image before the caption."""
        found = dict(self.reasons.get("text", {}))
        images = self.reasons.get("image", {})
        if images and self.image_of is not None:
            for row, image in enumerate(self.image_of.tolist()):
                if image in images:
                    found[row] = images[image]
        return dict(sorted(found.items()))


def cut(frame: pl.DataFrame, number: int, layout: Layout) -> Shard:
    """Cut a shard out of the rows; several captions of one image share it."""
    from clipsoid.embed.inputs import FILE, LENGTH, OFFSET

    first = number * layout.shard_rows
    part = frame.slice(first, layout.shard_rows)
    if FILE not in part.columns:
        return Shard(number, first, part, [], None)
    keys = [name for name in (FILE, OFFSET, LENGTH) if name in part.columns]
    each = part.select(keys).unique(maintain_order=True).with_row_index("_image")
    joined = part.select(keys).join(
        each, on=keys, how="left", nulls_equal=True, maintain_order="left"
    )
    places = [Place(*row) for row in each.select(keys).iter_rows()]
    if OFFSET in keys:
        places = [place._replace(has_picture=place.offset is not None) for place in places]
    return Shard(number, first, part, places, joined["_image"].to_numpy())


def write(shard: Shard, layout: Layout, kinds: tuple[Kind, ...], made: Mapping[str, Any]) -> Record:
    """Write the files of a shard; each is complete or not there.

    A shard without a row in order has no files, as in clip-retrieval; those of an earlier run, in
    which it had some, are removed.

    Raises
    ------
    EmbedError
        If features are not finite.
    OutputError
        If a file cannot be written.
    """
    import polars as pl

    broken = shard.broken()
    count = shard.frame.height
    kept = np.setdiff1d(np.arange(count), np.fromiter(broken, np.int64, len(broken)))
    files: dict[str, int] = {}
    if not len(kept):
        for what in FOLDERS:
            layout.path(what, shard.number).unlink(missing_ok=True)
        return _record(shard, files, broken)
    for kind in kinds:
        rows = kept if kind == "text" or shard.image_of is None else shard.image_of[kept]
        found = shard.features[kind][rows]
        finite = np.isfinite(found).all(axis=1)
        if not finite.all():
            row = shard.first + int(kept[int(np.argmin(finite))])
            raise EmbedError(
                f"row {row}: features of the {kind} are not finite as {found.dtype}; wanted "
                "another precision or dtype: --precision fp32 --dtype float32"
            )
        path = layout.path(kind, shard.number)
        path.parent.mkdir(parents=True, exist_ok=True)
        with written_beside(path) as temporary, temporary.open("wb") as file:
            np.save(file, found)
            files[path.relative_to(layout.folder).as_posix()] = file.tell()
    public = [name for name in shard.frame.columns if not name.startswith("_")]
    table = shard.frame.select(
        pl.int_range(shard.first, shard.first + count, dtype=pl.Int64).alias("source_row"), *public
    )
    path = layout.path("metadata", shard.number)
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_beside(path) as temporary:
        table[kept].write_parquet(temporary, metadata={"clipsoid": json.dumps(made)})
        files[path.relative_to(layout.folder).as_posix()] = temporary.stat().st_size
    return _record(shard, files, broken)


def _record(shard: Shard, files: dict[str, int], broken: dict[int, str]) -> Record:
    """Return what is kept of a shard whose files are written."""
    # Those that can be mended; the tar around another is to stay as it is.
    images = {i for i in shard.reasons.get("image", {}) if shard.places[i].is_own_file}
    look = None
    if shard.files is not None:
        in_order = [place for i, place in enumerate(shard.places) if i not in images]
        look = shard.files.look(in_order)
    names = shard.frame["image_path"] if "image_path" in shard.frame.columns else None
    left_out = []
    for row, reason in broken.items():
        said: dict[str, Any] = {"row": shard.first + row}
        if names is not None:
            said["image_path"] = names[row]
        said["reason"] = reason
        if shard.image_of is not None and (image := int(shard.image_of[row])) in images:
            said["bytes"] = bytes_of(shard.places[image])
        left_out.append(said)
    return Record(
        shard.number,
        shard.first,
        shard.frame.height,
        shard.frame.height - len(broken),
        files,
        None if look is None else look.sizes,
        left_out,
        None if look is None else look.times,
    )
