"""Folders, tables, COCO's JSON and tars become the same rows; what cannot be read is named."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import polars as pl
import pytest

from clipsoid.embed.inputs import FILE, find_inputs
from clipsoid.embed.loader import Place, read
from clipsoid.embed.shards import Layout, cut
from clipsoid.errors import EmbedError
from embed.models import rows_of


def test_a_folder_is_read_in_order_of_its_paths(folder: Path) -> None:
    (folder / "notes.txt").write_text("no picture")
    (folder / ".hidden.png").write_bytes(b"")
    (folder / "B.JPG").write_bytes(b"x")
    found = find_inputs(folder, None)
    names = [f"{i:02}.png" for i in range(8)] + ["B.JPG"]
    assert found.frame["image_path"].to_list() == names + [f"more/{i:02}.png" for i in (8, 9, 10)]
    assert (found.has_images, found.has_captions, found.kind) == (True, False, "folder")


def test_tables_by_their_usual_names_and_by_any(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text('filepath,caption,uid\na/1.jpg,"one, two",007\n/b.jpg,,x\n')
    found = find_inputs(tmp_path / "t.csv", None).frame
    assert found.columns == ["image_path", "caption", "uid", FILE, "image_id"]
    assert found.rows() == [
        ("a/1.jpg", "one, two", "007", f"{tmp_path}/a/1.jpg", 0),
        ("/b.jpg", None, "x", "/b.jpg", 1),
    ]
    frame = pl.DataFrame({"where": ["1.jpg"], "what": ["one"], "caption": ["another"], "n": [3]})
    frame.write_parquet(tmp_path / "t.parquet")
    chosen = {"image_column": "where", "caption_column": "what"}
    found = find_inputs(tmp_path / "t.parquet", None, **chosen).frame
    assert found.rows() == [("1.jpg", "one", 3, f"{tmp_path}/1.jpg", 0)]
    frame.write_csv(tmp_path / "t.tsv", separator="\t")
    found = find_inputs(None, tmp_path / "t.tsv", **chosen)
    assert (found.has_images, found.frame["caption"].to_list()) == (False, ["one"])


def test_paths_beside_captions_begin_at_the_folder(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("image,text\n00.png,one\nmore/08.png,two\n00.png,three\n")
    found = find_inputs(folder, tmp_path / "t.csv")
    files = [str(folder / name) for name in ("00.png", "more/08.png", "00.png")]
    assert found.frame[FILE].to_list() == files
    shard = cut(found.frame, 0, Layout(tmp_path, 3, 10))
    assert shard.places == [Place(files[0]), Place(files[1])]
    assert shard.image_of.tolist() == [0, 1, 0]
    first = find_inputs(folder, tmp_path / "t.csv", captions_per_image=1)
    assert first.frame["caption"].to_list() == ["one", "two"]


def test_the_digest_is_of_what_the_rows_say(folder: Path, tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    table.write_text("image,text\n00.png,one\n01.png,two\n")
    digest = find_inputs(folder, table).digest()
    moved = folder.rename(tmp_path / "moved")
    assert find_inputs(moved, table).digest() == digest
    for other in ("01.png,one\n00.png,two", "00.png,one\n01.png,to", "00.png,one"):
        table.write_text(f"image,text\n{other}\n")
        assert find_inputs(moved, table).digest() != digest
    # Of a folder, the names; each shard knows the sizes.
    alone = find_inputs(moved, None).digest()
    with (moved / "00.png").open("ab") as file:
        file.write(b"x")
    assert find_inputs(moved, None).digest() == alone
    (moved / "00.png").rename(moved / "0.png")
    assert find_inputs(moved, None).digest() != alone


@pytest.fixture
def tars(folder: Path, tmp_path: Path) -> Path:
    """Two tars as img2dataset writes them; of one row no picture could be downloaded."""
    place = tmp_path / "tars"
    place.mkdir()
    for shard, numbers in ((0, range(0, 4)), (1, range(4, 8))):
        rows = []
        with tarfile.open(place / f"{shard:05}.tar", "w") as tar:
            for i in numbers:
                key = f"{shard:05}{i:04}"
                failed = i == 5
                status = "failed_to_download" if failed else "success"
                rows.append({"key": key, "status": status, "url": f"http://x/{i}", "width": i})
                if failed:
                    continue
                add(tar, f"{key}.png", (folder / f"{i:02}.png").read_bytes())
                add(tar, f"{key}.txt", f"caption {i}".encode())
                add(tar, f"{key}.json", json.dumps({"key": key}).encode())
        pl.DataFrame(rows).write_parquet(place / f"{shard:05}.parquet")
        (place / f"{shard:05}_stats.json").write_text("{}")
    return place


def add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))


def test_tars_are_the_same_rows_as_their_pictures(
    run, model, photos, tars: Path, tmp_path: Path
) -> None:
    made = run(tars, workers=2)
    kept = [0, 1, 2, 3, 4, 6, 7]
    table = pl.read_parquet(made.folder / "metadata" / "*.parquet")
    assert table["image_id"].to_list() == [f"{i // 4:05}{i:04}" for i in kept]
    assert table["caption"].to_list() == [f"caption {i}" for i in kept]
    assert table["url"].to_list() == [f"http://x/{i}" for i in kept]
    assert table["image_path"][0] == "00000.tar/000000000.png"
    want = model.images(*(photos[i] for i in kept))
    assert abs(rows_of(made.folder, "img_emb") - want).max() < 1e-3 * abs(want).max()
    for pattern in (f"{tars}/{{00000..00001}}.tar", f"{tars}/*.tar", [*sorted(tars.glob("*.tar"))]):
        again = run(pattern, workers=0)
        assert again.encoded == 0, pattern


def test_a_tar_without_a_picture_or_with_damage(run, tars: Path, tmp_path: Path) -> None:
    path = tmp_path / "one.tar"
    with tarfile.open(path, "w") as tar:
        add(tar, "a.txt", b"no picture")
        add(tar, "sub/b.png", b"no picture either")
    made = find_inputs(path, None)
    assert made.frame["image_id"].to_list() == ["a", "sub/b"]
    with pytest.raises(EmbedError, match=r"none of 2 rows is in order.*the sample has no picture"):
        run(path)
    data = (tars / "00000.tar").read_bytes()
    path.write_bytes(data[:3000])
    with pytest.raises(EmbedError, match=r"one\.tar: cannot be read as a tar: unexpected end"):
        find_inputs(path, None)
    path.write_bytes(b"x" * 2000)
    with pytest.raises(EmbedError, match=r"one\.tar: cannot be read as a tar"):
        find_inputs(path, None)


def test_bytes_of_a_tar_that_was_cut_since(tars: Path) -> None:
    path = tars / "00000.tar"
    place = Place(*find_inputs(path, None).frame.select(FILE, "_offset", "_length").row(0))
    assert read(place).startswith(b"\x89PNG")
    path.write_bytes(path.read_bytes()[: place.offset + 10])
    with pytest.raises(ValueError, match=f"found 10 bytes of {place.length}"):
        read(place)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("t.csv", "a,b\n1,2\n", r"t\.csv: has columns a, b; wanted one with captions"),
        ("t.csv", "caption\nx\n", r"t\.csv: does not say which image a caption is of"),
        ("t.csv", "image,caption\n", r"found no rows"),
        ("t.doc", "x", r"t\.doc: is no table; wanted \.csv, \.tsv, \.parquet, \.json or \.txt"),
        ("t.parquet", "x", r"t\.parquet: cannot be read"),
        ("t.json", "{", r"t\.json: cannot be read"),
        ("t.json", "[]", r"t\.json: is not COCO's JSON; wanted 'images' and 'annotations'"),
        (
            "t.json",
            '{"images": [{"id": 1, "file_name": "x"}], '
            '"annotations": [{"image_id": 2, "id": 1, "caption": "y"}]}',
            r"t\.json: annotations\[0\] is of image 2, which is not listed",
        ),
        (
            "t.json",
            '{"images": [{"id": 1}], "annotations": []}',
            r"t\.json: images\[0\] has file_name None; wanted text",
        ),
    ],
)
def test_captions_that_cannot_be_used(
    folder: Path, tmp_path: Path, name: str, text: str, message: str
) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(EmbedError, match=message):
        find_inputs(folder, tmp_path / name)


def test_inputs_that_cannot_be_used(folder: Path, tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    table.write_text("image,caption\n00.png,x\n")
    (tmp_path / "empty").mkdir()
    cases = [
        ((None, None), {}, "neither images nor captions are given"),
        ((tmp_path / "nothing", None), {}, "nothing: found no such file"),
        (
            (tmp_path / "empty", None),
            {},
            r"empty: holds no pictures and no tars; wanted \.avif .* \.tar",
        ),
        ((folder / "00.png", None), {}, r"00\.png: is a picture; wanted the folder"),
        ((folder, tmp_path / "no.csv"), {}, r"no\.csv: captions: found no such file"),
        ((table, table), {}, r"t\.csv: is no folder; beside captions"),
        (([folder], table), {}, "images is a list of 1; beside captions, wanted a folder"),
        ((table, None), {"image_column": "x"}, r"has no column 'x'; it has image, caption"),
        ((folder, None), {"captions_per_image": 1}, "captions_per_image needs captions"),
        ((table, None), {"captions_per_image": 0}, "captions_per_image is 0; wanted 1 or more"),
    ]
    for arguments, options, message in cases:
        with pytest.raises(EmbedError, match=message):
            find_inputs(*arguments, **options)
    pl.DataFrame({"image": [1]}).write_parquet(tmp_path / "t.parquet")
    with pytest.raises(EmbedError, match="column 'image' is Int64; wanted text"):
        find_inputs(tmp_path / "t.parquet", None)
