"""Reader of .npz files: a stored member is mapped where it lies, a compressed one is streamed."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, cast

import numpy as np

from clipsoid._batch import Batch
from clipsoid.errors import StoreError
from clipsoid.store.base import Shard
from clipsoid.store.files import Place, Readable, fill, open_file
from clipsoid.store.mapped import Checksum, MappedShard, as_bytes, check_extent, native
from clipsoid.store.npy import ArrayHeader, read_header
from clipsoid.store.opening import wanted_key
from clipsoid.store.remote.path import RemotePath
from clipsoid.store.zips import data_start, open_archive, zip_errors

if TYPE_CHECKING:
    from zipfile import ZipFile, ZipInfo

    from clipsoid.store.remote.ahead import Block

#: What errors call the format.
KIND = ".npz"


@dataclass(frozen=True, repr=False)
class StreamedShard(Shard):
    """A compressed member, unpacked as it is read.

    Memory is bounded by one batch, except in Fortran order: a row of such an array is spread over
    the whole member, which is then unpacked whole. So is a remote one that is not compressed.

    Attributes
    ----------
    header : ArrayHeader
        Of the member.
    member, directory : int
        Positions of the member and of the list of members, from which on all is read.
    packed : int
        Bytes of the member and of the header before it.
    """

    header: ArrayHeader
    member: int
    packed: int
    directory: int

    def plan(self, max_bytes: int | None = None) -> Iterator[Block]:
        """Blocks of the list of members, and of the member."""
        from clipsoid.store.remote.ahead import planned, whole

        return chain(
            whole(self.path, self.stamp, self.directory, self.stamp.size),
            planned(self.path, self.stamp, [(self.member, self.member + self.packed)]),
        )

    def batches(self, max_bytes: int | None = None) -> Iterator[Batch]:
        """Rows in order, each batch in memory of its own."""
        step = self.rows_per_batch(max_bytes)
        label = f"{self.path}: member {self.part!r}"
        with (
            self.reading(max_bytes) as file,
            zip_errors(self.path, KIND),
            open_archive(file) as archive,
            archive.open(f"{self.part}.npy") as member,
        ):
            stream = cast(Readable, member)
            fill(stream, memoryview(bytearray(len(self.header.raw))), label)
            whole = None
            if self.header.fortran:
                whole = np.empty((self.dim, self.count), self.header.disk)
                fill(stream, as_bytes(whole), label)
            for start in range(0, self.count, step):
                stop = min(start + step, self.count)
                if whole is None:
                    rows = np.empty((stop - start, self.dim), self.header.disk)
                    fill(stream, as_bytes(rows), label)
                else:
                    rows = np.ascontiguousarray(whole[:, start:stop].T)
                if stop == self.count:
                    # The checksum is verified when the end is met.
                    member.read(1)
                self.stamp.check(self.path, file)
                batch = Batch(native(rows, self.dtype), self.dtype)
                del rows
                yield batch
                del batch


def member_names(path: Place) -> list[str]:
    """Names of the arrays of an .npz file, by the directory at its end."""
    file, _ = open_file(path)
    with file, zip_errors(path, KIND), open_archive(file) as archive:
        return list(_members(archive))


def open_npz(path: Place, name: str, *, key: str | None, dtype: str | None) -> Shard:
    """Open one member of an .npz file; see `open_store`."""
    import zipfile

    file, stamp = open_file(path)
    with file, zip_errors(path, KIND), open_archive(file) as archive:
        members = _members(archive)
        key = wanted_key(path, key, list(members), "member")
        info = members[key]
        label = f"{path}: member {key!r}"
        stored = info.compress_type == zipfile.ZIP_STORED
        start = data_start(file, info, stamp.size, label)
        if stored:
            file.seek(start)
            header = read_header(file, label, dtype)
        else:
            with archive.open(info) as stream:
                header = read_header(cast(Readable, stream), label, dtype)
        if stored:
            check_extent(path, max(stamp.size, start + info.file_size), stamp.size)
    extent = len(header.raw) + header.array_bytes
    if info.file_size != extent:
        raise StoreError(f"{label} has {info.file_size} bytes; wanted {extent}, as its header says")
    count, dim = header.shape
    # The columns of a remote member would have to be fetched twice: for the checksum, and as rows.
    if not stored or (header.fortran and isinstance(path, RemotePath)):
        return StreamedShard(
            path=path,
            name=name,
            count=count,
            dim=dim,
            dtype=header.dtype,
            stamp=stamp,
            part=key,
            header=header,
            member=info.header_offset,
            packed=start - info.header_offset + info.compress_size,
            directory=archive.start_dir,
        )
    return MappedShard(
        path=path,
        name=name,
        count=count,
        dim=dim,
        dtype=header.dtype,
        stamp=stamp,
        part=key,
        offset=start + len(header.raw),
        disk=header.disk,
        fortran=header.fortran,
        checksum=Checksum(before=zlib.crc32(header.raw), whole=info.CRC),
    )


def _members(archive: ZipFile) -> dict[str, ZipInfo]:
    return {
        info.filename.removesuffix(".npy"): info
        for info in archive.infolist()
        if info.filename.endswith(".npy")
    }
