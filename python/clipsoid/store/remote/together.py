"""Many files at once: opened side by side, and read one after another without a pause."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING

from clipsoid.store.files import Place
from clipsoid.store.remote.ahead import Ahead, Block
from clipsoid.store.remote.answers import RemoteStamp
from clipsoid.store.remote.file import RemoteFile
from clipsoid.store.remote.path import RemotePath
from clipsoid.store.remote.session import Part, Session

if TYPE_CHECKING:
    from clipsoid.store.base import Shard
    from clipsoid.store.files import Stamp
    from clipsoid.store.opening import Opened

#: Files that are opened at one time.
OPENED_AT_ONCE = 32


def open_together(
    files: Sequence[tuple[Place, str]], open_one: Callable[[Place, str], Opened]
) -> list[Opened]:
    """Open files in threads, for each waits on a server; in order, the first error in order first.

    An error or Ctrl-C drops the requests that are on their way.
    """
    from concurrent.futures import ThreadPoolExecutor

    from clipsoid.store.base import Shard

    session = Session()

    def opened(file: Place, name: str) -> Opened:
        if not isinstance(file, RemotePath):
            return open_one(file, name)
        found = open_one(file.through(session), name)
        # The session ends with the opening.
        return replace(found, path=file) if isinstance(found, Shard) else found

    pool = ThreadPoolExecutor(OPENED_AT_ONCE, "clipsoid-open")
    try:
        return list(pool.map(opened, *zip(*files, strict=True)))
    finally:
        session.close()
        pool.shutdown(cancel_futures=True)


def read_together(
    shards: Sequence[Shard], max_bytes: int | None
) -> tuple[list[Shard], Callable[[], None]]:
    """Return the same shards for one pass in their order, and what ends its requests."""
    ahead = pass_over(shards, max_bytes)
    return [through(shard, ahead) for shard in shards], ahead.close


def pass_over(shards: Iterable[Shard], max_bytes: int | None = None) -> Ahead:
    """Return the requests of a pass over shards; which come next may turn out while it goes on."""
    remote = (shard for shard in shards if isinstance(shard.path, RemotePath))
    return Ahead(chain.from_iterable(shard.plan(max_bytes) for shard in remote))


def through(shard: Shard, ahead: Ahead) -> Shard:
    """Return the same shard, to be read by the requests of a pass."""
    if isinstance(shard.path, RemotePath):
        return replace(shard, path=shard.path.through(ahead))
    return shard


@contextmanager
def reopened(
    path: RemotePath, stamp: Stamp, plan: Iterator[Block], kept: Sequence[Part] = ()
) -> Generator[RemoteFile, None, None]:
    """Open a file again, without a request; by itself, it is read ahead by `plan`.

    What is `kept` of it needs no request either.
    """
    assert isinstance(stamp, RemoteStamp)
    own = Ahead(plan) if path.session is None else None
    try:
        with RemoteFile(path.through(own or path.session), stamp, [*kept]) as file:
            yield file
    finally:
        if own is not None:
            own.close()
