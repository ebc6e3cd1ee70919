"""Webdataset tars, as img2dataset writes them: where each picture lies, and its caption."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Sequence
from multiprocessing import get_context
from pathlib import Path
from reprlib import repr as shown
from typing import TYPE_CHECKING, Any, BinaryIO

from clipsoid.embed.files import PICTURES, utf8
from clipsoid.embed.tables import CAPTION, IMAGE_ID, IMAGE_PATH, first_line, is_text
from clipsoid.errors import EmbedError

if TYPE_CHECKING:
    import polars as pl

#: A sample of a tar as a row of the frame: key, name, offset, length, caption, why there is none.
Sample = tuple[str, str, int | None, int | None, str | None, str | None]


def read_tars(paths: Sequence[Path], workers: int) -> pl.DataFrame:
    """Rows of all tars in order; what img2dataset says of them in a parquet file is joined by key.

    The parquet file also lists what could not be downloaded. Such rows are not in the tar, and not
    in the result.
    """
    import polars as pl

    from clipsoid.embed.inputs import CAPTION_REASON, FILE, LENGTH, OFFSET

    stems: set[str] = set()
    for path in paths:
        if path.stem in stems:
            raise EmbedError(f"{path}: another tar has its name; wanted names that tell them apart")
        stems.add(path.stem)
    if workers > 1 and len(paths) > 1:
        with get_context("forkserver").Pool(min(workers, len(paths))) as pool:
            listed = pool.map(list_tar, paths, chunksize=1)
    else:
        listed = [list_tar(path) for path in paths]
    has_captions = any(sample[4:] != (None, None) for samples in listed for sample in samples)
    schema = {
        IMAGE_ID: pl.String,
        IMAGE_PATH: pl.String,
        OFFSET: pl.Int64,
        LENGTH: pl.Int64,
        CAPTION: pl.String,
        CAPTION_REASON: pl.String,
    }
    frames = []
    for path, samples in zip(paths, listed, strict=True):
        frame = pl.DataFrame(samples, schema, orient="row")
        frame = frame.with_columns(pl.lit(utf8(str(path))).alias(FILE))
        frames.append(_joined(frame, path.with_suffix(".parquet")))
    whole = pl.concat(frames, how="diagonal_relaxed")
    return whole if has_captions else whole.drop(CAPTION, CAPTION_REASON)


def list_tar(path: Path) -> list[Sample]:
    """List key, name, offset and length of the picture, and caption of each sample of a tar."""
    samples: dict[str, dict[str, Any]] = {}
    names: set[str] = set()
    if path.exists() and not path.is_file():
        # A named pipe would be waited for.
        raise EmbedError(f"{path}: is no regular file; wanted a tar")
    try:
        with path.open("rb") as whole, tarfile.open(fileobj=whole, mode="r:") as tar:
            for member in tar:
                folder, _, name = member.name.rpartition("/")
                # Hidden are what macOS adds to each file, ._1.jpg beside 1.jpg.
                if not member.isfile() or name.startswith("."):
                    continue
                if member.name in names:
                    raise EmbedError(f"{path}: holds {member.name} twice; wanted each name once")
                names.add(member.name)
                stem, _, suffix = name.partition(".")
                suffix = suffix.lower()
                key = utf8(f"{folder}/{stem}" if folder else stem)
                sample = samples.setdefault(key, {})
                if f".{suffix}" in PICTURES:
                    # Of several pictures the first.
                    place = (f"{path.name}/{member.name}", member.offset_data, member.size)
                    sample.setdefault("image", place)
                elif suffix in ("txt", "json"):
                    file = tar.extractfile(member)
                    sample.setdefault(suffix, file.read() if file is not None else b"")
                elif Path(suffix).suffix in PICTURES:
                    sample.setdefault("dotted", member.name)
            _check_end(path, whole, tar.offset)
    except (tarfile.TarError, OSError) as error:
        raise EmbedError(f"{path}: cannot be read as a tar: {error}") from None
    return [_sample(path, key, sample) for key, sample in samples.items()]


def _check_end(path: Path, tar: BinaryIO, end: int) -> None:
    """Refuse a tar that was cut or is damaged at `end`, at which tarfile stops without a word.

    POSIX wants two blocks of zeros at the end; writers that leave one are read.
    """
    tar.seek(end)
    if tar.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise EmbedError(
            f"{path}: cannot be read as a tar: ends without its end block at byte {end}; wanted a "
            "whole tar"
        )


def _sample(path: Path, key: str, sample: dict[str, Any]) -> Sample:
    if "image" not in sample and "dotted" in sample:
        raise EmbedError(
            f"{path}: {sample['dotted']}: what follows the first dot of a name is its kind; wanted "
            "one dot in the names of pictures"
        )
    # A sample without a picture has no offset: the row is broken, and said to be.
    name, offset, length = sample.get("image", (f"{path.name}/{key}", None, None))
    caption, reason = _caption(sample)
    return key, name, offset, length, caption, reason


def _caption(sample: dict[str, Any]) -> tuple[str | None, str | None]:
    """Return the caption of a sample or, where one is there that cannot be used, why."""
    try:
        if "txt" in sample:
            return sample["txt"].decode("utf-8-sig"), None
        if "json" not in sample:
            return None, None
        known = json.loads(sample["json"])
    except (ValueError, RecursionError) as error:
        return None, f"the caption cannot be read: {error}"
    if not isinstance(known, dict):
        return None, f"the caption's JSON is {shown(known)}; wanted an object"
    caption = known.get("caption")
    if caption is None:
        return None, None
    if not isinstance(caption, str) or not is_text(caption):
        return None, "the caption in the JSON is no text"
    return caption, None


def _joined(frame: pl.DataFrame, path: Path) -> pl.DataFrame:
    import polars as pl

    if not path.is_file():
        return frame
    try:
        metadata = pl.read_parquet(path)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise EmbedError(f"{path}: cannot be read: {first_line(error)}") from None
    if "key" not in metadata.columns:
        return frame
    ours = {*frame.columns, "status", "error_message", "exif"}
    kept = [name for name in metadata.columns if name not in ours and not name.startswith("_")]
    metadata = metadata.select(kept).cast({"key": pl.String}).unique("key", keep="first")
    return frame.join(metadata, left_on=IMAGE_ID, right_on="key", how="left", maintain_order="left")
