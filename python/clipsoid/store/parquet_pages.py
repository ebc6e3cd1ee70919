"""Cuts a few pages of one parquet column out of a file, as a small parquet file in memory.

polars unpacks whole row groups, and writers such as pandas make row groups of a million rows:
gigabytes of embeddings. The pages inside (about 1 MB each) are independent, so a run of them,
with a footer that describes just that run, is a parquet file again, and unpacking it takes memory
in proportion to the run. Only the footer and the page headers are understood here; encodings,
compression and nesting are left to polars. polars never opens the file itself, so a file that is
cut while it is read shows as a short read.

A run must begin at a row. Where the file says at which row a page begins (an offset index, or
pages of version 2), that is used. Else, if a row group has as many values as rows times an
integer, every list is *assumed* to have that length; the caller checks the lists that come out,
which reveals any other case. Where neither helps, a row group stays whole.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from clipsoid.errors import StoreError
from clipsoid.store.files import read_at
from clipsoid.store.thrift import DAMAGE, I64, LIST, STRUCT, Reader, Struct, encode

if TYPE_CHECKING:
    from io import FileIO

MAGIC = b"PAR1"

#: Row groups into which a cut is divided, so that polars unpacks them in parallel.
PARALLEL = 4

#: Bytes in which a page header is looked for at first, and at most.
PAGE_HEADER_BYTES = 512
PAGE_HEADER_LIMIT = 1 << 20

_DATA_PAGE, _DICTIONARY_PAGE, _DATA_PAGE_V2 = 0, 2, 3


@dataclass(frozen=True, slots=True)
class Piece:
    """A run of pages of one row group: `rows` rows in the bytes ``start : start + length``."""

    group: Struct
    rows: int
    values: int
    start: int
    length: int
    unpacked: int
    #: Position and length of the dictionary page, where it is not part of the run.
    dictionary: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Cut:
    """Pieces that are unpacked together; `assumed` where their rows are an inference."""

    pieces: list[Piece]
    assumed: bool = False

    @property
    def rows(self) -> int:
        """Rows of all pieces."""
        return sum(piece.rows for piece in self.pieces)


@dataclass(frozen=True, slots=True)
class _Page:
    kind: int
    start: int
    length: int
    unpacked: int
    values: int
    rows: int | None


class ColumnPages:
    """The pages of one column.

    Parameters
    ----------
    file : FileIO
        The parquet file.
    path : Path
        Its name, for errors.
    size : int
        Its length.
    column : str
        Name of the top-level column, which must have one leaf.
    groups : int, optional
        Row groups of the footer that are read; all of them by default.
    """

    def __init__(
        self, file: FileIO, path: Path, size: int, column: str, *, groups: int | None = None
    ) -> None:
        self.file, self.path, self.column = file, path, column.encode()
        data = read_footer(file, path, size)
        self.size = size
        with self._sound():
            reader = Reader(data)
            self.footer = reader.struct(until=4)
            kind, count = reader.list_head()
            shown = count if groups is None else min(count, groups)
            self.groups = [reader.value(kind) for _ in range(shown)]
            if groups is None:
                self.footer |= reader.struct(after=4)
            self.count = _natural(self.footer[3][1])

    def runs(self, target: int) -> Iterator[list[Piece]]:
        """Row groups in order, each as one piece; small ones together, up to `target` bytes."""
        run: list[Piece] = []
        for group in self.groups:
            with self._sound():
                piece = self._whole(group)
            if not piece.rows:
                continue
            if run and sum(p.unpacked for p in run) + piece.unpacked > target:
                yield run
                run = []
            run.append(piece)
        if run:
            yield run

    def cuts(self, run: list[Piece], target: int) -> Iterator[Cut]:
        """Divide a run of row groups into cuts of about `target` bytes unpacked, if possible."""
        if len(run) > 1 or run[0].unpacked <= target:
            yield Cut(run)
            return
        with self._sound():
            pieces, assumed = self._split(run[0], max(1, target // PARALLEL))
        held: list[Piece] = []
        for piece in pieces:
            if held and sum(p.unpacked for p in held) + piece.unpacked > target:
                yield Cut(held, assumed)
                held = []
            held.append(piece)
        yield Cut(held, assumed)

    def regular_length(self) -> int | None:
        """Values per row in the first row group, if that is an integer: the likely list length."""
        for group in self.groups:
            with self._sound():
                piece = self._whole(group)
            if piece.rows:
                quotient, rest = divmod(piece.values, piece.rows)
                return quotient if quotient > 1 and not rest else None
        return None

    def build(self, cut: Cut) -> bytes:
        """Make a parquet file of a cut; only the one column may be read from it."""
        parts = [MAGIC]
        at = len(MAGIC)
        groups = []
        for piece in cut.pieces:
            spans = [piece.dictionary] if piece.dictionary else []
            spans.append((piece.start, piece.length))
            begin = at
            for start, length in spans:
                parts.append(read_at(self.file, start, length, self.path))
                at += length
            with self._sound():
                groups.append(self._group(piece, begin, at - begin))
        footer = dict(self.footer)
        footer[3] = (I64, cut.rows)
        footer[4] = (LIST, (STRUCT, groups))
        with self._sound():
            parts.append(footer_bytes(encode(STRUCT, footer)))
        return b"".join(parts)

    def _group(self, piece: Piece, begin: int, length: int) -> Struct:
        """Describe a piece that was moved to `begin` as a row group of its own."""
        index, meta = self._meta(piece.group)
        # Statistics, indexes and filters speak of the whole row group.
        meta = {field: meta[field] for field in (1, 2, 3, 4, 8) if field in meta}
        meta[5] = (I64, piece.values)
        meta[6] = (I64, piece.unpacked)
        meta[7] = (I64, length)
        meta[9] = (I64, begin)
        if piece.dictionary:
            meta[9] = (I64, begin + piece.dictionary[1])
            meta[11] = (I64, begin)
        else:
            # A whole row group: its dictionary, if any, lies before its first data page.
            old = self._meta(piece.group)[1]
            if piece.start <= old[9][1] < piece.start + piece.length:
                meta[9] = (I64, begin + old[9][1] - piece.start)
                if old.get(11, (I64, 0))[1] >= piece.start:
                    meta[11] = (I64, begin + old[11][1] - piece.start)
        kind, columns = piece.group[1][1]
        columns = list(columns)
        columns[index] = {2: (I64, begin), 3: (STRUCT, meta)}
        return {1: (LIST, (kind, columns)), 2: (I64, piece.unpacked), 3: (I64, piece.rows)}

    def _meta(self, group: Struct) -> tuple[int, Struct]:
        """Index and metadata of the column in a row group."""
        for index, chunk in enumerate(group[1][1][1]):
            if chunk[3][1][3][1][1][0] == self.column:
                if 8 in chunk:
                    raise StoreError(f"{self.path}: the column is encrypted; wanted a plain one")
                return index, chunk[3][1]
        raise KeyError(self.column)

    def _whole(self, group: Struct) -> Piece:
        _, meta = self._meta(group)
        start = _natural(meta[9][1])
        # Zero, from some old writers, means that there is no dictionary page.
        if meta.get(11, (I64, 0))[1] > 0:
            start = min(start, meta[11][1])
        rows, values, unpacked, length = map(
            _natural, (group[3][1], meta[5][1], meta[6][1], meta[7][1])
        )
        if start + length > self.size:
            raise ValueError(f"pages up to byte {start + length} of {self.size}")
        return Piece(group, rows, values, start, length, unpacked)

    def _split(self, whole: Piece, target: int) -> tuple[list[Piece], bool]:
        pages = list(self._pages(whole))
        first = [page for page in pages if page.kind == _DICTIONARY_PAGE]
        data = [page for page in pages if page.kind in (_DATA_PAGE, _DATA_PAGE_V2)]
        rows, assumed = self._first_rows(whole, data)
        if rows is None or len(first) > 1 or len(first) + len(data) < len(pages):
            return [whole], False
        dictionary = (first[0].start, first[0].length) if first else None
        pieces: list[Piece] = []
        begin = 0
        for end in range(1, len(data) + 1):
            unpacked = sum(page.unpacked for page in data[begin:end])
            last = end == len(data)
            if not last and (unpacked < target or rows[end] is None):
                continue
            stop = whole.rows if last else rows[end]
            start = rows[begin]
            assert stop is not None and start is not None
            pieces.append(
                Piece(
                    whole.group,
                    stop - start,
                    sum(page.values for page in data[begin:end]),
                    data[begin].start,
                    data[end - 1].start + data[end - 1].length - data[begin].start,
                    unpacked + (first[0].unpacked if first else 0),
                    dictionary,
                )
            )
            begin = end
        return pieces, assumed

    def _first_rows(self, whole: Piece, data: list[_Page]) -> tuple[list[int | None] | None, bool]:
        """Tell at which row each data page begins; None where that is inside a row."""
        if sum(page.values for page in data) != whole.values:
            return None, False
        known: list[int | None] = [0]
        for page in data[:-1]:
            if page.rows is None or known[-1] is None:
                break
            known.append(known[-1] + page.rows)
        if len(known) == len(data):
            return known, False
        listed = self._offset_index(whole)
        if all(page.start in listed for page in data):
            return [listed[page.start] for page in data], False
        length, rest = divmod(whole.values, whole.rows)
        if rest or not length:
            return None, False
        assumed: list[int | None] = []
        values = 0
        for page in data:
            assumed.append(None if values % length else values // length)
            values += page.values
        return assumed, True

    def _offset_index(self, whole: Piece) -> dict[int, int]:
        index, _ = self._meta(whole.group)
        chunk = whole.group[1][1][1][index]
        if 4 not in chunk or 5 not in chunk:
            return {}
        data = read_at(self.file, chunk[4][1], chunk[5][1], self.path)
        locations: list[Struct] = Reader(data).struct()[1][1][1]
        return {int(place[1][1]): int(place[3][1]) for place in locations}

    def _pages(self, whole: Piece) -> Iterator[_Page]:
        at, end = whole.start, whole.start + whole.length
        while at < end:
            reader, header = self._page_header(at, end)
            body: Struct = next((header[n][1] for n in (5, 8, 7) if n in header), {})
            rows = _natural(body[3][1]) if 8 in header else None
            length = reader.at + _natural(header[3][1])
            unpacked = reader.at + _natural(header[2][1])
            values = _natural(body[1][1]) if body else 0
            yield _Page(int(header[1][1]), at, length, unpacked, values, rows)
            at += length
        if at != end:
            raise ValueError(f"pages end at {at}, not at {end}")

    def _page_header(self, at: int, end: int) -> tuple[Reader, Struct]:
        length = PAGE_HEADER_BYTES
        while True:
            reader = Reader(read_at(self.file, at, min(length, end - at), self.path))
            try:
                return reader, reader.struct()
            except IndexError:
                # Longer than what was read, such as with long statistics.
                if length >= min(end - at, PAGE_HEADER_LIMIT):
                    raise
                length *= 8

    @contextmanager
    def _sound(self) -> Generator[None, None, None]:
        """Say of metadata that makes no sense in which file it is."""
        try:
            yield
        except StoreError:
            # It is a ValueError too, and says more.
            raise
        except DAMAGE as error:
            raise StoreError(f"{self.path}: the parquet metadata is damaged: {error!r}") from None


def _natural(value: object) -> int:
    if not isinstance(value, int) or value < 0:
        raise ValueError(f"found {value!r} for a number or position")
    return value


def read_footer(file: FileIO, path: Path, size: int) -> bytes:
    """Read the metadata at the end of a parquet file, without the length and the magic after it."""
    if not size:
        raise StoreError(f"{path}: is empty (0 bytes); wanted a parquet file")
    tail = read_at(file, max(size - 8, 0), min(size, 8), path)
    length = int.from_bytes(tail[:4], "little")
    if tail[4:] == b"PARE":
        raise StoreError(f"{path}: the parquet footer is encrypted; wanted a plain one")
    if tail[4:] != MAGIC or length + 12 > size:
        raise StoreError(
            f"{path}: is truncated or no parquet file: its {size} bytes end with "
            f"{tail!r}; wanted the length of a footer and {MAGIC!r}"
        )
    return read_at(file, size - 8 - length, length, path)


def row_count(footer: bytes, path: Path) -> int:
    """Rows of a parquet file, as its footer says."""
    try:
        return _natural(Reader(footer).struct(until=4)[3][1])
    except DAMAGE as error:
        raise StoreError(f"{path}: the parquet metadata is damaged: {error!r}") from None


def footer_bytes(footer: bytes) -> bytes:
    """End of a parquet file: the metadata, its length and the magic."""
    return footer + len(footer).to_bytes(4, "little") + MAGIC
