"""A folder of scores: whose it is, what is finished of it, and whether a run may go on with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

from clipsoid._output import (
    PART_SUFFIX,
    as_output_errors,
    check_local,
    new_folders,
    part_of,
    remove,
)
from clipsoid.errors import OutputError, StoreError
from clipsoid.store.base import Shard, Store, check_numbered
from clipsoid.store.job import Job
from clipsoid.store.journal import Journal
from clipsoid.store.score_file import METADATA_KEY
from clipsoid.store.score_kept import KEPT, Kept
from clipsoid.store.score_parts import (
    JOURNALS,
    ScorePart,
    check_file,
    journal_name,
    read_parts,
    score_path,
    some_of,
)

if TYPE_CHECKING:
    from clipsoid.ellipsoid import Ellipsoid
    from clipsoid.groups import GroupedEllipsoids

T = TypeVar("T", "Ellipsoid", "GroupedEllipsoids")


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
    """

    def __init__(self, path: Path, store: Store, journal: Journal) -> None:
        self.path, self.store, self._journal = path, store, journal
        part = ScorePart.read(journal.path)
        assert part is not None, "its first line is written"
        self.part = part
        self.todo = [shard for shard in store.shards if not self._has(shard)]

    @classmethod
    @contextmanager
    def hold(
        cls,
        path: Path,
        whole: Store,
        job: Job,
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
        job : Job
            That set, and whatever else the bytes of the scores depend on.
        part : tuple of int, default=(0, 1)
            ``(i, n)``: which of `n` parts of the set is scored.

        Raises
        ------
        OutputError, MismatchError
            If the folder holds anything else, or was begun with other parameters or inputs; it
            is left alone. Other parts may have read copies of the files.
        StoreError
            If two shards have one place, or a journal is damaged or of another version.
        """
        store = whole.select(*part)
        targets = _targets(whole, path)
        _check_folder(path, targets, job, part)
        with ExitStack() as stack:
            stack.enter_context(new_folders(path))
            with as_output_errors(path):
                path.mkdir(parents=True, exist_ok=True)
                head = {"part": list(part), **job.to_dict()}
                worth = [path / name for name in KEPT.values()]
                worth += [_checkpoint(_staged(path, part, field)) for field in KEPT]
                held = Journal.hold(path / journal_name(part), head, path, worth)
                journal = stack.enter_context(held)
            # Now that this one is there: of two that begin at one time, one sees the other.
            _check_parts(path, job, part)
            here = cls(path, store, journal)
            here._remove_leftovers()
            yield here

    def own(self, kept: Kept[T], fit: Callable[[Path], T]) -> T:
        """Return what the job fits itself: as an earlier run left it, or fitted now.

        Parameters
        ----------
        kept : Kept
            What it is.
        fit : callable
            Fits it; its argument is where the fit may be kept while it goes on.

        Raises
        ------
        MismatchError
            If something in the folder was scored against another one.
        """
        path, staged = kept.path(self.path), _staged(self.path, self.part.part, kept.field)
        checkpoint = _checkpoint(staged)
        if not path.is_file():
            fit(checkpoint).save(staged)
            staged.replace(path)
        remove(checkpoint)
        parts = read_parts(self.path)
        wanted = [part.kept[kept.field] for part in parts if kept.field in part.kept]
        found, digest = kept.checked(self.path, wanted, self.store.dim)
        if kept.field not in self.part.kept:
            self._journal.add({kept.field: digest})
            self.part.kept[kept.field] = digest
        return found

    def finish(self, shard: Shard, temporary: Path, line: Mapping[str, Any]) -> None:
        """Give a complete file, which is on its disk, its name, and keep that it has it.

        `line` has its rows and their statuses, and how many found no group.
        """
        target = score_path(self.path, shard.name)
        with as_output_errors(target):
            size = temporary.stat().st_size
            temporary.replace(target)
        record = {"shard": shard.name, **line, "bytes": size}
        self._journal.add(record)
        self.part.records[shard.name] = record

    def complete(self) -> None:
        """Keep that nothing is left to be done."""
        if not self.part.is_marked:
            self._journal.add({"complete": True})

    def _remove_leftovers(self) -> None:
        """Remove what a killed run left half-written of this part."""
        own = {score_path(self.path, shard.name) for shard in self.store.shards}
        for field in KEPT:
            staged = _staged(self.path, self.part.part, field)
            own |= {staged, _checkpoint(staged)}
            remove(staged)
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


def _staged(folder: Path, part: tuple[int, int], field: str) -> Path:
    """Return where a part, of those that share a folder, saves what the folder is to keep."""
    name = Path(KEPT[field])
    return folder / f".{name.stem}-{part[0]}-of-{part[1]}{name.suffix}"


def _checkpoint(staged: Path) -> Path:
    return staged.with_name(f"{staged.name}.checkpoint")


def _targets(whole: Store, folder: Path) -> dict[str, Path]:
    """Return the score file of every shard."""
    check_local(folder)
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder}: is a file; wanted a new or empty folder")
    targets: dict[Path, Shard] = {}
    for shard in whole.shards:
        check_numbered(shard)
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
        if path.is_dir() or path in recorded or _is_working_file(path, folder, parts):
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
    own = {shard["name"] for shard in job.rows[i::n]}
    parts = read_parts(folder)
    for other in parts:
        job.check(folder, other.job, of_copy=other.part != part)
        if other.part != part:
            both = [name for name in other.shards if name in own]
            if both:
                raise OutputError(
                    f"{folder}: part {other.part[0]}/{other.part[1]} was begun in it, which has "
                    f"{some_of(both)} too; wanted parts without a shard in common"
                )
    return parts


def _is_working_file(path: Path, folder: Path, parts: list[ScorePart]) -> bool:
    """Whether a file is one that a job keeps, or makes, beside its scores."""
    name = path.name
    if name.startswith(".") and name.endswith(PART_SUFFIX):
        return True
    if path.parent != folder:
        return False
    # Without a journal nothing but scores may lie there: a reference would be somebody else's.
    begun = bool(parts) and (name in KEPT.values() or name.startswith(".reference-"))
    return begun or path.match(JOURNALS)


def _is_score_file(path: Path) -> bool:
    import polars as pl

    try:
        return METADATA_KEY in pl.read_parquet_metadata(path)
    except (pl.exceptions.PolarsError, OSError):
        return False
