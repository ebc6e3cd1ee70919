"""Embedding sets on disk: one reader per format, and the store that makes one set of many files."""

from __future__ import annotations

from clipsoid.store.base import Shard, Store, open_store

__all__ = ["Shard", "Store", "open_store"]
