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
from typing import TYPE_CHECKING

from clipsoid.errors import StoreError
from clipsoid.store.files import Place, read_at
from clipsoid.store.parquet_cuts import Cut, Page, Piece, Rows, Uncuttable
from clipsoid.store.parquet_footer import MAGIC, extent, footer_bytes, natural, read_footer
from clipsoid.store.thrift import DAMAGE, I64, LIST, STRUCT, Reader, Struct, encode

if TYPE_CHECKING:
    from io import RawIOBase

#: Row groups into which a cut is divided, so that polars unpacks them in parallel.
PARALLEL = 4

#: Bytes in which a page header is looked for at first, and at most.
PAGE_HEADER_BYTES = 512
PAGE_HEADER_LIMIT = 1 << 20

_DATA_PAGE, _DICTIONARY_PAGE, _DATA_PAGE_V2 = 0, 2, 3


class ColumnPages:
    """The pages of one column.

    Parameters
    ----------
    file : RawIOBase
        The parquet file.
    path : Path or RemotePath
        Its name, for errors.
    size : int
        Its length.
    column : str
        Name of the top-level column, which must have one leaf.
    groups : int, optional
        Row groups of the footer that are read; all of them by default.
    """

    def __init__(
        self, file: RawIOBase, path: Place, size: int, column: str, *, groups: int | None = None
    ) -> None:
        self.file, self.path, self.column = file, path, column.encode()
        data = read_footer(file, path, size)
        self.size, self.tail = size, size - len(footer_bytes(data))
        with self._sound():
            reader = Reader(data)
            self.footer = reader.struct(until=4)
            kind, count = reader.list_head()
            shown = count if groups is None else min(count, groups)
            self.groups = [reader.value(kind) for _ in range(shown)]
            if groups is None:
                self.footer |= reader.struct(after=4)
            self.count = natural(self.footer[3][1])

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

    def spans(self, target: int) -> Iterator[tuple[int, int]]:
        """Positions of what is read of the file for `runs` and `cuts`, in that order."""
        for run in self.runs(target):
            if len(run) == 1 and run[0].unpacked > target:
                with self._sound():
                    start, length = self._offset_index_place(run[0])
                if length:
                    yield start, start + length
            for piece in run:
                yield piece.start, piece.start + piece.length

    def cuts(self, run: list[Piece], target: int) -> Iterator[Cut]:
        """Divide a run of row groups into cuts of about `target` bytes unpacked, if possible."""
        if len(run) > 1 or run[0].unpacked <= target:
            yield Cut(run)
            return
        held: list[Piece] = []
        assumed = False
        try:
            with self._sound():
                for piece, assumed in self._pieces(run[0], max(1, target // PARALLEL)):
                    if held and sum(p.unpacked for p in held) + piece.unpacked > target:
                        yield Cut(held, assumed)
                        held = []
                    held.append(piece)
        except Uncuttable:
            yield Cut(run, again=True)
        else:
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
            data = piece.data
            if data is None:
                data = [read_at(self.file, piece.start, piece.length, self.path)]
            parts += [piece.dictionary, *data]
            begin, at = at, at + len(piece.dictionary) + piece.length
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
            meta[9] = (I64, begin + len(piece.dictionary))
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
        start, length = extent(meta)
        rows, values, unpacked = map(natural, (group[3][1], meta[5][1], meta[6][1]))
        if start + length > self.size:
            raise ValueError(f"pages up to byte {start + length} of {self.size}")
        return Piece(group, rows, values, start, length, unpacked)

    def _pieces(self, whole: Piece, target: int) -> Iterator[tuple[Piece, bool]]:
        """Divide a row group as its pages go by, each read once, from its first byte to its last.

        Yields
        ------
        tuple of Piece and bool
            Of about `target` bytes unpacked; whether its rows are an inference.

        Raises
        ------
        Uncuttable
            If the pages do not tell where rows begin; possibly after some pieces.
        """
        rows = Rows(whole, self._offset_index(whole))
        dictionary = b""
        unpacked = 0
        held: list[tuple[Page, bytes]] = []
        begin = 0
        for page in self._pages(whole):
            is_data = page.kind in (_DATA_PAGE, _DATA_PAGE_V2)
            is_dictionary = page.kind == _DICTIONARY_PAGE and not (dictionary or held)
            if not (is_data or is_dictionary):
                raise Uncuttable
            # Before the page is read: a group that cannot be cut is read from its start.
            at = rows.before(page) if is_data else None
            if at is not None and sum(p.unpacked for p, _ in held) >= target:
                yield self._piece(whole, held, at - begin, dictionary, unpacked), rows.assumed
                begin, held = at, []
            data = read_at(self.file, page.start, page.length, self.path)
            if is_data:
                held.append((page, data))
            else:
                dictionary, unpacked = data, page.unpacked
        rows.check_end()
        yield self._piece(whole, held, whole.rows - begin, dictionary, unpacked), rows.assumed

    def _piece(
        self,
        whole: Piece,
        pages: list[tuple[Page, bytes]],
        rows: int,
        dictionary: bytes,
        unpacked: int,
    ) -> Piece:
        return Piece(
            whole.group,
            rows,
            sum(page.values for page, _ in pages),
            pages[0][0].start,
            sum(page.length for page, _ in pages),
            unpacked + sum(page.unpacked for page, _ in pages),
            [data for _, data in pages],
            dictionary,
        )

    def _offset_index_place(self, whole: Piece) -> tuple[int, int]:
        """Position and length of the offset index; length 0 if there is none."""
        index, _ = self._meta(whole.group)
        chunk = whole.group[1][1][1][index]
        return natural(chunk.get(4, (I64, 0))[1]), natural(chunk.get(5, (I64, 0))[1])

    def _offset_index(self, whole: Piece) -> dict[int, int]:
        """Row at which the page at each position begins, as far as the file says it."""
        start, length = self._offset_index_place(whole)
        if not length:
            return {}
        data = read_at(self.file, start, length, self.path)
        locations: list[Struct] = Reader(data).struct()[1][1][1]
        return {int(place[1][1]): int(place[3][1]) for place in locations}

    def _pages(self, whole: Piece) -> Iterator[Page]:
        at, end = whole.start, whole.start + whole.length
        while at < end:
            reader, header = self._page_header(at, end)
            body: Struct = next((header[n][1] for n in (5, 8, 7) if n in header), {})
            rows = natural(body[3][1]) if 8 in header else None
            length = reader.at + natural(header[3][1])
            unpacked = reader.at + natural(header[2][1])
            values = natural(body[1][1]) if body else 0
            if length > end - at:
                raise ValueError(f"a page of {length} bytes at {at}, wanted {end - at} at most")
            yield Page(int(header[1][1]), at, length, unpacked, values, rows)
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
