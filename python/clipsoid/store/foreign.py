"""Formats of embeddings that are not read, and how to make of them one that is."""

from __future__ import annotations

from collections.abc import Iterable

_ARROW = (
    "Arrow files are not read; polars writes one as parquet, batch by batch: "
    "pl.scan_ipc('x{0}').sink_parquet('x.parquet')"
)
_ADVICE = {".arrow": _ARROW, ".feather": _ARROW, ".ipc": _ARROW}


def advice(suffixes: Iterable[str]) -> str:
    """Return how to convert files of the first of some formats that it is known of, after "; "."""
    known = next((suffix for suffix in suffixes if suffix in _ADVICE), None)
    return "" if known is None else "; " + _ADVICE[known].format(known)
