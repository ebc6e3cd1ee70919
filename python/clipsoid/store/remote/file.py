"""RemoteFile: a file behind a URL as a stream that can be read anywhere, as local files are."""

from __future__ import annotations

import io
import os
from collections import deque
from typing import TYPE_CHECKING, Any

from clipsoid.store.remote.ahead import BLOCK_BYTES, Ahead
from clipsoid.store.remote.answers import RemoteError, RemoteStamp
from clipsoid.store.remote.session import Part, Session, fetch

if TYPE_CHECKING:
    from clipsoid.store.remote.path import RemotePath

#: Bytes that are requested first: the header of an array, or the footer of parquet and of zip.
HEAD_BYTES = 16 << 10
TAIL_BYTES = 64 << 10

#: Formats that say at their end what they hold.
_FROM_THE_END = (".parquet", ".npz", ".pt", ".pth")


class RemoteFile(io.RawIOBase):
    """A file behind a URL, read-only.

    Planned bytes come from the blocks of its session (`Ahead`), of which the last two are here: a
    reader may go back by as much. All others are requested when they are read, 16 KiB at least;
    what is no longer than a header is kept until the file is closed.

    Parameters
    ----------
    path : RemotePath
        The file.
    stamp : RemoteStamp
        What every answer must be about.
    kept : list of Part
        What is here already.
    """

    def __init__(self, path: RemotePath, stamp: RemoteStamp, kept: list[Part]) -> None:
        super().__init__()
        self.path, self.stamp = path, stamp
        self.kept = kept
        self._blocks: deque[Part] = deque(maxlen=2)
        self._session = path.session or Session()
        self._at = 0

    def readable(self) -> bool:
        """Whether it can be read: yes."""
        return True

    def seekable(self) -> bool:
        """Whether it can be read anywhere: yes."""
        return True

    def tell(self) -> int:
        """Position of the next byte."""
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to another position."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self.stamp.size}[whence]
        if base + offset < 0:
            raise OSError(f"position {base + offset}")
        self._at = base + offset
        return self._at

    def readinto(self, buffer: Any, /) -> int:
        """Fill `buffer`, as far as the file goes."""
        view = memoryview(buffer).cast("B")
        wanted = max(0, min(len(view), self.stamp.size - self._at))
        done = 0
        while done < wanted:
            part = self._part(wanted - done)
            begin = self._at - part.start
            data = part.data[begin : begin + wanted - done]
            view[done : done + len(data)] = data
            done += len(data)
            self._at += len(data)
        return done

    @property
    def here_from(self) -> int:
        """Position from which on all of a file that says at its end what it holds is here."""
        return min(part.start for part in self.kept)

    def _part(self, wanted: int) -> Part:
        """Return a part that has the byte at the present position."""
        for part in (*self._blocks, *self.kept):
            if part.start <= self._at < part.stop:
                return part
        if isinstance(self._session, Ahead):
            block = self._session.take(self.path, self._at)
            if block is not None:
                self._blocks.append(block)
                return block
        length = min(max(wanted, HEAD_BYTES), BLOCK_BYTES)
        # Of what is here already, nothing is requested again.
        ends = (part.start for part in self.kept if part.start > self._at)
        stop = min([self._at + length, self.stamp.size, *ends])
        part = self._session.do(self.path, fetch(self.path.url, self._at, stop, self.stamp))
        if len(part.data) > TAIL_BYTES:
            self._blocks.append(part)
        else:
            self.kept.append(part)
        return part


def open_remote(path: RemotePath) -> RemoteFile:
    """Open a file for the first time: one request brings its stamp and what readers look at first.

    Raises
    ------
    StoreError
        If it cannot be had.
    """
    at_end = path.suffix.lower() in _FROM_THE_END
    first = (-TAIL_BYTES, 0) if at_end else (0, HEAD_BYTES)
    part = (path.session or Session()).do(path, fetch(path.url, *first))
    return RemoteFile(path, part.stamp, [part])


def read_whole(path: RemotePath) -> bytes:
    """Read the whole of a small file; FileNotFoundError if there is none."""
    try:
        with open_remote(path) as file:
            return file.read(file.stamp.size) or b""
    except RemoteError as error:
        if error.absent:
            raise FileNotFoundError(str(error)) from None
        raise
