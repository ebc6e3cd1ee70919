"""A cheap digest of a file's content, to tell whether two shards are the same one."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b
from pathlib import Path

from clipsoid.store.files import Place, Stamp, open_file, read_at
from clipsoid.store.remote.path import RemotePath

#: Pages that are sampled, evenly spaced, the first and the last among them.
PAGES = 64

#: Bytes in one page.
PAGE_BYTES = 4096

#: Schemes under which equal contents have equal ETags, within one scheme.
TAGGED = ("s3", "hf")

#: Kind of the fingerprints of all other ETags.
URL = "url"

#: Kinds in words; those of pages have no name in front.
KINDS = {
    "": "sampled pages",
    "s3": "ETags of S3",
    "hf": "ETags of the Hugging Face Hub",
    URL: "ETags with URLs",
}


def fingerprint(path: str | Place, part: str = "", stamp: Stamp | None = None) -> str:
    """Digest of the size of a file and of 64 pages of it.

    A file of up to 256 KiB is digested whole; of a larger one, 64 pages of 4096 bytes at evenly
    spaced positions, the first and the last page included. The path and the times do not enter,
    so a copy has the same fingerprint. A change that falls between the sampled pages and keeps
    the size is not seen: this tells shards apart, it does not protect against forgery.

    Of a remote file with a strong ETag, which stands for the content, size and ETag are digested,
    and nothing is read. Only in S3 and on the Hugging Face Hub do equal contents have equal tags;
    elsewhere the URL is digested too. Such digests are of other kinds, and begin with the kind.
    Without a strong ETag, the pages are read.

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
        32 hexadecimal digits (BLAKE2b, 16 bytes); of an ETag, behind ``s3:``, ``hf:`` or ``url:``.

    Raises
    ------
    StoreError
        If the file cannot be read.
    """
    if isinstance(path, str):
        path = Path(path)
    digest = blake2b(digest_size=16, person=b"clipsoid")
    if isinstance(path, RemotePath) and stamp is not None and (tag := stamp.content_tag()):
        kind = path.scheme if path.scheme in TAGGED else URL
        tag = tag if kind != URL else f"{tag} {path.url}"
        digest.update(stamp.size.to_bytes(8, "little") + part.encode() + b"\0" + tag.encode())
        return f"{kind}:{digest.hexdigest()}"
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


def ends(path: Place, stamp: Stamp) -> str | None:
    """Digest of the first and the last 4096 bytes of a local file: of its header, nearly always.

    A start of a job looks at every file in this way, which takes a thirtieth of the time of
    `fingerprint` where the file is not in memory. None of a remote file, which its server tells
    from its other states.

    Raises
    ------
    StoreError
        If the file cannot be read, or has changed since it had this stamp.
    """
    if isinstance(path, RemotePath):
        return None
    digest = blake2b(digest_size=16, person=b"clipsoid")
    file, _ = open_file(path)
    with file, stamp.guarding(path, file):
        length = min(stamp.size, PAGE_BYTES)
        for offset in (0, stamp.size - length):
            digest.update(read_at(file, offset, length, path))
        stamp.check(path, file)
    return digest.hexdigest()


def kinds_of(fingerprints: Iterable[str]) -> set[str]:
    """Return what fingerprints are digests of: keys of `KINDS`."""
    return {one.rpartition(":")[0] for one in fingerprints}


def tell_apart(kinds: set[str]) -> bool:
    """Whether files with different fingerprints of these kinds are different files.

    Fingerprints of two kinds differ whatever the files; so do those of copies behind two URLs.
    """
    return len(kinds) < 2 and URL not in kinds
