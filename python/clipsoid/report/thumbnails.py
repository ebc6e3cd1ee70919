"""Small pictures of image files, as text that a page can hold."""

from __future__ import annotations

import base64
import io
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

#: The longer side, in pixels: twice what a page shows on a common screen is not worth its size.
SIDE = 160

QUALITY = 72

#: Pixels of a file beyond which it is not opened: it may be a bomb.
MOST_PIXELS = 200_000_000


@dataclass(frozen=True)
class Thumbnail:
    """A picture, or why there is none.

    Attributes
    ----------
    path : str
        As it was given.
    source : str
        A ``data:`` address of a JPEG; empty where the file could not be used.
    reason : str
        Why not; empty otherwise.
    """

    path: str
    source: str = ""
    reason: str = ""


def thumbnail(path: str, root: Path | None = None) -> Thumbnail:
    """Make one; a file that is missing or broken is told, not raised.

    Parameters
    ----------
    path : str
        Relative ones are looked for under `root`.
    root : Path, optional
        By default the working folder.
    """
    from PIL import Image, ImageOps

    place = Path(path) if root is None else root / path
    try:
        with warnings.catch_warnings():
            # Its own limit is lower; ours is checked below.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(place) as opened:
                if opened.width * opened.height > MOST_PIXELS:
                    return Thumbnail(path, reason="too large")
                # JPEG files are decoded at a fraction of their size.
                opened.draft("RGB", (2 * SIDE, 2 * SIDE))
                # Pillow warns of damaged EXIF data and the like: the picture may still be good.
                warnings.simplefilter("ignore")
                picture = ImageOps.exif_transpose(opened)
                picture.thumbnail((SIDE, SIDE))
                if picture.mode in ("P", "PA", "LA", "RGBA", "La", "RGBa") or (
                    "transparency" in picture.info
                ):
                    shown = picture.convert("RGBA")
                    white = Image.new("RGBA", shown.size, "white")
                    picture = Image.alpha_composite(white, shown)
                file = io.BytesIO()
                _as_rgb(picture).save(file, "JPEG", quality=QUALITY, optimize=True)
    except FileNotFoundError:
        return Thumbnail(path, reason="not found")
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        # Pillow's readers raise all of these on damaged files.
        return Thumbnail(path, reason=f"cannot be read: {type(error).__name__}")
    text = base64.b64encode(file.getvalue()).decode("ascii")
    return Thumbnail(path, source=f"data:image/jpeg;base64,{text}")


def _as_rgb(picture: Picture) -> Picture:
    """Sixteen bits a channel become eight; colours that JPEG has not are converted."""
    if picture.mode in ("I", "I;16", "I;16B", "I;16L"):
        picture = picture.point(lambda level: level / 256).convert("L")
    return picture.convert("RGB")


class Thumbnails:
    """The pictures of one page, each file once."""

    def __init__(self, root: Path | None = None) -> None:
        self.root = root
        self.made: list[Thumbnail] = []
        self._places: dict[str, int] = {}

    def add(self, path: str | None) -> int | None:
        """Return the number of a file's thumbnail; None if there is no path."""
        if not path:
            return None
        if path not in self._places:
            self._places[path] = len(self.made)
            self.made.append(thumbnail(path, self.root))
        return self._places[path]

    @property
    def missing(self) -> int:
        """Count files that could not be used."""
        return sum(not one.source for one in self.made)

    @property
    def missing_words(self) -> str:
        """Say how many, for a reader of the page."""
        return (
            f"{self.missing:,} of {len(self.made):,} pictures could not be read: their places hold "
            "the path and the reason"
        )
