"""Running the command line as a user does."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clipsoid.cli import main


@dataclass
class Outcome:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Run = Callable[..., Outcome]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run ``clipsoid`` in an empty folder, in this process: much sooner than in one of its own."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: object, **environment: str) -> Outcome:
        capsys.readouterr()
        with monkeypatch.context() as here:
            for name, value in environment.items():
                here.setenv(name, value)
            try:
                code = main([*map(str, arguments)])
            except SystemExit as end:
                assert isinstance(end.code, int)
                code = end.code
        return Outcome(code, *capsys.readouterr())

    return call


@pytest.fixture
def shell(tmp_path: Path) -> Run:
    """Run ``clipsoid`` in an empty folder, in a process of its own, as a shell does."""

    def call(*arguments: object) -> Outcome:
        done = subprocess.run(
            [sys.executable, "-m", "clipsoid", *map(str, arguments)],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert "Traceback" not in done.stderr, done.stderr
        return Outcome(done.returncode, done.stdout, done.stderr)

    return call


@pytest.fixture
def rows() -> np.ndarray:
    """Off-centre rows of varied length, 300 x 24 float32."""
    rng = np.random.default_rng(7)
    return (rng.normal(size=(300, 24)) + 0.7).astype(np.float32)


@pytest.fixture
def shards(tmp_path: Path, rows: np.ndarray) -> Path:
    """The rows in three shards of unequal length."""
    folder = tmp_path / "shards" / "img_emb"
    folder.mkdir(parents=True)
    for i, part in enumerate(np.split(rows, [50, 200])):
        np.save(folder / f"img_emb_{i}.npy", part)
    return folder.parent
