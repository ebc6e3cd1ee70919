"""Tables of images and captions: CSV, parquet, COCO's JSON, lines of text."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from reprlib import repr as shown
from typing import TYPE_CHECKING, Any

from clipsoid.errors import EmbedError

if TYPE_CHECKING:
    import polars as pl

IMAGE_PATH, CAPTION = "image_path", "caption"
IMAGE_ID, CAPTION_ID = "image_id", "caption_id"

#: What tables call the column of paths and that of captions: the first that is there is taken.
IMAGE_COLUMNS = (IMAGE_PATH, "filepath", "file_path", "file_name", "filename", "path", "image")
CAPTION_COLUMNS = (CAPTION, "text", "title", "prompt")

#: What each is, and how it is named.
NEEDED = {
    IMAGE_PATH: "the paths of images: --image-column",
    CAPTION: "captions: --caption-column",
}


def read_captions(
    path: Path, image_column: str | None, caption_column: str | None
) -> tuple[str, pl.DataFrame]:
    """Read a file of captions; what kind it is, and its rows.

    ``.json`` is COCO's, ``.txt`` has a caption on each line, the others are tables.
    """
    suffix = path.suffix.lower()
    if suffix in (".json", ".txt"):
        refuse_columns(path, image_column, caption_column)
        return ("coco", _read_coco(path)) if suffix == ".json" else ("captions", _read_lines(path))
    return "table", read_table(path, image_column, caption_column, needed=CAPTION)


def refuse_columns(path: Path, image_column: str | None, caption_column: str | None) -> None:
    """Refuse names of columns where there is no table that could have them."""
    for option, name in (("image_column", image_column), ("caption_column", caption_column)):
        if name is not None:
            raise EmbedError(f"{option} is {name!r}, but {path} is no table; wanted none")


def read_table(
    path: Path, image_column: str | None, caption_column: str | None, *, needed: str
) -> pl.DataFrame:
    """Read a CSV or parquet file; paths and captions get the names that clip-retrieval uses.

    A column that is named must be there; one that is not is looked for by its usual names. The one
    that is `needed`, ``"image_path"`` or ``"caption"``, must be found.
    """
    import polars as pl

    suffix = path.suffix.lower()
    separator = "\t" if suffix == ".tsv" else ","
    try:
        if suffix in (".csv", ".tsv"):
            # Everything as text: 00017 is a name, not a number. "" is an empty caption, and
            # nothing between two separators a missing one.
            frame = pl.read_csv(path, infer_schema=False, separator=separator, glob=False)
            frame = _trimmed(path, frame)
        elif suffix == ".parquet":
            frame = pl.read_parquet(path, glob=False)
        else:
            raise EmbedError(f"{path}: is no table; wanted .csv, .tsv, .parquet, .json or .txt")
    except OSError as error:
        raise EmbedError(f"{path}: cannot be read: {error.strerror or error}") from None
    except pl.exceptions.PolarsError as error:
        reason = _ragged(path, separator) if suffix in (".csv", ".tsv") else None
        raise EmbedError(f"{path}: cannot be read: {reason or first_line(error)}") from None
    chosen = {
        IMAGE_PATH: _column(path, frame, image_column, IMAGE_COLUMNS, caption_column),
        CAPTION: _column(path, frame, caption_column, CAPTION_COLUMNS, image_column),
    }
    if chosen[needed] is None:
        raise EmbedError(
            f"{path}: has columns {', '.join(frame.columns)}; wanted one with {NEEDED[needed]}"
        )
    renamed = {found: name for name, found in chosen.items() if found is not None}
    # A column that has one of the names without being chosen would be taken for the other.
    clash = [name for name in chosen if name in frame.columns and name not in renamed]
    for name in renamed:
        if frame.schema[name] != pl.String:
            raise EmbedError(f"{path}: column {name!r} is {frame.schema[name]}; wanted text")
    frame = frame.drop(clash).rename(renamed)
    return frame.select(name for name in frame.columns if not name.startswith("_"))


def _trimmed(path: Path, frame: pl.DataFrame) -> pl.DataFrame:
    """Take spaces from around the names of columns, and refuse lines that a quote has joined."""
    import polars as pl

    names = [name.strip() for name in frame.columns]
    if len({*names}) == len(names):
        frame.columns = names
    if path.suffix.lower() == ".tsv":
        # Rows that lie between two quotes of two captions.
        joined = frame.select(pl.any_horizontal(pl.all().str.contains(r"\t(?s:.*)\n|\n(?s:.*)\t")))
        rows = joined.to_series().arg_true()
        if len(rows):
            raise EmbedError(
                f"{path}: row {rows[0]} has several lines within quotes; wanted quotes of captions "
                'doubled, and such captions in quotes: """the cat"""'
            )
    return frame


def first_line(error: Exception) -> str:
    """Return what Polars says, without its advice, which names options that only code has."""
    return str(error).partition("\n")[0]


def _ragged(path: Path, separator: str) -> str | None:
    """Say which line has more fields than the header, or half of a quote; Polars does not."""
    with path.open(encoding="utf-8", errors="replace", newline="") as file:
        lines = csv.reader(file, delimiter=separator)
        try:
            width = len(next(lines, []))
            for fields in lines:
                if len(fields) > width:
                    what = "tab" if separator == "\t" else "comma"
                    return (
                        f"line {lines.line_num} has {len(fields)} fields, the header {width}; "
                        f"a {what} in a caption needs quotes"
                    )
        except csv.Error:
            pass
        file.seek(0)
        for number, line in enumerate(file, 1):
            if line.count('"') % 2:
                return (
                    f"line {number} has a quote without another; wanted quotes of captions "
                    'doubled, and such captions in quotes: "5"" wide"'
                )
    return None


def _column(
    path: Path, frame: pl.DataFrame, wanted: str | None, usual: tuple[str, ...], other: str | None
) -> str | None:
    """Return which column is meant; it is not the one that is named for something else."""
    if wanted is None:
        return next((name for name in usual if name in frame.columns and name != other), None)
    if wanted == other:
        raise EmbedError(f"{path}: images and captions are both to be in {wanted!r}; wanted two")
    if wanted not in frame.columns:
        raise EmbedError(
            f"{path}: has no column {wanted!r}; it has {', '.join(map(str, frame.columns))}"
        )
    return wanted


def _read_lines(path: Path) -> pl.DataFrame:
    import polars as pl

    try:
        text = path.read_text(encoding="utf-8-sig")
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
    except (OSError, ValueError, RecursionError) as error:
        raise EmbedError(f"{path}: cannot be read: {error}") from None
    if not isinstance(whole, dict) or not {"images", "annotations"} <= whole.keys():
        raise EmbedError(f"{path}: is not COCO's JSON; wanted 'images' and 'annotations'")
    names: dict[int, str] = {}
    for where, one in _entries(path, whole, "images"):
        number = _number(where, one, "id")
        if number in names:
            raise EmbedError(f"{where} has id {number}, which another has; wanted an id of its own")
        names[number] = _text(where, one, "file_name")
    places = {number: i for i, number in enumerate(names)}
    rows = []
    for where, note in _entries(path, whole, "annotations"):
        number = _number(where, note, IMAGE_ID)
        if number not in places:
            raise EmbedError(f"{where} is of image {number}, which is not listed")
        note_id = None if note.get("id") is None else _number(where, note, "id")
        caption = _text(where, note, CAPTION)
        rows.append((places[number], names[number], caption, number, note_id))
    rows.sort(key=lambda row: row[0])
    schema = {IMAGE_PATH: pl.String, CAPTION: pl.String, IMAGE_ID: pl.Int64, CAPTION_ID: pl.Int64}
    return pl.DataFrame([row[1:] for row in rows], schema, orient="row")


def _entries(path: Path, whole: dict[str, Any], name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Entries of a list of COCO's, each with what messages call it."""
    if not isinstance(whole[name], list):
        raise EmbedError(f"{path}: {name} is {shown(whole[name])}; wanted a list")
    for i, entry in enumerate(whole[name]):
        where = f"{path}: {name}[{i}]"
        if not isinstance(entry, dict):
            raise EmbedError(f"{where} is {shown(entry)}; wanted an object")
        yield where, entry


def _number(where: str, entry: dict[str, Any], name: str) -> int:
    value = entry.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or not -(2**63) <= value < 2**63:
        raise EmbedError(f"{where} has {name} {shown(value)}; wanted an integer of 64 bits")
    return value


def _text(where: str, entry: dict[str, Any], name: str) -> str:
    value = entry.get(name)
    if not isinstance(value, str) or not is_text(value):
        raise EmbedError(f"{where} has {name} {shown(value)}; wanted text")
    return value


def is_text(value: str) -> bool:
    """Whether a string is text: JSON and names of files can have halves of characters."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
