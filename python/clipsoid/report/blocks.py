"""What a page consists of beside figures: galleries, grids, tables, rows of a range."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from clipsoid.report.figure import Figure

#: Letters of a caption that are shown; the rest is cut.
CAPTION = 280


@dataclass(frozen=True)
class Item:
    """A row that is shown by its picture, its caption and a figure.

    Attributes
    ----------
    row : int
    value : str
        The figure, as it is written.
    caption : str
        Cut to `CAPTION` letters; empty if there is none.
    image : int or None
        Number among the page's thumbnails; None where no picture belongs to it.
    """

    row: int
    value: str
    caption: str = ""
    image: int | None = None


@dataclass(frozen=True)
class Gallery:
    """Items at one end of a figure."""

    kind: ClassVar[str] = "gallery"
    key: str
    title: str
    caption: str
    items: tuple[Item, ...]


@dataclass(frozen=True)
class Galleries:
    """Two ends side by side, under one heading."""

    kind: ClassVar[str] = "galleries"
    key: str
    paper: str
    title: str
    galleries: tuple[Gallery, ...]


@dataclass(frozen=True)
class Grid:
    """Items over two axes."""

    kind: ClassVar[str] = "grid"
    key: str
    paper: str
    title: str
    caption: str
    corner: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Item, ...]], ...]


@dataclass(frozen=True)
class Table:
    """A table that sorts, and that can be copied.

    Attributes
    ----------
    columns : tuple of str
    rows : tuple of tuple
        Numbers stay numbers, to be sorted by; None is an empty cell.
    """

    kind: ClassVar[str] = "table"
    key: str
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    caption: str = ""


@dataclass(frozen=True)
class Explorer:
    """A histogram, and the rows of the range that is chosen in it.

    Attributes
    ----------
    figure : str
        Key of the element in which the histogram is drawn.
    signal : str
        Name of the selection in it by which a range is chosen.
    label : str
        What the range is of.
    columns : dict of str to sequence
        `row`, then figures, then perhaps `caption`; the first figure is the one that is chosen by.
    images : tuple of (int, int)
        Places in the columns that have a thumbnail, and its number.
    total : int
        Rows of which these are a sample.
    """

    kind: ClassVar[str] = "explorer"
    key: str
    figure: str
    signal: str
    title: str
    label: str
    columns: Mapping[str, Sequence[Any]]
    images: tuple[tuple[int, int], ...]
    total: int


@dataclass(frozen=True)
class Pair:
    """Two explorers side by side, each below its histogram."""

    kind: ClassVar[str] = "pair"
    key: str
    explorers: tuple[Explorer, ...]


Block = Figure | Galleries | Grid | Table | Pair


@dataclass(frozen=True)
class Section:
    """A part of a page, under a heading of its own."""

    key: str
    title: str
    intro: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Verdict:
    """A property, and whether it holds."""

    name: str
    holds: bool | None
    detail: str


@dataclass(frozen=True)
class Page:
    """All that a page says.

    Attributes
    ----------
    title : str
    summary : str
        What was analysed, in one line.
    verdicts : tuple of Verdict
    key_figures : tuple of (str, str)
        Of the first screen: few.
    warnings : tuple of str
    sections : tuple of Section
    made : tuple of (str, str)
        How it was made.
    thumbnails : tuple of Thumbnail
    payload : dict
        What can be taken out again: the name of its format, and its JSON text.
    """

    title: str
    summary: str
    verdicts: tuple[Verdict, ...]
    key_figures: tuple[tuple[str, str], ...]
    warnings: tuple[str, ...]
    sections: tuple[Section, ...]
    made: tuple[tuple[str, str], ...]
    thumbnails: tuple[Any, ...] = ()
    payload: dict[str, str] = field(default_factory=dict)


def cut(caption: str | None, most: int = CAPTION) -> str:
    """Return a caption short enough to be shown."""
    caption = "" if caption is None else str(caption)
    return caption if len(caption) <= most else caption[: most - 1] + "…"
