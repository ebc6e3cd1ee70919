"""What all tests share: a seeded generator, and the folder of real embeddings."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import numpy as np
import pytest

if TYPE_CHECKING:
    from store.remote import Server

# The same examples in every run: a red test is red for everybody.
hypothesis.settings.register_profile(
    "clipsoid", derandomize=True, deadline=None, max_examples=30, database=None
)
hypothesis.settings.load_profile("clipsoid")

# A shell that runs the tests in the background has them, and their children, ignore Ctrl-C.
signal.signal(signal.SIGINT, signal.default_int_handler)

REAL_DATA = "CLIPSOID_REAL_DATA"
REQUIRED = "CLIPSOID_REQUIRE_REAL_DATA"


@pytest.fixture(scope="session")
def s3() -> Iterator[Server]:
    """A server that speaks S3, one for all tests; starting it takes a second."""
    from store.remote import serving

    with serving() as server:
        yield server


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20241117)


@pytest.fixture(scope="session")
def real_data() -> Callable[[str], Path]:
    """The path of a file of real embeddings, by its name.

    Skips when no folder is named, unless the data are required; a folder that is named but lacks
    the file is a failure in any case.
    """
    folder = os.environ.get(REAL_DATA)

    def find(name: str) -> Path:
        if not folder:
            reason = f"{REAL_DATA} is not set: it names the folder of real embeddings ({name})"
            if os.environ.get(REQUIRED) == "1":
                pytest.fail(f"{reason}, and {REQUIRED}=1")
            pytest.skip(reason)
        path = Path(folder) / name
        if not path.is_file():
            pytest.fail(f"{REAL_DATA}={folder} holds no {name}")
        return path

    return find
