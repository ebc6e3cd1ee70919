"""Which rows of which sets belong to the same prompt, and what sets share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from clipsoid.errors import DTypeError, MismatchError, ShapeError

Array = NDArray[np.float64]

#: What the reference is called where candidates have names.
REFERENCE = "reference"

#: Prompts that two sets must share for a test.
LEAST = 2


@dataclass(frozen=True, slots=True)
class Prompts:
    """The prompts of a set, ascending, and for each row the place of its prompt among them."""

    names: NDArray[Any]
    place: NDArray[np.intp]

    def means(self, values: Array) -> Array:
        """Mean over the rows of each prompt."""
        sums = np.bincount(self.place, values, len(self.names))
        return np.asarray(sums / np.bincount(self.place, minlength=len(self.names)))


def prompts_of(paired: Any, counts: Mapping[str, int]) -> dict[str, Prompts]:
    """Return the prompts of the sets that pair up, by name.

    Parameters
    ----------
    paired : None, bool, vector or mapping of str to vector
        As for `compare`.
    counts : mapping of str to int
        Rows of each candidate, and of the reference where its rows are known.

    Raises
    ------
    ShapeError, DTypeError, MismatchError
        If the prompts do not belong to the rows, or a set shares them with no other.
    """
    if paired is None or paired is False:
        return {}
    candidates = [name for name in counts if name != REFERENCE]
    if paired is True:
        given = _row_by_row(candidates, counts)
    elif isinstance(paired, Mapping):
        given = dict(paired)
        for name in given:
            if name not in counts:
                known = ", ".join(map(repr, counts))
                raise MismatchError(f"paired[{name!r}]: no set of this name has rows here: {known}")
    else:
        given = dict.fromkeys(candidates, paired)
    found = {name: _checked(given[name], name, counts[name]) for name in counts if name in given}
    kinds = {prompts.names.dtype.kind == "U" for prompts in found.values()}
    if len(kinds) > 1:
        raise MismatchError("paired: prompts are integers in one set and strings in another")
    for name, prompts in found.items():
        most = max(
            (len(_shared(prompts, other)) for other in found.values() if other is not prompts),
            default=0,
        )
        if most < LEAST:
            raise MismatchError(
                f"paired: {name!r} shares {most} of its {len(prompts.names)} prompts with any "
                f"other set; wanted {LEAST} or more"
            )
    return found


class Pair(NamedTuple):
    """Two sets, and the prompts that they share."""

    first: str
    second: str
    shared: NDArray[Any]

    @property
    def is_tested(self) -> bool:
        """Whether a test can be made of what they share."""
        return len(self.shared) >= LEAST


def pairs_of(prompts: Mapping[str, Prompts]) -> list[Pair]:
    """Return every two sets; those with the reference first, which is the second."""
    names = sorted(prompts, key=lambda name: name == REFERENCE)
    pairs = sorted(combinations(names, 2), key=lambda pair: pair[1] != REFERENCE)
    return [Pair(x, y, _shared(prompts[x], prompts[y])) for x, y in pairs]


def unpaired(prompts: Mapping[str, Prompts], pairs: Sequence[Pair]) -> list[str]:
    """Say which prompts take no part in a test, set by set, and which pairs have none."""
    notes = []
    for name, own in prompts.items():
        lost = [
            (len(own.names) - len(pair.shared), pair.second if pair.first == name else pair.first)
            for pair in pairs
            if name in pair[:2] and pair.is_tested and len(pair.shared) < len(own.names)
        ]
        if lost:
            (most, other), *more = lost
            note = f"{name}: {most:,} of {len(own.names):,} prompts have no partner in {other}"
            notes.append(note + "".join(f", {count:,} none in {other}" for count, other in more))
    return notes + [
        f"{pair.first} and {pair.second} share {len(pair.shared) or 'no'} prompt: too few for a "
        "test of the two"
        for pair in pairs
        if not pair.is_tested
    ]


def _shared(x: Prompts, y: Prompts) -> NDArray[Any]:
    return np.intersect1d(x.names, y.names, assume_unique=True)


def _row_by_row(candidates: list[str], counts: Mapping[str, int]) -> dict[str, Any]:
    first = candidates[0]
    for name in candidates:
        if counts[name] != counts[first]:
            raise ShapeError(
                f"candidates[{name!r}] has {counts[name]} rows, candidates[{first!r}] has "
                f"{counts[first]}; wanted as many, for paired=True pairs them row by row"
            )
    pairing = [name for name in counts if counts[name] == counts[first]]
    if len(pairing) < 2:
        raise MismatchError(
            f"paired=True: found nothing that pairs with the {counts[first]} rows of {first!r}; "
            "wanted another candidate, or a reference of as many rows"
        )
    return dict.fromkeys(pairing, np.arange(counts[first]))


def _checked(given: Any, name: str, count: int) -> Prompts:
    prompts = np.asarray(given)
    if prompts.dtype.kind == "O" and all(isinstance(prompt, str) for prompt in prompts.flat):
        prompts = prompts.astype(np.str_)
    if prompts.shape != (count,):
        raise ShapeError(
            f"paired: the prompts of {name!r} have shape {prompts.shape}; wanted ({count},), one "
            "for each row"
        )
    if prompts.dtype.kind not in "iuU":
        raise DTypeError(
            f"paired: the prompts of {name!r} are {prompts.dtype}; wanted integers or strings"
        )
    return Prompts(*np.unique(prompts, return_inverse=True))
