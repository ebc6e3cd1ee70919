"""Files that are complete or not there: written beside their place and renamed into it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from clipsoid.errors import OutputError

#: Ends the name of a file that is not complete; the name begins with a dot.
PART_SUFFIX = ".part"


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
