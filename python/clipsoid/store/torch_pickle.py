"""What torch.save writes of tensors, read from its pickle without running anything of it.

Names in the pickle are looked up in a list of what makes plain tensors, and never imported; what
they make are records of where a tensor lies. Any other name ends the reading.
"""

from __future__ import annotations

import pickle
import pickletools
import re
from dataclasses import dataclass
from io import BytesIO
from typing import Any, NamedTuple

from clipsoid.errors import StoreError

WANTED = "a tensor, or a dict or list of tensors"

#: Longest pickle that is read, and its most instructions: each builds one object at most.
PICKLE_BYTES = 1 << 26
INSTRUCTIONS = 1 << 20

#: A key of tuples in tuples is hashed by recursion: at 140,000 of them the stack of 8 MiB ends.
TUPLES = 1 << 15

#: Most axes of a tensor, as of torch.
AXES = 64

#: Element types of storages, by the names of their classes.
STORAGES = {
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "FloatStorage": "float32",
    "DoubleStorage": "float64",
    "ComplexFloatStorage": "complex64",
    "ComplexDoubleStorage": "complex128",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
}

#: Elements of a storage whose class does not say of what; the tensor does.
UNTYPED = "untyped"

_KNOWN = (
    "collections.OrderedDict",
    "torch._utils._rebuild_parameter",
    "torch._utils._rebuild_tensor_v2",
    "torch._utils._rebuild_tensor_v3",
    "torch.storage.UntypedStorage",
)

#: Element types, as attributes of torch.
_DTYPE = re.compile(r"(bfloat|float|complex|uint|int|bool)[0-9a-z_]*")

#: What tensors of other kinds are made by.
_OTHERS = {
    "torch._utils._rebuild_sparse_tensor": "a sparse tensor",
    "torch._utils._rebuild_qtensor": "a quantised tensor",
    "torch._utils._rebuild_nested_tensor": "a nested tensor",
    "torch._utils._rebuild_meta_tensor_no_storage": "a tensor without data (device 'meta')",
    "torch._tensor._rebuild_from_type_v2": "a tensor of a class or with attributes of its own",
}

_SHOWN = 80

#: What unpickling raises on bytes that are no pickle: nearly anything.
_UNREADABLE = (
    pickle.UnpicklingError,
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    RecursionError,
    TypeError,
    ValueError,
)


# Of tuples, because a pickle may give a dataclass other contents after it was made.
class StorageRecord(NamedTuple):
    """A run of elements in a member of its own: its number, element type and length."""

    key: str
    dtype: str
    length: int


class TensorRecord(NamedTuple):
    """A view of a storage; offset and strides in elements; `lazy` if values are to be negated."""

    storage: StorageRecord
    dtype: str
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]
    lazy: bool


class _Dict(dict[Any, Any]):
    """A dict that takes no state: of a model's, versions; of a hostile one, methods of its own."""

    __slots__ = ()

    def __setstate__(self, state: object) -> None:
        """Take none of it."""


class _RefusedError(Exception):
    """The pickle holds something else; the text says what."""


@dataclass(slots=True)
class _Name:
    """A name of the list; to call it makes a record."""

    text: str

    def __call__(self, *arguments: Any) -> Any:
        match self.text:
            case "collections.OrderedDict" if not arguments:
                return _Dict()
            case "torch._utils._rebuild_tensor_v2":
                return _tensor(arguments[0].dtype, *arguments)
            case "torch._utils._rebuild_tensor_v3":
                *plain, kind = arguments[:7]
                return _tensor(kind.text.removeprefix("torch."), *plain, *arguments[7:])
            case "torch._utils._rebuild_parameter":
                return arguments[0]
        raise _RefusedError(self.text)


def _tensor(
    dtype: str,
    storage: StorageRecord,
    offset: int,
    shape: tuple[int, ...],
    stride: tuple[int, ...],
    _grad: bool,
    _hooks: object,
    bits: object = None,
) -> TensorRecord:
    valid = type(storage) is StorageRecord and _is_size(offset)
    for numbers in (shape, stride):
        valid = valid and type(numbers) is tuple and all(map(_is_size, numbers))
    if not valid or not len(shape) == len(stride) <= AXES:
        raise ValueError("a tensor has no valid shape, strides or storage")
    return TensorRecord(storage, dtype, offset, shape, stride, bool(bits))


def _is_size(number: object) -> bool:
    """Whether a number can be one of elements; Python's may have millions of digits."""
    return type(number) is int and 0 <= number < 1 << 63


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str, /) -> _Name:
        """Return a stand-in of a known name; nothing is imported."""
        text = f"{module}.{name}"
        if text in _OTHERS:
            raise _RefusedError(_OTHERS[text])
        if text in _KNOWN or (module == "torch" and (name in STORAGES or _DTYPE.fullmatch(name))):
            return _Name(text)
        raise _RefusedError((text if text.isprintable() else repr(text))[:_SHOWN])

    def persistent_load(self, pid: Any, /) -> StorageRecord:
        """Take a storage as what is said of it."""
        kind, name, key, _device, length = pid
        if kind != "storage" or type(key) is not str or not _is_size(length):
            raise ValueError("a storage has no valid name or length")
        return StorageRecord(key, STORAGES.get(name.text.removeprefix("torch."), UNTYPED), length)


def read_pickle(data: bytes, label: str) -> object:
    """Return what a pickle of torch.save holds, with records in the place of tensors.

    Raises
    ------
    StoreError
        If it holds anything but tensors, containers, texts and numbers, or is no pickle.
    """
    try:
        _check(data)
        held = _Unpickler(BytesIO(data)).load()
        if isinstance(held, _Name):
            raise _RefusedError(held.text)
        return held
    except _RefusedError as error:
        raise StoreError(f"{label}: holds {error}; wanted {WANTED}") from None
    except _UNREADABLE as error:
        raise StoreError(
            f"{label}: its pickle is damaged, or not one of torch.save: "
            f"{type(error).__name__}: {str(error)[:_SHOWN]}"
        ) from None


def _check(data: bytes) -> None:
    """Refuse a pickle that would take much memory or stack; all lengths in it are checked too."""
    tuples = 0
    for count, (opcode, argument, _) in enumerate(pickletools.genops(data)):
        tuples += opcode.name.startswith("TUPLE")
        if count == INSTRUCTIONS or tuples > TUPLES:
            raise _RefusedError(f"more than {INSTRUCTIONS} objects, or {TUPLES} tuples")
        if opcode.name in ("LONG_BINPUT", "PUT") and int(argument or 0) > count:
            # The memo has room for every number up to the greatest.
            raise ValueError(f"object {argument} of {count}")
        if opcode.name.startswith("EXT"):
            # Names of copyreg do not pass through find_class.
            raise _RefusedError("names by number (copyreg)")
