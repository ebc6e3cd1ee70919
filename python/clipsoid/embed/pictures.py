"""Pictures as the model is to see them: upright, in 8 bits for each of red, green and blue."""

from __future__ import annotations

from functools import cache
from io import BytesIO

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

#: Most pixels of a picture that was resized for a model: a line of 1 x 10,000 would need more.
MOST_PIXELS = 1 << 26

#: How stored pixels are brought upright, by the EXIF orientation.
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class PictureError(ValueError):
    """A picture that cannot be used; the message is the reason."""


def decode(data: bytes) -> Image.Image:
    """Decode a picture.

    The first frame of an animation, turned as its EXIF orientation says, what is transparent over
    white (as img2dataset does), 16-bit grey scaled to 8 bits. For an ordinary RGB picture this is
    what Pillow alone gives.

    Raises
    ------
    PictureError
        With the reason: no picture, damaged, or of a mode without a known range.
    """
    if not data:
        raise PictureError("the file is empty")
    try:
        image = Image.open(BytesIO(data), formats=_formats())
        image.seek(0)
        image.load()
        return _rgb(_upright(image))
    except PictureError:
        raise
    except UnidentifiedImageError:
        raise PictureError("is no picture that Pillow knows") from None
    except Exception as error:
        # On purpose everything: Pillow's plugins raise whatever their code meets in a damaged file,
        # struct.error, TypeError and RuntimeError among it. One picture must not end the work on
        # millions.
        raise PictureError(f"{type(error).__name__}: {error}".removesuffix(": ")) from None


@cache
def _formats() -> list[str]:
    """Return the formats that Pillow reads by itself: for EPS it runs a program, Ghostscript."""
    Image.init()
    return [name for name in Image.OPEN if name != "EPS"]


def _upright(image: Image.Image) -> Image.Image:
    """Turn a picture as its EXIF says.

    Pillow's own `exif_transpose` also writes the EXIF anew, which fails where another field of it
    is malformed.
    """
    turn = UPRIGHT.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    return image if turn is None else image.transpose(turn)


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode.startswith("I"):
        grey = np.asarray(image).astype(np.int64)
        if grey.size and not 0 <= grey.min() <= grey.max() <= 0xFFFF:
            raise PictureError(f"grey from {grey.min()} to {grey.max()}; wanted 0 to 65535")
        return Image.fromarray((grey >> 8).astype(np.uint8)).convert("RGB")
    if image.mode == "F":
        raise PictureError("grey as floating point has no known range")
    if "transparency" in image.info or image.mode in ("RGBA", "LA", "PA", "RGBa", "La"):
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, image).convert("RGB")
    return image.convert("RGB")


def check_shape(image: Image.Image, side: int) -> None:
    """Refuse a picture so narrow that it would be huge when its short side has `side` pixels."""
    short, long = sorted(image.size)
    if short < 1 or side * (side * long // short) > MOST_PIXELS:
        raise PictureError(f"{image.width} x {image.height} pixels are too narrow to be resized")
