"""Ahead: the blocks of a pass, requested in order before they are asked for.

A pass knows from the headers which bytes it will read, of which file, in which order. They are cut
into blocks, of which `IN_FLIGHT` are on their way or wait to be read: with the two that a reader
holds, 72 MiB. The end of one file is no border: while its last blocks are read, the first of the
next are requested. Each block is requested once.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass

from clipsoid.store.files import Place, Stamp
from clipsoid.store.remote.answers import RemoteStamp
from clipsoid.store.remote.path import RemotePath
from clipsoid.store.remote.session import Part, Session, check_process, drop, fetch

#: Bytes of a request: of less, the wait for the first byte shows; of more, fewer are in flight.
BLOCK_BYTES = 4 << 20

#: Blocks on their way at one time, or here and not yet read.
IN_FLIGHT = 16

Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Block:
    """Bytes `start` to `stop` of a file that has been opened."""

    path: RemotePath
    stamp: RemoteStamp
    start: int
    stop: int


def planned(path: Place, stamp: Stamp, spans: Iterable[Span]) -> Iterator[Block]:
    """Cut spans of a file into blocks; spans that touch are one."""
    assert isinstance(path, RemotePath) and isinstance(stamp, RemoteStamp)
    first, last = 0, 0
    for start, stop in spans:
        if start != last:
            yield from _cut(path, stamp, first, last)
            first = start
        last = stop
        # Spans may be many: what is full goes.
        while last - first >= BLOCK_BYTES:
            yield Block(path, stamp, first, first + BLOCK_BYTES)
            first += BLOCK_BYTES
    yield from _cut(path, stamp, first, last)


def whole(path: Place, stamp: Stamp, start: int, stop: int) -> Iterator[Block]:
    """Plan a part of a file that is not read from its first byte to its last: in one block."""
    assert isinstance(path, RemotePath) and isinstance(stamp, RemoteStamp)
    yield Block(path, stamp, start, stop)


def _cut(path: RemotePath, stamp: RemoteStamp, start: int, stop: int) -> Iterator[Block]:
    for at in range(start, stop, BLOCK_BYTES):
        yield Block(path, stamp, at, min(at + BLOCK_BYTES, stop))


class Ahead(Session):
    """A session with a plan.

    Parameters
    ----------
    plan : iterable of Block
        In the order of reading; it is asked for the next one when there is room.
    """

    def __init__(self, plan: Iterable[Block]) -> None:
        super().__init__()
        self._plan = iter(plan)
        self._waiting: deque[tuple[Block, Future[Part]]] = deque()
        self._turn = threading.Lock()

    def take(self, path: RemotePath, at: int) -> Part | None:
        """Return the planned block of `path` that holds byte `at`, and give up those before it.

        None, if none is on its way.
        """
        check_process(path)
        with self._turn:
            self._fill()
            if not any(_holds(block, path, at) for block, _ in self._waiting):
                return None
            while True:
                block, future = self._waiting.popleft()
                if _holds(block, path, at):
                    break
                drop(future)
            self._fill()
        return self.wait(path, future)

    def _fill(self) -> None:
        """Start requests as far as there is room."""
        while len(self._waiting) < IN_FLIGHT and (block := next(self._plan, None)):
            work = fetch(block.path.url, block.start, block.stop, block.stamp)
            self._waiting.append((block, self.start(block.path, work)))


def _holds(block: Block, path: RemotePath, at: int) -> bool:
    return block.path == path and block.start <= at < block.stop
