"""What is computed of the rows of a store beside their scores, shard by shard."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from clipsoid._beside import Beside, likelihood_of, partners_of
from clipsoid._labels import labels_of
from clipsoid._source import Source, as_source
from clipsoid.errors import MismatchError, ShapeError
from clipsoid.store.base import Shard, Store

if TYPE_CHECKING:
    from clipsoid.groups import GroupedEllipsoids
    from clipsoid.whitening import Whitening


@dataclass(frozen=True, slots=True)
class StoreBeside:
    """What is computed of a set beside its scores; made of all of it, good for any of its shards.

    Attributes
    ----------
    partners : dict of str to Shard
        The other side of each shard that has rows, by the shard's name; empty where no partners
        are wanted.
    whitening : Whitening, optional
    groups : GroupedEllipsoids, optional
    by : str
        The column that says which group a row is in.
    member : bool
        Whether each row belongs to its group.
    """

    partners: dict[str, Shard]
    whitening: Whitening | None = None
    groups: GroupedEllipsoids | None = None
    by: str = ""
    member: bool = False

    def of(self, store: Store, source: Source) -> Beside:
        """Return what is computed of some of the shards, `store`; `source` has the same rows."""
        partner = groups = None
        if self.partners:
            shards = tuple(self.partners[shard.name] for shard in store.shards if shard.count)
            # Shards without rows have no partner, and no row to read one for.
            others = Store(shards, store.dim) if shards else store
            partner = partners_of(source, as_source(others))
        if self.groups is not None:
            labels = labels_of(store, self.by, store.count)
            groups = self.groups.scoring_groups(labels, member=self.member)
        likelihood = None if self.whitening is None else likelihood_of(self.whitening, source)
        return Beside(partner, likelihood, groups)


def paired(store: Store, partner: Store) -> dict[str, Shard]:
    """Return the other side of each shard that has rows, by the shard's name, in order.

    Raises
    ------
    MismatchError
        If the two differ in features.
    ShapeError
        If they differ in shards, or two shards in rows.
    """
    mine = [shard for shard in store.shards if shard.count]
    theirs = [shard for shard in partner.shards if shard.count]
    first = theirs[0].path
    if partner.dim != store.dim:
        raise MismatchError(
            f"{first}: the partners have {partner.dim} features, the rows of {mine[0].path} have "
            f"{store.dim}; wanted the same"
        )
    if len(mine) != len(theirs):
        raise ShapeError(
            f"{first} and the files after it: found {len(theirs)} shards with rows, wanted "
            f"{len(mine)}, a partner for each shard from {mine[0].path} on"
        )
    for own, other in zip(mine, theirs, strict=True):
        if own.count != other.count:
            raise ShapeError(
                f"{other.path}: found {other.count} rows, wanted the {own.count} of its partner "
                f"{own.path}"
            )
    return {own.name: other for own, other in zip(mine, theirs, strict=True)}


def digest_of(store: Store) -> str:
    """Tell the rows of one set from those of another, whatever their paths."""
    digest = hashlib.blake2b(digest_size=16)
    for shard in store.shards:
        if shard.count:
            digest.update(shard.fingerprint().encode())
    return digest.hexdigest()


def digest_of_groups(groups: GroupedEllipsoids) -> str:
    """Tell one file of groups from another."""
    digest = hashlib.blake2b(digest_size=16)
    digest.update(repr(groups.labels).encode())
    digest.update(groups.count.tobytes() + groups.unit_sum.tobytes())
    return digest.hexdigest()


def made_beside(
    *,
    partner: Store | None = None,
    whitening: bytes | None = None,
    by: str | None = None,
    groups: GroupedEllipsoids | None = None,
) -> dict[str, Any]:
    """Return what score files say of what was computed beside the scores; None for what was not."""
    return {
        "partner": None if partner is None else digest_of(partner),
        "whitening": None
        if whitening is None
        else hashlib.blake2b(whitening, digest_size=16).hexdigest(),
        "by": by,
        "groups": None if groups is None else digest_of_groups(groups),
    }
