"""A journal: what a job has finished, one line for each piece, safe from a kill at any instant."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from clipsoid import _native
from clipsoid._output import as_output_errors, lock_or_refuse, remove
from clipsoid.errors import StoreError

FORMAT, FORMAT_VERSION = "clipsoid.journal", 1

#: What is left to do where a journal cannot be gone on with: what it knows of is in its folder.
WAY_ON = "wanted another --out, or this folder removed"


class Journal:
    """An append-only file of JSON lines that one process holds.

    The first line says which job it is of, each other one what is finished. A line is on its disk
    before `add` returns. What a kill left of a line is not read, and is cut off by the next `add`:
    adding takes the same time whatever the length.

    Attributes
    ----------
    path : Path
        The file.
    lines : list of dict
        All but the first.
    """

    def __init__(self, path: Path, handle: int, lines: list[dict[str, Any]], end: int) -> None:
        self.path, self.lines = path, lines
        self._handle, self._end = handle, end

    @classmethod
    @contextmanager
    def hold(
        cls, path: Path, job: dict[str, Any], what: Path, worth: Sequence[Path] = ()
    ) -> Iterator[Self]:
        """Open or begin the journal of `job`, and keep every other process out of `what`.

        The caller makes sure that a journal that is there is of this job. On an error, one that
        has only its first line is removed, unless there is a file of `worth`.

        Raises
        ------
        OutputError
            If another process holds it, or it cannot be written.
        """
        handle = locked(path, what)
        try:
            with os.fdopen(os.dup(handle), "rb") as file:
                lines, end = parsed(path, file.read())
            journal = cls(path, handle, lines[1:], end)
            try:
                if not lines:
                    head = {"format": FORMAT, "format_version": FORMAT_VERSION, **job}
                    journal._append(head)
                    sync_folder(path.parent)
                yield journal
            except BaseException:
                if not journal.lines and not any(map(Path.exists, worth)):
                    remove(path)
                raise
        finally:
            os.close(handle)

    def add(self, line: dict[str, Any]) -> None:
        """Append a line, and wait until it is on its disk."""
        with as_output_errors(self.path):
            self._append(line)
        self.lines.append(line)

    def _append(self, line: dict[str, Any]) -> None:
        text = json.dumps(line, separators=(",", ":")).encode() + b"\n"
        os.ftruncate(self._handle, self._end)
        done = 0
        while done < len(text):
            done += os.pwrite(self._handle, text[done:], self._end + done)
        os.fsync(self._handle)
        self._end += len(text)


def read_journal(path: Path) -> tuple[dict[str, Any], list[dict[str, Any]]] | None:
    """Return the first line and the others; None where not even the first is complete.

    Raises
    ------
    StoreError
        If it cannot be read, is damaged or of another version.
    """
    try:
        contents = path.read_bytes()
    except OSError as error:
        raise StoreError(f"{path}: cannot be read: {error.strerror or error}") from None
    lines, _ = parsed(path, contents)
    return (lines[0], lines[1:]) if lines else None


def parsed(path: Path, contents: bytes) -> tuple[list[dict[str, Any]], int]:
    """Return the complete lines, and where the last of them ends."""
    end = contents.rfind(b"\n") + 1
    lines = []
    for number, text in enumerate(contents[:end].splitlines(), 1):
        try:
            line = json.loads(text)
        except ValueError:
            line = None
        if not isinstance(line, dict):
            raise StoreError(f"{path}: is damaged: line {number} is no JSON object; {WAY_ON}")
        lines.append(line)
    if lines:
        found = lines[0].get("format"), lines[0].get("format_version")
        if found != (FORMAT, FORMAT_VERSION):
            raise StoreError(
                f"{path}: is of format {found[0]!r} version {found[1]!r}; this clipsoid "
                f"({_native.__version__}) reads {FORMAT!r} version {FORMAT_VERSION}; {WAY_ON}"
            )
    return lines, end


def locked(path: Path, what: Path) -> int:
    """Open or make a file that no other process holds, for the sake of `what`; closing lets go."""
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            lock_or_refuse(handle, what)
            # The process that held it before may have removed it in the meantime.
            if path.exists() and os.path.samestat(path.stat(), os.fstat(handle)):
                return handle
        except OSError:
            os.close(handle)
            raise
        os.close(handle)


@contextmanager
def lock_beside(path: Path) -> Iterator[None]:
    """Keep every other process from making the file `path`, by a hidden file beside it."""
    lock = path.with_name(f".{path.name}.lock")
    with as_output_errors(path):
        handle = locked(lock, path)
    try:
        yield
    finally:
        remove(lock)
        os.close(handle)


def sync_folder(folder: Path) -> None:
    """Wait until the names in a folder are on its disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
