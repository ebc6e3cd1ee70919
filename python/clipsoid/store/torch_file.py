"""Reader of the files that `torch.save` writes: one tensor, mapped where it lies.

Such a file is a zip of a pickle, which says what there is, and of stored members, which hold the
elements. The pickle is read, never run: of all that it may call, only what describes a tensor is
known, and torch is not needed.
"""

from __future__ import annotations

import pickle
import struct
import zipfile
from collections import OrderedDict
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np

from clipsoid.errors import DTypeError, StoreError
from clipsoid.store.base import Shard
from clipsoid.store.files import Place, open_file
from clipsoid.store.mapped import MappedShard, check_extent, check_shape
from clipsoid.store.opening import check_dtype, wanted_key
from clipsoid.store.zips import archive_of, data_start, zip_errors

if TYPE_CHECKING:
    from zipfile import ZipFile

#: Element types by torch's storages, with the letters of numpy.
STORAGES = {
    "HalfStorage": ("float16", "f2"),
    "BFloat16Storage": ("bfloat16", "u2"),
    "FloatStorage": ("float32", "f4"),
    "DoubleStorage": ("float64", "f8"),
}

#: Longest pickle that is read: descriptions of a few thousand tensors.
PICKLE_BYTES = 4 << 20

#: Tensors that a message lists.
LISTED = 8

#: How files begin that torch before 1.6 wrote.
OLD = b"\x80\x02\x8a\x0a"

#: What the pickle of a damaged or foreign file makes the unpickler raise.
_UNREADABLE = (
    *(pickle.UnpicklingError, struct.error, EOFError, MemoryError, RecursionError),
    *(AttributeError, ImportError, LookupError, TypeError, ValueError, OverflowError),
)

_SAVE = "wanted torch.save of a tensor, or of a dict of tensors"


@dataclass(frozen=True)
class Tensor:
    """Where a tensor lies: in which storage, from which element on, with which strides."""

    storage: str
    kind: str
    stored: int
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]

    @property
    def order(self) -> str | None:
        """``"C"`` or ``"F"`` where the elements lie side by side in that order, or None."""
        if len(self.shape) != 2:
            return None
        rows, columns = self.shape
        of_rows, of_columns = self.stride
        if (columns == 1 or of_columns == 1) and (rows <= 1 or of_rows == columns):
            return "C"
        return "F" if of_rows == 1 and of_columns == rows else None


class _Unpickler(pickle._Unpickler):
    """Builds tensors without elements, dicts and lists, and nothing else.

    It is the one in Python: the one in C makes room for whatever number of objects a file claims.
    """

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _tensor
        if (module, name) == ("torch._utils", "_rebuild_parameter"):
            return _parameter
        if module == "torch" and name.endswith("Storage"):
            return name
        raise StoreError(f"holds {module}.{name}; {_SAVE}")

    def persistent_load(self, pid: Any) -> Any:
        what, kind, key, _, count = pid
        if what != "storage" or not isinstance(kind, str) or not isinstance(key, str):
            raise pickle.UnpicklingError(f"{pid!r} is no storage")
        return kind, key, int(count)


def _tensor(storage: Any, offset: Any, shape: Any, stride: Any, *_: Any) -> Tensor:
    """Stand in for torch's function of this place."""
    kind, key, count = storage
    shape, stride = (tuple(int(n) for n in numbers) for numbers in (shape, stride))
    if int(offset) < 0 or len(shape) != len(stride) or min((*shape, *stride), default=0) < 0:
        raise pickle.UnpicklingError(f"a tensor of shape {shape} has strides {stride}")
    return Tensor(key, kind, count, int(offset), shape, stride)


def _parameter(data: Tensor, *_: Any) -> Tensor:
    """Stand in for torch's function of a parameter: its tensor."""
    return data


def matrix_names(path: Place) -> list[str]:
    """Names of the matrices of a file that may be embeddings; one alone has the name ``""``."""
    file, _ = open_file(path)
    with file, zip_errors(path, "torch.save"):
        return _matrices(_tensors(path, _opened(path, file)))


def open_torch(path: Place, name: str, *, key: str | None, dtype: str | None) -> Shard:
    """Open one tensor of a file of torch; see `open_store`."""
    file, stamp = open_file(path)
    with file, zip_errors(path, "torch.save"):
        archive = _opened(path, file)
        tensors = _tensors(path, archive)
        names = _matrices(tensors)
        if key is None and len(names) > LISTED:
            raise StoreError(
                f"{path}: holds {len(names)} matrices ({', '.join(names[:3])}, ...), as weights of "
                "a model do; wanted one, or its name as the key (key=, --key)"
            )
        if key not in tensors:
            key = wanted_key(path, key, names, "tensor")
        tensor = tensors[key]
        label = f"{path}: tensor {key!r}" if key else str(path)
        if tensor.kind not in STORAGES:
            raise DTypeError(
                f"{label}: elements are of a {tensor.kind}; wanted {', '.join(STORAGES)}"
            )
        element, letters = STORAGES[tensor.kind]
        check_dtype(label, element, dtype)
        check_shape(label, tensor.shape)
        if tensor.order is None:
            raise StoreError(
                f"{label}: rows of shape {tensor.shape} lie {tensor.stride} elements apart; wanted "
                "one after the other, as tensor.contiguous() has them"
            )
        info = _member(archive, f"/data/{tensor.storage}", label)
        disk = np.dtype(_byte_order(archive) + letters)
        start = tensor.offset * disk.itemsize
        extent = start + int(np.prod(tensor.shape, dtype=object)) * disk.itemsize
        if extent > info.file_size:
            raise StoreError(
                f"{label}: its storage has {info.file_size} bytes; wanted {extent}, as its shape "
                f"{tensor.shape} says"
            )
        first = data_start(file, info, label)
        check_extent(path, max(stamp.size, first + info.file_size), stamp.size)
        stamp.check(path, file)
    return MappedShard(
        path=path,
        name=name,
        count=tensor.shape[0],
        dim=tensor.shape[1],
        dtype=element,
        stamp=stamp,
        part=key,
        offset=first + start,
        disk=disk,
        fortran=tensor.order == "F",
    )


def _opened(path: Place, file: Any) -> ZipFile:
    """Open the zip; files of other times and kinds are named."""
    if file.read(len(OLD)) == OLD:
        raise StoreError(f"{path}: is of the format before torch 1.6; wanted it saved anew")
    file.seek(0)
    archive = archive_of(file)
    if any(name.endswith("/constants.pkl") for name in archive.namelist()):
        raise StoreError(f"{path}: is a program of TorchScript; {_SAVE}")
    return archive


def _tensors(path: Place, archive: ZipFile) -> dict[str, Tensor]:
    """Return all tensors of a file by their names."""
    info = _member(archive, "/data.pkl", str(path))
    if info.file_size > PICKLE_BYTES:
        raise StoreError(
            f"{path}: its pickle has {info.file_size} bytes, more than tensors need; {_SAVE}"
        )
    try:
        found = _Unpickler(BytesIO(archive.read(info))).load()
    except StoreError as error:
        raise StoreError(f"{path}: {error}") from None
    except _UNREADABLE as error:
        raise StoreError(f"{path}: its pickle cannot be read: {error!r}") from None
    if isinstance(found, Tensor):
        return {"": found}
    if isinstance(found, (list, tuple)):
        found = {str(i): one for i, one in enumerate(found)}
    if not isinstance(found, dict):
        raise StoreError(f"{path}: holds {type(found).__name__}; {_SAVE}")
    tensors = {name: one for name, one in found.items() if isinstance(one, Tensor)}
    if not tensors or not all(isinstance(name, str) for name in tensors):
        raise StoreError(f"{path}: holds no tensors by name; {_SAVE}")
    return tensors


def _matrices(tensors: dict[str, Tensor]) -> list[str]:
    """Names of those that may be embeddings."""
    fit = [n for n, one in tensors.items() if one.kind in STORAGES and len(one.shape) == 2]
    # Of one that is no matrix, its reader says so.
    return fit or list(tensors)


def _member(archive: ZipFile, end: str, label: str) -> zipfile.ZipInfo:
    """Return the stored member that ends so; the folder is called as the file was."""
    found = [info for info in archive.infolist() if info.filename.endswith(end)]
    if len(found) != 1 or found[0].compress_type != zipfile.ZIP_STORED or found[0].flag_bits & 1:
        raise StoreError(f"{label}: found {len(found)} plain members *{end}, wanted one; {_SAVE}")
    return found[0]


def _byte_order(archive: ZipFile) -> str:
    """Return numpy's letter; files without a word on it are little-endian."""
    for info in archive.infolist():
        if info.filename.endswith("/byteorder") and info.file_size < 16:
            return ">" if archive.read(info) == b"big" else "<"
    return "<"
