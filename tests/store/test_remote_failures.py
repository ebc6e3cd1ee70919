"""Servers that refuse, fail, stall or break off, and files that change: errors with the URL."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from clipsoid.errors import StoreError
from clipsoid.store import Store, open_store
from clipsoid.store.remote import services
from store.makers import numbers
from store.remote import Bucket

ROWS = numbers(20_000, 32, "float32")


@pytest.fixture
def stored(bucket: Bucket, tmp_path: Path) -> Bucket:
    np.save(tmp_path / "x.npy", ROWS)
    bucket.put_file(tmp_path / "x.npy")
    return bucket


def opened(bucket: Bucket) -> Store:
    store = open_store(bucket.url("x.npy"))
    bucket.server.forget()
    return store


REFUSED = (
    r"s3://bucket-\d+/x\.npy: access is refused \(403 Forbidden\); wanted credentials of the en"
)
FAILED = r"s3://bucket-\d+/x\.npy: the server answered 500 Internal Server Error after 3 tries"


@pytest.mark.parametrize(("status", "message"), [(403, REFUSED), (500, FAILED)])
def test_refused_or_failing_at_opening(stored: Bucket, status: int, message: str):
    stored.server.forget()
    stored.server.fail = lambda number, key: status
    with pytest.raises(StoreError, match=message):
        open_store(stored.url("x.npy"))
    # What may pass is tried again, what will not is not.
    assert stored.server.requests == (3 if status == 500 else 1)


@pytest.mark.parametrize(("status", "message"), [(403, REFUSED), (500, FAILED)])
def test_refused_or_failing_in_a_pass(stored: Bucket, status: int, message: str):
    store = opened(stored)
    stored.server.fail = lambda number, key: status if number >= 20 else None
    seen = 0
    with pytest.raises(StoreError, match=message):
        for batch in store.batches(1 << 16):
            seen += len(batch)
    assert 0 < seen < len(ROWS)


def test_a_listing_that_is_refused(stored: Bucket, monkeypatch: pytest.MonkeyPatch):
    backend = stored.server.backend

    def refuse(environ, start):
        start("403 Forbidden", [("Content-Type", "text/plain")])
        return [b"no"]

    stored.server.backend = refuse
    try:
        with pytest.raises(StoreError, match=r"s3://bucket-\d+/set: access is refused \(403 Forb"):
            open_store(stored.url("set"))
    finally:
        stored.server.backend = backend


@pytest.mark.parametrize("failure", [429, 500, 503, "cut"])
def test_what_passes_is_not_seen(stored: Bucket, failure: int | str):
    store = opened(stored)
    stored.server.fail = lambda number, key: failure if number in (3, 4, 17) else None
    rows = np.concatenate([batch.rows for batch in store.batches(1 << 16)])
    assert rows.tobytes() == ROWS.tobytes()
    # After a break, what has arrived is not fetched again.
    assert (stored.server.total(), stored.server.twice()) == (ROWS.nbytes, 0)
    assert stored.server.requests > -(-ROWS.nbytes // (1 << 16))


def test_a_body_that_always_breaks_off(stored: Bucket):
    store = opened(stored)
    stored.server.fail = lambda number, key: "cut" if number >= 5 else None
    with pytest.raises(StoreError, match=r"s3://bucket-\d+/x\.npy: cannot be read: "):
        list(store.batches(1 << 16))


def test_a_server_that_stalls(stored: Bucket, monkeypatch: pytest.MonkeyPatch):
    store = opened(stored)
    monkeypatch.setitem(services.TIMEOUTS, "read_timeout", "100ms")
    services.client.cache_clear()
    stored.server.fail = lambda number, key: "slow" if number >= 5 else None
    message = r"s3://bucket-\d+/x\.npy: the server did not answer in time after 3 tries"
    with pytest.raises(StoreError, match=message):
        list(store.batches(1 << 16))


def test_a_server_that_is_not_there(bucket: Bucket, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(StoreError, match=r"s3://b/x\.npy: cannot be read: .*error.* after 3 tries"):
        open_store("s3://b/x.npy")


def grow(bucket: Bucket, path: Path) -> None:
    bucket.put("x.npy", path.read_bytes() + b"more")


def shrink(bucket: Bucket, path: Path) -> None:
    bucket.put("x.npy", path.read_bytes()[:1000])


def rewrite(bucket: Bucket, path: Path) -> None:
    np.save(path, -ROWS)
    bucket.put("x.npy", path.read_bytes())


def remove(bucket: Bucket, path: Path) -> None:
    bucket.delete("x.npy")


SIZE = ROWS.nbytes + 128
CHANGES = {
    grow: f"was changed while it was being read: found {SIZE + 4} bytes, wanted the {SIZE} it had",
    shrink: f"was truncated while it was being read: found 1000 bytes, wanted the {SIZE} it had",
    rewrite: "was changed while it was being read: its size is the same, but its ETag is not",
    remove: r"was removed while it was being read \(404 Not Found\)",
}


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
@pytest.mark.parametrize("when", ["before", "between"])
def test_changes(stored: Bucket, tmp_path: Path, when: str, change):
    store = opened(stored)
    batches = store.batches(1 << 16)
    if when == "between":
        # Blocks that are on their way are those of the file that was opened.
        assert (next(batches).rows == ROWS[:512]).all()
    change(stored, tmp_path / "x.npy")
    with pytest.raises(StoreError, match=rf"s3://bucket-\d+/x\.npy: {CHANGES[change]}"):
        list(batches)


@pytest.mark.parametrize(
    ("kept", "message"),
    [
        (0, r"x\.npy: is empty \(0 bytes\); wanted an \.npy array"),
        (50, r"x\.npy: is truncated: found 40 bytes of the header, wanted 118"),
        (5000, rf"x\.npy: is truncated: found 5000 bytes, wanted {SIZE} for its header and rows"),
    ],
)
def test_truncated_uploads(bucket: Bucket, tmp_path: Path, kept: int, message: str):
    np.save(tmp_path / "x.npy", ROWS)
    url = bucket.put("x.npy", (tmp_path / "x.npy").read_bytes()[:kept])
    with pytest.raises(StoreError, match=message):
        open_store(url)


def test_closing_drops_what_is_on_its_way(stored: Bucket):
    store = opened(stored)
    # The first batch is among the first 16, which are in flight together, in whatever order.
    stored.server.fail = lambda number, key: "slow" if number >= 16 else None
    batches = store.batches(1 << 16)
    next(batches)
    batches.close()
    # The thread that waited for a stalled server has ended; the server is still waiting.
    assert not [t for t in threading.enumerate() if t.name == "clipsoid-read-ahead"]
    assert not stored.server.released.is_set()


@pytest.mark.parametrize("first", [0, 1], ids=["while opening", "in a pass"])
def test_ctrl_c(stored: Bucket, first: int):
    stalled = threading.Event()

    def fail(number: int, key: str) -> str | None:
        if number >= first:
            stalled.set()
            return "slow"
        return None

    stored.server.forget()
    stored.server.fail = fail
    code = "import sys, clipsoid as cs; cs.Ellipsoid.fit(sys.argv[1])"
    path = Path(sys.modules["clipsoid"].__file__).parents[1]
    process = subprocess.Popen(
        [sys.executable, "-c", code, stored.url("x.npy")],
        env={**os.environ, "PYTHONPATH": ":".join([str(path), *sys.path])},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert stalled.wait(60)
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=20)
    assert process.returncode == -signal.SIGINT and error.rstrip().endswith("KeyboardInterrupt")
