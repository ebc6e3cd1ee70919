"""Formats of embeddings that are not read, and how to make of them one that is."""

from __future__ import annotations

from collections.abc import Iterable

_TORCH = (
    "tensors are saved in pickles, which are not read; torch and numpy write one as .npy: "
    "np.save('x.npy', torch.load('x{0}', map_location='cpu').numpy())"
)
_ADVICE = {".pt": _TORCH, ".pth": _TORCH}


def advice(suffixes: Iterable[str]) -> str:
    """Return how to convert files of the first of some formats that it is known of, after "; "."""
    known = next((suffix for suffix in suffixes if suffix in _ADVICE), None)
    return "" if known is None else "; " + _ADVICE[known].format(known)
