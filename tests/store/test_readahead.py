from __future__ import annotations

import gc
import threading
import traceback
from collections.abc import Iterator

import pytest

from clipsoid.store import readahead
from clipsoid.store.readahead import read_ahead
from store.makers import run

#: Seconds that nothing takes: a guard against waiting for ever.
GUARD = 60.0


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "clipsoid-read-ahead"]


def alive() -> int:
    return len(threads())


def wait_for_the_end() -> bool:
    """Whether the threads end: closing does not wait long for a slow one."""
    for thread in threads():
        thread.join(GUARD)
    return alive() == 0


@pytest.mark.parametrize("depth", [1, 2, 5])
@pytest.mark.parametrize("count", [0, 1, 2, 100])
def test_items_in_order(count: int, depth: int):
    assert list(read_ahead(range(count), depth)) == list(range(count))
    assert wait_for_the_end()


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_it_reads_ahead_by_depth_and_no_further(depth: int):
    made: list[int] = []
    full, beyond = threading.Event(), threading.Event()

    def source() -> Iterator[int]:
        for i in range(100):
            made.append(i)
            if len(made) >= depth + 2:
                (full if len(made) == depth + 2 else beyond).set()
            yield i

    items = read_ahead(source(), depth)
    assert next(items) == 0
    # As far as that without being asked for more, and given some time not a step further: a slow
    # machine can only make this easier.
    assert full.wait(GUARD)
    assert not beyond.wait(0.1)
    items.close()
    assert wait_for_the_end()
    assert len(made) == depth + 2


def test_depth_must_be_positive():
    with pytest.raises(ValueError, match="depth is 0"):
        next(read_ahead([1], 0))


class Ours(Exception):
    pass


def failing() -> Iterator[int]:
    yield 1
    yield 2
    raise Ours("at the third")


def test_an_error_comes_after_the_items_with_its_traceback():
    items = read_ahead(failing())
    assert [next(items), next(items)] == [1, 2]
    with pytest.raises(Ours, match="at the third") as caught:
        next(items)
    assert "failing" in [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]
    assert list(items) == []
    assert wait_for_the_end()


def test_an_error_before_the_first_item():
    with pytest.raises(TypeError, match="not iterable"):
        next(read_ahead(5))


@pytest.mark.parametrize("ending", ["close", "collect", "raise"])
def test_the_source_is_closed_and_the_thread_ends(ending: str):
    closed: list[str] = []

    def source() -> Iterator[int]:
        try:
            yield from range(10**9)
        finally:
            closed.append(threading.current_thread().name)

    items = read_ahead(source())
    assert next(items) == 0
    assert alive() == 1
    if ending == "close":
        items.close()
    elif ending == "collect":
        del items
        gc.collect()
    else:
        with pytest.raises(Ours):
            items.throw(Ours())
    assert wait_for_the_end()
    assert closed == ["clipsoid-read-ahead"]


def test_closing_waits_for_no_more_than_the_read_in_progress():
    reading, go_on = threading.Event(), threading.Event()
    started: list[int] = []

    def source() -> Iterator[int]:
        yield 0
        for i in range(1, 100):
            started.append(i)
            reading.set()
            # A read that takes as long as it likes.
            assert go_on.wait(GUARD)
            yield i

    items = read_ahead(source())
    assert next(items) == 0 and reading.wait(GUARD)
    # It returns while the read goes on, and no other read begins.
    items.close()
    assert alive() == 1
    go_on.set()
    assert wait_for_the_end()
    assert started == [1]


def test_the_consumer_sleeps_until_there_is_an_item(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(readahead, "GLANCE", GUARD)
    waits, asleep, wait = [], threading.Event(), threading.Condition.wait

    def seen(self: threading.Condition, timeout: float | None = None) -> bool:
        # Threads wait for one another when they start and end, too: not as long.
        if timeout == GUARD and threading.current_thread() is threading.main_thread():
            waits.append(timeout)
            asleep.set()
        return wait(self, timeout)

    def source() -> Iterator[int]:
        assert asleep.wait(2 * GUARD)
        yield 1

    monkeypatch.setattr(threading.Condition, "wait", seen)
    assert list(read_ahead(source())) == [1]
    # Once for the item, and once for the end unless that had come: it does not look on and on.
    assert len(waits) in (1, 2)


def test_items_are_free_once_the_consumer_drops_them():
    class Item:
        living = 0

        def __init__(self) -> None:
            Item.living += 1

        def __del__(self) -> None:
            Item.living -= 1

    most = 0
    for item in read_ahead(Item() for _ in range(200)):
        most = max(most, Item.living)
        del item
    assert most <= 4
    assert Item.living == 0


def test_ctrl_c_is_prompt_and_leaves_nothing():
    done = run(
        """
        import os, signal, threading
        from clipsoid.store.readahead import read_ahead

        def source():
            yield 0
            # The consumer waits for an item that does not come before it is interrupted.
            os.kill(os.getpid(), signal.SIGINT)
            assert interrupted.wait(60)
            yield 1

        interrupted = threading.Event()
        items = read_ahead(source())
        try:
            for item in items:
                pass
        except KeyboardInterrupt:
            print("interrupted")
            interrupted.set()
        for thread in threading.enumerate():
            if thread.name == "clipsoid-read-ahead":
                thread.join(60)
        print("alive", sum(t.name == "clipsoid-read-ahead" for t in threading.enumerate()))
        """
    )
    assert (done.stdout, done.returncode) == ("interrupted\nalive 0\n", 0), done.stderr


FORK = """
import os, signal, sys
from clipsoid.errors import StoreError
from clipsoid.store.readahead import read_ahead

def use(items):
    signal.alarm(60)
    try:
        next(items)
    except StoreError as error:
        print("refused", "forked child" in str(error), flush=True)
    items.close()
    fresh = list(read_ahead(range(3)))
    print("fresh", fresh, flush=True)
    sys.stdout.flush()

items = read_ahead(iter(range(1000)))
next(items)
child = os.fork()
if child == 0:
    use(items)
    os._exit(0)
print("status", os.waitpid(child, 0)[1], flush=True)
print("parent", next(items), flush=True)
items.close()
"""


def test_a_forked_child_is_told_and_the_parent_goes_on():
    done = run(FORK)
    expected = "refused True\nfresh [0, 1, 2]\nstatus 0\nparent 1\n"
    assert (done.stdout, done.returncode) == (expected, 0), done.stderr


def test_leaving_the_process_in_the_middle_does_not_hang():
    done = run(
        """
        import itertools
        from clipsoid.store.readahead import read_ahead
        items = read_ahead(itertools.count())
        print(next(items))
        """
    )
    assert (done.stdout, done.returncode) == ("0\n", 0), done.stderr
