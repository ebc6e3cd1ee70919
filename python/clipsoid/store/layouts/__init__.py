"""What producers write: folders, names and arrays, recognised without being told."""

from __future__ import annotations

from clipsoid.store.layouts.embedding_set import EmbeddingSet, open_set
from clipsoid.store.layouts.pairing import PairCheck

__all__ = ["EmbeddingSet", "PairCheck", "open_set"]
