"""Runs of parquet pages that begin at a row, and how that is told."""

from __future__ import annotations

from dataclasses import dataclass

from clipsoid.store.thrift import Struct


@dataclass(frozen=True, slots=True)
class Piece:
    """A run of pages of one row group: `rows` rows in the bytes ``start : start + length``."""

    group: Struct
    rows: int
    values: int
    start: int
    length: int
    unpacked: int
    #: The bytes, where the walk over the pages has read them already.
    data: list[bytes] | None = None
    #: The dictionary page, where it is not part of the run.
    dictionary: bytes = b""


@dataclass(frozen=True, slots=True)
class Cut:
    """Pieces that are unpacked together.

    Attributes
    ----------
    pieces : list of Piece
        In order.
    assumed : bool
        Whether their rows are an inference.
    again : bool
        Whether this is a row group from its first row on, of which cuts were given already: its
        pages turned out to be such as cannot be cut.
    """

    pieces: list[Piece]
    assumed: bool = False
    again: bool = False

    @property
    def rows(self) -> int:
        """Rows of all pieces."""
        return sum(piece.rows for piece in self.pieces)


@dataclass(frozen=True, slots=True)
class Page:
    """One page, as its header describes it; `length` and `unpacked` are bytes, the header's too."""

    kind: int
    start: int
    length: int
    unpacked: int
    values: int
    rows: int | None


class Uncuttable(Exception):
    """A row group whose pages cannot be told apart by rows."""


class Rows:
    """At which row each data page of a row group begins, told page by page.

    By pages of version 2, which say how many rows they have; else by the offset index; else by an
    inference: every list is of the length that values per row make.
    """

    def __init__(self, whole: Piece, listed: dict[int, int]) -> None:
        self.whole, self.listed = whole, listed
        self.assumed = False
        self._counted: int | None = None
        self._values = 0

    def before(self, page: Page) -> int | None:
        """Row at which `page` begins; None if that is inside a row."""
        first, before = self._values == 0, self._values
        self._values += page.values
        if first:
            self._counted = 0 if page.rows is not None else None
        if self._counted is not None:
            if page.rows is None:
                raise Uncuttable
            row, self._counted = self._counted, self._counted + page.rows
            return row
        if self.listed:
            if page.start not in self.listed:
                raise Uncuttable
            return self.listed[page.start]
        length, rest = divmod(self.whole.values, self.whole.rows)
        if rest or not length:
            raise Uncuttable
        self.assumed = True
        return None if before % length else before // length

    def check_end(self) -> None:
        """Raise unless the pages had the values that the row group is said to have."""
        if self._values != self.whole.values:
            raise Uncuttable
