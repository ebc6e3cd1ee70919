from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest


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
