"""The manifest: how a set was made, what is finished of it, and whether a run may go on with it."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from clipsoid._output import as_output_errors, written_beside
from clipsoid.embed.shards import Record
from clipsoid.errors import MismatchError, OutputError
from clipsoid.store.job import differences
from clipsoid.store.origin import FORMAT, FORMAT_VERSION, MANIFEST, read_manifest

#: What may differ between two runs of one job: names of the same weights.
_FREE = frozenset(["model.pretrained"])


class Manifest:
    """The manifest of a set in a folder; it is written again after every shard.

    Parameters
    ----------
    folder : Path
        Of the set.
    made : dict
        How it is made: everything that its bytes depend on.
    shards : int
        How many there will be.
    records : dict of int to Record
        What is finished, by the number of the shard.
    """

    def __init__(
        self, folder: Path, made: dict[str, Any], shards: int, records: dict[int, Record]
    ) -> None:
        self.folder, self.made, self.shards, self.records = folder, made, shards, records

    @classmethod
    def begin(cls, folder: Path, made: dict[str, Any], shards: int) -> Manifest:
        """Begin a set, or take up one that was begun in the same way.

        Raises
        ------
        MismatchError
            If it was begun in another way; the message says in which.
        OutputError
            If the folder holds anything else.
        StoreError
            If its manifest cannot be read.
        """
        found = read_manifest(folder)
        if found is None:
            if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
                raise OutputError(
                    f"{folder}: holds no {MANIFEST} of clipsoid embed; wanted a new or empty folder"
                )
            return cls(folder, made, shards, {})
        for name, theirs, ours in differences(found["made"], made):
            if name in _FREE:
                continue
            raise MismatchError(
                f"{folder}: was begun with {name} {theirs!r}, this run has {ours!r}; wanted the "
                "same, or a new folder"
            )
        records = {
            shard["number"]: Record(
                **shard,
                broken=[
                    row
                    for row in found["broken"]
                    if shard["first"] <= row["row"] < shard["first"] + shard["read"]
                ],
            )
            for shard in found["shards"]
        }
        return cls(folder, found["made"], shards, records)

    def add(self, record: Record) -> None:
        """Add a finished shard, and write."""
        self.records[record.number] = record
        self.write()

    def write(self) -> None:
        """Write the manifest: whole or not at all, and the same whichever shard came first."""
        path = self.folder / MANIFEST
        with as_output_errors(path):
            self.folder.mkdir(parents=True, exist_ok=True)
        with written_beside(path) as temporary:
            temporary.write_text(json.dumps(self.to_dict(), indent=1) + "\n", encoding="utf-8")

    def to_dict(self) -> dict[str, Any]:
        """Everything, as it is written."""
        records = [record for _, record in sorted(self.records.items())]
        broken = [row for record in records for row in record.broken]
        shards = [asdict(record) for record in records]
        for shard in shards:
            del shard["broken"]
        return {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "complete": len(records) == self.shards,
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
