"""Read-ahead: the next batches are read by a thread while the present one is computed on."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Generic, TypeVar

from clipsoid.errors import StoreError

T = TypeVar("T")

#: Seconds after which a waiting consumer looks up. On POSIX a signal interrupts the wait anyway;
#: elsewhere Ctrl-C is delivered between two waits.
GLANCE = 0.25

#: Seconds for which closing waits for the read that is in progress, so that Ctrl-C stays prompt;
#: a thread that takes longer ends by itself after that read.
PATIENCE = 0.5


class _Channel(Generic[T]):
    """A bounded queue with an end, an error and a way to be closed from the reading side."""

    def __init__(self, depth: int) -> None:
        self.depth = depth
        self.items: deque[T] = deque()
        self.error: BaseException | None = None
        self.ended = False
        self.closed = False
        self.changed = threading.Condition()

    def put(self, item: T) -> bool:
        """Wait for room and append; False when the consumer is gone."""
        with self.changed:
            while len(self.items) >= self.depth and not self.closed:
                self.changed.wait()
            if not self.closed:
                self.items.append(item)
                self.changed.notify_all()
            return not self.closed

    def end(self, error: BaseException | None) -> None:
        with self.changed:
            self.error, self.ended = error, True
            self.changed.notify_all()

    def has_next(self) -> bool:
        """Wait until there is an item (True) or the end; the producer's error is raised here."""
        with self.changed:
            while not self.items and not self.ended:
                self.changed.wait(GLANCE)
            if self.items:
                return True
            error, self.error = self.error, None
        if error is None:
            return False
        try:
            # The exception keeps the traceback of the thread in which it arose.
            raise error
        finally:
            del error

    def pop(self) -> T:
        with self.changed:
            item = self.items.popleft()
            self.changed.notify_all()
            return item

    def close(self) -> None:
        with self.changed:
            self.closed = True
            self.items.clear()
            self.changed.notify_all()


def _produce(source: Iterable[T], channel: _Channel[T]) -> None:
    """Body of the thread. It knows the channel only, so a forgotten consumer can be collected."""
    error: BaseException | None = None
    iterator: Iterator[T] | None = None
    try:
        iterator = iter(source)
        # No name is bound to an item here: a batch must be free once its consumer drops it.
        while channel.put(next(iterator)):
            pass
    except StopIteration:
        pass
    except BaseException as caught:  # the consumer gets it, whatever it is
        error = caught
    try:
        close = getattr(iterator, "close", None)
        if close is not None:
            close()
    except BaseException as caught:
        error = error or caught
    channel.end(error)


def read_ahead(
    iterable: Iterable[T], depth: int = 2, *, stop: Callable[[], None] | None = None
) -> Generator[T, None, None]:
    """Iterate over `iterable` in a thread of its own, up to `depth` items ahead.

    The thread is started by the first ``next`` and is gone when the iterator is exhausted, closed
    or collected. At most ``depth + 2`` items exist at one time: those that wait, the one that is
    being read and the one that the consumer holds.

    Parameters
    ----------
    iterable : iterable
        What is to be read; it is iterated, and closed if it is a generator, in the thread.
    depth : int, default=2
        Number of items that may wait.
    stop : callable, optional
        Called at the end, before the thread is waited for: it ends a read that is in progress.

    Yields
    ------
    object
        The items in order.

    Raises
    ------
    StoreError
        If the iterator is used in a forked child: the thread lives in the parent only.
    BaseException
        Whatever `iterable` raises, with its traceback, after the items before it.
    """
    if depth < 1:
        raise ValueError(f"depth is {depth}; wanted 1 or more")
    owner = os.getpid()
    channel: _Channel[T] = _Channel(depth)
    thread = threading.Thread(
        target=_produce, args=(iterable, channel), name="clipsoid-read-ahead", daemon=True
    )
    del iterable
    thread.start()
    try:
        while True:
            # In a child the locks may be held for ever, by a thread that was not forked.
            if os.getpid() != owner:
                raise StoreError(
                    f"this iteration was started in process {owner} and cannot go on in its forked "
                    f"child {os.getpid()}; iterate over the store anew in the child"
                )
            if not channel.has_next():
                return
            yield channel.pop()
    finally:
        if os.getpid() == owner:
            channel.close()
            if stop is not None:
                stop()
            thread.join(PATIENCE)
