"""Webdataset tars, as img2dataset writes them: where each picture lies, and its caption."""

from __future__ import annotations

import glob
import json
import os
import tarfile
from collections.abc import Sequence
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clipsoid.embed.tables import CAPTION, IMAGE_ID, IMAGE_PATH
from clipsoid.errors import EmbedError
from clipsoid.store.paths import expand_braces

if TYPE_CHECKING:
    import polars as pl

    from clipsoid.store.paths import AnyPath

#: A sample of a tar is at most this many rows of the frame: name, offset, length, caption.
Sample = tuple[str, str, int | None, int | None, str | None]


def find_tars(images: AnyPath) -> list[Path]:
    """Return the tars of a folder, a file, a pattern or a list of these, in order."""
    entries = [images] if isinstance(images, (str, os.PathLike)) else list(images)
    found: list[Path] = []
    for entry in entries:
        path = Path(entry).expanduser()
        if path.is_dir():
            found += sorted(path.glob("*.tar"))
        elif path.is_file():
            found.append(path)
        else:
            members = [name for text in expand_braces(str(path)) for name in _matches(text)]
            if not members:
                raise EmbedError(f"{entry}: found no such file or folder")
            found += map(Path, members)
    for path in found:
        if path.suffix.lower() != ".tar":
            raise EmbedError(f"{path}: is neither a folder nor a .tar, .csv, .tsv or .parquet file")
    return found


def _matches(text: str) -> list[str]:
    if Path(text).is_file():
        return [text]
    if not glob.has_magic(text):
        raise EmbedError(f"{text}: found no such file")
    return sorted(glob.glob(text, recursive=True))  # noqa: PTH207


def read_tars(paths: Sequence[Path], workers: int) -> pl.DataFrame:
    """Rows of all tars in order; what img2dataset says of them in a parquet file is joined by key.

    The parquet file also lists what could not be downloaded. Such rows are not in the tar, and not
    in the result.
    """
    import polars as pl

    from clipsoid.embed.inputs import FILE, LENGTH, OFFSET

    if len({path.stem for path in paths}) < len(paths):
        raise EmbedError("two tars have the same name; wanted names that tell them apart")
    if workers > 1 and len(paths) > 1:
        with get_context("forkserver").Pool(min(workers, len(paths))) as pool:
            listed = pool.map(list_tar, paths, chunksize=1)
    else:
        listed = [list_tar(path) for path in paths]
    has_captions = any(sample[4] is not None for samples in listed for sample in samples)
    schema = {
        IMAGE_ID: pl.String,
        IMAGE_PATH: pl.String,
        OFFSET: pl.Int64,
        LENGTH: pl.Int64,
        CAPTION: pl.String,
    }
    frames = []
    for path, samples in zip(paths, listed, strict=True):
        frame = pl.DataFrame(samples, schema, orient="row")
        frame = frame.with_columns(pl.lit(str(path)).alias(FILE))
        frames.append(_joined(frame, path.with_suffix(".parquet")))
    whole = pl.concat(frames, how="diagonal_relaxed")
    return whole if has_captions else whole.drop(CAPTION)


def list_tar(path: Path) -> list[Sample]:
    """List key, name, offset and length of the picture, and caption of each sample of a tar."""
    from clipsoid.embed.inputs import PICTURES

    samples: dict[str, dict[str, Any]] = {}
    try:
        with tarfile.open(path, "r:") as tar:
            for member in tar:
                if not member.isfile():
                    continue
                folder, _, name = member.name.rpartition("/")
                stem, _, suffix = name.partition(".")
                key = f"{folder}/{stem}" if folder else stem
                sample = samples.setdefault(key, {})
                if f".{suffix.lower()}" in PICTURES:
                    sample["image"] = (
                        f"{path.name}/{member.name}",
                        member.offset_data,
                        member.size,
                    )
                elif suffix in ("txt", "json"):
                    file = tar.extractfile(member)
                    sample[suffix] = file.read() if file is not None else b""
    except (tarfile.TarError, OSError) as error:
        raise EmbedError(f"{path}: cannot be read as a tar: {error}") from None
    return [_sample(path, key, sample) for key, sample in samples.items()]


def _sample(path: Path, key: str, sample: dict[str, Any]) -> Sample:
    # A sample without a picture has no length: the row is broken, and said to be.
    name, offset, length = sample.get("image", (f"{path.name}/{key}", None, None))
    caption: Any = None
    try:
        if "txt" in sample:
            caption = sample["txt"].decode()
        elif "json" in sample:
            caption = json.loads(sample["json"]).get("caption")
    except ValueError as error:
        raise EmbedError(f"{path}: caption of {key}: {error}") from None
    return key, name, offset, length, caption if isinstance(caption, str) else None


def _joined(frame: pl.DataFrame, path: Path) -> pl.DataFrame:
    import polars as pl

    if not path.is_file():
        return frame
    try:
        beside = pl.read_parquet(path)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise EmbedError(f"{path}: cannot be read: {error}") from None
    if "key" not in beside.columns:
        return frame
    ours = {*frame.columns, "status", "error_message", "exif"}
    kept = [name for name in beside.columns if name not in ours and not name.startswith("_")]
    beside = beside.select(kept).cast({"key": pl.String}).unique("key", keep="first")
    return frame.join(beside, left_on=IMAGE_ID, right_on="key", how="left", maintain_order="left")
