"""The files of pictures: by size and time it is seen whether they are as they were."""

from __future__ import annotations

import stat
from collections.abc import Iterable
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

from clipsoid.embed.loader import Place


class Look(NamedTuple):
    """Digests of the sizes and of the times of some files; 32 hex digits each."""

    sizes: str
    times: str


class Looks:
    """Sizes and times of the files of some pictures, as they are now.

    Parameters
    ----------
    places : iterable of Place
        Where the pictures are; each file is looked at once.
    """

    def __init__(self, places: Iterable[Place]) -> None:
        self._found = {file: _stat(file) for file in {place.file: None for place in places}}

    def look(self, places: Iterable[Place]) -> Look:
        """Digest the files of some of the pictures, in order; to be missing is a state, too."""
        files = dict.fromkeys(place.file for place in places)
        found = [self._found[file] or (None, None) for file in files]
        sizes, times = ([one[i] for one in found] for i in (0, 1))
        return Look(_digest(sizes), _digest(times))


def bytes_of(place: Place) -> int | None:
    """Return how many bytes the file of a picture has, or None where they cannot be read."""
    if not place.file:
        return None
    path = Path(place.file)
    try:
        found = path.stat()
        # A named pipe has no length, and to open it would wait.
        if not stat.S_ISREG(found.st_mode):
            return None
        # Whether it may be read, only this says.
        path.open("rb").close()
    # A path with a null in it is a ValueError.
    except (OSError, ValueError):
        return None
    return found.st_size


def _stat(file: str | None) -> tuple[int, int] | None:
    if not file:
        return None
    try:
        found = Path(file).stat()
    except (OSError, ValueError):
        return None
    return found.st_size, found.st_mtime_ns


def _digest(numbers: list[int | None]) -> str:
    return blake2b(repr(numbers).encode(), digest_size=16).hexdigest()
