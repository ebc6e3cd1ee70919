"""What servers answer: the stamp of a file, and errors in words."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from clipsoid.errors import StoreError
from clipsoid.store.files import Place, Stamp

if TYPE_CHECKING:
    from io import RawIOBase

_STATUS = re.compile(r"status code: (\d{3}[^:\n]*)")
_RETRIES = re.compile(r"after (\d+) retries")
_REASON = re.compile(r" - (.*)")


@dataclass(frozen=True, slots=True)
class RemoteStamp(Stamp):
    """Size, time and entity tag of a file, as every answer about it gives them.

    Each answer is compared as it comes, so that rows of two different files never meet.
    """

    etag: str = ""

    def recorded(self) -> dict[str, int | str]:
        """Size and ETag; a file that is uploaded once more keeps both. Without a tag, the time."""
        if self.etag:
            return {"size": self.size, "etag": self.etag}
        return {"size": self.size, "modified": self.modified}

    def content_tag(self) -> str:
        """Return the ETag, if it is strong."""
        return "" if self.etag.startswith("W/") else self.etag

    def check(self, path: Place, file: RawIOBase | None = None) -> None:
        """Raise StoreError unless `file` was opened on this one; no request is made."""
        from clipsoid.store.remote.file import RemoteFile

        assert isinstance(file, RemoteFile)
        self.compare(str(path), file.stamp)

    def compare(self, url: str, found: RemoteStamp) -> None:
        """Raise StoreError unless an answer is about the file that was opened."""
        # Without tags, the time has to do; it may be absent, and is then 0 in both.
        same = self.etag == found.etag if self.etag and found.etag else True
        if found.size != self.size:
            raise self._difference(url, found)
        if not same or (not self.etag and self.modified != found.modified):
            raise StoreError(
                f"{url}: was changed while it was being read: its size is the same, but its "
                f"{'ETag' if not same else 'modification time'} is not"
            )


def stamp_of(answer: Mapping[str, Any]) -> RemoteStamp:
    """Take the stamp from what an answer says about the file."""
    modified = answer["last_modified"]
    return RemoteStamp(
        size=int(answer["size"]),
        modified=int(modified.timestamp()) * 10**9 if modified else 0,
        inode=0,
        etag=answer["e_tag"] or "",
    )


class RemoteError(StoreError):
    """A request that failed.

    Attributes
    ----------
    status : int
        Of the answer; 0 if there was none.
    """

    status: int = 0

    @property
    def unsatisfiable(self) -> bool:
        """Whether the file ends before the bytes that were asked for."""
        return self.status == 416

    @property
    def absent(self) -> bool:
        """Whether there is no such file: a store that may not be listed refuses access instead."""
        return self.status in (401, 403, 404)


def explained(url: str, error: Exception, known: RemoteStamp | None = None) -> RemoteError:
    """Say in one line what went wrong with a request for `url`."""
    if isinstance(error, RemoteError):
        return error
    text = str(error)
    found = _STATUS.search(text)
    status = found[1].strip() if found else ""
    number = int(status[:3]) if status else 404 if isinstance(error, FileNotFoundError) else 0
    tries = _RETRIES.search(text)
    after = f" after {int(tries[1]) + 1} tries" if tries else ""
    if number == 404:
        what = (
            f"found no such file ({status or 'Not Found'})"
            if known is None
            else f"was removed while it was being read ({status or 'Not Found'})"
        )
    elif number in (401, 403):
        what = f"access is refused ({status}); wanted credentials of the environment that may read"
    elif number:
        what = f"the server answered {status}{after}"
    elif "Timeout" in text or "TimedOut" in text:
        what = f"the server did not answer in time{after}"
    else:
        line = text.partition("\n")[0]
        reason = _REASON.search(line)
        what = f"cannot be read: {reason[1] if reason else line}{after}"
    made = RemoteError(f"{url}: {what}")
    made.status = number
    return made
