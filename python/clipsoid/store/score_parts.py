"""What the journals of a folder of scores say: how they were made, and what is finished."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Self

from clipsoid.errors import OutputError, StoreError
from clipsoid.store.job import Job
from clipsoid.store.journal import WAY_ON, read_journal
from clipsoid.store.score_kept import KEPT

#: The journals of a folder: one for each part of the job that writes into it.
JOURNALS = ".scores-*-of-*.journal"

#: Shards that a message names before it says how many more there are.
NAMED = 3


def journal_name(part: tuple[int, int]) -> str:
    """Return the name of the journal of part ``i`` of ``n``."""
    return f".scores-{part[0]}-of-{part[1]}.journal"


@dataclass(frozen=True, slots=True)
class ScorePart:
    """What a journal says of its part of a set.

    Attributes
    ----------
    path : Path
        The journal.
    job : Job
        The parameters, and all shards of the set.
    part : tuple of int
        ``(i, n)``: every n-th shard of the set, from number i on.
    records : dict of str to dict
        What is finished, by the name of the shard: rows, their statuses, bytes of the file.
    kept : dict of str to str
        Digests of what the folder keeps of its own, where that is what rows are scored against:
        ``"reference"``, ``"groups"``.
    is_marked : bool
        Whether the last line says that the part is complete, for whoever reads nothing else.
    """

    path: Path
    job: Job
    part: tuple[int, int]
    records: dict[str, dict[str, Any]] = field(repr=False)
    kept: dict[str, str]
    is_marked: bool = field(repr=False)

    @property
    def shards(self) -> list[str]:
        """Names of the shards of the part, in order."""
        i, n = self.part
        return [shard["name"] for shard in self.job.rows[i::n]]

    @classmethod
    def read(cls, path: Path) -> Self | None:
        """Read a journal; None where a kill left nothing of it."""
        found = read_journal(path)
        if found is None:
            return None
        head, lines = found
        try:
            i, n = map(int, head["part"])
            records = {line["shard"]: line for line in lines if "shard" in line}
            for record in records.values():
                int(record["rows"]), int(record["bytes"]), list(map(int, record["status"]))
                int(record.get("without_group", 0))
        except (KeyError, TypeError, ValueError):
            raise StoreError(
                f"{path}: is damaged: a field is missing or is no number; {WAY_ON}"
            ) from None
        try:
            job = Job.read(path, head)
        except StoreError as error:
            raise StoreError(f"{error}; {WAY_ON}") from None
        return cls(
            path,
            job,
            (i, n),
            records,
            {name: str(line[name]) for line in lines for name in KEPT if name in line},
            any(line.get("complete") is True for line in lines),
        )


def read_parts(folder: Path) -> list[ScorePart]:
    """Read every journal of a folder."""
    parts = (ScorePart.read(path) for path in sorted(folder.glob(JOURNALS)))
    return [part for part in parts if part is not None]


def without_parts(folder: Path) -> StoreError:
    """Return the error for a folder of which no journal says anything."""
    if any(folder.glob(JOURNALS)):
        return StoreError(
            f"{folder}: its journal is empty; remove the folder, and score the set again"
        )
    return StoreError(f"{folder}: is not a folder that clipsoid score wrote: it has no journal")


def score_path(folder: Path, name: str) -> Path:
    """Return the score file of a shard: ``a/b_0.npy`` is scored into ``a/b_0.parquet``."""
    return folder / PurePosixPath(name).with_suffix(".parquet")


def missing_shards(parts: list[ScorePart]) -> list[str]:
    """Name the shards of a set that no part has finished, in order."""
    done = {name for part in parts for name in part.records}
    return [shard["name"] for shard in parts[0].job.rows if shard["name"] not in done]


def some_of(names: list[str]) -> str:
    """Return a few of the names, and how many more there are."""
    more = f" and {len(names) - NAMED:,} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def finished(folder: Path) -> tuple[Path, ...]:
    """Return the score files of a folder, in the order of the set, if it has all of them.

    Parameters
    ----------
    folder : Path
        What ``clipsoid score`` or ``clipsoid merge`` wrote.

    Returns
    -------
    tuple of Path
        One file for each shard of the set.

    Raises
    ------
    StoreError
        If it is no such folder, or a shard is not scored yet: the message names it.
    """
    parts = read_parts(folder)
    if not parts:
        raise without_parts(folder)
    missing = missing_shards(parts)
    if missing:
        raise StoreError(
            f"{folder}: {len(missing):,} of {len(parts[0].job.rows):,} shards are not scored "
            f"yet ({some_of(missing)}); wanted all: finish the run, or merge its parts"
        )
    records = {name: record for part in parts for name, record in part.records.items()}
    files = []
    for shard in parts[0].job.rows:
        path = score_path(folder, shard["name"])
        check_file(path, records[shard["name"]], StoreError)
        files.append(path)
    return tuple(files)


def check_file(
    path: Path, record: Mapping[str, Any], error: type[StoreError] | type[OutputError]
) -> None:
    """Raise unless a score file is as long as the journal says."""
    if not path.is_file():
        raise error(f"{path}: is gone, though it was written; score its set again")
    found = path.stat().st_size
    if found != record["bytes"]:
        raise error(
            f"{path}: has {found:,} bytes, but {record['bytes']:,} were written: another program "
            "has changed it; remove it, and score its set again"
        )
