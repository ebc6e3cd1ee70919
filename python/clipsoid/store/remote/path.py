"""RemotePath: a file behind a URL, with as much of a path as readers need."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from clipsoid.errors import StoreError

if TYPE_CHECKING:
    from clipsoid.store.remote.session import Session

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")


def is_url(text: str) -> bool:
    """Whether `text` begins with a scheme, as in ``s3://``."""
    return _URL.match(text) is not None


def check_url(url: str) -> None:
    """Refuse a URL that names nothing behind its scheme, such as ``s3://``.

    Raises
    ------
    StoreError
    """
    scheme, rest = url.split("://", 1)
    if not rest.partition("/")[0]:
        place = {"http": "host", "https": "host", "hf": "dataset"}.get(scheme.lower(), "bucket")
        raise StoreError(f"{url}: names no {place}")


@dataclass(frozen=True, slots=True)
class RemotePath:
    """One file in an object store or behind an ``http(s)`` URL.

    Attributes
    ----------
    url : str
        Such as ``s3://bucket/img_emb/img_emb_0.npy``.
    session : Session, optional
        The requests among which those for this file are counted, ended and read ahead.
    """

    url: str
    session: Session | None = field(default=None, compare=False, repr=False)

    @property
    def scheme(self) -> str:
        """``"s3"``, ``"gs"``, ``"hf"``, ``"http"`` or ``"https"``."""
        return self.url.partition("://")[0].lower()

    @property
    def name(self) -> str:
        """What follows the last slash."""
        return PurePosixPath(self.url).name

    @property
    def suffix(self) -> str:
        """End of the name, from its last dot on."""
        return PurePosixPath(self.url).suffix

    @property
    def stem(self) -> str:
        """The name without its suffix."""
        return PurePosixPath(self.url).stem

    @property
    def parent(self) -> RemotePath:
        """The folder; of a bucket or a host, itself."""
        scheme, rest = self.url.split("://", 1)
        folder = rest.rstrip("/").rpartition("/")[0]
        return RemotePath(f"{scheme}://{folder}" if folder else self.url)

    def through(self, session: Session | None) -> RemotePath:
        """Return the same file, to be read through `session`."""
        return replace(self, session=session)

    def absolute(self) -> RemotePath:
        """Return the path itself: a URL depends on no folder."""
        return self

    def resolve(self) -> RemotePath:
        """Return the path itself: a URL has no links."""
        return self

    def as_posix(self) -> str:
        """Return the URL."""
        return self.url

    def read_bytes(self) -> bytes:
        """Read the whole of a small file.

        Raises
        ------
        FileNotFoundError
            If there is none; stores that may not be listed say so by refusing access.
        StoreError
            If it cannot be read.
        """
        from clipsoid.store.remote.file import read_whole

        return read_whole(self)

    def __truediv__(self, name: str) -> RemotePath:
        return RemotePath(f"{self.url.rstrip('/')}/{name}")

    def __str__(self) -> str:
        return self.url
