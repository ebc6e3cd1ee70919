"""What a small sample of a set tells: whether rows are normalised, whether ids are repeated."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from clipsoid._geometry import are_normalized
from clipsoid.errors import ClipsoidError
from clipsoid.store.base import Shard, Store
from clipsoid.store.layouts.pairing import ID_COLUMNS
from clipsoid.store.layouts.sample import sample_rows

#: Shards whose ids are compared: memory stays that of their ids, as numbers of 64 bits.
ID_SHARDS = 4


@dataclass(frozen=True, slots=True)
class NormSample:
    """Norms of a sample of rows.

    Attributes
    ----------
    rows : int
        Rows that were looked at.
    invalid : int
        Those that are missing, not finite or of zero norm.
    least, greatest : float or None
        Norms of the others; None if there are none.
    """

    rows: int
    invalid: int
    least: float | None
    greatest: float | None

    @property
    def is_normalized(self) -> bool | None:
        """Whether every norm lies within 1 +- 0.01; None if there is none."""
        if self.least is None or self.greatest is None:
            return None
        return are_normalized(self.least, self.greatest)


def norm_sample(store: Store, most: int) -> NormSample:
    """Take norms of about `most` rows, from several shards."""
    with np.errstate(all="ignore"):
        norms = np.concatenate([np.linalg.norm(x, axis=1) for x in sample_rows(store, most)])
    valid = norms[np.isfinite(norms) & (norms > 0)]
    least, greatest = (float(valid.min()), float(valid.max())) if len(valid) else (None, None)
    return NormSample(len(norms), len(norms) - len(valid), least, greatest)


def id_column(shard: Shard) -> str | None:
    """Return the column of ids that lies beside a shard, if its name says so."""
    schema = shard.schema()
    return next((name for name in ID_COLUMNS if name in schema), None)


def repeated_ids(store: Store) -> str | None:
    """Say how many ids of some shards are not the first of their kind, or None if all differ.

    Each shard's ids are read whole, one shard at a time; across shards their hashes are compared,
    of four shards spread over the set.
    """
    filled = [shard for shard in store.shards if shard.count]
    step = max(1, len(filled) // ID_SHARDS)
    looked_at = filled[::step][:ID_SHARDS]
    column = id_column(looked_at[0])
    if column is None:
        return None
    seen: list[np.ndarray] = []
    repeated = 0
    for shard in looked_at:
        try:
            ids = shard.columns([column]).to_series().drop_nulls()
        except ClipsoidError:
            # Metadata that do not fit are a note of their own.
            return None
        hashes = ids.hash().unique().to_numpy()
        repeated += len(ids) - len(hashes)
        seen.append(hashes)
    together = np.concatenate(seen)
    repeated += len(together) - len(np.unique(together))
    if not repeated:
        return None
    where = "the one shard" if len(looked_at) == 1 else f"the {len(looked_at)} shards"
    many = "1 id is" if repeated == 1 else f"{repeated:,} ids are"
    return f"{column}: {many} repeated in {where} looked at"
