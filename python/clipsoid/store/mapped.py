"""The shared reader of a plain array that lies in a file: .npy, stored .npz, safetensors, torch.

Rows in C order, native-endian and aligned, are handed out as views of a read-only mapping of just
that batch; the mapping goes away with the last reference to the batch. Before a batch is handed
out, its pages are populated and the file is checked again, so a file that was cut shows as an
error here. One that is cut or written to later, while the batch is in use, shows when the file is
checked after that (`Shard.check_unchanged`); where pages of it are gone, there are zeros until
then, rather than a SIGBUS.

Everything else (Fortran order, big-endian, unaligned) is read into memory one batch at a time.
"""

from __future__ import annotations

import errno
import mmap
import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from clipsoid._batch import CARRIERS, Batch
from clipsoid.errors import ShapeError, StoreError
from clipsoid.store.base import BATCH_BYTES, Shard
from clipsoid.store.files import Place, fill_at, read_at

if TYPE_CHECKING:
    from io import RawIOBase

    from clipsoid.store.remote.ahead import Block

#: Environment variable that forces one way of reading: ``pread`` or ``mapped``.
READ_VARIABLE = "CLIPSOID_READ"

#: Bytes in which the columns of a Fortran-ordered batch are collected before they are transposed.
COLUMN_BYTES = 1 << 20

#: The answers of a kernel or a filesystem that cannot populate a mapping, or cannot map at all.
_UNSUPPORTED = (errno.EINVAL, errno.ENOSYS, errno.ENODEV, errno.EOPNOTSUPP)

#: Bytes of a mapped batch, which is no memory of this process: long enough that the calls and
#: threads of a batch, some 0.3 ms, do not show.
MAPPED_BYTES = 64 << 20

Matrix = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True, slots=True)
class Checksum:
    """CRC-32 of a zip member: of what precedes the array, and of all of it."""

    before: int
    whole: int


@dataclass(frozen=True, repr=False)
class MappedShard(Shard):
    """A matrix stored plainly from `offset` on.

    Attributes
    ----------
    offset : int
        Position of the first element.
    disk : numpy dtype
        Elements as they lie in the file: the carrier of `dtype`, in the byte order of the file.
    fortran : bool
        Columns, not rows, are contiguous.
    checksum : Checksum, optional
        Verified as the rows go by; by a pass of its own, before, if `fortran`.
    """

    offset: int
    disk: np.dtype[Any]
    fortran: bool = False
    checksum: Checksum | None = None

    @property
    def in_place(self) -> bool:
        """Whether rows can be handed out as views of a mapping."""
        return (
            isinstance(self.path, Path)
            and not self.fortran
            and self.disk.isnative
            and self.offset % self.disk.itemsize == 0
        )

    def plan(self, max_bytes: int | None = None) -> Iterator[Block]:
        """Blocks of the array; in Fortran order, a run out of every column for each batch."""
        from clipsoid.store.remote.ahead import planned

        if not self.fortran:
            length = self.count * self.dim * self.disk.itemsize
            return planned(self.path, self.stamp, [(self.offset, self.offset + length)])
        return planned(
            self.path, self.stamp, self._column_runs(self.rows_per_batch(max_bytes, BATCH_BYTES))
        )

    def _column_runs(self, step: int) -> Iterator[tuple[int, int]]:
        """Positions of what `_read` reads of an array in Fortran order."""
        for start in range(0, self.count, step):
            stop = min(start + step, self.count)
            for column in range(self.dim):
                first = self.offset + column * self.count * self.disk.itemsize
                yield first + start * self.disk.itemsize, first + stop * self.disk.itemsize

    def window(self, first: int, count: int) -> MappedShard | None:
        """Return some rows as a shard; in Fortran order, no row lies in one piece."""
        if self.fortran:
            return None
        offset = self.offset + first * self.dim * self.disk.itemsize
        # What is read is a part, which the checksum of the whole says nothing of.
        return replace(self, offset=offset, count=count, checksum=None)

    def batches(self, max_bytes: int | None = None) -> Iterator[Batch]:
        """Rows in order; views of a mapping where `in_place`."""
        forced = _forced_way()
        mapped = self.in_place and forced != "pread"
        step = self.rows_per_batch(max_bytes, MAPPED_BYTES if mapped else BATCH_BYTES)
        crc = self.checksum.before if self.checksum else 0
        with self.reading(max_bytes) as file:
            if self.fortran:
                self._verify_columns(file)
            start = 0
            while start < self.count:
                stop = min(start + step, self.count)
                rows = self._map(file, start, stop) if mapped else None
                if rows is None:
                    if mapped and forced == "mapped":
                        raise StoreError(
                            f"{self.path}: cannot be mapped and populated on this system; "
                            f"wanted, as {READ_VARIABLE}=mapped says"
                        )
                    if mapped:
                        # From here on a batch is memory of this process.
                        mapped, step = False, self.rows_per_batch(max_bytes, BATCH_BYTES)
                        stop = min(start + step, self.count)
                    rows = self._read(file, start, stop)
                # After the bytes are in memory, so that what was read is what was checked.
                self.stamp.check(self.path, file)
                if self.checksum and not self.fortran:
                    crc = zlib.crc32(rows.data, crc)
                    if stop == self.count:
                        self._verify(crc)
                batch = Batch(native(rows, self.dtype), self.dtype)
                del rows
                start = stop
                yield batch
                # A batch must be free (unmapped) as soon as its consumer drops it.
                del batch
            # The last batch may have been a view of the file while it was used.
            self.stamp.check(self.path, file)

    def _verify(self, crc: int) -> None:
        if self.checksum and crc != self.checksum.whole:
            raise StoreError(
                f"{self.path}: member {self.part!r} is damaged: found CRC-32 {crc:08x}, "
                f"wanted {self.checksum.whole:08x}"
            )

    def _verify_columns(self, file: RawIOBase) -> None:
        """Verify the checksum of an array whose rows are not read in the order of the file."""
        if self.checksum:
            crc = self.checksum.before
            length = self.count * self.dim * self.disk.itemsize
            for at in range(0, length, COLUMN_BYTES):
                part = read_at(file, self.offset + at, min(COLUMN_BYTES, length - at), self.path)
                crc = zlib.crc32(part, crc)
            self._verify(crc)

    def _map(self, file: RawIOBase, start: int, stop: int) -> Matrix | None:
        """Map and populate rows `start` to `stop`; None where the system cannot do that."""
        from clipsoid._native import populate

        row_bytes = self.dim * self.disk.itemsize
        first = self.offset + start * row_bytes
        window = first - first % mmap.ALLOCATIONGRANULARITY
        length = first - window + (stop - start) * row_bytes
        view = mapping(file, self.path, window, length)
        if view is None:
            return None
        pages = np.frombuffer(view, np.uint8)
        address = pages.ctypes.data
        try:
            populate(address, length)
        except OSError as error:
            if error.errno in _UNSUPPORTED:
                return None
            raise StoreError(
                f"{self.path}: {length} bytes at {window} cannot be read: {error.strerror}"
            ) from None
        return pages[first - window :].view(self.disk).reshape(stop - start, self.dim)

    def _read(self, file: RawIOBase, start: int, stop: int) -> Matrix:
        """Read rows `start` to `stop` into memory, in the byte order of the file, in C order."""
        rows = np.empty((stop - start, self.dim), self.disk)
        if not self.fortran:
            offset = self.offset + start * self.dim * self.disk.itemsize
            fill_at(file, offset, as_bytes(rows), self.path)
            return rows
        # A batch is a short run out of every column; some columns at a time are transposed.
        width = max(1, min(self.dim, COLUMN_BYTES // (len(rows) * self.disk.itemsize)))
        columns = np.empty((width, len(rows)), self.disk)
        for left in range(0, self.dim, width):
            right = min(left + width, self.dim)
            for i in range(left, right):
                offset = self.offset + (i * self.count + start) * self.disk.itemsize
                fill_at(file, offset, as_bytes(columns[i - left]), self.path)
            rows[:, left:right] = columns[: right - left].T
        return rows


def mapping(
    file: RawIOBase, path: Place, offset: int, length: int, *, unguarded: bool = False
) -> memoryview | None:
    """Map a window of a file, read-only; None where the system cannot do that.

    As long as it lives, it is guarded against a cut of its file. Where the system has no guards, or
    so many are held that there is none left, it is None unless it may be `unguarded`.
    """
    from clipsoid._native import Mapping

    if os.fstat(file.fileno()).st_size < offset + length:
        raise StoreError(f"{path}: {length} bytes at {offset} cannot be mapped")
    try:
        window: Any = Mapping(file.fileno(), offset, length)
    except NotImplementedError:
        return None
    except OSError as error:
        if error.errno in _UNSUPPORTED:
            return None
        raise StoreError(f"{path}: cannot be mapped: {error.strerror}") from None
    return memoryview(window) if window.is_guarded or unguarded else None


def as_bytes(array: Matrix) -> memoryview:
    """View a contiguous array as bytes that can be read into."""
    return array.view(np.uint8).reshape(-1).data


def native(rows: Matrix, dtype: str) -> Matrix:
    """Swap the bytes of `rows`, in place, if they are in the order of another machine."""
    if rows.dtype.isnative:
        return rows
    # Bits, not values, so that every NaN keeps its payload.
    return rows.byteswap(inplace=True).view(CARRIERS[dtype])


def _forced_way() -> str | None:
    way = os.environ.get(READ_VARIABLE) or None
    if way not in (None, "pread", "mapped"):
        raise StoreError(f"{READ_VARIABLE} is {way!r}; wanted 'pread' or 'mapped'")
    return way


def check_shape(label: str, shape: tuple[int, ...]) -> None:
    """Raise ShapeError unless `shape` is ``(n, d)`` with a feature in every row."""
    if len(shape) != 2:
        raise ShapeError(f"{label}: the array has shape {shape}; wanted (n, d)")
    if shape[1] < 1 and shape[0] > 0:
        raise ShapeError(f"{label}: the array has shape {shape}; wanted one feature or more")


def check_extent(path: Place, found: int, wanted: int, what: str = "header and rows") -> None:
    """Raise StoreError unless a file is as long as its header says."""
    if found < wanted:
        raise StoreError(
            f"{path}: is truncated: found {found} bytes, wanted {wanted} for its {what}"
        )
    if found > wanted:
        raise StoreError(
            f"{path}: is longer than its header says: found {found} bytes, wanted {wanted} "
            f"for its {what}"
        )
