"""A fit of groups that is stopped and gone on with gives the bytes of one that never was."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

import clipsoid as cs
from clipsoid.errors import MismatchError, OutputError, StoreError
from clipsoid.store import checkpoint as pace
from clipsoid.store.group_checkpoint import fit_groups

LENGTHS = (70, 500, 0, 5, 300, 44)


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    """Shards of two element types, with a group that the last alone has, and a missing row."""
    folder, rng = tmp_path / "in", np.random.default_rng(0)
    folder.mkdir()
    for i, length in enumerate(LENGTHS):
        rows = (rng.normal(size=(length, 6)) + 1).astype(np.float32)
        if i == 1:
            rows[3], rows[77, 2] = 0, np.nan
        lists: list[list[float] | None] = rows.tolist()
        if i == 4:
            lists[9] = None
        kind = pl.Float32 if i % 2 else pl.Float64
        embedding = pl.Series(lists, dtype=pl.Array(kind, 6))
        label = [f"{(row * row) % 5 if i < 5 else 'last'}" for row in range(length)]
        frame = pl.DataFrame({"embedding": embedding, "label": pl.Series(label, dtype=pl.String)})
        frame.write_parquet(folder / f"{i}.parquet")
    return folder


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkpoint at every end of a shard."""
    monkeypatch.setattr(pace, "EVERY", -1.0)
    monkeypatch.setattr(pace, "SHARE", 1e9)


def saved(groups: cs.GroupedEllipsoids, path: Path) -> bytes:
    groups.save(path)
    return path.read_bytes()


def stopped(folder: Path, path: Path, rows: int) -> None:
    """Fit until so many rows were seen."""
    seen: list[int] = []

    def progress(more: int) -> None:
        seen.append(more)
        if sum(seen) >= rows:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        fit_groups(cs.open_store(folder), "label", path, on_invalid="skip", progress=progress)


def test_it_goes_on_to_the_bit_from_every_shard(labelled: Path, tmp_path: Path) -> None:
    store, path = cs.open_store(labelled), tmp_path / ".g.checkpoint"
    want = cs.GroupedEllipsoids.fit(store, "label", on_invalid="skip")
    assert want.invalid.to_dict() == {"non_finite": 1, "zero_norm": 1, "missing": 1}
    for rows in (571, 575, 876):
        stopped(labelled, path, rows)
        resumed: list[int] = []
        found = fit_groups(store, "label", path, on_invalid="skip", progress=resumed.append)
        # The rows of the shards before were not read again.
        assert resumed[0] >= 570 and sum(resumed) == sum(LENGTHS)
        assert saved(found, tmp_path / "got") == saved(want, tmp_path / "want")
        path.unlink()


def test_another_fit_does_not_go_on_with_it(labelled: Path, tmp_path: Path) -> None:
    path = tmp_path / ".g.checkpoint"
    stopped(labelled, path, 600)
    kept = path.read_bytes()
    store = cs.open_store(labelled)
    with pytest.raises(OutputError, match=r"\.g\.checkpoint: was begun with encoder None"):
        fit_groups(store, "label", path, on_invalid="skip", encoder="another")
    other = labelled / "3.parquet"
    pl.read_parquet(other).with_columns(label=pl.lit("more of it")).write_parquet(other)
    with pytest.raises(MismatchError, match=r"3\.parquet: has changed since .*\.g\.checkpoint"):
        fit_groups(cs.open_store(labelled), "label", path, on_invalid="skip")
    assert path.read_bytes() == kept


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (b'\\"shards\\": 2', b'\\"shards\\": 9', "it is of 9 shards of 6"),
        (b'\\"missing\\": 0', b'\\"missing\\":-1', "missing"),
        (b'"norms"', b'"morns"', "norms"),
        (b"groups.checkpoint", b"groups.checkpoinT", "is of format"),
    ],
)
def test_a_damaged_checkpoint_is_named(
    labelled: Path, tmp_path: Path, old: bytes, new: bytes, words: str
) -> None:
    path = tmp_path / ".g.checkpoint"
    stopped(labelled, path, 571)
    assert path.read_bytes().count(old) == 1
    path.write_bytes(path.read_bytes().replace(old, new))
    with pytest.raises(
        StoreError, match=rf"\.g\.checkpoint: .*{words}.*; remove it to begin again"
    ):
        fit_groups(cs.open_store(labelled), "label", path, on_invalid="skip")
