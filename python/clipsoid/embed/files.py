"""Which files are meant: pictures of folders, or tars."""

from __future__ import annotations

import glob
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from clipsoid.embed.tables import is_text
from clipsoid.errors import EmbedError
from clipsoid.store.paths import expand_braces, in_order, walk_local

#: Pictures in a folder, by their suffix; what they hold is seen when they are decoded.
JPEG = (".jpg", ".jpeg", ".jpe", ".jfif")
OTHERS = (".png", ".gif", ".webp", ".bmp", ".tif", ".tiff", ".jp2", ".avif", ".ppm", ".pgm")
PICTURES = frozenset((*JPEG, *OTHERS))


@dataclass(frozen=True, slots=True)
class Files:
    """Pictures or tars, in order.

    Attributes
    ----------
    kind : {"folder", "tar"}
        Whether they are pictures in folders, or tars.
    paths : list of Path
        The files.
    names : list of str
        Of pictures: their paths in the folder or, of several, in the nearest one above all.
    passed_over : dict of str to int
        Files beside the pictures that are none, by their suffix.
    """

    kind: Literal["folder", "tar"]
    paths: list[Path]
    names: list[str] = field(default_factory=list)
    passed_over: Mapping[str, int] = field(default_factory=dict)


def find_files(entries: Sequence[str | os.PathLike[str]]) -> Files:
    """Find the files of folders, tars and patterns, in the order given.

    Raises
    ------
    EmbedError
        If nothing is found, or pictures and tars are: one of them would be lost.
    """
    tars: list[Path] = []
    folders: list[tuple[Path, list[Path]]] = []
    passed_over: Counter[str] = Counter()
    for path in (path for entry in entries for path in _matches(entry)):
        if not path.is_dir():
            if path.suffix.lower() in PICTURES:
                raise EmbedError(f"{path}: is a picture; wanted the folder that it is in")
            if path.suffix.lower() != ".tar":
                raise EmbedError(
                    f"{path}: is neither a folder nor a .tar, and no .csv, .tsv or .parquet file "
                    "given alone"
                )
            tars.append(path)
            continue
        inside = walk_local(path)
        found = [file for file in inside if file.suffix.lower() in PICTURES]
        archives = [file for file in inside if file.suffix.lower() == ".tar"]
        if found and archives:
            raise EmbedError(
                f"{path}: holds pictures ({len(found)}) and tars ({len(archives)}); wanted one "
                f"of them: name the tars, '{path}/*.tar', or move them away"
            )
        if not found and not archives:
            raise EmbedError(
                f"{path}: holds no pictures and no tars; wanted {' '.join(sorted(PICTURES))} .tar"
            )
        tars += archives
        if found:
            folders.append((path, found))
            passed_over.update(file.suffix.lower() for file in set(inside) - set(found))
    if tars and folders:
        raise EmbedError(f"{folders[0][0]}: holds pictures, {tars[0]} is a tar; wanted one kind")
    if tars:
        return Files("tar", tars)
    pictures = [file for _, found in folders for file in found]
    return Files("folder", pictures, _names(folders), dict(sorted(passed_over.items())))


def _names(folders: Sequence[tuple[Path, list[Path]]]) -> list[str]:
    """Name pictures by their paths in the folder; of several, in the nearest one above all."""
    # Not Path.resolve: links stay what the user calls them.
    above = os.path.commonpath([os.path.abspath(folder) for folder, _ in folders])  # noqa: PTH100
    # In the order of a dictionary, to see what is there twice.
    names: dict[str, None] = {}
    for folder, found in folders:
        start = Path(os.path.relpath(folder, above))
        for file in found:
            name = utf8((start / file.relative_to(folder)).as_posix())
            if name in names:
                raise EmbedError(f"{file}: is listed twice; wanted every picture once")
            names[name] = None
    return list(names)


def _matches(entry: str | os.PathLike[str]) -> list[Path]:
    """Return what one entry names; what exists under exactly this name is never a pattern."""
    path = Path(entry).expanduser()
    if path.exists():
        return [path]
    found: list[Path] = []
    for text in expand_braces(str(path)):
        if Path(text).exists():
            found.append(Path(text))
        elif glob.has_magic(text):
            # Not Path.glob, which also matches hidden files.
            matched = glob.iglob(text, recursive=True)  # noqa: PTH207
            found += sorted(map(Path, matched), key=in_order)
        else:
            raise EmbedError(f"{text}: found no such file or folder")
    if not found:
        raise EmbedError(f"{entry}: found no such file or folder")
    return found


def printable(text: str) -> str:
    """Return a name for a terminal: as Python writes it, if it would move the cursor."""
    return text if text.isprintable() else repr(text)


def utf8(name: str) -> str:
    """Return a name of a file, if tables can hold it.

    Raises
    ------
    EmbedError
        If it is not UTF-8.
    """
    if not is_text(name):
        raise EmbedError(f"{name!r}: is no UTF-8; wanted a name that is")
    return name
