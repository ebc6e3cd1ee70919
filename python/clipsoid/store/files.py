"""What every reader does with a file: open it, read exactly, and notice when it changes.

A file is a local one, or one behind a URL (`clipsoid.store.remote`): readers see no difference.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from clipsoid.errors import StoreError
from clipsoid.store.remote.path import RemotePath

if TYPE_CHECKING:
    from io import RawIOBase

#: Where a file is.
Place = Path | RemotePath


class Readable(Protocol):
    """A binary stream: a file, or a member of a zip archive that is being unpacked."""

    def readinto(self, buffer: memoryview, /) -> int | None:
        """Fill `buffer` as far as one read goes."""
        ...


@dataclass(frozen=True, slots=True)
class Stamp:
    """Size, time (nanoseconds since 1970) and inode of a file when its header was read.

    A shard is read more than once (fit, then score), so every batch is checked against the stamp
    taken at opening, and again when it has been used: rows of two different files never enter one
    result.
    """

    size: int
    modified: int
    inode: int

    @classmethod
    def of(cls, status: os.stat_result) -> Stamp:
        """Take the stamp from ``os.stat`` or ``os.fstat``."""
        return cls(status.st_size, status.st_mtime_ns, status.st_ino)

    def check(self, path: Place, file: RawIOBase | None = None) -> None:
        """Raise StoreError unless the file now at `path`, and the open one, are still this one."""
        assert isinstance(path, Path)
        try:
            # The path shows another file renamed over it; the open file a write into an old one.
            opened = [] if file is None else [os.fstat(file.fileno())]
            for status in (*opened, path.stat()):
                found = Stamp.of(status)
                if found != self:
                    raise self._difference(path, found)
        except FileNotFoundError:
            raise StoreError(f"{path}: was removed while it was being read") from None
        except OSError as error:
            raise StoreError(f"{path}: cannot be read: {error.strerror or error}") from None

    def recorded(self) -> dict[str, int | str]:
        """Return what tells one state of the file from another between runs, as JSON knows it."""
        return {"size": self.size, "modified": self.modified}

    def content_tag(self) -> str:
        """Return what stands for the content of a remote file; nothing does for a local one."""
        return ""

    @contextmanager
    def guarding(self, path: Place, file: RawIOBase) -> Generator[None, None, None]:
        """Check the file at first, and again if it cannot be read: a change explains the rest."""
        self.check(path, file)
        try:
            yield
        except StoreError:
            self.check(path, file)
            raise

    def _difference(self, path: Place | str, found: Stamp) -> StoreError:
        if found.size < self.size:
            what = f"truncated while it was being read: found {found.size} bytes"
        elif found.size > self.size:
            what = f"changed while it was being read: found {found.size} bytes"
        else:
            return StoreError(
                f"{path}: was changed while it was being read: its size is the same, but its "
                "modification time or inode is not"
            )
        return StoreError(f"{path}: was {what}, wanted the {self.size} it had when it was opened")


def open_file(path: Place) -> tuple[RawIOBase, Stamp]:
    """Open `path` for unbuffered reading, and take its stamp."""
    if isinstance(path, RemotePath):
        from clipsoid.store.remote.file import open_remote

        remote = open_remote(path)
        return remote, remote.stamp
    try:
        status = path.stat()
        # To open a pipe waits for whoever writes into it.
        if not stat.S_ISREG(status.st_mode):
            raise StoreError(f"{path}: is no regular file")
        file = path.open("rb", buffering=0)
        return file, Stamp.of(os.fstat(file.fileno()))
    except OSError as error:
        raise StoreError(f"{path}: cannot be opened: {error.strerror or error}") from None


def fill(stream: Readable, buffer: memoryview, path: Place | str) -> None:
    """Read until `buffer` (bytes, contiguous) is full; StoreError where the file ends before."""
    wanted, done = len(buffer), 0
    while done < wanted:
        try:
            count = stream.readinto(buffer[done:])
        except OSError as error:
            raise StoreError(f"{path}: cannot be read: {error.strerror or error}") from None
        if not count:
            raise StoreError(
                f"{path}: was truncated while it was being read: "
                f"found {done} bytes, wanted {wanted} at this place"
            )
        done += count


def fill_at(file: RawIOBase, offset: int, buffer: memoryview, path: Place | str) -> None:
    """Read `buffer` from `offset` of `file`."""
    file.seek(offset)
    fill(file, buffer, path)


def read_at(file: RawIOBase, offset: int, length: int, path: Place | str) -> bytes:
    """Read `length` bytes from `offset` of `file`; StoreError where the file ends before."""
    parts: list[bytes] = []
    done = 0
    try:
        file.seek(offset)
        while done < length and (part := file.read(length - done)):
            parts.append(part)
            done += len(part)
    except OSError as error:
        raise StoreError(f"{path}: cannot be read: {error.strerror or error}") from None
    if done < length:
        raise StoreError(f"{path}: is truncated: found {done} bytes at {offset}, wanted {length}")
    return parts[0] if len(parts) == 1 else b"".join(parts)
