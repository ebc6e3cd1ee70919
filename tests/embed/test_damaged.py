"""Tars that were cut, files that are none, and what can be mended: nothing is lost in silence."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
import time
import warnings
from pathlib import Path

import polars as pl
import pytest
from PIL import Image

from clipsoid.embed import loader, looks
from clipsoid.embed.inputs import find_inputs
from clipsoid.embed.looks import bytes_of
from clipsoid.embed.tars import list_tar
from clipsoid.errors import EmbedError

BLOCK = 512


@pytest.fixture
def members(folder: Path) -> list[tuple[str, bytes]]:
    """Four samples of a picture and a caption."""
    return [
        member
        for i in range(4)
        for member in (
            (f"{i}.png", (folder / f"0{i}.png").read_bytes()),
            (f"{i}.txt", f"text {i}".encode()),
        )
    ]


def tar_of(path: Path, members: list[tuple[str, bytes]], mode: str = "w") -> list[int]:
    """Write a tar; where each header is, and the end block."""
    with path.open("wb") as file, tarfile.open(fileobj=file, mode=mode) as tar:
        starts = []
        for name, data in members:
            starts.append(tar.offset)
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
        return [*starts, tar.offset]


def test_a_tar_that_is_cut_or_damaged_is_refused(tmp_path: Path, members: list) -> None:
    path = tmp_path / "0.tar"
    starts = tar_of(path, members)
    whole = path.read_bytes()
    third, end = starts[4], starts[-1]
    for damaged, at in (
        (whole[:third], third),
        (whole[:third] + b"\x55" * BLOCK + whole[third + BLOCK :], third),
        (whole[: third + 100], third),
        (whole[:end], end),
        (whole[: end + BLOCK - 1], end),
    ):
        path.write_bytes(damaged)
        message = (
            rf"0\.tar: cannot be read as a tar: ends without its end block at byte {at}; wanted a "
            "whole tar"
        )
        with pytest.raises(EmbedError, match=message):
            find_inputs(path, None)
    path.write_bytes(whole[: third + 1000])
    with pytest.raises(EmbedError, match=r"0\.tar: cannot be read as a tar: unexpected end of da"):
        find_inputs(path, None)


def test_whole_tars_of_several_writers_are_read(
    tmp_path: Path, members: list, folder: Path
) -> None:
    path = tmp_path / "0.tar"
    end = tar_of(path, members)[-1]
    for blocks in (1, 2, 20):
        path.write_bytes(path.read_bytes()[:end] + bytes(blocks * BLOCK))
        assert len(list_tar(path)) == 4
    # As webdataset's writer does it, into a stream.
    tar_of(path, members, "w|")
    assert len(list_tar(path)) == 4
    for format in ("gnu", "pax", "ustar"):
        subprocess.run(
            ["tar", f"--format={format}", "-cf", path, "-C", folder, "00.png", "01.png"], check=True
        )
        assert len(list_tar(path)) == 2


def test_only_files_of_their_own_can_be_mended(
    run, folder: Path, tmp_path: Path, members: list
) -> None:
    members[0] = ("0.png", members[0][1][:100])
    del members[2]
    tar_of(tmp_path / "0.tar", members)
    made = run(tmp_path / "0.tar", shard_rows=2)
    assert [row["row"] for row in made.broken] == [0, 1]
    assert not [row for row in made.broken if "bytes" in row]
    # Nothing is left to be done, though a whole shard is broken.
    assert run(tmp_path / "0.tar", shard_rows=2).encoded == 0
    (folder / "02.png").write_bytes(b"broken")
    table = tmp_path / "t.csv"
    table.write_text("image,caption\n,a\n02.png,b\n03.png,c\n04.png,\n05.png,d\n")
    made = run(folder, table, out=tmp_path / "table")
    assert {row["row"]: row.get("bytes", "none") for row in made.broken} == {
        0: "none",
        1: 6,
        3: "none",
    }
    assert run(folder, table, out=tmp_path / "table").encoded == 0


def test_named_pipes_are_not_waited_for(run, folder: Path, tmp_path: Path) -> None:
    os.mkfifo(folder / "00pipe.jpg")
    made = run(folder)
    assert [(row["image_path"], row["reason"], row["bytes"]) for row in made.broken] == [
        ("00pipe.jpg", "is no regular file", None)
    ]
    assert bytes_of(loader.Place(str(folder / "00pipe.jpg"))) is None
    assert run(folder).encoded == 0
    os.mkfifo(tmp_path / "0.tar")
    with pytest.raises(EmbedError, match=r"0\.tar: is no regular file; wanted a tar"):
        find_inputs(tmp_path / "0.tar", None)


def test_files_are_looked_at_before_they_are_read(
    run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[str, str | None]] = []
    stat, read = looks._stat, loader.read

    def slow(file: str | None) -> tuple[int, int] | None:
        time.sleep(0.02)
        seen.append(("look", file))
        return stat(file)

    def noted(place: loader.Place) -> bytes:
        seen.append(("read", place.file))
        return read(place)

    monkeypatch.setattr(looks, "_stat", slow)
    monkeypatch.setattr(loader, "read", noted)
    run(folder, shard_rows=3)
    files = [str(path) for path in folder.rglob("*.png")]
    assert len(seen) == 2 * len(files)
    for file in files:
        assert seen.index(("look", file)) < seen.index(("read", file))


def test_what_pillow_warns_of_is_no_news(
    run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Between once and twice as many pixels, it warns.
    one = (folder / "00.png").read_bytes()
    width, height = Image.open(io.BytesIO(one)).size
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", int(width * height * 0.7))
    with pytest.warns(Image.DecompressionBombWarning):
        Image.open(io.BytesIO(one))
    for path in folder.rglob("*.png"):
        path.write_bytes(one)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert run(folder).broken == ()


def test_messages_name_columns_as_the_table_does(folder: Path, tmp_path: Path) -> None:
    table = tmp_path / "t.parquet"
    pl.DataFrame({"image": [1], "title": ["x"]}).write_parquet(table)
    with pytest.raises(EmbedError, match=r"t\.parquet: column 'image' is Int64; wanted text"):
        find_inputs(table, None)
    pl.DataFrame({"image": ["x"], "note": ["x"]}).write_parquet(table)
    with pytest.raises(EmbedError, match="has columns image, note; wanted one with captions: --ca"):
        find_inputs(None, table)
    pl.DataFrame({"title": ["x"], "note": ["x"]}).write_parquet(table)
    with pytest.raises(EmbedError, match="has columns title, note; wanted one with the paths of i"):
        find_inputs(table, None)


def test_a_column_that_is_chosen_is_not_taken_for_the_other(folder: Path, tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    table.write_text("text\n00.png\n")
    found = find_inputs(table, None, image_column="text").frame
    assert found["image_path"].to_list() == ["00.png"]
    assert "caption" not in found.columns
    table.write_text("image,path\nwhat is seen,00.png\n")
    found = find_inputs(table, None, caption_column="image").frame
    assert found.select("image_path", "caption").rows() == [("00.png", "what is seen")]
    with pytest.raises(EmbedError, match="images and captions are both to be in 'path'; wanted tw"):
        find_inputs(table, None, image_column="path", caption_column="path")
