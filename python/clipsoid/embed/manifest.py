"""The manifest: how a set was made, what is finished of it, and whether a run may go on with it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from clipsoid._output import (
    PART_SUFFIX,
    as_output_errors,
    check_local,
    new_folders,
    remove,
    remove_leftovers,
    written_beside,
)
from clipsoid.embed.shards import Record
from clipsoid.errors import MismatchError, OutputError, StoreError
from clipsoid.store.job import differences
from clipsoid.store.journal import Journal
from clipsoid.store.origin import FORMAT, FORMAT_VERSION, MANIFEST, read_manifest

#: Beside the manifest while a set is not finished: each shard as it is finished, with the times of
#: its pictures. The manifest itself is written when a run begins and when it ends.
JOURNAL = ".journal.jsonl"

#: What may differ between two runs of one job: names of the same weights.
_FREE = frozenset(["model.pretrained"])


@contextmanager
def held(folder: Path) -> Iterator[Journal]:
    """Hold the folder of a set, which is new, empty or ours: two runs never write into one.

    Raises
    ------
    OutputError
        If it holds anything else, is held by another run, or cannot be written.
    StoreError
        If its manifest or its journal cannot be understood.
    """
    check_local(folder)
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder}: is a file; wanted a new or empty folder")
    found = folder.iterdir() if folder.exists() else ()
    # A kill while the first manifest was written leaves a part of it.
    ours = (JOURNAL, f".{MANIFEST}.*{PART_SUFFIX}")
    others = [path for path in found if not any(map(path.match, ours))]
    if others and read_manifest(folder) is None:
        raise OutputError(
            f"{folder}: holds no {MANIFEST} of clipsoid embed; wanted a new or empty folder"
        )
    with ExitStack() as stack:
        stack.enter_context(new_folders(folder))
        with as_output_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
            journal = stack.enter_context(Journal.hold(folder / JOURNAL, {}, folder))
            remove_leftovers(folder / MANIFEST)
        yield journal


def _record(fields: dict[str, Any], wanted: int) -> Record:
    """Return a record as it was written; one that was not raises TypeError or ValueError."""
    found = Record(**fields)
    counts = (found.number, found.first, found.read, found.rows, *found.files.values())
    if not all(type(count) is int and count >= 0 for count in (*counts, wanted)):
        raise ValueError(f"{counts} are not all counts")
    if found.number >= wanted:
        raise ValueError(f"shard {found.number} is one of {wanted}")
    texts = (found.pictures, found.times)
    rows = ([row["row"], row["reason"]] for row in found.broken)
    if not all(text is None or isinstance(text, str) for text in texts):
        raise ValueError("a digest is no text")
    if not all(type(row) is int and isinstance(reason, str) for row, reason in rows):
        raise ValueError("a broken row has no number or no reason")
    return found


def _damaged(path: Path, error: Exception) -> StoreError:
    return StoreError(
        f"{path}: is damaged: {type(error).__name__}: {error}; wanted one that clipsoid embed "
        "wrote, or a new folder"
    )


class Manifest:
    """The manifest of a set in a folder, and the journal of a run that works on it.

    Parameters
    ----------
    journal : Journal
        In the folder of the set.
    made : dict
        How it is made: everything that its bytes depend on.
    shards : int
        How many there will be.
    records : dict of int to Record
        What is finished, by the number of the shard.
    """

    def __init__(
        self, journal: Journal, made: dict[str, Any], shards: int, records: dict[int, Record]
    ) -> None:
        self._journal, self.folder = journal, journal.path.parent
        self.made, self.shards, self.records = made, shards, records

    @classmethod
    def read(cls, journal: Journal) -> Manifest | None:
        """Return what was begun in the folder of a journal, or None.

        Raises
        ------
        StoreError
            If it is damaged.
        """
        folder = journal.path.parent
        found = read_manifest(folder)
        if found is None:
            return None
        try:
            made = found["made"]
            shard_rows, _ = made["output"]["shard_rows"], made["computation"]["batch_size"]
            broken: dict[int, list[dict[str, Any]]] = {}
            for row in found["broken"]:
                broken.setdefault(row["row"] // shard_rows, []).append(row)
            wanted = found["counts"]["shards_wanted"]
            records = [
                _record({**shard, "broken": broken.get(shard["number"], [])}, wanted)
                for shard in found["shards"]
            ]
        except (AttributeError, KeyError, TypeError, ValueError, ZeroDivisionError) as error:
            raise _damaged(folder / MANIFEST, error) from None
        try:
            # What the journal says is newer.
            records += [_record(line, wanted) for line in journal.lines]
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise _damaged(journal.path, error) from None
        return cls(journal, made, wanted, {record.number: record for record in records})

    def check(self, made: dict[str, Any]) -> None:
        """Refuse to go on if the set was begun in another way than `made`.

        Raises
        ------
        MismatchError
            With what differs.
        """
        for name, theirs, ours in differences(self.made, made):
            if name not in _FREE:
                raise MismatchError(
                    f"{self.folder}: was begun with {name} {theirs!r}, this run has {ours!r}; "
                    "wanted the same, or a new folder"
                )

    @property
    def is_complete(self) -> bool:
        """Whether all shards are finished."""
        return len(self.records) == self.shards

    def write(self) -> None:
        """Write the manifest: whole or not at all, and the same whichever shard came first."""
        path = self.folder / MANIFEST
        with written_beside(path) as temporary:
            temporary.write_text(json.dumps(self.to_dict(), indent=1) + "\n", encoding="utf-8")

    def add(self, record: Record) -> None:
        """Keep that a shard is finished."""
        self._journal.add(asdict(record))
        self.records[record.number] = record

    def end(self) -> None:
        """Write the manifest as it is at the end of a run; a finished set needs no journal."""
        self.write()
        if self.is_complete:
            remove(self._journal.path)

    def to_dict(self) -> dict[str, Any]:
        """Everything, as it is written."""
        records = [record for _, record in sorted(self.records.items())]
        broken = [row for record in records for row in record.broken]
        shards = [asdict(record) for record in records]
        for shard in shards:
            # Times are of this copy of the pictures.
            del shard["broken"], shard["times"]
        return {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "complete": self.is_complete,
            "made": self.made,
            "counts": {
                "rows": sum(record.rows for record in records),
                "broken": len(broken),
                "shards": len(records),
                "shards_wanted": self.shards,
            },
            "shards": shards,
            "broken": broken,
        }
