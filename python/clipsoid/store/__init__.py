"""Embedding sets on disk: one reader per format, and the store that makes one set of many files."""

from __future__ import annotations

from clipsoid.store.base import Shard, Store
from clipsoid.store.layouts import EmbeddingSet, PairCheck, open_set
from clipsoid.store.opening import open_store

__all__ = ["EmbeddingSet", "PairCheck", "Shard", "Store", "open_set", "open_store"]
