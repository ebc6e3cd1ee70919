"""A run that goes on keeps the shards whose files and pictures are as they were, and no others."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch

from clipsoid.embed.model import Encoder
from clipsoid.errors import EmbedError, EmbedWarning, MismatchError
from embed.models import contents


class StoppedError(Exception):
    """What a test stops a run with."""


@pytest.fixture
def table(folder: Path, tmp_path: Path) -> Path:
    """A caption for each of eight pictures."""
    path = tmp_path / "captions.csv"
    lines = [f"{i:02}.png,text {i}" for i in range(8)]
    path.write_text("\n".join(["image_path,caption", *lines]))
    return path


def half_of(run, *inputs: Path, batches: int, **options: object) -> None:
    """Stop a run within a batch; the shard before the last two is finished for certain."""
    done = []

    def tick(items: int, busy: float) -> None:
        done.append(items)
        if len(done) > batches:
            raise StoppedError

    with pytest.raises(StoppedError):
        run(*inputs, progress=tick, **options)


@pytest.mark.parametrize("is_folder", [False, True])
def test_pictures_that_changed_are_refused(
    run, folder: Path, table: Path, tmp_path: Path, is_folder: bool
) -> None:
    inputs = (folder,) if is_folder else (folder, table)
    half_of(run, *inputs, shard_rows=2, batches=3 if is_folder else 6)
    before = contents(tmp_path / "set")
    status = (folder / "01.png").stat()
    # Of the same size, at another time.
    os.utime(folder / "01.png", ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    with pytest.raises(
        MismatchError,
        match="set: pictures of rows 0 to 1 have changed since they were embedded: the times of",
    ):
        run(*inputs, shard_rows=2)
    assert contents(tmp_path / "set") == before
    os.utime(folder / "01.png", ns=(status.st_atime_ns, status.st_mtime_ns))
    run(*inputs, shard_rows=2)
    # A finished set knows sizes alone: its bytes are those of any copy of the pictures.
    whole = contents(tmp_path / "set")
    os.utime(folder / "01.png", ns=(0, 0))
    assert run(*inputs, shard_rows=2).encoded == 0
    assert contents(tmp_path / "set") == whole
    with (folder / "01.png").open("ab") as file:
        file.write(b"x")
    with pytest.raises(MismatchError, match=r"rows 0 to 1 have changed .*: the sizes of their"):
        run(*inputs, shard_rows=2)
    assert contents(tmp_path / "set") == whole


def test_pictures_that_were_missing_or_broken_are_tried_again(
    run, folder: Path, table: Path, tmp_path: Path
) -> None:
    want = contents(run(folder, table, shard_rows=2, out=tmp_path / "whole").folder)
    data = {name: (folder / name).read_bytes() for name in ("00.png", "03.png")}
    (folder / "00.png").unlink()
    (folder / "03.png").write_bytes(data["03.png"][:200])
    made = run(folder, table, shard_rows=2)
    assert [(row["row"], row["bytes"]) for row in made.broken] == [(0, None), (3, 200)]
    # As long as nothing is mended, nothing is redone.
    assert run(folder, table, shard_rows=2).encoded == 0
    (folder / "00.png").write_bytes(data["00.png"])
    again = run(folder, table, shard_rows=2)
    assert (again.encoded, again.rows) == (2, 7)
    (folder / "03.png").write_bytes(data["03.png"])
    assert run(folder, table, shard_rows=2).broken == ()
    assert contents(tmp_path / "set") == want


def test_a_mistyped_folder_spoils_nothing(run, folder: Path, table: Path, tmp_path: Path) -> None:
    want = contents(run(folder, table, shard_rows=2, out=tmp_path / "whole").folder)
    with pytest.raises(EmbedError, match=r"none of 8 rows is in order; .* No such file"):
        run(folder / "more", table, shard_rows=2)
    run(folder, table, shard_rows=2)
    assert contents(tmp_path / "set") == want
    # And back: where nothing is in order any more, no file of an earlier run stays.
    for path in (tmp_path / "set" / "img_emb").iterdir():
        path.unlink()
    with pytest.raises(EmbedError, match="none of 8 rows is in order"):
        run(folder / "more", table, shard_rows=2)
    assert list(contents(tmp_path / "set")) == ["manifest.json"]


@pytest.mark.parametrize("what", ["img_emb", "text_emb", "metadata"])
def test_files_that_are_gone_or_cut_are_made_again(
    run, folder: Path, table: Path, tmp_path: Path, what: str
) -> None:
    want = contents(run(folder, table, shard_rows=3).folder)
    first, second, _ = sorted((tmp_path / "set" / what).iterdir())
    first.unlink()
    second.write_bytes(second.read_bytes()[:-1])
    assert run(folder, table, shard_rows=3).encoded == 6
    assert contents(tmp_path / "set") == want


def test_the_manifest_is_written_twice_and_the_journal_between(
    run, folder: Path, table: Path, tmp_path: Path
) -> None:
    seen = []

    def tick(items: int, busy: float) -> None:
        manifest = json.loads((tmp_path / "set" / "manifest.json").read_text())
        seen.append((manifest["complete"], manifest["counts"]["shards"]))
        assert 0 <= busy <= 1

    run(folder, table, shard_rows=2, progress=tick)
    assert set(seen) == {(False, 0)}
    manifest = json.loads((tmp_path / "set" / "manifest.json").read_text())
    assert (manifest["complete"], manifest["counts"]["shards"]) == (True, 4)
    for shard in manifest["shards"]:
        for name, size in shard["files"].items():
            assert (tmp_path / "set" / name).stat().st_size == size
    assert len(manifest["shards"][0]["files"]) == 3


def test_images_that_are_encoded_in_many_shards(run, folder: Path, tmp_path: Path) -> None:
    scattered, sorted_ = tmp_path / "scattered.csv", tmp_path / "sorted.csv"
    rows = [f"{i:02}.png,text {k}" for k in range(3) for i in range(4)]
    scattered.write_text("\n".join(["image_path,caption", *rows]))
    sorted_.write_text("\n".join(["image_path,caption", *sorted(rows)]))
    with pytest.warns(EmbedWarning, match="4 images are encoded 12 times: captions of one image"):
        assert run(folder, scattered, shard_rows=4).encoded == 12
    # Shards of 4 cut two of the four: 0 0 0 1 | 1 1 2 2 | 2 3 3 3. One more in five is no matter.
    assert run(folder, sorted_, shard_rows=6, out=tmp_path / "sorted").encoded == 4


def test_a_batch_is_no_longer_than_a_shard(run, folder: Path, tmp_path: Path) -> None:
    made = run(folder, batch_size=10**9, shard_rows=5)
    assert made.rows == 11
    known = json.loads((tmp_path / "set" / "manifest.json").read_text())
    assert known["made"]["computation"]["batch_size"] == 10**9


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        MemoryError(),
        RuntimeError("[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate"),
    ],
)
def test_too_little_memory(
    run, folder: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def features(*_: object) -> None:
        raise error

    monkeypatch.setattr(Encoder, "features", features)
    with pytest.raises(EmbedError, match="too small for a batch of 4 rows; wanted a smaller --b"):
        run(folder)
    monkeypatch.setattr(Encoder, "features", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run(folder)
