"""What the output of a job depends on, so that a run goes on with nothing but its own work."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from clipsoid._native import __version__, simd_level
from clipsoid.errors import MismatchError, OutputError, StoreError
from clipsoid.store.base import Store


@dataclass(frozen=True, slots=True)
class Job:
    """Parameters and inputs that a job's output depends on, as JSON knows them.

    Attributes
    ----------
    parameters : dict
        Options, versions and the SIMD level.
    inputs : tuple of dict
        Each shard in order: its name, what its header says, its size in bytes and the time of its
        last change in nanoseconds, or in its place the ETag of a remote file.
    """

    parameters: dict[str, Any]
    inputs: tuple[dict[str, Any], ...]

    @classmethod
    def of(cls, store: Store, parameters: Mapping[str, Any]) -> Self:
        """Return the job that reads `store` with these parameters, by this program."""
        inputs = tuple(
            {
                "name": shard.name,
                "rows": shard.count,
                "dtype": shard.dtype,
                "key": shard.part,
                **shard.stamp.recorded(),
            }
            for shard in store.shards
        )
        made = {"clipsoid_version": __version__, "simd": simd_level(), **parameters}
        return cls(json.loads(json.dumps(made)), inputs)

    @classmethod
    def read(cls, path: Path, found: Any) -> Self:
        """Return what `to_dict` gave.

        Raises
        ------
        StoreError
            If it is something else.
        """
        try:
            parameters, inputs = dict(found["parameters"]), tuple(map(dict, found["inputs"]))
            if all(isinstance(shard["name"], str) for shard in inputs):
                return cls(parameters, inputs)
        except (KeyError, TypeError, ValueError):
            pass
        raise StoreError(f"{path}: is damaged: it does not say which job it belongs to")

    def to_dict(self) -> dict[str, Any]:
        """Return all of it."""
        return {"parameters": self.parameters, "inputs": list(self.inputs)}

    def check(self, where: Path, begun: Job) -> None:
        """Refuse to go on with what another job has begun at `where`.

        Raises
        ------
        OutputError
            If a parameter differs; the message says which, and how to go on.
        MismatchError
            If a shard is new, is gone or has changed since.
        """
        for name, theirs, ours in differences(begun.parameters, self.parameters):
            forced = (
                f"; CLIPSOID_SIMD={theirs} sets the level on a machine that has it"
                if name == "simd"
                else ""
            )
            raise OutputError(
                f"{where}: was begun with {name} {theirs!r}, this run has {ours!r}{forced}; wanted "
                "the same, another --out, or this one removed"
            )
        if begun.inputs == self.inputs:
            return
        before = {shard["name"]: shard for shard in begun.inputs}
        now = {shard["name"]: shard for shard in self.inputs}
        since = f"since {where} was begun"
        wanted = "wanted the same shards, another --out, or this one removed"
        for name in before:
            if name not in now:
                raise MismatchError(f"{name}: is gone {since}; {wanted}")
        for name, shard in now.items():
            if name not in before:
                raise MismatchError(f"{name}: is new {since}; {wanted}")
            for fact, theirs, ours in differences(before[name], shard):
                was, now_is = (_shown(fact, value) for value in (theirs, ours))
                raise MismatchError(
                    f"{name}: has changed {since}: {fact} was {was}, is {now_is}; {wanted}"
                )
        raise MismatchError(f"{where}: was begun with these shards in another order; {wanted}")


def differences(theirs: Any, ours: Any, name: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Name what differs, with the value that each side has; of mappings, by dotted names."""
    if isinstance(theirs, dict) and isinstance(ours, dict):
        for key in {**theirs, **ours}:
            dotted = f"{name}.{key}" if name else key
            yield from differences(theirs.get(key), ours.get(key), dotted)
    elif json.loads(json.dumps(ours)) != theirs:
        yield name, theirs, ours


def _shown(fact: str, value: Any) -> Any:
    """Return what a message says of a fact; a server need not give every one."""
    if value is None:
        return "unknown"
    if fact == "modified":
        return datetime.fromtimestamp(value / 1e9, UTC).isoformat(" ", "milliseconds")
    return value
