"""A folder of scores: whose it is, what is finished of it, and whether a run may go on with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Self

from clipsoid._output import (
    PART_SUFFIX,
    as_output_errors,
    new_folders,
    part_of,
    remove,
)
from clipsoid.ellipsoid import Ellipsoid
from clipsoid.errors import MismatchError, OutputError, StoreError
from clipsoid.store.base import Shard, Store
from clipsoid.store.checkpoint import checkpoint_of
from clipsoid.store.job import Job
from clipsoid.store.journal import Journal, read_journal
from clipsoid.store.score_file import METADATA_KEY

#: Row numbers are 32 bits wide, as those of polars.
MAX_ROWS = 2**32 - 1

#: The journals of a folder: one for each part of the job that writes into it.
JOURNALS = ".scores-*-of-*.journal"

#: The ellipsoid of the set itself, where rows are scored against their own set.
REFERENCE = "reference.ellipsoid"

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
    reference : str or None
        Digest of the set's own ellipsoid, where that is what rows are scored against.
    is_marked : bool
        Whether the last line says that the part is complete, for whoever reads nothing else.
    """

    path: Path
    job: Job
    part: tuple[int, int]
    records: dict[str, dict[str, Any]] = field(repr=False)
    reference: str | None
    is_marked: bool = field(repr=False)

    @property
    def shards(self) -> list[str]:
        """Names of the shards of the part, in order."""
        i, n = self.part
        return [shard["name"] for shard in self.job.inputs[i::n]]

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
        except (KeyError, TypeError, ValueError):
            raise StoreError(f"{path}: is damaged: a field is missing or is no number") from None
        references = [line["reference"] for line in lines if "reference" in line]
        return cls(
            path,
            Job.read(path, head),
            (i, n),
            records,
            references[-1] if references else None,
            any(line.get("complete") is True for line in lines),
        )


def read_parts(folder: Path) -> list[ScorePart]:
    """Read every journal of a folder."""
    parts = (ScorePart.read(path) for path in sorted(folder.glob(JOURNALS)))
    return [part for part in parts if part is not None]


def score_path(folder: Path, name: str) -> Path:
    """Return the score file of a shard: ``a/b_0.npy`` is scored into ``a/b_0.parquet``."""
    return folder / PurePosixPath(name).with_suffix(".parquet")


def missing_shards(parts: list[ScorePart]) -> list[str]:
    """Name the shards of a set that no part has finished, in order."""
    done = {name for part in parts for name in part.records}
    return [shard["name"] for shard in parts[0].job.inputs if shard["name"] not in done]


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
        raise StoreError(f"{folder}: is not a folder that clipsoid score wrote: it has no journal")
    missing = missing_shards(parts)
    if missing:
        raise StoreError(
            f"{folder}: {len(missing):,} of {len(parts[0].job.inputs):,} shards are not scored "
            f"yet ({some_of(missing)}); wanted all: finish the run, or merge its parts"
        )
    records = {name: record for part in parts for name, record in part.records.items()}
    files = []
    for shard in parts[0].job.inputs:
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


class ScoreFolder:
    """The folder of a job that scores a part of a set; only this process writes that part.

    Attributes
    ----------
    path : Path
        The folder.
    store : Store
        The shards of the part.
    todo : list of Shard
        Those that are not finished yet.
    checkpoint : Path
        Where the fit of the set itself may be kept while it goes on.
    """

    def __init__(self, path: Path, store: Store, journal: Journal) -> None:
        self.path, self.store, self._journal = path, store, journal
        part = ScorePart.read(journal.path)
        assert part is not None, "its first line is written"
        self.part = part
        # Parts may share a folder: each has its own, until it has got its name.
        i, n = part.part
        self._staged = path / f".reference-{i}-of-{n}.ellipsoid"
        self.checkpoint = checkpoint_of(path / f"reference-{i}-of-{n}")
        self.todo = [shard for shard in store.shards if not self._has(shard)]

    @classmethod
    @contextmanager
    def hold(
        cls,
        path: Path,
        whole: Store,
        parameters: Mapping[str, Any],
        part: tuple[int, int] = (0, 1),
    ) -> Iterator[Self]:
        """Begin a job in a folder, or go on with it; other processes are kept out of the part.

        What is finished stays, whatever ends the block. A job of which nothing is finished when it
        fails leaves no trace.

        Parameters
        ----------
        path : Path
            A new or empty folder, or one in which this job was begun.
        whole : Store
            The set; every part of a job has the same.
        parameters : mapping
            What the bytes of the scores depend on, as JSON.
        part : tuple of int, default=(0, 1)
            ``(i, n)``: which of `n` parts of the set is scored.

        Raises
        ------
        OutputError, MismatchError
            If the folder holds anything else, or was begun with other parameters or shards; it
            is left alone.
        StoreError
            If two shards have one place, or a journal is damaged or of another version.
        """
        job, store = Job.of(whole, parameters), whole.select(*part)
        targets = _targets(whole, path)
        _check_folder(path, targets, job, part)
        with ExitStack() as stack:
            stack.enter_context(new_folders(path))
            with as_output_errors(path):
                path.mkdir(parents=True, exist_ok=True)
                head = {"part": list(part), **job.to_dict()}
                held = Journal.hold(path / journal_name(part), head, path)
                journal = stack.enter_context(held)
            here = cls(path, store, journal)
            try:
                # Now that this one is there: of two that begin at one time, one sees the other.
                _check_parts(path, job, part)
                here._remove_leftovers()
                yield here
            except BaseException:
                kept = (path / REFERENCE, here.checkpoint)
                if not journal.lines and not any(map(Path.exists, kept)):
                    remove(journal.path)
                raise

    def own_reference(self, fit: Callable[[Path], Ellipsoid]) -> Ellipsoid:
        """Return the ellipsoid of the set itself: as an earlier run left it, or fitted now."""
        path = self.path / REFERENCE
        if not path.is_file():
            fit(self.checkpoint).save(self._staged)
            self._staged.replace(path)
        remove(self.checkpoint)
        return Ellipsoid.load(path)

    def check_reference(self, digest: str) -> None:
        """Raise unless everything in the folder is scored against this one."""
        for part in read_parts(self.path):
            if part.reference not in (None, digest):
                raise MismatchError(
                    f"{self.path}: {REFERENCE} is not the one that its scores were made against; "
                    "wanted that one, or another --out"
                )
        if self.part.reference is None:
            self._journal.add({"reference": digest})

    def finish(self, shard: Shard, temporary: Path, rows: int, status: list[int]) -> None:
        """Give a complete file, which is on its disk, its name, and keep that it has it."""
        target = score_path(self.path, shard.name)
        with as_output_errors(target):
            size = temporary.stat().st_size
            temporary.replace(target)
        line = {"shard": shard.name, "rows": rows, "status": status, "bytes": size}
        self._journal.add(line)
        self.part.records[shard.name] = line

    def complete(self) -> None:
        """Keep that nothing is left to be done."""
        if not self.part.is_marked:
            self._journal.add({"complete": True})

    def _remove_leftovers(self) -> None:
        """Remove what a killed run left half-written of this part."""
        own = {score_path(self.path, shard.name) for shard in self.store.shards}
        own |= {self.checkpoint, self._staged}
        remove(self._staged)
        for path in self.path.rglob(f".*{PART_SUFFIX}"):
            if part_of(path) in own:
                remove(path)

    def records(self) -> list[dict[str, Any]]:
        """Return what is kept of each shard of the part, in order."""
        return [self.part.records[shard.name] for shard in self.store.shards]

    def _has(self, shard: Shard) -> bool:
        record = self.part.records.get(shard.name)
        path = score_path(self.path, shard.name)
        # A name may be lost in a power failure, or be removed on purpose: the file is made again.
        if record is None or not path.exists():
            return False
        check_file(path, record, OutputError)
        return True


def _targets(whole: Store, folder: Path) -> dict[str, Path]:
    """Return the score file of every shard."""
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder}: is a file; wanted a new or empty folder")
    targets: dict[Path, Shard] = {}
    for shard in whole.shards:
        if shard.count > MAX_ROWS:
            raise StoreError(f"{shard.path}: has {shard.count} rows; wanted at most {MAX_ROWS}")
        if folder.resolve() == shard.path.resolve().parent:
            raise OutputError(f"{folder}: holds the embeddings; wanted a folder of its own")
        target = score_path(folder, shard.name)
        other = targets.setdefault(target, shard)
        if other is not shard:
            raise StoreError(f"{other.path} and {shard.path} would both be scored into {target}")
    return {shard.name: target for target, shard in targets.items()}


def _check_folder(
    folder: Path, targets: Mapping[str, Path], job: Job, part: tuple[int, int]
) -> None:
    """Refuse a folder that holds anything but the work of this job; nothing in it is touched."""
    parts = _check_parts(folder, job, part)
    begun = {targets[name]: journal for journal in parts for name in journal.shards}
    recorded = {targets[name] for journal in parts for name in journal.records}
    for path in sorted(folder.rglob("*")) if folder.exists() else []:
        if path.is_dir() or path in recorded or _is_working_file(path, folder):
            continue
        # A file that has its name, but was killed before its line was written.
        if path in begun and _is_score_file(path):
            continue
        what = "which is not a score file of these shards"
        if path in targets.values() and _is_score_file(path):
            what = "a score file that no journal in it knows of"
        raise OutputError(
            f"{folder}: holds {path.relative_to(folder)}, {what}; wanted a new or empty folder"
        )


def _check_parts(folder: Path, job: Job, part: tuple[int, int]) -> list[ScorePart]:
    """Refuse the parts of another job, and those that have a shard of this part."""
    i, n = part
    own = {shard["name"] for shard in job.inputs[i::n]}
    parts = read_parts(folder)
    for other in parts:
        job.check(folder, other.job)
        if other.part != part:
            both = [name for name in other.shards if name in own]
            if both:
                raise OutputError(
                    f"{folder}: part {other.part[0]}/{other.part[1]} was begun in it, which has "
                    f"{some_of(both)} too; wanted parts without a shard in common"
                )
    return parts


def _is_working_file(path: Path, folder: Path) -> bool:
    """Whether a file is one that a job keeps, or makes, beside its scores."""
    name = path.name
    if name.startswith(".") and name.endswith(PART_SUFFIX):
        return True
    # Without a journal nothing but scores may lie there: a reference would be somebody else's.
    if path.parent != folder or not any(folder.glob(JOURNALS)):
        return False
    return name == REFERENCE or path.match(JOURNALS) or name.startswith(".reference-")


def _is_score_file(path: Path) -> bool:
    import polars as pl

    try:
        return METADATA_KEY in pl.read_parquet_metadata(path)
    except (pl.exceptions.PolarsError, OSError):
        return False
