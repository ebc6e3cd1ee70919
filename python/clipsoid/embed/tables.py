"""Tables of images and captions: CSV, parquet, COCO's JSON, lines of text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clipsoid.errors import EmbedError

if TYPE_CHECKING:
    import polars as pl

IMAGE_PATH, CAPTION = "image_path", "caption"
IMAGE_ID, CAPTION_ID = "image_id", "caption_id"

#: What tables call the column of paths and that of captions: the first that is there is taken.
IMAGE_COLUMNS = (IMAGE_PATH, "filepath", "file_path", "file_name", "filename", "path", "image")
CAPTION_COLUMNS = (CAPTION, "text", "title", "prompt")


def read_captions(
    path: Path, image_column: str | None, caption_column: str | None
) -> tuple[str, pl.DataFrame]:
    """Read a file of captions; what kind it is, and its rows.

    ``.json`` is COCO's, ``.txt`` has a caption on each line, the others are tables.
    """
    suffix = path.suffix.lower()
    if suffix == ".json":
        return "coco", _read_coco(path)
    if suffix == ".txt":
        return "captions", _read_lines(path)
    frame = read_table(path, image_column, caption_column)
    if CAPTION not in frame.columns:
        raise EmbedError(
            f"{path}: has columns {', '.join(frame.columns)}; wanted one with captions: "
            "--caption-column"
        )
    return "table", frame


def read_table(path: Path, image_column: str | None, caption_column: str | None) -> pl.DataFrame:
    """Read a CSV or parquet file; paths and captions get the names that clip-retrieval uses.

    A column that is named must be there; one that is not is looked for by its usual names.
    """
    import polars as pl

    suffix = path.suffix.lower()
    try:
        if suffix in (".csv", ".tsv"):
            # Everything as text: 00017 is a name, not a number. An empty caption is a caption.
            separator = "\t" if suffix == ".tsv" else ","
            frame = pl.read_csv(path, infer_schema=False, separator=separator, glob=False)
            frame = frame.fill_null("")
        elif suffix == ".parquet":
            frame = pl.read_parquet(path, glob=False)
        else:
            raise EmbedError(f"{path}: is no table; wanted .csv, .tsv, .parquet, .json or .txt")
    except (OSError, pl.exceptions.PolarsError) as error:
        raise EmbedError(f"{path}: cannot be read: {error}") from None
    chosen = {
        IMAGE_PATH: _column(path, frame, image_column, IMAGE_COLUMNS),
        CAPTION: _column(path, frame, caption_column, CAPTION_COLUMNS),
    }
    renamed = {found: name for name, found in chosen.items() if found is not None}
    # A column that has one of the names without being chosen would be taken for the other.
    clash = [name for name in chosen if name in frame.columns and name not in renamed]
    frame = frame.drop(clash).rename(renamed)
    for name in renamed.values():
        if frame.schema[name] != pl.String:
            raise EmbedError(f"{path}: column {name!r} is {frame.schema[name]}; wanted text")
    return frame.select(name for name in frame.columns if not name.startswith("_"))


def _column(
    path: Path, frame: pl.DataFrame, wanted: str | None, usual: tuple[str, ...]
) -> str | None:
    if wanted is None:
        return next((name for name in usual if name in frame.columns), None)
    if wanted not in frame.columns:
        raise EmbedError(
            f"{path}: has no column {wanted!r}; it has {', '.join(map(str, frame.columns))}"
        )
    return wanted


def _read_lines(path: Path) -> pl.DataFrame:
    import polars as pl

    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise EmbedError(f"{path}: cannot be read: {error}") from None
    # Not str.splitlines, which also cuts at separators within a caption.
    lines = text.removesuffix("\n").split("\n") if text else []
    return pl.DataFrame({CAPTION: lines}, {CAPTION: pl.String})


def _read_coco(path: Path) -> pl.DataFrame:
    """Captions image by image, in the order of the images, then in that of their captions."""
    import polars as pl

    try:
        whole = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise EmbedError(f"{path}: cannot be read: {error}") from None
    if not isinstance(whole, dict) or not {"images", "annotations"} <= whole.keys():
        raise EmbedError(f"{path}: is not COCO's JSON; wanted 'images' and 'annotations'")
    names = {_field(path, one, "id"): _field(path, one, "file_name") for one in whole["images"]}
    places = {number: i for i, number in enumerate(names)}
    rows = []
    for note in whole["annotations"]:
        number = _field(path, note, "image_id")
        if number not in places:
            raise EmbedError(f"{path}: a caption is of image {number!r}, which is not listed")
        rows.append((places[number], names[number], _field(path, note, CAPTION), number, note))
    rows.sort(key=lambda row: row[0])
    return pl.DataFrame(
        {
            IMAGE_PATH: [row[1] for row in rows],
            CAPTION: [row[2] for row in rows],
            IMAGE_ID: [row[3] for row in rows],
            CAPTION_ID: [row[4].get("id") for row in rows],
        },
        {IMAGE_PATH: pl.String, CAPTION: pl.String, IMAGE_ID: pl.Int64, CAPTION_ID: pl.Int64},
    )


def _field(path: Path, entry: Any, name: str) -> Any:
    wanted = (int,) if name in ("id", IMAGE_ID) else (str,)
    value = entry.get(name) if isinstance(entry, dict) else None
    if not isinstance(value, wanted) or isinstance(value, bool):
        raise EmbedError(f"{path}: an entry has {name} {value!r}; wanted {wanted[0].__name__}")
    return value
