"""Every kind of picture is decoded as people see it, or refused with its reason."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image, ImageOps

from clipsoid.embed.pictures import PictureError, check_shape, decode
from clipsoid.errors import EmbedError
from embed.models import rows_of, written


@pytest.fixture
def picture() -> Image.Image:
    """Quadrants of red, green, blue and grey: turned or flipped, it is another."""
    pixels = np.zeros((20, 30, 3), np.uint8)
    pixels[:10, :15, 0] = pixels[:10, 15:, 1] = pixels[10:, :15, 2] = 200
    pixels[10:, 15:] = 90
    return Image.fromarray(pixels)


def same(data: bytes, want: Image.Image) -> None:
    found = decode(data)
    assert found.mode == "RGB"
    assert np.array_equal(np.asarray(found), np.asarray(want))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "TIFF"])
def test_ordinary_pictures_are_pillows(picture: Image.Image, kind: str, tmp_path: Path) -> None:
    data = written(picture, kind)
    (tmp_path / "picture").write_bytes(data)
    same(data, Image.open(tmp_path / "picture"))


def test_cmyk_and_grey_are_converted(picture: Image.Image) -> None:
    cmyk = picture.convert("CMYK")
    same(written(cmyk, "TIFF"), cmyk.convert("RGB"))
    same(written(picture.convert("L"), "PNG"), picture.convert("L").convert("RGB"))
    same(written(picture.convert("1"), "PNG"), picture.convert("1").convert("RGB"))


def test_sixteen_bits_are_scaled_not_cut(picture: Image.Image) -> None:
    grey = np.linspace(0, 65535, 600).round().astype(np.uint16).reshape(20, 30)
    want = Image.fromarray((grey >> 8).astype(np.uint8)).convert("RGB")
    same(written(Image.fromarray(grey), "PNG"), want)
    same(written(Image.fromarray(grey), "TIFF"), want)
    with pytest.raises(PictureError, match="grey from -1 to 70000; wanted 0 to 65535"):
        decode(written(Image.fromarray(np.array([[-1, 70000]], np.int32)), "TIFF"))
    with pytest.raises(PictureError, match="floating point has no known range"):
        decode(written(Image.fromarray(np.ones((2, 2), np.float32)), "TIFF"))


def test_what_is_transparent_is_over_white(picture: Image.Image) -> None:
    alpha = Image.fromarray(np.repeat(np.array([[0, 255]], np.uint8), 15, 1).repeat(20, 0))
    seen = np.asarray(picture).copy()
    seen[:, :15] = 255
    clear = picture.copy()
    clear.putalpha(alpha)
    same(written(clear, "PNG"), Image.fromarray(seen))
    # A palette of which one colour is clear: red is.
    palette = picture.quantize(8)
    red = palette.getpixel((0, 0))
    seen = np.asarray(picture).copy()
    seen[:10, :15] = 255
    same(written(palette, "PNG", transparency=red), Image.fromarray(seen))
    # Half of it, to the rounding of 8 bits.
    clear.putalpha(128)
    half = np.asarray(decode(written(clear, "PNG"))).astype(float)
    assert np.abs(half - (np.asarray(picture) * 128.0 + 255 * 127) / 255).max() <= 1


@pytest.mark.parametrize("turned", range(1, 9))
def test_exif_says_which_side_is_up(picture: Image.Image, turned: int) -> None:
    # How the stored pixels are brought upright, by the EXIF standard.
    upright = {
        1: lambda x: x,
        2: lambda x: x[:, ::-1],
        3: lambda x: x[::-1, ::-1],
        4: lambda x: x[::-1],
        5: lambda x: x.transpose(1, 0, 2),
        6: lambda x: np.rot90(x, -1),
        7: lambda x: x[::-1, ::-1].transpose(1, 0, 2),
        8: lambda x: np.rot90(x, 1),
    }[turned]
    exif = Image.Exif()
    exif[0x0112] = turned
    stored = written(picture, "PNG", exif=exif)
    same(stored, Image.fromarray(np.ascontiguousarray(upright(np.asarray(picture)))))


def tiff(*entries: tuple[int, int, int]) -> bytes:
    """A TIFF file, or a block of EXIF: entries of a tag, a type and a value or offset."""
    fields = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in entries)
    return b"II*\0" + struct.pack("<IH", 8, len(entries)) + fields + bytes(4)


#: TIFF's types.
ASCII, SHORT, RATIONAL = 2, 3, 5


@pytest.mark.parametrize("tag", [0x011A, 0x00FE], ids=["XResolution", "NewSubfileType"])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_a_malformed_field_of_exif_leaves_the_pixels(
    picture: Image.Image, kind: str, tag: int, tmp_path: Path
) -> None:
    exif = b"Exif\0\0" + tiff((0x0112, SHORT, 6), (tag, ASCII, ord("x")))
    (tmp_path / "picture").write_bytes(written(picture, kind, exif=exif, lossless=True))
    stored = Image.open(tmp_path / "picture")
    with pytest.raises((TypeError, struct.error)):
        ImageOps.exif_transpose(stored)
    turned = np.rot90(np.asarray(stored), -1)
    same((tmp_path / "picture").read_bytes(), Image.fromarray(np.ascontiguousarray(turned)))


def test_whatever_pillow_raises_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    # Width, height, bits, compression, colours; where the strip begins, which is no fraction;
    # samples, rows of the strip, its bytes.
    shorts = {0x100: 2, 0x101: 2, 0x102: 8, 0x103: 1, 0x106: 1, 0x115: 1, 0x116: 2, 0x117: 4}
    fields = [(tag, SHORT, value) for tag, value in shorts.items()]
    strange = tiff(*sorted([*fields, (0x111, RATIONAL, 8)]))
    with pytest.raises(PictureError, match=r"^TypeError: 'IFDRational' object cannot be"):
        decode(strange + bytes(100))
    for error, reason in (
        (RuntimeError("Failed"), "^RuntimeError: Failed$"),
        (EOFError(), "^EOFE"),
    ):

        def fail(*_: object, error: Exception = error, **__: object) -> None:
            raise error

        monkeypatch.setattr(Image, "open", fail)
        with pytest.raises(PictureError, match=reason):
            decode(b"x")


def test_of_an_animation_the_first_frame(picture: Image.Image) -> None:
    frames = [picture.quantize(8), picture.transpose(Image.Transpose.ROTATE_180).quantize(8)]
    data = written(frames[0], "GIF", save_all=True, append_images=frames[1:], duration=100)
    same(data, picture)


def test_a_narrow_picture_is_not_blown_up() -> None:
    check_shape(Image.new("RGB", (1, 1)), 224)
    check_shape(Image.new("RGB", (100, 5_000)), 224)
    with pytest.raises(PictureError, match=r"1 x 9000 pixels are too narrow"):
        check_shape(Image.new("RGB", (1, 9_000)), 224)


def broken(picture: Image.Image) -> dict[str, tuple[bytes, str]]:
    jpeg = written(picture.resize((200, 200)), "JPEG")
    return {
        "text.jpg": (b"this is no picture", "is no picture that Pillow knows"),
        "truncated.jpg": (jpeg[: len(jpeg) // 2], "truncated"),
        "empty.jpg": (b"", "the file is empty"),
    }


def test_broken_pictures_are_left_out_with_their_reason(
    model, run, picture: Image.Image, tmp_path: Path
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for name, (data, _) in broken(picture).items():
        (folder / name).write_bytes(data)
    picture.save(folder / "good.png")
    Image.new("RGB", (1, 1), (9, 99, 199)).save(folder / "one.png")
    # A path to nothing, a folder, a null; and captions that are empty, long and missing.
    names = [*sorted(path.name for path in folder.iterdir()), "nothing.jpg", ".", None, "good.png"]
    captions = ["", "a " * 5_000, *(["x"] * (len(names) - 3)), None]
    table = tmp_path / "table.parquet"
    pl.DataFrame({"path": names, "text": captions}).write_parquet(table)
    made = run(folder, table, shard_rows=3)
    reasons = {row["row"]: row["reason"] for row in made.broken}
    bad = {i for i, name in enumerate(names) if name in broken(picture)}
    assert reasons.keys() == bad | {5, 6, 7, 8}
    for i in bad:
        assert broken(picture)[names[i]][1] in reasons[i]
    assert "No such file" in reasons[5]
    assert reasons[6] == "is no regular file"
    assert reasons[7] == "the path is missing"
    assert reasons[8] == "the caption is missing"
    table = pl.read_parquet(made.folder / "metadata" / "*.parquet")
    kept = table["source_row"].to_list()
    assert sorted([*kept, *reasons]) == list(range(len(names)))
    found = rows_of(made.folder, "img_emb")
    want = model.images(*(Image.open(folder / names[i]).convert("RGB") for i in kept))
    assert np.abs(found - want).max() < 1e-3 * np.abs(want).max()
    assert np.isfinite(found).all()
    known = json.loads((made.folder / "manifest.json").read_text())
    assert known["counts"] == {
        "rows": len(kept),
        "broken": len(reasons),
        "shards": 3,
        "shards_wanted": 3,
    }
    assert known["complete"]


def test_captions_of_any_length(model, run, tmp_path: Path) -> None:
    texts = ["", "a" * 10_000, "word " * 2_000, "日本語 🐈 ﬁ", "  spaces  "]
    table = tmp_path / "captions.csv"
    pl.DataFrame({"caption": texts}).write_csv(table)
    made = run(None, table)
    want = model.texts(*texts)
    assert np.abs(rows_of(made.folder, "text_emb") - want).max() < 1e-3 * np.abs(want).max()
    kept = pl.read_parquet(made.folder / "metadata" / "*.parquet")["caption"].to_list()
    assert kept == texts


def test_a_broken_picture_is_fatal_by_choice(run, picture: Image.Image, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    picture.save(folder / "a.png")
    (folder / "b.jpg").write_bytes(b"no")
    with pytest.raises(EmbedError, match=r"row 1: .*b\.jpg: is no picture that Pillow knows"):
        run(folder, on_error="fail")
    (folder / "a.png").unlink()
    with pytest.raises(EmbedError, match=r"none of 1 rows is in order; the first, b\.jpg: is no"):
        run(folder, out=tmp_path / "other")
