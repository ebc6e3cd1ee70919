"""Figures and pages as files, and what can be read from them again."""

from __future__ import annotations

import base64
import binascii
import gzip
import io
import json
import os
import re
import zlib
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clipsoid._extras import check_report
from clipsoid._output import as_output_errors, check_local, check_writable, written_beside
from clipsoid.errors import OutputError, StoreError

if TYPE_CHECKING:
    import altair as alt

    from clipsoid.report.blocks import Page
    from clipsoid.report.figure import Figure

#: Formats of figures, by the suffix of the file.
FIGURE_SUFFIXES = (".html", ".png", ".svg", ".pdf")

#: Dots per inch of a PNG file: twice those of a screen.
PPI = 144

#: Where a figure says what made it: a text chunk, an element, or a field, of this name.
MARK = "clipsoid"

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"

#: Ends a PDF file of ours: what follows the end of a document is ignored.
_PDF_MARK = f"\n%{MARK}\n".encode()

#: The element of a page that holds what it was made of.
_PAYLOAD = re.compile(
    rb'<script type="application/gzip" id="clipsoid-payload" data-format="([\w.]+)">'
    rb"([\w+/=]*)</script>"
)

#: The first bytes of a page, in which the line that names its maker is.
_HEAD = 1_000

#: Formats that a folder of figures holds; beside them the data, as parquet.
_FOLDER_SUFFIXES = (".svg", ".png", ".pdf")

#: The signature and the header chunk, which comes first.
_PNG_HEAD = len(_PNG_SIGNATURE) + 4 + 4 + 13 + 4


def figure_bytes(chart: alt.ConcatChart, suffix: str, made: Mapping[str, Any]) -> bytes:
    """Return the contents of a figure's file.

    Parameters
    ----------
    chart : altair chart
    suffix : {".html", ".png", ".svg", ".pdf"}
        An HTML file holds its scripts and needs no network.
    made : mapping
        How the figure was made; it is kept in the file as JSON, but for a PDF file.

    Returns
    -------
    bytes
        The same for the same chart, but for the subsets of fonts in a PDF file: no time and no path
        is in them.
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
            head, end, rest = _renumbered(file.getvalue()).partition(">")
            escaped = text.replace("&", "&amp;").replace("<", "&lt;")
            return f'{head}{end}<metadata id="{MARK}">{escaped}</metadata>{rest}'.encode()
        case ".html":
            file = io.StringIO()
            marked = chart.properties(usermeta={MARK: dict(made)})
            # Of the menu, what works without the network.
            menu = {"export": True, "source": False, "compiled": False, "editor": False}
            marked.save(file, format="html", inline=True, embed_options={"actions": menu})
            return file.getvalue().encode()
        case ".pdf":
            document = io.BytesIO()
            chart.save(document, format="pdf")
            return document.getvalue() + _PDF_MARK
    raise ValueError(f"suffix={suffix!r}; wanted one of {', '.join(FIGURE_SUFFIXES)}")


def _renumbered(svg: str) -> str:
    """Count clips and gradients from 0: within one process Vega counts on from figure to figure."""
    numbers: dict[str, int] = {}
    return re.sub(
        r'(?<=[#"])(clip|gradient_)(\d+)',
        lambda name: f"{name[1]}{numbers.setdefault(name[0], len(numbers))}",
        svg,
    )


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
        case ".pdf":
            return contents.startswith(b"%PDF") and contents.endswith(_PDF_MARK)
    return False


def _with_text(png: bytes, text: str) -> bytes:
    """Insert a text chunk after the header of a PNG file."""
    body = f"{MARK}\0{text}".encode("latin-1")
    chunk = b"tEXt" + body
    framed = len(body).to_bytes(4, "big") + chunk + zlib.crc32(chunk).to_bytes(4, "big")
    return png[:_PNG_HEAD] + framed + png[_PNG_HEAD:]


def write_page(page: Page, path: str | os.PathLike[str]) -> None:
    """Write a page as one HTML file, complete or not at all.

    Raises
    ------
    OutputError
        If it cannot be written, or a file is there that is no page of clipsoid.
    UnavailableError
        If the extra ``report`` is not installed.
    """
    from clipsoid.report.page import html

    check_report("reports")
    path = Path(path)
    check_page_target(path)
    text = html(page)
    with written_beside(path) as temporary, as_output_errors(path):
        temporary.write_text(text, encoding="utf-8")


def check_page_target(path: Path) -> None:
    """Refuse a file that could not or must not become a page, before any work is done."""
    if path.is_file() and not is_page(path):
        raise OutputError(
            f"{path}: is there already and is no report of clipsoid; wanted a new name"
        )
    check_writable(path, lambda _: True)


def is_page(path: str | os.PathLike[str]) -> bool:
    """Whether a file is a page that `write_page` wrote."""
    try:
        with Path(path).open("rb") as file:
            return b'<meta name="generator" content="clipsoid ' in file.read(_HEAD)
    except OSError:
        return False


def page_payload(path: str | os.PathLike[str]) -> tuple[str, str]:
    """Take out of a page what it was made of.

    Returns
    -------
    (str, str)
        The name of a format, as ``"clipsoid.analysis"``, and JSON text in it.

    Raises
    ------
    StoreError
        If the file cannot be read, is no page of clipsoid or is damaged.
    """
    try:
        contents = Path(path).read_bytes()
    except OSError as error:
        raise StoreError(f"{path}: cannot be read: {error.strerror}") from None
    found = _PAYLOAD.search(contents)
    if found is None:
        raise StoreError(f"{path}: is no report of clipsoid, or holds no data")
    try:
        packed = base64.b64decode(found[2], validate=True)
        return found[1].decode(), gzip.decompress(packed).decode()
    except (binascii.Error, OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise StoreError(f"{path}: the data in it is damaged: {error}") from None


def write_figures(
    figures: Iterable[Figure], folder: str | os.PathLike[str], made: Mapping[str, Any]
) -> list[Path]:
    """Write each figure as SVG, PNG and PDF, and the data behind each of its panels as parquet.

    Parameters
    ----------
    figures : iterable of Figure
    folder : path
        Made if it is not there. Files of ours in it are replaced, other files are not.
    made : mapping
        How the figures were made; kept in the files.

    Returns
    -------
    list of Path
        The files, which get their names when all of them are complete.

    Raises
    ------
    OutputError
        If one cannot be written, or would replace a file that is not ours.
    UnavailableError
        If the extra ``report`` is not installed.
    """
    check_report()
    folder = Path(folder)
    check_figures_target(folder)
    made = dict(made)
    with ExitStack() as stack:
        with as_output_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
        written = []
        for figure in figures:
            chart = figure.chart()
            for path, content in _contents(figure, chart, folder, made):
                temporary = stack.enter_context(written_beside(path))
                with as_output_errors(path):
                    temporary.write_bytes(content)
                written.append(path)
    return written


def check_figures_target(folder: Path) -> None:
    """Refuse what could not become a folder of figures, before any work is done."""
    check_local(folder)
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder}: is no folder; wanted one for figures")
    place = next(path for path in (folder, *folder.absolute().parents) if path.is_dir())
    if not os.access(place, os.W_OK):
        raise OutputError(f"{folder}: cannot be written: no permission in {place}")


def _contents(
    figure: Figure, chart: alt.ConcatChart, folder: Path, made: dict[str, Any]
) -> Iterable[tuple[Path, bytes]]:
    for suffix in _FOLDER_SUFFIXES:
        path = folder / f"{figure.key}{suffix}"
        if path.is_file() and not is_figure(path.read_bytes(), suffix):
            raise OutputError(f"{path}: is there already and is no figure of ours")
        yield path, figure_bytes(chart, suffix, made)
    for panel in figure.panels:
        path = folder / f"{figure.key}-{panel.key}.parquet"
        if path.is_file() and not _is_data(path):
            raise OutputError(f"{path}: is there already and is no data of a figure of ours")
        file = io.BytesIO()
        panel.data.write_parquet(file, metadata={MARK: json.dumps(made)})
        yield path, file.getvalue()


def _is_data(path: Path) -> bool:
    import polars as pl

    try:
        return MARK in pl.read_parquet_metadata(path)
    except (OSError, pl.exceptions.PolarsError):
        return False
