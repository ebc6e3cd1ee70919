"""Pictures of every kind become thumbnails, or say why not."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from clipsoid.report import thumbnails
from clipsoid.report.thumbnails import SIDE, Thumbnails, thumbnail


def opened(source: str) -> Image.Image:
    head, _, text = source.partition(",")
    assert head == "data:image/jpeg;base64"
    picture = Image.open(io.BytesIO(base64.b64decode(text, validate=True)))
    assert picture.mode == "RGB"
    return picture


def test_the_longer_side_is_cut_and_the_shape_kept(tmp_path: Path) -> None:
    Image.new("RGB", (1000, 500), (200, 30, 40)).save(tmp_path / "wide.jpg")
    found = thumbnail(str(tmp_path / "wide.jpg"))
    picture = opened(found.source)
    assert picture.size == (SIDE, SIDE // 2) and found.reason == ""
    np.testing.assert_allclose(np.asarray(picture).mean(axis=(0, 1)), (200, 30, 40), atol=4)


def test_small_pictures_are_not_enlarged(tmp_path: Path) -> None:
    Image.new("RGB", (1, 1), "white").save(tmp_path / "dot.png")
    assert opened(thumbnail(str(tmp_path / "dot.png")).source).size == (1, 1)


MODES = {
    "1": ".png",
    "L": ".png",
    "LA": ".png",
    "P": ".png",
    "RGBA": ".png",
    "CMYK": ".jpg",
    "YCbCr": ".jpg",
    "I": ".tiff",
    "F": ".tiff",
}


@pytest.mark.parametrize("mode", MODES)
def test_every_mode(tmp_path: Path, mode: str) -> None:
    path = tmp_path / f"picture{MODES[mode]}"
    Image.new("L", (20, 20), 255).convert(mode).save(path)
    found = thumbnail(str(path))
    assert found.reason == "" and opened(found.source).size == (20, 20)


def test_sixteen_bits_keep_their_brightness(tmp_path: Path) -> None:
    levels = np.full((20, 20), 128 * 256, np.uint16)
    Image.fromarray(levels).save(tmp_path / "deep.png")
    shown = np.asarray(opened(thumbnail(str(tmp_path / "deep.png")).source))
    np.testing.assert_allclose(shown, 128, atol=2)


def test_what_is_transparent_is_white(tmp_path: Path) -> None:
    Image.new("RGBA", (20, 20), (255, 0, 0, 0)).save(tmp_path / "clear.png")
    shown = np.asarray(opened(thumbnail(str(tmp_path / "clear.png")).source))
    np.testing.assert_allclose(shown, 255, atol=2)
    palette = Image.new("P", (20, 20), 0)
    palette.putpalette([255, 0, 0])
    palette.save(tmp_path / "clear.gif", transparency=0)
    shown = np.asarray(opened(thumbnail(str(tmp_path / "clear.gif")).source))
    np.testing.assert_allclose(shown, 255, atol=2)


def test_pictures_stand_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter
    Image.new("RGB", (40, 20), "white").save(tmp_path / "turned.jpg", exif=exif)
    assert opened(thumbnail(str(tmp_path / "turned.jpg")).source).size == (20, 40)


def test_what_cannot_be_used_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "words.jpg").write_text("no picture")
    Image.new("RGB", (400, 400), "red").save(tmp_path / "cut.jpg")
    whole = (tmp_path / "cut.jpg").read_bytes()
    (tmp_path / "cut.jpg").write_bytes(whole[:-200])
    (tmp_path / "folder.jpg").mkdir()
    (tmp_path / "empty.png").touch()
    Image.new("RGB", (10, 10)).save(tmp_path / "large.png")
    monkeypatch.setattr(thumbnails, "MOST_PIXELS", 99)
    for name, reason in (
        ("gone.jpg", "not found"),
        ("words.jpg", "cannot be read: UnidentifiedImageError"),
        ("folder.jpg", "cannot be read: IsADirectoryError"),
        ("empty.png", "cannot be read: UnidentifiedImageError"),
        ("large.png", "too large"),
        ("https://example.org/a.jpg", "not found"),
        ("nul\0.jpg", "cannot be read: ValueError"),
    ):
        found = thumbnail(name, tmp_path)
        assert (found.source, found.reason, found.path) == ("", reason, name)
    monkeypatch.undo()
    assert thumbnail("cut.jpg", tmp_path).reason == "cannot be read: OSError"


def test_each_file_is_read_once_and_bad_ones_are_counted(tmp_path: Path) -> None:
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    pictures = Thumbnails(tmp_path)
    assert [pictures.add(path) for path in ("a.png", "b.png", "a.png", None, "")] == [
        0,
        1,
        0,
        None,
        None,
    ]
    assert len(pictures.made) == 2 and pictures.missing == 1
