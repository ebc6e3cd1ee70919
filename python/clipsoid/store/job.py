"""What the output of a job depends on, so that a run goes on with nothing but its own work."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple, Self

from clipsoid._native import __version__, simd_level
from clipsoid.errors import MismatchError, OutputError, StoreError
from clipsoid.store.base import Shard, Store
from clipsoid.store.files import Place, Stamp
from clipsoid.store.fingerprint import ends
from clipsoid.store.paths import names_of

#: A file that a job reads, as JSON knows it: its name, what its header says, what its stamp
#: records, and a digest of its ends.
Input = dict[str, Any]

#: What a message calls the files of each section, before their names.
SECTIONS = {"rows": "", "partner": "partner ", "against": "against ", "metadata": "metadata "}

#: Parameters that are digests of inputs: they say less than what is known of each file.
DIGESTS = ("partner", "reference")

#: What copies of a file need not share.
OF_COPY = ("modified", "etag")


@dataclass(frozen=True, slots=True)
class Job:
    """Parameters and inputs that a job's output depends on, as JSON knows them.

    Attributes
    ----------
    parameters : dict
        Options, versions and the SIMD level.
    inputs : dict of str to tuple of dict
        Every file that is read, in order: under ``"rows"`` the shards, and where they are wanted,
        under ``"partner"`` and ``"against"`` those of other sets, under ``"metadata"`` the files
        of columns. Of each: its name, rows, element type and key, its size in bytes, the time of
        its last change in nanoseconds, or in its place the ETag of a remote file, and `ends`.
    """

    parameters: dict[str, Any]
    inputs: dict[str, tuple[Input, ...]]

    @classmethod
    def of(
        cls,
        store: Store,
        parameters: Mapping[str, Any],
        *,
        partner: Iterable[Shard] = (),
        against: Iterable[Shard] = (),
        columns: bool = False,
    ) -> Self:
        """Return the job that reads `store` with these parameters, by this program.

        Parameters
        ----------
        store : Store
            The rows.
        parameters : mapping
            What else its output depends on, as JSON.
        partner, against : iterable of Shard
            Those of other sets that are read.
        columns : bool
            Whether columns beside the embeddings are read.

        Raises
        ------
        StoreError
            If a file cannot be read, or has changed since it was opened.
        """
        partner = tuple(partner)
        # Ids that partners are found by; where both sides share a table, they are found by row.
        shared = {shard.metadata for shard in store.shards}
        ids = [shard for shard in partner if shard.metadata and shard.metadata not in shared]
        described = [*(store.shards if columns or ids else ()), *ids]
        sections = {
            "rows": tuple(map(_of_shard, store.shards)),
            "partner": tuple(map(_of_shard, partner)),
            "against": tuple(map(_of_shard, against)),
            "metadata": tuple(_of_metadata(described)),
        }
        made = {"clipsoid_version": __version__, "simd": simd_level(), **parameters}
        inputs = {name: found for name, found in sections.items() if found or name == "rows"}
        return cls(json.loads(json.dumps(made)), inputs)

    @property
    def rows(self) -> tuple[Input, ...]:
        """The shards of the set."""
        return self.inputs["rows"]

    @classmethod
    def read(cls, path: Path, found: Any) -> Self:
        """Return what `to_dict` gave.

        Raises
        ------
        StoreError
            If it is something else.
        """
        try:
            inputs = {name: tuple(map(dict, files)) for name, files in found["inputs"].items()}
            named = all(isinstance(one["name"], str) for files in inputs.values() for one in files)
            if named and "rows" in inputs and inputs.keys() <= SECTIONS.keys():
                return cls(dict(found["parameters"]), inputs)
        except (AttributeError, KeyError, TypeError, ValueError):
            pass
        raise StoreError(f"{path}: is damaged: it does not say which job it belongs to")

    def to_dict(self) -> dict[str, Any]:
        """Return all of it."""
        inputs = {name: list(files) for name, files in self.inputs.items()}
        return {"parameters": self.parameters, "inputs": inputs}

    def check(self, where: Path, begun: Job, *, of_copy: bool = False) -> None:
        """Refuse to go on with what another job has begun at `where`.

        Parameters
        ----------
        where : Path
            What messages name.
        begun : Job
            What was begun there.
        of_copy : bool
            Whether it may have read copies of the files, of other times.

        Raises
        ------
        OutputError
            If a parameter differs; the message says which, and how to go on.
        MismatchError
            If a file that is read is new, is gone or has changed since.
        """
        found = list(differences(begun.parameters, self.parameters))
        for one in found:
            if one[0] not in DIGESTS:
                raise _other_parameter(where, *one)
        both = [name for name in SECTIONS if name in begun.inputs and name in self.inputs]
        for name in both if found else SECTIONS:
            then, now = begun.inputs.get(name, ()), self.inputs.get(name, ())
            for change in changes(then, now, of_copy=of_copy):
                raise MismatchError(
                    f"{SECTIONS[name]}{change.told(f'since {where} was begun')}; wanted the same "
                    "files, another --out, or this one removed"
                )
        for one in found:
            raise _other_parameter(where, *one)


class Change(NamedTuple):
    """What differs between two states of a file: a fact, and its value then and now."""

    name: str
    fact: str
    then: Any
    now: Any

    def told(self, since: str) -> str:
        """Return it as a sentence without its end."""
        if self.fact == "name":
            return f"{self.name}: is {'new' if self.then is None else 'gone'} {since}"
        if self.fact == "place":
            return f"{self.name}: has another place in the order of files {since}"
        then, now = (_shown(self.fact, value) for value in (self.then, self.now))
        return f"{self.name}: has changed {since}: {self.fact} was {then}, is {now}"


def changes(
    then: Sequence[Input], now: Sequence[Input], *, of_copy: bool = False
) -> Iterator[Change]:
    """Name what differs between two states of the same files, or of copies of them."""
    if then == now:
        return
    before, after = ({one["name"]: one for one in files} for files in (then, now))
    for name in before:
        if name not in after:
            yield Change(name, "name", name, None)
    for name, file in after.items():
        if name not in before:
            yield Change(name, "name", None, name)
            continue
        for fact, theirs, ours in differences(before[name], file):
            # The ends of a remote file are not looked at.
            is_unknown = fact == "ends" and None in (theirs, ours)
            if not (of_copy and (fact in OF_COPY or is_unknown)):
                yield Change(name, fact, theirs, ours)
    for place, (theirs, ours) in enumerate(zip(before, after, strict=False)):
        if theirs != ours:
            yield Change(ours, "place", list(before).index(ours), place)


def differences(theirs: Any, ours: Any, name: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Name what differs, with the value that each side has; of mappings, by dotted names."""
    if isinstance(theirs, dict) and isinstance(ours, dict):
        for key in {**theirs, **ours}:
            dotted = f"{name}.{key}" if name else key
            yield from differences(theirs.get(key), ours.get(key), dotted)
    elif json.loads(json.dumps(ours)) != theirs:
        yield name, theirs, ours


def _of_shard(shard: Shard) -> Input:
    known = {"rows": shard.count, "dtype": shard.dtype, "key": shard.part}
    return _input(shard.name, known, shard.path, shard.stamp)


def _of_metadata(shards: Iterable[Shard]) -> Iterator[Input]:
    """Describe the files of columns, as they are held to until the last of them is read."""
    files = {shard.metadata.path: shard.metadata for shard in shards if shard.metadata}
    for name, (path, metadata) in zip(names_of(list(files)), files.items(), strict=True):
        yield _input(name, {"rows": metadata.count()}, path, metadata.stamp)


def _input(name: str, known: Mapping[str, Any], path: Place, stamp: Stamp) -> Input:
    made = {"name": name, **known, **stamp.recorded()}
    return made if (digest := ends(path, stamp)) is None else {**made, "ends": digest}


def _other_parameter(where: Path, name: str, theirs: Any, ours: Any) -> OutputError:
    forced = (
        f"; CLIPSOID_SIMD={theirs} sets the level on a machine that has it"
        if name == "simd"
        else ""
    )
    return OutputError(
        f"{where}: was begun with {name} {theirs!r}, this run has {ours!r}{forced}; wanted "
        "the same, another --out, or this one removed"
    )


def _shown(fact: str, value: Any) -> Any:
    """Return what a message says of a fact; a server need not give every one."""
    if value is None:
        return "unknown"
    if fact == "modified":
        return datetime.fromtimestamp(value / 1e9, UTC).isoformat(" ", "milliseconds")
    return value
