"""Files that are complete or not there: written beside their place and renamed into it."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from glob import escape
from pathlib import Path

from clipsoid.errors import OutputError

#: Ends the name of a file that is not complete; the name begins with a dot.
PART_SUFFIX = ".part"


#: A URL, also one of which pathlib has taken a slash.
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")


def check_local(path: str | os.PathLike[str]) -> None:
    """Refuse a URL: embeddings are read from object stores, outputs go to local files."""
    text = os.fspath(path)
    if _URL.match(text):
        scheme, rest = text.split(":/", 1)
        raise OutputError(
            f"{scheme}://{rest.lstrip('/')}: outputs are local files; wanted a local path, to be "
            "copied there afterwards"
        )


def part_of(temporary: Path) -> Path:
    """Return the path that a file with `PART_SUFFIX` would have been renamed to."""
    name = temporary.name.removeprefix(".").removesuffix(PART_SUFFIX)
    return temporary.with_name(name.rpartition(".")[0])


def check_writable(
    path: str | os.PathLike[str], may_replace: Callable[[Path], bool], kind: str = "ellipsoid"
) -> None:
    """Refuse, before any work is done, a file that could not or must not be written after it.

    A file that is there is replaced only if `may_replace` recognises it as one of its own kind.
    """
    check_local(path)
    path = Path(path)
    if path.is_file() and not may_replace(path):
        raise OutputError(f"{path}: is there already and is no {kind}; wanted a new name")
    if path.is_dir():
        raise OutputError(f"{path}: is a folder; wanted the name of a file")
    # A pipe or a device would be replaced by the file, not written to.
    if path.exists() and not path.is_file():
        raise OutputError(f"{path}: is no regular file; wanted the name of one, or a new name")
    if not path.parent.is_dir():
        raise OutputError(f"{path}: cannot be written: there is no folder {path.parent}")
    if not os.access(path.parent, os.W_OK):
        raise OutputError(f"{path}: cannot be written: no permission in {path.parent}")


@contextmanager
def new_folders(folder: Path) -> Iterator[None]:
    """On an error, remove again the folders under and above `folder` that were made meanwhile."""
    check_local(folder)
    kept = {path for path in (folder, *folder.parents, *folder.rglob("*")) if path.is_dir()}
    try:
        yield
    except BaseException:
        made = {path for path in (folder, *folder.parents, *folder.rglob("*")) if path.is_dir()}
        for path in sorted(made - kept, reverse=True):
            with suppress(OSError):  # it holds something that is not ours
                path.rmdir()
        raise


def temporary_beside(path: Path) -> Path:
    """Return the temporary path at which `path` is made; it is hidden and in the same folder."""
    return path.with_name(f".{path.name}.{os.getpid()}{PART_SUFFIX}")


def remove(path: Path) -> None:
    """Remove a file if it is there; an error that is on its way is not to be hidden by another."""
    with suppress(OSError):
        path.unlink()


def remove_leftovers(path: Path) -> None:
    """Remove what killed runs left of `path` half-written; no other run may be making it."""
    for temporary in path.parent.glob(f".{escape(path.name)}.*{PART_SUFFIX}"):
        remove(temporary)


def sync(path: Path) -> None:
    """Wait until the file is on its disk."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def lock_or_refuse(handle: int, path: Path) -> None:
    """Hold an open file or folder until it is closed: two runs never write into one."""
    import fcntl

    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise OutputError(f"{path}: another run writes into it") from None


@contextmanager
def as_output_errors(path: Path) -> Iterator[None]:
    """Raise an OutputError that names `path` in place of an OSError: no permission, disk full."""
    try:
        yield
    except OutputError:
        raise
    except OSError as error:
        reason = error.strerror or str(error)
        raise OutputError(error.errno, f"{path}: cannot be written: {reason}") from None


@contextmanager
def written_beside(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary path in the same folder; on success, sync it and rename it to `path`.

    On any error, an interrupt included, the temporary file is removed and `path` is as it was; an
    OSError becomes an OutputError.
    """
    check_local(path)
    path = Path(path)
    temporary = temporary_beside(path)
    try:
        with as_output_errors(path):
            yield temporary
            sync(temporary)
            temporary.replace(path)
    finally:
        remove(temporary)
