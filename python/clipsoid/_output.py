"""Files that are complete or not there: written beside their place and renamed into it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from clipsoid.errors import OutputError

#: Ends the name of a file that is not complete; the name begins with a dot.
PART_SUFFIX = ".part"


def part_of(temporary: Path) -> Path:
    """Return the path that a file with `PART_SUFFIX` would have been renamed to."""
    name = temporary.name.removeprefix(".").removesuffix(PART_SUFFIX)
    return temporary.with_name(name.rpartition(".")[0])


def check_writable(path: str | os.PathLike[str]) -> None:
    """Refuse, before any work is done, a file that could not be written after it."""
    path = Path(path)
    if path.is_dir():
        raise OutputError(f"{path}: is a folder; wanted the name of a file")
    if not path.parent.is_dir():
        raise OutputError(f"{path}: cannot be written: there is no folder {path.parent}")
    if not os.access(path.parent, os.W_OK):
        raise OutputError(f"{path}: cannot be written: no permission in {path.parent}")


@contextmanager
def new_folders(folder: Path) -> Iterator[None]:
    """On an error, remove again the folders under and above `folder` that were made meanwhile."""
    kept = {path for path in (folder, *folder.parents, *folder.rglob("*")) if path.is_dir()}
    try:
        yield
    except BaseException:
        made = {path for path in (folder, *folder.parents, *folder.rglob("*")) if path.is_dir()}
        for path in sorted(made - kept, reverse=True):
            with suppress(OSError):  # it holds something that is not ours
                path.rmdir()
        raise


@contextmanager
def written_beside(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary path in the same folder; on success, sync it and rename it to `path`.

    On any error, an interrupt included, the temporary file is removed and `path` is as it was.

    Raises
    ------
    OutputError
        In place of an OSError, naming `path`: no such folder, no permission, disk full.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}{PART_SUFFIX}")
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        if isinstance(error, OutputError):
            raise
        reason = error.strerror or str(error)
        raise OutputError(error.errno, f"{path}: cannot be written: {reason}") from None
    finally:
        temporary.unlink(missing_ok=True)
