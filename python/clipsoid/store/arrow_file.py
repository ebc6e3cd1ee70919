"""Arrow IPC files and streams, mapped: their schema, rows, and columns batch by batch.

pyarrow reads from a mapping of the whole file. Where nothing is compressed, what it makes of that
are views, and no page is touched but those of headers. Headers that pyarrow has validated lie in
the mapping too: the file is checked before each record batch.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from clipsoid._extras import check_arrow
from clipsoid.errors import StoreError
from clipsoid.store.files import Place, Stamp
from clipsoid.store.mapped import mapping

if TYPE_CHECKING:
    from io import RawIOBase

#: How files begin, but for streams; a file's stream begins behind these bytes.
FILE_MAGIC, FEATHER_1 = b"ARROW1", b"FEA1"

#: The end of a stream, today and before Arrow 0.15.
END, OLD_END = b"\xff\xff\xff\xff\0\0\0\0", b"\0\0\0\0"


def check_place(path: Place) -> None:
    """Refuse files behind URLs, of which pyarrow would fetch all to count the rows.

    Raises
    ------
    StoreError
    UnavailableError
        If pyarrow is not installed.
    """
    if not isinstance(path, Path):
        raise StoreError(
            f"{path}: Arrow files are not read behind URLs; wanted a copy of it on this machine"
        )
    check_arrow(str(path))


@contextmanager
def arrow_errors(
    path: Place, what: str = "is damaged, truncated or no Arrow IPC file"
) -> Generator[None, None, None]:
    """Turn what pyarrow raises on a file that it cannot read into StoreError."""
    import pyarrow as pa

    try:
        yield
    except StoreError:
        # It is a ValueError too, and says more.
        raise
    except (pa.ArrowException, OSError, ValueError) as error:
        said = " ".join(str(error).split())
        raise StoreError(f"{path}: {what}: {said}") from None


class ArrowFile:
    """An Arrow IPC file or stream.

    Parameters
    ----------
    file : RawIOBase
        The open file; it is mapped whole.
    path : Path
        Where it is.
    stamp : Stamp
        Of the file when it was opened.

    Raises
    ------
    StoreError
        If it is neither, is a Feather file of version 1, or cannot be mapped.
    """

    def __init__(self, file: RawIOBase, path: Place, stamp: Stamp) -> None:
        import pyarrow as pa

        size = stamp.size
        if not size:
            raise StoreError(f"{path}: is empty (0 bytes); wanted an Arrow IPC file or stream")
        view = mapping(file, path, 0, size, unguarded=True)
        if view is None:
            raise StoreError(
                f"{path}: cannot be mapped on this file system; wanted a copy of it on another"
            )
        self.file, self.path, self.stamp = file, path, stamp
        self.address, self.size = np.frombuffer(view, np.uint8).ctypes.data, size
        self._data = pa.py_buffer(view)
        start = view[: len(FILE_MAGIC)].tobytes()
        if start.startswith(FEATHER_1):
            raise StoreError(
                f"{path}: is a Feather file of version 1; wanted Arrow IPC, which is version 2: "
                "pyarrow.feather.write_feather(pyarrow.feather.read_table('x'), 'y')"
            )
        self.is_stream = start != FILE_MAGIC

    @cached_property
    def schema(self) -> Any:
        """Names and types of the columns, as pyarrow has them."""
        with arrow_errors(self.path):
            found = self._reader().schema
            names = found.names
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise StoreError(f"{self.path}: has two columns {twice!r}; wanted each name once")
        return found

    def count(self) -> int:
        """Rows, by the headers of the record batches."""
        import pyarrow as pa
        from pyarrow.dataset import IpcFileFormat

        with arrow_errors(self.path):
            if not self.is_stream:
                rows: int = IpcFileFormat().make_fragment(self._data).count_rows()
                return rows
            source = pa.BufferReader(self._data)
            nothing = pa.schema([])
            # Of a batch that is read as one without columns, nothing is unpacked.
            rows = sum(
                pa.ipc.read_record_batch(message, nothing).num_rows
                for message in pa.ipc.MessageReader.open_stream(source)
                if message.type == "record batch"
            )
            end = source.tell()
        if end < self.size:
            raise StoreError(
                f"{self.path}: goes on behind the end of its stream: found {self.size} bytes, "
                f"wanted {end}"
            )
        if not self._data.slice(max(0, self.size - len(END))).to_pybytes().endswith((END, OLD_END)):
            raise StoreError(
                f"{self.path}: the stream has no end: it was cut, or is still being written"
            )
        return rows

    def batches(self, names: Sequence[str]) -> Generator[Any, None, None]:
        """Record batches with these columns; where nothing is compressed, views of the mapping."""
        with arrow_errors(self.path):
            reader = self._reader(names)
            if self.is_stream:
                while True:
                    self.stamp.check(self.path, self.file)
                    try:
                        batch = reader.read_next_batch()
                    except StopIteration:
                        return
                    yield batch.select(names)
                    del batch
            # A reader that chooses among the columns of a file copies them; unpacking does so too.
            whole = self._reader()
            packed = False
            for i in range(reader.num_record_batches):
                self.stamp.check(self.path, self.file)
                batch = (reader if packed else whole).get_batch(i).select(names)
                packed = packed or any(map(self._is_packed, batch.columns))
                yield batch
                del batch

    def position(self, buffer: Any) -> int | None:
        """Where in the file a buffer lies; None if it was unpacked."""
        at = int(buffer.address) - self.address
        return at if at >= 0 and at + buffer.size <= self.size else None

    def _is_packed(self, column: Any) -> bool:
        found = [one for one in column.buffers() if one is not None and one.size]
        return any(self.position(one) is None for one in found)

    def _reader(self, names: Sequence[str] = ()) -> Any:
        import pyarrow as pa

        chosen = [self.schema.names.index(name) for name in names]
        options = pa.ipc.IpcReadOptions(included_fields=chosen, use_threads=False)
        opened = pa.ipc.open_stream if self.is_stream else pa.ipc.open_file
        return opened(self._data, options=options)
