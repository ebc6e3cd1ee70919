"""Metadata row by row: each table beside the score file of its own shard, whatever the order."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

import clipsoid as cs
from clipsoid.cli import main
from selection.makers import scores, write

#: As many as have numbers of two digits, so that text and numbers sort differently.
SIZES = tuple(range(20, 32))


def tables(folder: Path, name: str, sizes: tuple[int, ...] = SIZES) -> Path:
    """Write a table for each shard whose captions say which shard and row they are of."""
    folder.mkdir(parents=True)
    for i, size in enumerate(sizes):
        own = pl.DataFrame({"caption": [f"{i}:{row}" for row in range(size)]})
        own.write_parquet(folder / name.format(i))
    return folder


def own_captions(found: pl.DataFrame) -> list[str]:
    """Return what the captions are to be, by the places of the rows."""
    number = found["shard"].str.extract(r"(\d+)\.npy$")
    return [f"{int(i)}:{row}" for i, row in zip(number, found["row"], strict=True)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write(scores(SIZES), tmp_path / "scores")


@pytest.mark.parametrize(
    "name", ["metadata_{}.parquet", "metadata_{:03d}.parquet", "img_{}.parquet", "{:05d}.parquet"]
)
def test_every_row_gets_its_own(folder: Path, tmp_path: Path, name: str) -> None:
    # All of one length: a count of rows tells nothing.
    frame = scores((25,) * 12)
    same = write(frame, tmp_path / "same")
    for given, sizes in ((folder, SIZES), (same, (25,) * 12)):
        metadata = tables(tmp_path / f"metadata of {given.name}", name, sizes)
        found = cs.select(given, metadata=metadata).frame.collect()
        assert found["caption"].to_list() == own_captions(found)
        given_apart = sorted(metadata.iterdir(), reverse=True)
        again = cs.select(given, metadata=given_apart).frame.collect()
        assert again.equals(found)


def test_what_score_writes_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "set" / "img_emb").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for i in range(12):
        np.save(tmp_path / "set" / "img_emb" / f"img_emb_{i}.npy", rng.normal(size=(6, 4)))
    tables(tmp_path / "set" / "metadata", "metadata_{:03d}.parquet", (6,) * 12)
    out = tmp_path / "scores"
    assert main(["score", str(tmp_path / "set"), "--out", str(out), "--quiet"]) == 0
    # The folder of the set has the same tables, one folder further down.
    for metadata in (tmp_path / "set" / "metadata", tmp_path / "set"):
        found = cs.select(out, metadata=metadata, where="caption LIKE '%:3'").frame.collect()
        assert found["caption"].to_list() == [f"{i}:3" for i in range(12)] == own_captions(found)


def test_files_are_in_the_order_of_their_numbers(folder: Path, tmp_path: Path) -> None:
    selection = cs.select(folder, fraction=0.5)
    selection.write(tmp_path / "half.parquet")
    shards = pl.read_parquet(tmp_path / "half.parquet")["shard"].unique(maintain_order=True)
    assert shards.to_list() == [f"img_{i}.npy" for i in range(12)]
    recipe = (tmp_path / "half.parquet.json").read_text()
    assert recipe.index("img_2.parquet") < recipe.index("img_10.parquet")


def test_folders_of_shards_with_the_same_numbers(tmp_path: Path) -> None:
    for part in ("a", "b"):
        frame = scores((9, 9)).with_columns(shard=pl.format(f"{part}/{{}}", "shard"))
        (tmp_path / "scores" / part).mkdir(parents=True)
        for i, own in enumerate(frame.partition_by("shard", maintain_order=True)):
            made = f'{{"reference": "r", "shard": "{part}/img_{i}.npy", "shard_rows": 9}}'
            own.write_parquet(
                tmp_path / "scores" / part / f"img_{i}.parquet", metadata={"clipsoid": made}
            )
            meta = tmp_path / "metadata" / part / f"metadata_{i}.parquet"
            meta.parent.mkdir(parents=True, exist_ok=True)
            pl.DataFrame({"of": [f"{part}/img_{i}.npy"] * 9}).write_parquet(meta)
    found = cs.select(tmp_path / "scores", metadata=tmp_path / "metadata").frame.collect()
    assert found["of"].to_list() == found["shard"].to_list()
    # Without the folders, a number is that of two shards.
    flat = [tmp_path / "metadata" / "a" / f"metadata_{i}.parquet" for i in range(2)]
    with pytest.raises(cs.SelectionError, match=r"_0.parquet: is called as .*a/img_0.* and as .*b"):
        cs.select(tmp_path / "scores", metadata=flat)


def test_part_of_the_scores(folder: Path, tmp_path: Path) -> None:
    metadata = tables(tmp_path / "metadata", "metadata_{:03d}.parquet")
    some = [folder / "img_10.parquet", folder / "img_2.parquet"]
    selection = cs.select(some, metadata=metadata)
    found = selection.frame.collect()
    assert found["caption"].to_list() == own_captions(found)
    assert found["shard"].unique(maintain_order=True).to_list() == ["img_2.npy", "img_10.npy"]
    assert selection.notes == ("10 files of metadata are of shards that are not here",)


def test_one_table_of_one_shard(tmp_path: Path) -> None:
    folder = write(scores((30,)), tmp_path / "scores")
    own = tables(tmp_path / "own", "captions.parquet", (30,))
    found = cs.select(folder, metadata=own).frame.collect()
    assert found["caption"].to_list() == own_captions(found)
    (own / "captions.parquet").rename(own / "metadata_1.parquet")
    with pytest.raises(cs.SelectionError, match=r"img_0.parquet: no metadata of its name or its n"):
        cs.select(folder, metadata=own)


def test_names_that_do_not_say_it(folder: Path, tmp_path: Path) -> None:
    metadata = tables(tmp_path / "metadata", "metadata_{:03d}.parquet")
    twin = metadata / "more_7.parquet"
    twin.write_bytes((metadata / "metadata_007.parquet").read_bytes())
    with pytest.raises(
        cs.SelectionError, match=r"img_7.parquet: metadata_007.parquet, more_7.parquet have its num"
    ):
        cs.select(folder, metadata=metadata)
    twin.unlink()
    (metadata / "metadata_007.parquet").rename(metadata / "metadata_099.parquet")
    with pytest.raises(
        cs.SelectionError,
        match=r"img_7.parquet: no metadata of its name or its number; found metadata_000.parquet, ",
    ):
        cs.select(folder, metadata=metadata)


def test_rows_that_img2dataset_failed_to_download(folder: Path, tmp_path: Path) -> None:
    metadata = tmp_path / "metadata"
    metadata.mkdir()
    for i, size in enumerate(SIZES):
        # After every third row, one that failed.
        rows = [(f"{i}:{row}", "success") for row in range(size)]
        for at in range(size // 3, 0, -1):
            rows.insert(3 * at, ("gone", "failed_to_download"))
        own = pl.DataFrame(rows, schema=["caption", "status"], orient="row")
        own.write_parquet(metadata / f"{i:05d}.parquet")
    found = cs.select(folder, metadata=metadata).frame.collect()
    assert found["caption"].to_list() == own_captions(found)
    last = metadata / "00011.parquet"
    pl.read_parquet(last)[1:].write_parquet(last)
    with pytest.raises(
        cs.MismatchError,
        match=r"00011.parquet: has 40 rows, 30 of them with status 'success', but img_11.npy has 3",
    ):
        cs.select(folder, metadata=metadata)


def test_scores_that_do_not_say_their_shard(tmp_path: Path) -> None:
    folder = tmp_path / "scores"
    folder.mkdir()
    scores((30,)).write_parquet(folder / "img_0.parquet")
    metadata = tables(tmp_path / "metadata", "metadata_{}.parquet", (30,))
    with pytest.raises(cs.SelectionError, match=r"img_0.parquet: does not say which shard it is"):
        cs.select(folder, metadata=metadata)
