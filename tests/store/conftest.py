from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from datetime import timedelta

import pytest

from clipsoid.store.remote import ahead, services
from store.remote import Bucket, Server

NUMBERS = itertools.count()


@pytest.fixture(params=["mapped", "pread"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run the test with both ways of reading."""
    monkeypatch.setenv("CLIPSOID_READ", request.param)
    return str(request.param)


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    yield
    left = [t.name for t in threading.enumerate() if t.name == "clipsoid-read-ahead"]
    assert left == []


@pytest.fixture
def bucket(s3: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    """An empty bucket on a server that does not fail, and an environment that leads there."""
    made = Bucket(s3, f"bucket-{next(NUMBERS)}")
    for name, value in made.environment().items():
        monkeypatch.setenv(name, value)
    # Small blocks, so that small files have many; pauses that are no rest.
    monkeypatch.setattr(ahead, "BLOCK_BYTES", 1 << 16)
    monkeypatch.setattr(services, "RETRIES", 2)
    monkeypatch.setattr(services, "FIRST_PAUSE", timedelta(milliseconds=1))
    services.client.cache_clear()
    s3.reset()
    made.create()
    s3.forget()
    yield made
    s3.reset()
    services.client.cache_clear()
