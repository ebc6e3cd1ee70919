"""What is to be embedded: folders, tables, captions and tars, as one frame of rows."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING

from clipsoid.embed.tables import IMAGE_PATH, read_captions, read_table
from clipsoid.errors import EmbedError

if TYPE_CHECKING:
    import polars as pl

    from clipsoid.store.paths import AnyPath

#: Where the bytes of an image are: a file, and within a tar their offset and number. Columns that
#: begin with an underscore are not written.
FILE, OFFSET, LENGTH = "_file", "_offset", "_length"

#: Sizes of the pictures in a folder.
IMAGE_BYTES = "image_bytes"

#: Pictures in a folder, by their suffix; what they hold is seen when they are decoded.
JPEG = (".jpg", ".jpeg", ".jpe", ".jfif")
OTHERS = (".png", ".gif", ".webp", ".bmp", ".tif", ".tiff", ".jp2", ".avif", ".ppm", ".pgm")
PICTURES = frozenset((*JPEG, *OTHERS))

TABLES = frozenset([".csv", ".tsv", ".parquet"])


@dataclass(frozen=True, slots=True)
class Inputs:
    """Rows in order, one for each picture, caption, or pair of them.

    Attributes
    ----------
    kind : str
        ``"folder"``, ``"table"``, ``"coco"``, ``"tar"`` or ``"captions"``.
    frame : pl.DataFrame
        Columns ``image_path`` and ``caption`` as far as there are images and captions, ids, what
        else the input says of its rows, and where the bytes of the image are.
    """

    kind: str
    frame: pl.DataFrame

    @property
    def count(self) -> int:
        """Number of rows."""
        return self.frame.height

    @property
    def has_images(self) -> bool:
        """Whether there are images to be embedded."""
        return FILE in self.frame.columns

    @property
    def has_captions(self) -> bool:
        """Whether there are captions to be embedded."""
        return "caption" in self.frame.columns

    def digest(self) -> str:
        """Digest of everything that the rows say, paths of folders left out; 32 hex digits.

        The sizes of the pictures in a folder are left out too: each shard knows those of its own,
        and one that was broken may be mended.
        """
        digest = blake2b(digest_size=16)
        aside = {FILE, IMAGE_BYTES} if self.kind == "folder" else {FILE}
        names = [name for name in self.frame.columns if name not in aside]
        digest.update(repr((self.kind, names)).encode())
        for part in self.frame.select(names).iter_slices(1 << 16):
            text = io.BytesIO()
            part.write_csv(text, include_header=False)
            digest.update(text.getbuffer())
        return digest.hexdigest()


def find_inputs(
    images: AnyPath | None,
    captions: str | os.PathLike[str] | None,
    *,
    image_column: str | None = None,
    caption_column: str | None = None,
    captions_per_image: int | None = None,
    workers: int = 0,
) -> Inputs:
    """Read what is to be embedded; no picture is opened yet.

    Raises
    ------
    EmbedError
        If a file or a column is missing, cannot be read, or says nothing.
    """
    if images is None and captions is None:
        raise EmbedError("neither images nor captions are given; wanted one of them at least")
    if captions is None:
        assert images is not None
        found = _images(images, image_column, caption_column, workers)
    else:
        file = _one_file(captions, "captions")
        root = None if images is None else _one_folder(images)
        found = _captioned(file, root, image_column, caption_column)
    if captions_per_image is not None:
        found = _first_captions(found, captions_per_image)
    if not found.count:
        raise EmbedError(f"{images or captions}: found no rows; wanted one at least")
    return found


def _images(
    images: AnyPath, image_column: str | None, caption_column: str | None, workers: int
) -> Inputs:
    """Images without a file of captions: a folder, tars, or a table that may have captions too."""
    from clipsoid.embed.tars import find_tars, read_tars

    if isinstance(images, (str, os.PathLike)):
        path = Path(images).expanduser()
        if path.is_file() and path.suffix.lower() in TABLES:
            frame = read_table(path, image_column, caption_column)
            if IMAGE_PATH not in frame.columns:
                raise EmbedError(
                    f"{path}: has columns {', '.join(frame.columns)}; wanted one with the paths of "
                    "images: --image-column"
                )
            return Inputs("table", _located(frame, path.parent))
        if path.is_dir() and not (tars := find_tars(path)):
            return Inputs("folder", _folder(path))
        if path.is_dir():
            return Inputs("tar", read_tars(tars, workers))
    return Inputs("tar", read_tars(find_tars(images), workers))


def _captioned(
    path: Path, root: Path | None, image_column: str | None, caption_column: str | None
) -> Inputs:
    """Captions from a file, of the images in the folder `root` or, without one, alone."""
    kind, frame = read_captions(path, image_column, caption_column)
    if root is None:
        return Inputs("captions", frame)
    if IMAGE_PATH not in frame.columns:
        raise EmbedError(
            f"{path}: does not say which image a caption is of; wanted a column with paths: "
            "--image-column"
        )
    return Inputs(kind, _located(frame, root))


def _folder(folder: Path) -> pl.DataFrame:
    import polars as pl

    from clipsoid.store.paths import walk_local

    paths = [path for path in walk_local(folder) if path.suffix.lower() in PICTURES]
    if not paths:
        raise EmbedError(f"{folder}: holds no pictures; wanted {' '.join(sorted(PICTURES))}")
    names = [path.relative_to(folder).as_posix() for path in paths]
    return pl.DataFrame(
        {
            IMAGE_PATH: names,
            IMAGE_BYTES: [path.stat().st_size for path in paths],
            FILE: [str(path) for path in paths],
        },
        {IMAGE_PATH: pl.String, IMAGE_BYTES: pl.Int64, FILE: pl.String},
    )


def _located(frame: pl.DataFrame, root: Path) -> pl.DataFrame:
    """Add where images are: a relative path begins at `root`."""
    import polars as pl

    start = f"{root}/"
    path = pl.col(IMAGE_PATH)
    absolute = path.str.starts_with("/")
    return frame.with_columns(
        pl.when(absolute).then(path).otherwise(pl.lit(start) + path).alias(FILE)
    )


def _first_captions(found: Inputs, most: int) -> Inputs:
    """Keep the first captions of every image."""
    import polars as pl

    if most < 1:
        raise EmbedError(f"captions_per_image is {most}; wanted 1 or more")
    if IMAGE_PATH not in found.frame.columns or not found.has_captions:
        raise EmbedError("captions_per_image needs captions that say which image they are of")
    earlier = pl.int_range(pl.len()).over(IMAGE_PATH)
    return Inputs(found.kind, found.frame.filter(earlier < most))


def _one_file(path: str | os.PathLike[str], what: str) -> Path:
    file = Path(path).expanduser()
    if not file.is_file():
        raise EmbedError(f"{file}: {what}: found no such file")
    return file


def _one_folder(images: AnyPath) -> Path:
    if isinstance(images, Sequence) and not isinstance(images, str):
        raise EmbedError(f"images is a list of {len(images)}; beside captions, wanted a folder")
    folder = Path(images).expanduser()
    if not folder.is_dir():
        raise EmbedError(
            f"{folder}: is no folder; beside captions, wanted the folder that the paths begin at"
        )
    return folder
