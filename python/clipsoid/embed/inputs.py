"""What is to be embedded: folders, tables, captions and tars, as one frame of rows."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING

from clipsoid.embed.files import Files, find_files, utf8
from clipsoid.embed.tables import IMAGE_ID, IMAGE_PATH, read_captions, read_table, refuse_columns
from clipsoid.errors import EmbedError

if TYPE_CHECKING:
    import polars as pl

    from clipsoid.store.paths import AnyPath

#: Where the bytes of an image are: a file, and within a tar their offset and number. Columns that
#: begin with an underscore are not written.
FILE, OFFSET, LENGTH = "_file", "_offset", "_length"

#: Why a caption is missing, where more is known than that.
CAPTION_REASON = "_caption_reason"

#: The number of a row of the input, which every set gets anew.
SOURCE_ROW = "source_row"

#: Sizes of the pictures in a folder.
IMAGE_BYTES = "image_bytes"

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
    passed_over : dict of str to int
        Files in folders of pictures that are no pictures, by their suffix.
    """

    kind: str
    frame: pl.DataFrame
    passed_over: Mapping[str, int] = field(default_factory=dict)

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
        from polars import selectors

        # CSV cannot hold these.
        nested = selectors.nested() | selectors.binary() | selectors.duration()
        digest = blake2b(digest_size=16)
        aside = {FILE, IMAGE_BYTES} if self.kind == "folder" else {FILE}
        names = [name for name in self.frame.columns if name not in aside]
        digest.update(repr((self.kind, names)).encode())
        for part in self.frame.select(names).iter_slices(1 << 16):
            text = io.BytesIO()
            part.select(~nested).write_csv(text, include_header=False)
            digest.update(text.getbuffer())
            for column in part.select(nested):
                digest.update(repr(column.to_list()).encode())
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
    # The input of this set may be the output of another.
    found = replace(found, frame=found.frame.drop(SOURCE_ROW, strict=False))
    if captions_per_image is not None:
        found = _first_captions(found, captions_per_image)
    if found.kind == "table":
        found = _numbered(found)
    if not found.count:
        raise EmbedError(f"{captions or images}: found no rows; wanted one at least")
    return found


def _images(
    images: AnyPath, image_column: str | None, caption_column: str | None, workers: int
) -> Inputs:
    """Images without a file of captions: folders, tars, or a table that may have captions too."""
    from clipsoid.embed.tars import read_tars

    entries = [images] if isinstance(images, (str, os.PathLike)) else list(images)
    if not entries:
        raise EmbedError("images is an empty list; wanted one path or more")
    path = Path(entries[0]).expanduser()
    if len(entries) == 1 and path.is_file() and path.suffix.lower() in TABLES:
        frame = read_table(path, image_column, caption_column, needed=IMAGE_PATH)
        return Inputs("table", _located(frame, path.parent))
    files = find_files(entries)
    refuse_columns(path, image_column, caption_column)
    if files.kind == "tar":
        return Inputs("tar", read_tars(files.paths, workers))
    return Inputs("folder", _pictures(files), files.passed_over)


def _captioned(
    path: Path, root: Path | None, image_column: str | None, caption_column: str | None
) -> Inputs:
    """Captions from a file, of the images in the folder `root` or, without one, alone."""
    kind, frame = read_captions(path, image_column, caption_column)
    if root is None:
        return Inputs("captions", frame)
    if IMAGE_PATH not in frame.columns:
        wanted = (
            "a table with a column of paths, or COCO's .json"
            if kind == "captions"
            else "a column with paths: --image-column"
        )
        raise EmbedError(f"{path}: does not say which image a caption is of; wanted {wanted}")
    return Inputs(kind, _located(frame, root))


def _pictures(files: Files) -> pl.DataFrame:
    """Rows of the pictures in folders."""
    import polars as pl

    return pl.DataFrame(
        {
            IMAGE_PATH: files.names,
            IMAGE_BYTES: [_size(path) for path in files.paths],
            FILE: [utf8(str(path)) for path in files.paths],
        },
        {IMAGE_PATH: pl.String, IMAGE_BYTES: pl.Int64, FILE: pl.String},
    )


def _size(path: Path) -> int | None:
    """Bytes of a file; of a link to nothing, None: its row is broken once it is read."""
    try:
        return path.stat().st_size
    except OSError:
        return None


def _located(frame: pl.DataFrame, root: Path) -> pl.DataFrame:
    """Add where images are: a relative path begins at `root`; an empty one leads nowhere."""
    import polars as pl

    start = utf8(f"{root}/")
    path = pl.col(IMAGE_PATH)
    return frame.with_columns(
        pl.when(path.str.starts_with("/"))
        .then(path)
        .when(path != "")
        .then(pl.lit(start) + path)
        .alias(FILE)
    )


def _numbered(found: Inputs) -> Inputs:
    """Give images an id that has none: the first row with the same path."""
    import polars as pl

    if IMAGE_ID in found.frame.columns:
        return found
    first = pl.when(pl.col(FILE).is_not_null()).then(pl.col("_row").first().over(IMAGE_PATH))
    frame = found.frame.with_row_index("_row").with_columns(first.cast(pl.Int64).alias(IMAGE_ID))
    return replace(found, frame=frame.drop("_row"))


def _first_captions(found: Inputs, most: int) -> Inputs:
    """Keep the first captions of every image."""
    import polars as pl

    if most < 1:
        raise EmbedError(f"captions_per_image is {most}; wanted 1 or more")
    if IMAGE_PATH not in found.frame.columns or not found.has_captions:
        raise EmbedError("captions_per_image needs captions that say which image they are of")
    earlier = pl.int_range(pl.len()).over(IMAGE_PATH)
    return replace(found, frame=found.frame.filter(earlier < most))


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
