"""Reader of what torch.save writes (.pt, .pth): one tensor, mapped where it lies.

The file is a zip archive of stored members: a pickle that says which tensors there are, read by
`torch_pickle`, and one member for the elements of each storage. torch is not needed.
"""

from __future__ import annotations

import zlib
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal, cast

from clipsoid._batch import CARRIERS
from clipsoid.errors import DTypeError, StoreError
from clipsoid.store.base import Shard
from clipsoid.store.files import Place, Stamp, open_file, read_at
from clipsoid.store.mapped import Checksum, MappedShard, check_extent, check_shape
from clipsoid.store.opening import check_dtype, wanted_key
from clipsoid.store.remote.path import RemotePath
from clipsoid.store.torch_pickle import (
    PICKLE_BYTES,
    WANTED,
    StorageRecord,
    TensorRecord,
    read_pickle,
)
from clipsoid.store.zips import data_start, open_archive, zip_errors

if TYPE_CHECKING:
    from io import RawIOBase
    from zipfile import ZipInfo

#: A dict of more tensors is a model, whose weights are no embeddings.
MOST_TENSORS = 64

#: Entries of a dict that an error names.
SHOWN = 4
SHOWN_LETTERS = 40

_ORDERS: dict[str, Literal["<", ">"]] = {"little": "<", "big": ">"}


@dataclass(frozen=True, slots=True)
class _Archive:
    """An open file, its members without the folder that all are in, and its tensors by name.

    A tensor that is not in a container has the name "".
    """

    path: Place
    file: RawIOBase
    stamp: Stamp
    members: dict[str, ZipInfo]
    tensors: dict[str, TensorRecord]


def tensor_names(path: Place) -> list[str]:
    """Names of the tensors of a file; none where it is one tensor."""
    with _opened(path) as archive:
        return [name for name in archive.tensors if name]


def open_torch(path: Place, name: str, *, key: str | None, dtype: str | None) -> Shard:
    """Open one tensor of a file that torch.save wrote; see `open_store`."""
    with _opened(path) as archive:
        if "" in archive.tensors:
            if key is not None:
                raise StoreError(f"{path}: holds one tensor and no keys; found key={key!r}")
            part = ""
        else:
            part = wanted_key(path, key, list(archive.tensors), "tensor")
        return _shard(archive, name, part, dtype)


def _shard(archive: _Archive, name: str, part: str, wanted: str | None) -> Shard:
    path, tensor = archive.path, archive.tensors[part]
    label = f"{path}: tensor {part!r}" if part else str(path)
    if tensor.dtype not in CARRIERS:
        raise DTypeError(f"{label}: elements are {tensor.dtype}; wanted {', '.join(CARRIERS)}")
    check_dtype(label, tensor.dtype, wanted)
    check_shape(label, tensor.shape)
    fortran = _is_fortran(label, tensor)
    member = f"data/{tensor.storage.key}"
    info = archive.members.get(member)
    if info is None:
        raise StoreError(f"{label}: its elements are missing; wanted member {member!r}")
    start = _stored(archive, info, label)
    disk = CARRIERS[tensor.dtype].newbyteorder(_byte_order(archive))
    count, dim = tensor.shape
    extent = tensor.storage.length * disk.itemsize
    if info.file_size != extent:
        raise StoreError(
            f"{label}: {info.filename!r} has {info.file_size} bytes; wanted {extent}, as its "
            "pickle says"
        )
    if tensor.offset + count * dim > tensor.storage.length:
        raise StoreError(
            f"{label}: rows end at element {tensor.offset + count * dim}; wanted at most the "
            f"{tensor.storage.length} of {info.filename!r}"
        )
    # Of a slice, the checksum says nothing; torch writes 0 where it was told to take none.
    whole = count * dim == tensor.storage.length and info.CRC
    # The columns of a remote one would have to be fetched twice: for the checksum, and as rows.
    verified = whole and not (fortran and isinstance(path, RemotePath))
    return MappedShard(
        path=path,
        name=name,
        count=count,
        dim=dim,
        dtype=tensor.dtype,
        stamp=archive.stamp,
        part=part,
        offset=start + tensor.offset * disk.itemsize,
        disk=disk,
        fortran=fortran,
        checksum=Checksum(before=0, whole=info.CRC) if verified else None,
    )


def _is_fortran(label: str, tensor: TensorRecord) -> bool:
    """Whether columns are contiguous, where rows are not; refuse what is neither."""
    if tensor.lazy:
        raise StoreError(
            f"{label}: values are negated or conjugated lazily; wanted plain ones, as "
            "tensor.resolve_neg() gives"
        )
    (count, dim), (down, across) = tensor.shape, tensor.stride
    if count == 0 or ((count == 1 or down == dim) and (dim == 1 or across == 1)):
        return False
    if (count == 1 or down == 1) and (dim == 1 or across == count):
        return True
    raise StoreError(
        f"{label}: strides are {tensor.stride} for shape {tensor.shape}; wanted rows or columns "
        "without gaps, as tensor.contiguous() gives"
    )


@contextmanager
def _opened(path: Place) -> Generator[_Archive, None, None]:
    file, stamp = open_file(path)
    with file:
        # Before torch 1.6 files were pickles; to look costs a request where they are remote.
        if not isinstance(path, RemotePath) and file.read(1) == b"\x80":
            raise StoreError(
                f"{path}: is a pickle, the format of torch before 1.6; torch writes it anew: "
                "torch.save(torch.load('x.pt', map_location='cpu'), 'x.pt')"
            )
        with zip_errors(path, "torch.save"), open_archive(file) as archive:
            infos = {info.filename: info for info in archive.infolist()}
            folder = next(iter(infos), "").partition("/")[0] + "/"
            members = {name.removeprefix(folder): info for name, info in infos.items()}
            if "constants.pkl" in members:
                raise StoreError(
                    f"{path}: is a TorchScript archive, which holds a program; wanted {WANTED}, "
                    "as torch.save writes them"
                )
            if "data.pkl" not in members:
                raise StoreError(
                    f"{path}: is a zip file without data.pkl; wanted what torch.save writes"
                )
            found = _Archive(path, file, stamp, members, {})
            held = read_pickle(_read(found, "data.pkl", PICKLE_BYTES), str(path))
            found.tensors.update(_tensors(held, path))
            yield found


def _tensors(held: object, path: Place) -> dict[str, TensorRecord]:
    """Tensors by name of what was saved; those of a list are numbered."""
    if isinstance(held, TensorRecord):
        return {"": held}
    # Not isinstance: records are tuples.
    is_list = type(held) in (list, tuple)
    if is_list:
        held = {str(i): one for i, one in enumerate(cast("list[object]", held))}
    elif not isinstance(held, dict):
        raise StoreError(f"{path}: holds {_kind(held)}; wanted {WANTED}")
    named = cast("dict[object, object]", held)
    tensors = {
        name: one
        for name, one in named.items()
        if isinstance(one, TensorRecord) and isinstance(name, str) and name and name.isprintable()
    }
    if not tensors:
        raise StoreError(
            f"{path}: holds no tensors by name; found {_listed(named)}; wanted {WANTED}"
        )
    if len(tensors) > MOST_TENSORS:
        hint = "torch.cat joins batches" if is_list else "these look like the weights of a model"
        raise StoreError(
            f"{path}: holds {len(tensors):,} tensors: {_listed(tensors)}; wanted at most "
            f"{MOST_TENSORS} ({hint})"
        )
    return tensors


def _listed(named: Mapping[Any, object]) -> str:
    """Name some entries, and say what each is."""
    shown = [
        f"{name[:SHOWN_LETTERS]!r} ({_kind(one)})" if isinstance(name, str) else _kind(one)
        for name, one in islice(named.items(), SHOWN)
    ]
    more = f" and {len(named) - SHOWN:,} more" if len(named) > SHOWN else ""
    return (", ".join(shown) or "nothing") + more


def _kind(held: object) -> str:
    if isinstance(held, TensorRecord):
        return " x ".join(map(str, held.shape[:SHOWN])) or "a number"
    if isinstance(held, StorageRecord):
        return "a storage"
    if isinstance(held, (dict, list, tuple)):
        return f"{'dict' if isinstance(held, dict) else type(held).__name__} of {len(held):,}"
    return type(held).__name__.strip("_")


def _byte_order(archive: _Archive) -> Literal["<", ">"]:
    """Return the byte order of all storages; that of files without a word of it is little."""
    if "byteorder" not in archive.members:
        return "<"
    said = _read(archive, "byteorder", len("little")).decode("ascii", "replace")
    if said not in _ORDERS:
        raise StoreError(f"{archive.path}: the byte order is {said!r}; wanted 'little' or 'big'")
    return _ORDERS[said]


def _read(archive: _Archive, name: str, most: int) -> bytes:
    """Read a small member."""
    info = archive.members[name]
    label = f"{archive.path}: member {info.filename!r}"
    if info.file_size > most:
        raise StoreError(f"{label} has {info.file_size} bytes; wanted at most {most}")
    data = read_at(archive.file, _stored(archive, info, label), info.file_size, label)
    # Not by zipfile, which knows no 0 in the place of a checksum that was not taken.
    if info.CRC not in (0, zlib.crc32(data)):
        raise StoreError(f"{label} is damaged: its CRC-32 is {zlib.crc32(data):08x}")
    return data


def _stored(archive: _Archive, info: ZipInfo, label: str) -> int:
    """Return where a member begins; it is not compressed, and the file does not end before it."""
    import zipfile

    if info.compress_type != zipfile.ZIP_STORED:
        raise StoreError(
            f"{label}: {info.filename!r} is compressed; wanted it plain, as torch.save writes"
        )
    start = data_start(archive.file, info, archive.stamp.size, label)
    end = start + info.file_size
    check_extent(archive.path, max(archive.stamp.size, end), archive.stamp.size)
    return start
