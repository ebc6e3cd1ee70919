"""Requests: made in one thread for the whole process, waited for by any, ended together.

All requests run in an event loop of one thread, which starts with the first of them. Whoever waits
for one can be interrupted, and a request that nobody waits for any more is dropped at once: neither
Ctrl-C nor the end of the process waits for a slow server.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import threading
import time
from collections.abc import Coroutine
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from clipsoid.errors import StoreError
from clipsoid.store.remote.answers import RemoteStamp, explained, stamp_of
from clipsoid.store.remote.services import locate

if TYPE_CHECKING:
    from clipsoid.store.remote.path import RemotePath

T = TypeVar("T")

#: Seconds for which the end of the process waits for the thread, at most.
GOODBYE = 0.5

#: Seconds from the end of the last request to that of the process, at least: the library lets go of
#: each request in a thread of its own, which must not find the interpreter gone (it would abort).
GRACE = 0.2


@dataclass(frozen=True, slots=True)
class Part:
    """Bytes of a file, from `start` on, and the stamp of the file that they are from."""

    start: int
    data: memoryview
    stamp: RemoteStamp

    @property
    def stop(self) -> int:
        """Position behind the last byte."""
        return self.start + len(self.data)


class _Line:
    """The thread and its event loop. Both belong to the process that started them."""

    def __init__(self) -> None:
        self.owner = os.getpid()
        self.last_end = -GRACE
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self._run, name="clipsoid-remote", daemon=True)
        self.thread.start()

    def _run(self) -> None:
        self.loop.run_forever()
        self.loop.run_until_complete(self._drop())
        self.loop.close()

    async def _drop(self) -> None:
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        if left:
            self.note_end()

    def note_end(self) -> None:
        """Remember when a request ended last."""
        self.last_end = time.monotonic()

    def stop(self) -> None:
        if os.getpid() == self.owner:
            self.loop.call_soon_threadsafe(self.loop.stop)
            self.thread.join(GOODBYE)
            time.sleep(max(0.0, self.last_end + GRACE - time.monotonic()))


_line: _Line | None = None
_starting = threading.Lock()


def _the_line() -> _Line:
    global _line
    if _line is None:
        with _starting:
            if _line is None:
                _line = _Line()
                atexit.register(_line.stop)
    return _line


class Session:
    """Requests that are ended together, when whoever wanted them is done or gone."""

    def __init__(self) -> None:
        self._pending: set[Future[Any]] = set()
        self._closed = False
        self._guard = threading.Lock()

    def start(self, path: RemotePath, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Have `work` done; its result is waited for by `wait`."""
        try:
            check_process(path)
            with self._guard:
                if self._closed:
                    raise CancelledError
                future = asyncio.run_coroutine_threadsafe(work, _the_line().loop)
                self._pending.add(future)
        except BaseException:
            work.close()
            raise
        future.add_done_callback(self._forget)
        return future

    def wait(self, path: RemotePath, future: Future[T]) -> T:
        """Return what a request brought, or raise its error."""
        check_process(path)
        try:
            return future.result()
        except BaseException:
            drop(future)
            raise

    def do(self, path: RemotePath, work: Coroutine[Any, Any, T]) -> T:
        """Have `work` done, and wait for it."""
        return self.wait(path, self.start(path, work))

    def close(self) -> None:
        """Drop what is on its way; whoever waits for it gets a CancelledError."""
        with self._guard:
            self._closed = True
            pending = list(self._pending)
        for future in pending:
            drop(future)

    def _forget(self, future: Future[Any]) -> None:
        _the_line().note_end()
        with self._guard:
            self._pending.discard(future)


def drop(future: Future[Any]) -> None:
    """Give up a request that nobody waits for."""
    future.cancel()


def check_process(path: RemotePath) -> None:
    """Refuse to go on in a forked child: the connections, and who waits on them, did not come."""
    if _line is not None and _line.owner != os.getpid():
        raise StoreError(
            f"{path}: process {_line.owner} has read remote files, so its forked child "
            f"{os.getpid()} cannot; wanted a child that is spawned, or forked before"
        )


async def fetch(url: str, start: int, stop: int, known: RemoteStamp | None = None) -> Part:
    """Request bytes `start` to `stop` of a file; with a negative `start`, as many from its end.

    Raises
    ------
    StoreError
        If they cannot be had, or are of another file than `known`.
    """
    import obstore

    client, key = locate(url)
    wanted: Any = {"suffix": -start} if start < 0 else (start, stop)
    try:
        answer = await obstore.get_async(client, key, options={"range": wanted})
        data = memoryview(await answer.bytes_async())
        found, begin = stamp_of(answer.meta), answer.range[0]
    except Exception as error:
        raised = explained(url, error, known)
        if not raised.unsatisfiable:
            raise raised from None
        # The file is empty, or shorter than it was: how long it is, only its head can tell.
        try:
            found = stamp_of(await obstore.head_async(client, key))
        except Exception as again:
            raise explained(url, again, known) from None
        data, begin = memoryview(b""), found.size
    if known is not None:
        known.compare(url, found)
    if start >= 0 and (begin, begin + len(data)) != (start, min(stop, found.size)) and found.size:
        raise StoreError(
            f"{url}: the server answered with bytes {begin} to {begin + len(data)}; "
            f"wanted {start} to {stop}"
        )
    return Part(begin, data, found)
