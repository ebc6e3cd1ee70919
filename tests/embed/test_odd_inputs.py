"""Odd files, tables, captions and tars: a broken row with its reason, or an error that says it."""

from __future__ import annotations

import csv
import io
import json
import os
import tarfile
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest
from PIL import Image

from clipsoid.embed.inputs import Inputs, find_inputs
from clipsoid.embed.loader import Place, read
from clipsoid.embed.pictures import PictureError, decode
from clipsoid.embed.shards import Layout, Shard, cut
from clipsoid.errors import EmbedError, EmbedWarning, OutputError


def shard_of(found: Inputs) -> Shard:
    return cut(found.frame, 0, Layout(Path(), found.count, 1000))


def reasons(found: Inputs) -> dict[int, str]:
    """Why captions are missing, as the tokens say it."""
    from clipsoid.embed.loader import Decoder

    decoder = Decoder(None, 1, 1, list)
    return dict(decoder.tokens(shard_of(found).items("text"))[1])


def make_tar(path: Path, **members: bytes | str) -> Path:
    """Write a tar; in names, underscores stand for dots."""
    return tar_of(path, [(name.replace("_", "."), data) for name, data in members.items()])


def tar_of(path: Path, members: list[tuple[str, bytes | str]]) -> Path:
    path.parent.mkdir(exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, data in members:
            content = data.encode() if isinstance(data, str) else data
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


def test_a_set_is_made_of_the_metadata_of_another(run, folder: Path, tmp_path: Path) -> None:
    first = run(folder, shard_rows=3)
    table = tmp_path / "chosen.parquet"
    chosen = pl.read_parquet(first.folder / "metadata" / "*.parquet")[[4, 6, 2]]
    assert chosen["source_row"].to_list() == [4, 6, 2]
    chosen.with_columns(
        boxes=pl.Series([[[0.5]], [], None]), size=pl.Series([{"w": 1}] * 3), raw=b"\xff"
    ).write_parquet(table)
    table.rename(folder / "chosen.parquet")
    again = run(folder / "chosen.parquet", out=tmp_path / "again")
    made = pl.read_parquet(again.folder / "metadata" / "*.parquet")
    # Rows are those of the table now.
    assert made["source_row"].to_list() == [0, 1, 2]
    assert made["image_path"].to_list() == chosen["image_path"].to_list()
    assert made["boxes"].to_list() == [[[0.5]], [], None]
    assert made["raw"].to_list() == [b"\xff"] * 3


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ([[0.5], None], [[0.5], []]),
        ([[["a", "b"]]], [[["a"], ["b"]]]),
        ([{"x": 1, "y": None}], [{"x": None, "y": 1}]),
        ([b"\xff"], [b"\xfe"]),
        ([timedelta(1)], [timedelta(2)]),
        ([None, ""], ["", None]),
    ],
)
def test_the_digest_tells_values_of_any_type_apart(one: list, other: list) -> None:
    def digest(values: list) -> str:
        return Inputs("table", pl.DataFrame({"caption": "x", "v": values})).digest()

    assert digest(one) == digest(list(one)) != digest(other)


def test_columns_beside_a_tar_may_be_lists(folder: Path, tmp_path: Path) -> None:
    path = make_tar(tmp_path / "0.tar", a_png=(folder / "00.png").read_bytes(), a_txt="one")
    beside = {"key": ["a", "b"], "face_bboxes": [[[0.1, 0.2]], []], "source_row": [7, 8]}
    pl.DataFrame(beside).write_parquet(tmp_path / "0.parquet")
    found = find_inputs(path, None)
    assert found.frame["face_bboxes"].to_list() == [[[0.1, 0.2]]]
    assert "source_row" not in found.frame.columns
    assert len(found.digest()) == 32


def test_several_folders_and_lists_of_one(folder: Path, tmp_path: Path) -> None:
    alone = find_inputs(folder, None)
    assert find_inputs([folder], None).digest() == alone.digest()
    other = tmp_path / "other"
    other.mkdir()
    (other / "00.png").write_bytes(b"x")
    found = find_inputs([other, folder], None).frame
    names = [f"photos/{name}" for name in alone.frame["image_path"]]
    assert found["image_path"].to_list() == ["other/00.png", *names]
    assert Path(found["_file"][0]).read_bytes() == b"x"
    table = tmp_path / "t.csv"
    table.write_text("path\nphotos/00.png\n")
    assert find_inputs([table], None).kind == "table"
    for images, message in (
        ([], "images is an empty list; wanted one path or more"),
        ([folder, folder / "more"], r"more/08\.png: is listed twice"),
        ([folder, table], r"t\.csv: is neither a folder nor a \.tar, and no .* given alone"),
    ):
        with pytest.raises(EmbedError, match=message):
            find_inputs(images, None)


def test_an_output_among_several_folders(run, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "a.png").write_bytes(b"x")
    with pytest.raises(OutputError, match=r"photos/set: lies among the images of .*photos;"):
        run([tmp_path / "other", folder], out=folder / "set")


def test_pictures_and_tars_are_not_mixed(folder: Path, tmp_path: Path) -> None:
    lone = make_tar(tmp_path / "tars" / "b.TAR", a_png=b"x")
    assert find_inputs(lone.parent, None).kind == "tar"
    with pytest.raises(EmbedError, match=r"photos: holds pictures, .*b\.TAR is a tar; wanted one"):
        find_inputs([lone, folder], None)
    make_tar(folder / "a.tar", a_png=b"x")
    message = r"photos: holds pictures \(11\) and tars \(1\); wanted one of them: name the tars, '"
    with pytest.raises(EmbedError, match=message):
        find_inputs(folder, None)
    assert find_inputs(f"{folder}/*.tar", None).count == 1


def test_what_is_passed_over_is_counted(run, folder: Path) -> None:
    for name in ("a.heic", "b.HEIC", "notes", "more/c.txt", ".hidden"):
        (folder / name).write_bytes(b"x")
    made = run(folder)
    assert made.passed_over == {"": 1, ".heic": 2, ".txt": 1}
    assert json.loads(json.dumps(made.to_dict()))["passed_over"][".heic"] == 2


def test_several_captions_keep_their_images_id(run, folder: Path, tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    lines = ["02.png,a", "00.png,b", "02.png,c", ",d", "00.png,e", "01.png,f"]
    table.write_text("\n".join(["image_path,caption", *lines]))
    with pytest.warns(EmbedWarning, match="4 images are encoded 6 times"):
        made = run(folder, table, shard_rows=2)
    rows = pl.read_parquet(made.folder / "metadata" / "*.parquet")
    assert rows.select("source_row", "image_id").rows() == [(0, 0), (1, 1), (2, 0), (4, 1), (5, 5)]
    one = find_inputs(folder, table, captions_per_image=1).frame
    assert one["image_id"].to_list() == [0, 1, None, 3]
    # One that is there is kept.
    table.write_text("image_id,image_path,caption\nx7,00.png,a\n")
    assert find_inputs(folder, table).frame["image_id"].to_list() == ["x7"]


def test_files_that_cannot_be_opened_are_broken_rows(run, folder: Path, tmp_path: Path) -> None:
    (folder / "dangling.jpg").symlink_to("/nowhere/x.jpg")
    made = run(folder)
    assert [(row["image_path"], row["reason"]) for row in made.broken] == [
        ("dangling.jpg", "No such file or directory")
    ]
    for file, reason in (
        ("a\0b.jpg", "the path cannot be opened: embedded null byte"),
        (None, "the path is missing"),
    ):
        with pytest.raises(PictureError, match=reason):
            read(Place(file))
    table = tmp_path / "t.csv"
    table.write_text('image_path,caption\n"",a\n,b\n')
    assert shard_of(find_inputs(folder, table)).places == [Place(None)]


def test_names_that_are_not_utf8(folder: Path, tmp_path: Path) -> None:
    odd = os.fsdecode(b"\xff.png")
    path = tar_of(tmp_path / "one.tar", [(odd, b"x")])
    with pytest.raises(EmbedError, match=r"'\\udcff.*is no UTF-8; wanted a name that is"):
        find_inputs(path, None)
    try:
        (folder / odd).write_bytes(b"x")
    except OSError:
        pytest.skip("this file system has only names that are UTF-8")
    with pytest.raises(EmbedError, match=r"'\\udcff\.png': is no UTF-8; wanted a name that is"):
        find_inputs(folder, None)


IMAGES = [{"id": 0, "file_name": "00.png"}, {"id": 1, "file_name": "01.png"}]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"images": 5, "annotations": []}, "images is 5; wanted a list"),
        ({"images": IMAGES, "annotations": None}, "annotations is None; wanted a list"),
        ({"images": IMAGES, "annotations": [3]}, r"annotations\[0\] is 3; wanted an object"),
        ({"images": [*IMAGES, IMAGES[1]], "annotations": []}, r"images\[2\] has id 1, which anoth"),
        (
            {"images": [{"id": 2**63, "file_name": "00.png"}], "annotations": []},
            r"images\[0\] has id 9223372036854775808; wanted an integer of 64 bits",
        ),
        *(
            (
                {"images": IMAGES, "annotations": [{"id": 1, "image_id": 0, "caption": "x"} | odd]},
                rf"annotations\[0\] has {message}",
            )
            for odd, message in (
                ({"id": "a"}, "id 'a'; wanted an integer of 64 bits"),
                ({"id": 2**63}, "id 9223372036854775808; wanted an integer of 64 bits"),
                ({"caption": None}, "caption None; wanted text"),
                ({"caption": "\ud800"}, r"caption '\\ud800'; wanted text"),
            )
        ),
    ],
)
def test_malformed_coco(folder: Path, tmp_path: Path, content: object, message: str) -> None:
    path = tmp_path / "t.json"
    path.write_text(json.dumps(content))
    with pytest.raises(EmbedError, match=rf"t\.json: {message}"):
        find_inputs(folder, path)


def test_json_that_is_too_deep(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "t.json").write_text("[" * 100_000)
    with pytest.raises(EmbedError, match=r"t\.json: cannot be read: maximum recursion depth"):
        find_inputs(folder, tmp_path / "t.json")


def test_one_bad_caption_in_a_tar_is_one_missing_caption(tmp_path: Path) -> None:
    members = [("0.txt", "\ufeffgood"), ("1.txt", b"\xff"), ("2.json", "{"), ("3.json", "[1]")]
    members += [("4.json", '{"caption": "\\ud800"}'), ("5.json", "[" * 100_000), ("6.json", "{}")]
    path = tar_of(
        tmp_path / "one.tar",
        [*((f"{i}.png", b"x") for i in range(8)), *members, ("7.json", '{"caption": "fine"}')],
    )
    found = find_inputs(path, None)
    assert found.frame["caption"].to_list() == ["good", *[None] * 6, "fine"]
    said = reasons(found)
    assert {row: reason.partition(":")[0] for row, reason in said.items()} == {
        1: "the caption cannot be read",
        2: "the caption cannot be read",
        3: "the caption's JSON is [1]; wanted an object",
        4: "the caption in the JSON is no text",
        5: "the caption cannot be read",
        6: "the caption is missing",
    }
    assert "can't decode byte 0xff" in said[1]


def test_missing_captions_of_a_csv_are_not_empty_ones(folder: Path, tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    table.write_text('image_path,caption\n00.png,\n01.png,""\n02.png\n')
    found = find_inputs(folder, table)
    assert found.frame["caption"].to_list() == [None, "", None]
    assert reasons(found) == {0: "the caption is missing", 2: "the caption is missing"}


def test_columns_are_those_of_tables(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_text("one\n")
    (tmp_path / "t.json").write_text(json.dumps({"images": IMAGES, "annotations": []}))
    tar = make_tar(tmp_path / "t.tar", a_png=b"x")
    for images, captions, name in (
        (folder, None, "photos"),
        (tar, None, r"t\.tar"),
        (None, tmp_path / "t.txt", r"t\.txt"),
        (folder, tmp_path / "t.json", r"t\.json"),
    ):
        for option in ("image_column", "caption_column"):
            with pytest.raises(EmbedError, match=rf"{option} is 'x', but .*{name} is no table"):
                find_inputs(images, captions, **{option: "x"})


def test_odd_members_of_a_tar(folder: Path, tmp_path: Path) -> None:
    picture = (folder / "00.png").read_bytes()
    members = [("1.PNG", picture), ("1.jpg", b"no"), ("._1.png", b"mac"), ("._1.txt", b"\xff")]
    path = tar_of(tmp_path / "one.TAR", [*members, ("1.TXT", "one"), ("sub/2.txt", "two")])
    found = find_inputs(path, None)
    assert found.frame.select("image_id", "image_path", "caption").rows() == [
        ("1", "one.TAR/1.PNG", "one"),
        ("sub/2", "one.TAR/sub/2", "two"),
    ]
    first, second = shard_of(found).places
    assert read(first) == picture
    with pytest.raises(PictureError, match="the sample has no picture"):
        read(second)


@pytest.mark.parametrize(
    ("suffix", "separator", "what"), [("csv", ",", "comma"), ("tsv", "\t", "tab")]
)
def test_a_line_with_too_many_fields_is_named(
    folder: Path, tmp_path: Path, suffix: str, separator: str, what: str
) -> None:
    path = tmp_path / f"t.{suffix}"
    with path.open("w", newline="") as file:
        lines = csv.writer(file, delimiter=separator)
        lines.writerows([["image", "caption"], ["0", f"fine{separator}\nso"], ["1", "a", "b"]])
    with pytest.raises(EmbedError) as raised:
        find_inputs(folder, path)
    assert str(raised.value) == (
        f"{path}: cannot be read: line 4 has 3 fields, the header 2; "
        f"a {what} in a caption needs quotes"
    )


def test_advice_for_programmers_is_left_out(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text('image,caption\n00.png,"a\n')
    with pytest.raises(EmbedError, match=r"t\.csv: cannot be read: [^\n]+$"):
        find_inputs(folder, path)


def test_names_that_a_tar_holds_twice(folder: Path, tmp_path: Path) -> None:
    picture = (folder / "00.png").read_bytes()
    twice = [("0.png", picture), ("0.txt", "one"), ("0.png", picture), ("0.txt", "two")]
    with pytest.raises(EmbedError, match=r"t\.tar: holds 0\.png twice; wanted each name once"):
        find_inputs(tar_of(tmp_path / "t.tar", twice), None)
    dots = [("a.png", picture), ("b.1.png", picture), ("b.2.png", picture)]
    with pytest.raises(
        EmbedError, match=r"t\.tar: b\.1\.png: what follows the first dot of a name"
    ):
        find_inputs(tar_of(tmp_path / "t.tar", dots), None)
    # Beside its picture, a map of it is no matter.
    maps = [("a.png", picture), ("a.map.png", picture)]
    assert find_inputs(tar_of(tmp_path / "t.tar", maps), None).count == 1


def test_quotes_that_have_no_other(tmp_path: Path) -> None:
    path = tmp_path / "t.tsv"
    path.write_text('image\tcaption\n0.jpg\t"the cat\n1.jpg\tb\n2.jpg\tdog"\n')
    with pytest.raises(EmbedError, match=r"t\.tsv: row 0 has several lines within quotes"):
        find_inputs(path, None)
    path.write_text('image\tcaption\n0.jpg\t"two\nlines"\n1.jpg\t"a\ttab"\n')
    assert find_inputs(path, None).frame["caption"].to_list() == ["two\nlines", "a\ttab"]
    path = tmp_path / "t.csv"
    path.write_text('image,caption\n0.jpg,a\n1.jpg,5" wide\n2.jpg,b\n3.jpg,6" x\n')
    with pytest.raises(EmbedError, match=r"t\.csv: .*line 3 has a quote without another"):
        find_inputs(path, None)


def test_spaces_around_the_names_of_columns(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("image_path, caption\n0.jpg,a\n")
    assert find_inputs(path, None).frame["caption"].to_list() == ["a"]


def test_a_program_for_pictures_is_none(folder: Path) -> None:
    data = io.BytesIO()
    Image.open(folder / "00.png").convert("RGB").save(data, "EPS")
    with pytest.raises(PictureError, match="is no picture that Pillow knows"):
        decode(data.getvalue())
