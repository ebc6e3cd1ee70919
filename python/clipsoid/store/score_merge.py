"""One folder of scores from several, that parts of a job were scored into apart."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clipsoid._output import PART_SUFFIX, as_output_errors, sync
from clipsoid.errors import MismatchError, OutputError, StoreError
from clipsoid.store.job import SECTIONS, changes, differences
from clipsoid.store.journal import lock_beside
from clipsoid.store.score_kept import Kept, kept_groups, kept_reference
from clipsoid.store.score_parts import (
    ScorePart,
    check_file,
    missing_shards,
    read_parts,
    score_path,
    some_of,
    without_parts,
)


@dataclass(frozen=True, slots=True)
class MergedScores:
    """What a merge made.

    Attributes
    ----------
    files, rows : int
        Score files, and their rows.
    shards : int
        Shards of the set.
    missing : tuple of str
        Those that no part has scored.
    """

    files: int
    rows: int
    shards: int
    missing: tuple[str, ...]


def merge_scores(folders: Sequence[Path], out: Path, *, partial: bool = False) -> MergedScores:
    """Join folders that parts of one job were scored into, by links where the disk is the same.

    The result is what the parts would have made of one folder. It gets its name when everything
    is in it.

    Parameters
    ----------
    folders : sequence of Path
        Each with complete parts of one set, scored in one way; no two with the same shard.
    out : Path
        A new or empty folder, neither in one of them nor around it.
    partial : bool, default=False
        Whether shards of the set may be missing, to be scored into the merged folder.

    Returns
    -------
    MergedScores

    Raises
    ------
    StoreError
        If a folder is no folder of scores, or a part of it is not complete; or if a shard is in
        none of them, unless `partial`.
    MismatchError
        If parts are of different sets, were scored in different ways or have a shard in common.
    OutputError
        If `out` holds anything, or cannot be written.
    """
    parts = {}
    for folder in folders:
        if folder in parts:
            raise MismatchError(f"{folder}: is named twice; wanted every folder once")
        _check_apart(folder, out)
        parts[folder] = _complete_parts(folder)
    _check_agreement(parts)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise OutputError(f"{out}: is there already; wanted a new or empty folder")
    everything = [part for found in parts.values() for part in found]
    total, missing = len(everything[0].job.rows), missing_shards(everything)
    if missing and not partial:
        raise StoreError(
            f"{out}: {len(missing):,} of {total:,} shards are in none of the folders "
            f"({some_of(missing)}); wanted all, or --partial, to score them into it afterwards"
        )
    with lock_beside(out), as_output_errors(out):
        unfinished = out.with_name(f".{out.name}{PART_SUFFIX}")
        try:
            shutil.rmtree(unfinished, ignore_errors=True)
            unfinished.mkdir()
            for folder, found in parts.items():
                _bring(folder, found, unfinished)
            unfinished.replace(out)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
    records = [part.records[name] for part in everything for name in part.shards]
    return MergedScores(
        files=len(records),
        rows=sum(record["rows"] for record in records),
        shards=total,
        missing=tuple(missing),
    )


def _check_apart(folder: Path, out: Path) -> None:
    """Refuse an output that would be found among the scores of an input, and the reverse."""
    one, other = folder.resolve(), out.resolve()
    if one != other and (other.is_relative_to(one) or one.is_relative_to(other)):
        inner, outer = (out, folder) if other.is_relative_to(one) else (folder, out)
        raise OutputError(f"{inner}: lies in {outer}; wanted a folder apart from it")


def _complete_parts(folder: Path) -> list[ScorePart]:
    """Return the parts in a folder; each must be complete, and its files must be there."""
    parts = read_parts(folder)
    if not parts:
        raise without_parts(folder)
    for part in parts:
        left = [name for name in part.shards if name not in part.records]
        if left:
            i, n = part.part
            raise StoreError(
                f"{folder}: part {i}/{n} is incomplete, without {len(left):,} of "
                f"{len(part.shards):,} shards ({some_of(left)}); run it again to finish it"
            )
        for name in part.shards:
            check_file(score_path(folder, name), part.records[name], StoreError)
    return parts


def _check_agreement(parts: dict[Path, list[ScorePart]]) -> None:
    """Raise unless all parts are of one set and one way, and no shard is in two of them."""
    first, (model, *_) = next(iter(parts.items()))
    owner: dict[str, Path] = {}
    for folder, found in parts.items():
        for part in found:
            for name, their, our in _disagreements(part, model):
                raise MismatchError(
                    f"{folder}: was scored with {name} {their!r}, {first} with {our!r}; wanted "
                    "parts of one job"
                )
            twice = [name for name in part.shards if name in owner]
            if twice:
                raise MismatchError(
                    f"{folder}: has {some_of(twice)}, and so has {owner[twice[0]]}; wanted every "
                    "shard once"
                )
            owner |= dict.fromkeys(part.shards, folder)


def _disagreements(part: ScorePart, model: ScorePart) -> Iterator[tuple[str, Any, Any]]:
    """Name what two parts differ in, with the value of each; their files may be copies."""
    yield from differences(part.job.parameters, model.job.parameters)
    for section, called in SECTIONS.items():
        theirs, ours = (one.job.inputs.get(section, ()) for one in (part, model))
        for change in changes(theirs, ours, of_copy=True):
            yield f"{called}{change.name}: {change.fact}", change.then, change.now
    yield from differences(part.kept, model.kept, "own")


def _bring(folder: Path, parts: Sequence[ScorePart], to: Path) -> None:
    """Bring everything of a folder into another."""
    for part in parts:
        for name in part.shards:
            target = score_path(to, name)
            target.parent.mkdir(parents=True, exist_ok=True)
            _link_or_copy(score_path(folder, name), target)
        # Not linked: a journal may grow again.
        shutil.copyfile(part.path, to / part.path.name)
        sync(to / part.path.name)
        for kept in _kept_by(part):
            if kept.path(folder).exists() and not kept.path(to).exists():
                kept.checked(folder, [part.kept[kept.field]])
                _link_or_copy(kept.path(folder), kept.path(to))


def _kept_by(part: ScorePart) -> list[Kept[Any]]:
    """Return what a part was scored against and its folder keeps."""
    made: dict[str, Callable[[], Kept[Any]]] = {
        "reference": lambda: kept_reference(member=bool(part.job.parameters["member"])),
        "groups": kept_groups,
    }
    return [made[name]() for name in part.kept]


def _link_or_copy(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # another disk, or one without links
        shutil.copyfile(source, target)
        sync(target)
