"""What readers of zip archives share: where a member lies, and errors that name the file."""

from __future__ import annotations

import zlib
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from clipsoid.errors import StoreError
from clipsoid.store.files import Place, read_at

if TYPE_CHECKING:
    from io import RawIOBase
    from zipfile import ZipFile, ZipInfo

#: Fixed part of a zip member's local header, and where the lengths of the rest stand in it.
LOCAL_HEADER_BYTES = 30
ENCRYPTED = 0x1


def open_archive(file: RawIOBase) -> ZipFile:
    """Read the list of members at the end of a file."""
    from zipfile import ZipFile

    return ZipFile(file)


def data_start(file: RawIOBase, info: ZipInfo, size: int, label: str) -> int:
    """Where the bytes of a member begin: behind its local header, which has a name of its own."""
    if info.flag_bits & ENCRYPTED:
        raise StoreError(f"{label} is encrypted; wanted a plain one")
    # A damaged list may have positions that no file can be asked for.
    if not 0 <= info.header_offset < size:
        raise StoreError(f"{label}: is damaged: begins at {info.header_offset} of {size} bytes")
    local = read_at(file, info.header_offset, LOCAL_HEADER_BYTES, label)
    if local[:4] != b"PK\x03\x04":
        raise StoreError(f"{label}: the local header is damaged: it begins with {local[:4]!r}")
    lengths = int.from_bytes(local[26:28], "little") + int.from_bytes(local[28:30], "little")
    return info.header_offset + LOCAL_HEADER_BYTES + lengths


@contextmanager
def zip_errors(path: Place, kind: str) -> Generator[None, None, None]:
    """Turn what zipfile raises on a damaged, truncated or unsupported archive into StoreError."""
    import lzma
    import zipfile

    try:
        yield
    except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, UnicodeDecodeError) as error:
        raise StoreError(
            f"{path}: is damaged or truncated, or no {kind} (zip) file: {error}"
        ) from None
    except EOFError:
        raise StoreError(f"{path}: is truncated: a member ends before its header says") from None
    except NotImplementedError as error:
        raise StoreError(f"{path}: cannot be unpacked: {error}") from None
    except OSError as error:
        # Also what the directory of a damaged archive makes zipfile do: seek before the file.
        raise StoreError(f"{path}: cannot be read: {error.strerror or error}") from None
