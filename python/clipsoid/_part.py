"""What parts of one piece of work have in common: they cover blocks of rows, and merge."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields
from operator import index
from typing import Any, Self

import numpy as np

from clipsoid._gather import Gathered
from clipsoid.errors import MismatchError, UnavailableError

#: Rows of a block.
BLOCK = 256


@dataclass(frozen=True, eq=False)
class Part:
    """Some blocks of rows of a piece of work, each met with every row of the other side.

    Attributes
    ----------
    options : object
        A dataclass that tells the whole work from any other; `blocks` is one of its fields.
    blocks : frozenset of int
        The blocks that this part covers, of ``options.blocks``.
    """

    options: Any
    blocks: frozenset[int]

    def _joined(self, other: Self) -> frozenset[int]:
        """Return the blocks of both, if the two are parts of one work and share no block."""
        for name in (field.name for field in fields(self.options)):
            mine, theirs = getattr(self.options, name), getattr(other.options, name)
            if mine != theirs:
                raise MismatchError(
                    f"parts of different work: {name} is {theirs!r} in one of them, "
                    f"{mine!r} in the other"
                )
        twice = self.blocks & other.blocks
        if twice:
            raise MismatchError(f"block {min(twice)} of {self.options.blocks} is in both parts")
        return self.blocks | other.blocks

    def _complete(self) -> None:
        """Raise unless every block is there."""
        missing = self.options.blocks - len(self.blocks)
        if missing:
            raise UnavailableError(
                f"the work is not complete: {missing} of {self.options.blocks} blocks of rows are "
                "missing; merge the other parts first"
            )


def share(blocks: int, i: int, n: int) -> range:
    """Return the blocks of part `i` of `n`."""
    return range(blocks * i // n, blocks * (i + 1) // n)


def check_part(i: int, n: int) -> tuple[int, int]:
    """Raise unless there is a part `i` of `n`."""
    i, n = index(i), index(n)
    if n < 1 or not 0 <= i < n:
        raise ValueError(f"part {i} of {n}; wanted 0 <= i < n")
    return i, n


def digest(*sets: Gathered) -> str:
    """Tell rows from others: parts of one work must be of the same."""
    found = hashlib.blake2b(digest_size=16)
    for rows in (gathered.rows for gathered in sets):
        for start in range(0, len(rows), BLOCK):
            block = np.ascontiguousarray(rows[start : start + BLOCK])
            found.update(block.view(np.uint8).data)
    return found.hexdigest()
