"""Figures, and the files they are written to; needs the extra ``report``.

``import clipsoid`` does not load this room, and this room loads altair only when it draws.
"""

from __future__ import annotations

import io
import json
import zlib
from collections.abc import Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from clipsoid.errors import UnavailableError

if TYPE_CHECKING:
    import altair as alt

__all__ = ["FIGURE_SUFFIXES", "check_extra", "figure_bytes", "is_figure"]

#: Formats of figures, by the suffix of the file.
FIGURE_SUFFIXES = (".html", ".png", ".svg")

#: Dots per inch of a PNG file: twice those of a screen.
PPI = 144

#: Where a figure says what made it: a text chunk, an element, or a field, of this name.
MARK = "clipsoid"

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"

#: The signature and the header chunk, which comes first.
_PNG_HEAD = len(_PNG_SIGNATURE) + 4 + 4 + 13 + 4


def check_extra() -> None:
    """Raise unless figures can be drawn.

    Raises
    ------
    UnavailableError
        If altair or vl-convert-python is not installed.
    """
    missing = [name for name in ("altair", "vl_convert") if find_spec(name) is None]
    if missing:
        packages = " and ".join(name.replace("vl_convert", "vl-convert-python") for name in missing)
        raise UnavailableError(
            f'figures need {packages}, not installed here: pip install "clipsoid[report]"'
        )


def figure_bytes(chart: alt.ConcatChart, suffix: str, made: Mapping[str, Any]) -> bytes:
    """Return the contents of a figure's file.

    Parameters
    ----------
    chart : altair chart
    suffix : {".html", ".png", ".svg"}
        An HTML file holds its scripts and needs no network.
    made : mapping
        How the figure was made; it is kept in the file as JSON.

    Returns
    -------
    bytes
        The same for the same chart: no time and no path is in them.
    """
    text = json.dumps(made)
    match suffix:
        case ".png":
            picture = io.BytesIO()
            chart.save(picture, format="png", ppi=PPI)
            return _with_text(picture.getvalue(), text)
        case ".svg":
            file = io.StringIO()
            chart.save(file, format="svg")
            head, end, rest = file.getvalue().partition(">")
            escaped = text.replace("&", "&amp;").replace("<", "&lt;")
            return f'{head}{end}<metadata id="{MARK}">{escaped}</metadata>{rest}'.encode()
        case ".html":
            file = io.StringIO()
            marked = chart.properties(usermeta={MARK: dict(made)})
            # Of the menu, what works without the network.
            menu = {"export": True, "source": False, "compiled": False, "editor": False}
            marked.save(file, format="html", inline=True, embed_options={"actions": menu})
            return file.getvalue().encode()
    raise ValueError(f"suffix={suffix!r}; wanted one of {', '.join(FIGURE_SUFFIXES)}")


def is_figure(contents: bytes, suffix: str) -> bool:
    """Whether a file is one that `figure_bytes` made; foreign pictures are not to be replaced."""
    match suffix:
        case ".png":
            return contents.startswith(_PNG_SIGNATURE) and (
                contents[_PNG_HEAD + 4 :].startswith(f"tEXt{MARK}\0".encode())
            )
        case ".svg":
            return f'<metadata id="{MARK}">'.encode() in contents
        case ".html":
            return f'"usermeta": {{"{MARK}": {{'.encode() in contents
    return False


def _with_text(png: bytes, text: str) -> bytes:
    """Insert a text chunk after the header of a PNG file."""
    body = f"{MARK}\0{text}".encode("latin-1")
    chunk = b"tEXt" + body
    framed = len(body).to_bytes(4, "big") + chunk + zlib.crc32(chunk).to_bytes(4, "big")
    return png[:_PNG_HEAD] + framed + png[_PNG_HEAD:]
