"""A cheap digest of a file's content, to tell whether two shards are the same one."""

from __future__ import annotations

from hashlib import blake2b
from pathlib import Path

from clipsoid.store.files import Place, Stamp, open_file, read_at
from clipsoid.store.remote.path import RemotePath

#: Pages that are sampled, evenly spaced, the first and the last among them.
PAGES = 64

#: Bytes in one page.
PAGE_BYTES = 4096


def fingerprint(path: str | Place, part: str = "", stamp: Stamp | None = None) -> str:
    """Digest of the size of a file and of 64 pages of it.

    A file of up to 256 KiB is digested whole; of a larger one, 64 pages of 4096 bytes at evenly
    spaced positions, the first and the last page included. The path and the times do not enter,
    so a copy has the same fingerprint. A change that falls between the sampled pages and keeps
    the size is not seen: this tells shards apart, it does not protect against forgery.

    Of a remote file with a strong ETag, which stands for the content, size and ETag are digested,
    and nothing is read. Only in S3 and on the Hugging Face Hub do equal contents have equal tags;
    elsewhere the URL is digested too. Without a strong ETag, the pages are read.

    Parameters
    ----------
    path : str, Path or RemotePath
        The file.
    part : str, default=""
        Name of the array or column inside the file, where a file holds several; two parts of one
        file have different fingerprints.
    stamp : Stamp, optional
        Of the file when it was opened, for remote files.

    Returns
    -------
    str
        32 hexadecimal digits (BLAKE2b, 16 bytes).

    Raises
    ------
    StoreError
        If the file cannot be read.
    """
    if isinstance(path, str):
        path = Path(path)
    digest = blake2b(digest_size=16, person=b"clipsoid")
    if isinstance(path, RemotePath) and stamp is not None and (tag := stamp.content_tag(path.url)):
        digest.update(stamp.size.to_bytes(8, "little") + part.encode() + b"\0" + tag.encode())
        return digest.hexdigest()
    file, stamp = open_file(path)
    with file:
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
