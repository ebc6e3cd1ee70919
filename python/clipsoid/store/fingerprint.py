"""A cheap digest of a file's content, to tell whether two shards are the same one."""

from __future__ import annotations

from hashlib import blake2b
from pathlib import Path

from clipsoid.store.files import open_file, read_at

#: Pages that are sampled, evenly spaced, the first and the last among them.
PAGES = 64

#: Bytes in one page.
PAGE_BYTES = 4096


def fingerprint(path: str | Path, part: str = "") -> str:
    """Digest of the size of a file and of 64 pages of it.

    A file of up to 256 KiB is digested whole; of a larger one, 64 pages of 4096 bytes at evenly
    spaced positions, the first and the last page included. The path and the times do not enter,
    so a copy has the same fingerprint. A change that falls between the sampled pages and keeps
    the size is not seen: this tells shards apart, it does not protect against forgery.

    Parameters
    ----------
    path : str or Path
        The file.
    part : str, default=""
        Name of the array or column inside the file, where a file holds several; two parts of one
        file have different fingerprints.

    Returns
    -------
    str
        32 hexadecimal digits (BLAKE2b, 16 bytes).

    Raises
    ------
    StoreError
        If the file cannot be read.
    """
    path = Path(path)
    file, stamp = open_file(path)
    with file:
        digest = blake2b(digest_size=16, person=b"clipsoid")
        digest.update(stamp.size.to_bytes(8, "little"))
        digest.update(part.encode() + b"\0")
        if stamp.size <= PAGES * PAGE_BYTES:
            spans = [(0, stamp.size)]
        else:
            last = stamp.size - PAGE_BYTES
            spans = [(last * i // (PAGES - 1), PAGE_BYTES) for i in range(PAGES)]
        for offset, length in spans:
            digest.update(read_at(file, offset, length, path))
        stamp.check(path, file)
    return digest.hexdigest()
