"""What parts of one piece of work have in common: they cover blocks of rows, and merge."""

from __future__ import annotations

from dataclasses import dataclass, fields
from operator import index
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from clipsoid import _native
from clipsoid._gather import Gathered
from clipsoid.errors import MismatchError, UnavailableError

#: Rows of a block.
BLOCK = _native.BLOCK


@dataclass(frozen=True, slots=True, kw_only=True)
class PairsOptions:
    """Of what rows, and how, something is computed from all pairs of them.

    Attributes
    ----------
    counts : tuple of int
        Rows of each set.
    dim : int
        Features.
    dtype : str
        Element type of the rows.
    blocks : int
        Blocks of rows of the first set that the work can be cut into.
    simd_level : str
        Instruction set; bits may differ between two.
    rows_digest : str, optional
        Tells the rows of one part from those of another.
    version : str
        Of clipsoid: parts of two versions do not merge.
    """

    counts: tuple[int, ...]
    dim: int
    dtype: str
    blocks: int
    simd_level: str
    rows_digest: str | None = None
    version: str = _native.__version__

    @classmethod
    def of(cls, *sets: Gathered, is_part: bool, **parameters: Any) -> Self:
        """Describe the rows; the whole is never merged, and needs no digest."""
        counts = tuple(len(one.rows) for one in sets)
        return cls(
            counts=counts,
            dim=sets[0].rows.shape[1],
            dtype=sets[0].dtype,
            blocks=-(-counts[0] // BLOCK),
            simd_level=_native.simd_level(),
            rows_digest=digest(*(one.rows for one in sets)) if is_part else None,
            **parameters,
        )


@dataclass(frozen=True, eq=False)
class Part:
    """Some blocks of rows of a piece of work, each met with every row of the other side.

    Attributes
    ----------
    options : PairsOptions
        They tell the whole work from any other.
    blocks : frozenset of int
        The blocks that this part covers, of ``options.blocks``.
    """

    options: PairsOptions
    blocks: frozenset[int]

    def _joined(self, other: Self) -> frozenset[int]:
        """Return the blocks of both, if the two are parts of one work and share no block."""
        if type(other) is not type(self):
            raise MismatchError(
                f"parts of different work: found a {type(other).__name__}; "
                f"wanted a {type(self).__name__}"
            )
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


def share(blocks: int, part: tuple[int, int] | None, *, triangle: bool = False) -> range:
    """Return the blocks of part ``(i, n)``, or all of them.

    In a `triangle` block `j` meets only itself and those after it: parts then have about as many
    of such meetings each, not as many blocks.
    """
    i, n = part or (0, 1)
    if not triangle:
        return range(blocks * i // n, blocks * (i + 1) // n)
    lines = np.arange(blocks + 1)
    before = lines * blocks - lines * (lines - 1) // 2
    cuts = [int(before[-1]) * cut // n for cut in (i, i + 1)]
    return range(*np.searchsorted(before, cuts).tolist())


def check_part(i: int, n: int) -> tuple[int, int]:
    """Raise unless there is a part `i` of `n`."""
    i, n = index(i), index(n)
    if n < 1 or not 0 <= i < n:
        raise ValueError(f"part {i} of {n}; wanted 0 <= i < n")
    return i, n


def digest(*arrays: NDArray[Any]) -> str:
    """Tell rows from others: parts of one work must be of the same."""
    import hashlib

    found = hashlib.blake2b(digest_size=16)
    for rows in arrays:
        for start in range(0, len(rows), BLOCK):
            block = np.ascontiguousarray(rows[start : start + BLOCK])
            found.update(block.view(np.uint8).data)
    return found.hexdigest()
