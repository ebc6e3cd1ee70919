"""What a folder of scores keeps of its own: the ellipsoid and the groups that a job itself fits."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeVar

from clipsoid._scoring import Reference
from clipsoid.ellipsoid import Ellipsoid
from clipsoid.errors import MismatchError
from clipsoid.store.beside import digest_of_groups

if TYPE_CHECKING:
    from clipsoid.groups import GroupedEllipsoids

T = TypeVar("T", "Ellipsoid", "GroupedEllipsoids")

#: The files, by the fields of a journal that hold their digests.
KEPT = {"reference": "reference.ellipsoid", "groups": "reference.groups"}


@dataclass(frozen=True, slots=True)
class Kept(Generic[T]):
    """A file that is made once, by whichever part comes first, and checked whenever it is used.

    Attributes
    ----------
    field : str
        Of the journal's line that holds its digest.
    load : callable
        Reads the file.
    digest : callable
        Tells one content from another.
    """

    field: str
    load: Callable[[Path], T]
    digest: Callable[[T], str]

    def path(self, folder: Path) -> Path:
        """Return where it lies."""
        return folder / KEPT[self.field]

    def checked(self, folder: Path, wanted: Iterable[str], dim: int | None = None) -> tuple[T, str]:
        """Read the file, and return what it holds and the digest of that.

        Raises
        ------
        StoreError
            If it is missing or damaged.
        MismatchError
            If it has not the digest that is wanted, or is not of rows of `dim` features.
        """
        path = self.path(folder)
        found = self.load(path)
        digest = self.digest(found)
        if any(one != digest for one in wanted):
            raise MismatchError(
                f"{path}: is not the one that the scores beside it were made against; wanted "
                "that one, or another --out"
            )
        if dim not in (None, found.dim):
            raise MismatchError(
                f"{path}: is of rows of {found.dim} features, these have {dim}; wanted the one "
                "that was made here, or another --out"
            )
        return found, digest


def kept_reference(*, member: bool) -> Kept[Ellipsoid]:
    """Return how the ellipsoid is kept, to which the rows belong or not."""
    return Kept(
        "reference",
        Ellipsoid.load,
        lambda e: digest_of_reference(e.reference(member=member)),
    )


def kept_groups() -> Kept[GroupedEllipsoids]:
    """Return how the groups are kept."""
    from clipsoid.groups import GroupedEllipsoids

    return Kept("groups", GroupedEllipsoids.load, digest_of_groups)


def digest_of_reference(reference: Reference) -> str:
    """Tell one reference from another."""
    digest = hashlib.blake2b(digest_size=16)
    digest.update(f"{reference.count} {reference.member}".encode())
    digest.update(reference.mean.tobytes() + reference.unit_mean.tobytes())
    return digest.hexdigest()
