"""Files in object stores and behind URLs: their paths, and how their bytes get here."""

from __future__ import annotations

from clipsoid.store.remote.path import RemotePath, is_url

__all__ = ["RemotePath", "is_url"]
