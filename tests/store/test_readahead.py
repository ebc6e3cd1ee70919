from __future__ import annotations

import gc
import threading
import time
import traceback
from collections.abc import Iterator

import pytest

from clipsoid.store.readahead import read_ahead
from store.makers import run


def alive() -> int:
    return sum(thread.name == "clipsoid-read-ahead" for thread in threading.enumerate())


@pytest.mark.parametrize("depth", [1, 2, 5])
@pytest.mark.parametrize("count", [0, 1, 2, 100])
def test_items_in_order(count: int, depth: int):
    assert list(read_ahead(range(count), depth)) == list(range(count))
    assert alive() == 0


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_it_reads_ahead_by_depth_and_no_further(depth: int):
    made: list[int] = []
    items = read_ahead((made.append(i) or i for i in range(100)), depth)
    assert next(items) == 0
    deadline = time.monotonic() + 5
    while len(made) < depth + 2 and time.monotonic() < deadline:
        time.sleep(0.001)
    time.sleep(0.05)
    assert len(made) == depth + 2
    items.close()
    assert alive() == 0


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
    assert alive() == 0


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
    start = time.monotonic()
    if ending == "close":
        items.close()
    elif ending == "collect":
        del items
        gc.collect()
    else:
        with pytest.raises(Ours):
            items.throw(Ours())
    assert time.monotonic() - start < 0.5
    assert alive() == 0
    assert closed == ["clipsoid-read-ahead"]


def test_closing_waits_for_no_more_than_the_read_in_progress():
    def source() -> Iterator[int]:
        for i in range(100):
            yield i
            time.sleep(0.2)

    items = read_ahead(source())
    next(items)
    start = time.monotonic()
    items.close()
    assert time.monotonic() - start < 1
    assert alive() == 0


def test_waiting_uses_no_processor_time():
    def source() -> Iterator[int]:
        time.sleep(0.5)
        yield 1

    before = time.process_time()
    assert list(read_ahead(source())) == [1]
    assert time.process_time() - before < 0.1


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
        import os, signal, threading, time
        from clipsoid.store.readahead import read_ahead

        def source():
            yield 0
            # The consumer waits for an item that does not come soon.
            time.sleep(1.5)
            yield 1

        main = os.getpid()
        threading.Timer(0.3, lambda: os.kill(main, signal.SIGINT)).start()
        start = time.monotonic()
        items = read_ahead(source())
        try:
            for item in items:
                pass
        except KeyboardInterrupt:
            print("interrupted", time.monotonic() - start < 1.3)
        time.sleep(1)
        print("alive", sum(t.name == "clipsoid-read-ahead" for t in threading.enumerate()))
        """
    )
    assert (done.stdout, done.returncode) == ("interrupted True\nalive 0\n", 0), done.stderr


FORK = """
import os, signal, sys, threading, time
from clipsoid.errors import StoreError
from clipsoid.store.readahead import read_ahead

def use(items):
    signal.alarm(10)
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
time.sleep(0.05)
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
