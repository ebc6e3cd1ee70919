"""From what a user writes (file, folder, brace pattern, glob, list) to an ordered list of files."""

from __future__ import annotations

import glob
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import TypeVar

from clipsoid.errors import StoreError
from clipsoid.store.files import Place
from clipsoid.store.foreign import advice
from clipsoid.store.remote.path import RemotePath, check_url, is_url

PlaceT = TypeVar("PlaceT", Path, RemotePath, Place)

AnyPath = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]

#: An innermost brace group, the only kind that can be expanded in one step.
_BRACES = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"(\d+)\.\.(\d+)")

_DIGITS = re.compile(r"([0-9]+)")


def find_files(path: AnyPath, suffixes: Sequence[str]) -> list[tuple[Place, str]]:
    """Files of a set in order, each with its name.

    Parameters
    ----------
    path : str, Path, or list or tuple of these
        See `open_store`.
    suffixes : sequence of str
        The formats that can be read. Files of other kinds are passed over in a folder and in
        what a glob pattern matches.

    Returns
    -------
    list of (Path or RemotePath, str)
        The name is the path relative to the common root (the folder itself, the part of a pattern
        before its first special character, or what several of these have in common), posix style.

    Raises
    ------
    StoreError
        If a file or a member of a pattern is missing, if a folder or a glob pattern holds no
        embeddings or several formats of them, if a file is listed twice, if one is a symbolic link
        to another, or if files are in different kinds of places.
    """
    entries = [path] if isinstance(path, (str, os.PathLike)) else list(path)
    if not entries:
        raise StoreError("the list of paths is empty; wanted one path or more")
    roots: list[Place] = []
    files: list[Place] = []
    for entry in entries:
        text = os.fspath(entry)
        if not isinstance(text, str) or not text:
            raise StoreError(f"a path is {text!r}; wanted text")
        root: Place
        if is_url(text):
            root, remote = _resolve_url(text, suffixes)
            files.extend(remote)
        else:
            root, found = _resolve(str(Path(text).expanduser()), suffixes)
            files.extend(found)
        roots.append(root)
    common = os.path.commonpath([_plain(root) for root in _of_one_kind(roots)])
    named: dict[str, Place] = {}
    for file in files:
        name = Path(_plain(file)).relative_to(common).as_posix()
        if name in named:
            raise StoreError(f"{file}: is listed twice; wanted every file once")
        named[name] = file
    return check_links([(file, name) for name, file in named.items()])


def check_links(files: list[tuple[Place, str]]) -> list[tuple[Place, str]]:
    """Return files of a set, unless one is a symbolic link to another, and so there twice.

    Two names of one file by hard links are taken for two files, as the disk has them.

    Raises
    ------
    StoreError
        If two names lead to one file; both are named.
    """
    # Of most files only the folder is resolved, once for all that lie in it.
    folders: dict[Path, str] = {}
    seen: dict[str, Path] = {}
    for file, _ in files:
        if not isinstance(file, Path):
            continue
        if file.parent not in folders:
            folders[file.parent] = os.path.realpath(file.parent)
        plain = f"{folders[file.parent]}/{file.name}"
        real = os.path.realpath(file) if file.is_symlink() else plain
        other = seen.setdefault(real, file)
        if other is not file:
            raise StoreError(
                f"{file}: is the same file as {other}, by a symbolic link; wanted every file once"
            )
    return files


def place_of(path: str | os.PathLike[str]) -> Place:
    """Return what a user wrote as a place."""
    text = os.fspath(path)
    if not is_url(text):
        return Path(text).expanduser()
    check_url(text)
    return RemotePath(text)


def folder_of(path: AnyPath, suffixes: Sequence[str]) -> Place | None:
    """Return the folder that a path names, if it names one.

    A URL that is neither a pattern nor a file's own is a prefix, which acts as a folder; web
    servers have none.
    """
    if not isinstance(path, (str, os.PathLike)):
        return None
    place = place_of(path)
    if isinstance(place, Path):
        return place if place.is_dir() else None
    if place.scheme in ("http", "https") or re.search(r"[{*?[]", place.url):
        return None
    is_file = not place.url.endswith("/") and place.suffix.lower() in suffixes
    return None if is_file else RemotePath(place.url.rstrip("/"))


def embeddings_in(
    folder: Place, listed: Sequence[Place], suffixes: Sequence[str]
) -> list[tuple[Place, str]]:
    """Return what `find_files` finds in a folder of which all files are `listed`."""
    chosen = _one_format(str(folder), listed, suffixes, "holds")
    return [(file, name_in(folder, file)) for file in chosen]


def name_in(folder: Place, file: Place) -> str:
    """Return the path of a file relative to a folder above it, posix style."""
    return Path(_plain(file)).relative_to(_plain(folder)).as_posix()


def names_of(files: Sequence[Place]) -> list[str]:
    """Return the paths of files relative to the folder that holds all of them, posix style."""
    if not files:
        return []
    common = os.path.commonpath([_plain(file.parent) for file in files])
    return [Path(_plain(file)).relative_to(common).as_posix() for file in files]


def in_order(path: Place) -> tuple[list[str | int], str]:
    """Return what files are sorted by: their names, with numbers as numbers, so 2 precedes 10.

    Names of one pattern that are padded with zeros have the same order either way.
    """
    text = path.as_posix()
    parts = _DIGITS.split(text)
    return [int(part) if i % 2 else part for i, part in enumerate(parts)], text


def _plain(place: Place) -> str:
    """Text of a place, by which names are made: the scheme of a URL is its first folder."""
    if isinstance(place, RemotePath):
        return place.url.replace("://", "/", 1)
    # Not Path.resolve: links stay what the user calls them.
    return os.path.abspath(place)  # noqa: PTH100


def _of_one_kind(places: Sequence[Place]) -> Sequence[Place]:
    kinds = [place.scheme if isinstance(place, RemotePath) else "local" for place in places]
    for kind, place in zip(kinds, places, strict=True):
        if kind != kinds[0]:
            raise StoreError(
                f"{place}: is {kind}, but {places[0]} is {kinds[0]}; wanted one kind of place"
            )
    return places


def _resolve_url(text: str, suffixes: Sequence[str]) -> tuple[RemotePath, list[RemotePath]]:
    """Root and files of one URL; in a URL, special characters always make a pattern."""
    from clipsoid.store.remote.listing import MAGIC, find_remote

    check_url(text)
    members = list(expand_braces(text))
    special = MAGIC.search(text) if members == [text] else re.search(r"[{*?[]", text)
    files: list[RemotePath] = []
    is_file = False
    for member in members:
        found, is_file = find_remote(member, suffixes)
        if not is_file:
            chosen = _one_format(member, found, suffixes, "matches" if special else "holds")
            found = sorted(chosen, key=in_order)
        files.extend(found)
    if special:
        return RemotePath(text[: special.start()] + "x").parent, files
    return RemotePath(text).parent if is_file else RemotePath(text.rstrip("/")), files


def _resolve(text: str, suffixes: Sequence[str]) -> tuple[Path, list[Path]]:
    """Root and files of one entry. What exists under exactly this name is never a pattern."""
    path = Path(text)
    if path.is_dir():
        return path, _one_format(text, walk_local(path), suffixes, "holds")
    if path.exists():
        return path.parent, [path]
    members = expand_braces(text)
    first = next(members)
    if first != text:
        files: list[Path] = []
        for member in chain([first], members):
            files.extend(_resolve(member, suffixes)[1])
        return _fixed_part(text), files
    if glob.has_magic(text):
        # Not Path.glob, which also matches hidden files.
        matched = (Path(file) for file in glob.iglob(text, recursive=True))  # noqa: PTH207
        chosen = sorted({file for file in matched if file.is_file()}, key=in_order)
        return _fixed_part(text), _one_format(text, chosen, suffixes, "matches")
    raise StoreError(f"{text}: found no such file or folder")


def _fixed_part(pattern: str) -> Path:
    """Folder of a pattern before its first special character."""
    special = re.search(r"[{*?[]", pattern)
    return Path(pattern[: special.start() if special else None] + "x").parent


def expand_braces(pattern: str) -> Iterator[str]:
    """Expand ``{a,b}`` and ``{00..41}`` from left to right, as a shell does.

    A range keeps its zero padding. A group that is neither a list nor a range is left as it is;
    groups inside groups are not meant to be used.
    """
    for group in _BRACES.finditer(pattern):
        body = group[1]
        span = _RANGE.fullmatch(body)
        parts: Iterator[str]
        if span:
            parts = _count(span[1], span[2])
        elif "," in body:
            parts = iter(body.split(","))
        else:
            continue
        for part in parts:
            yield from expand_braces(pattern[: group.start()] + part + pattern[group.end() :])
        return
    yield pattern


def _count(first: str, last: str) -> Iterator[str]:
    padded = any(len(end) > 1 and end.startswith("0") for end in (first, last))
    width = max(len(first), len(last)) if padded else 0
    step = 1 if int(first) <= int(last) else -1
    for number in range(int(first), int(last) + step, step):
        yield f"{number:0{width}d}" if width else str(number)


def walk(folder: Place) -> list[Place]:
    """All files below `folder` that are not hidden, sorted by their path in it (`in_order`)."""
    if isinstance(folder, RemotePath):
        from clipsoid.store.remote.listing import below

        return sorted(below(folder), key=in_order)
    return [*walk_local(folder)]


def walk_local(folder: Path) -> list[Path]:
    """As `walk`, of a folder that is not remote."""
    return sorted(_walk(folder), key=in_order)


def _walk(folder: Path) -> list[Path]:
    found: list[Path] = []
    # Folders behind links are read too (a set may be spread over disks), but each once only.
    seen: set[str] = set()
    for here, folders, files in os.walk(folder, followlinks=True, onerror=_raise):
        real = os.path.realpath(here)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        # In order, so that of two names of one folder the same is taken everywhere.
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found.extend(Path(here, name) for name in files if not name.startswith("."))
    return found


def _raise(error: OSError) -> None:
    raise StoreError(f"{error.filename}: cannot be listed: {error.strerror}") from None


#: Suffixes that models have, too.
MODELS = (".pt", ".pth")


def _one_format(
    where: str, files: Sequence[PlaceT], suffixes: Sequence[str], verb: str
) -> list[PlaceT]:
    """Those of `files` that are embeddings, if they are of one format."""
    kinds = Counter(file.suffix.lower() for file in files)
    found = ", ".join(f"{n} {kind or 'without suffix'}" for kind, n in sorted(kinds.items()))
    formats = sorted(kind for kind in kinds if kind in suffixes)
    # A model may lie beside what it made: files of torch count where nothing else does.
    formats = [kind for kind in formats if kind not in MODELS] or formats
    if not formats:
        raise StoreError(
            f"{where}: {verb} {found or 'no files'}; wanted {', '.join(suffixes)} files"
            f"{advice(sorted(kinds))}"
        )
    if len(formats) > 1:
        raise StoreError(
            f"{where}: {verb} several formats ({found}); wanted one: "
            f"a pattern such as '**/*{formats[0]}' chooses"
        )
    return [file for file in files if file.suffix.lower() == formats[0]]
