"""What an analysis is of: two modalities as they are given, or one set that holds both."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from clipsoid._source import is_path
from clipsoid._source import opened as open_rows
from clipsoid.store.origin import common_origin, softmax_temperature


class Opened(NamedTuple):
    """Two modalities, the temperature of their model, and what is known of their rows."""

    image: Any
    text: Any
    temperature: float
    captions: Sequence[str] | None
    image_paths: Sequence[str] | None


def opened(
    image: Any,
    text: Any,
    temperature: float | None,
    captions: Sequence[str] | None,
    image_paths: Sequence[str] | None,
) -> Opened:
    """Open what names files; what a set knows of its rows is used where nothing else is given."""
    if text is not None:
        image, text = open_rows(image), open_rows(text)
        made = common_origin(image, text, "images and texts")
    else:
        from clipsoid.store import EmbeddingSet, open_set
        from clipsoid.store.layouts.columns import CAPTIONS, IMAGE_PATHS, column_of
        from clipsoid.store.layouts.embedding_set import checked_pairs

        if not isinstance(image, EmbeddingSet) and not is_path(image):
            raise ValueError("text=None; wanted images and texts, or one set that holds both")
        found = image if isinstance(image, EmbeddingSet) else open_set(image)
        image, text = found.pairs()
        checked_pairs(image, text, found.path)
        made = found.origin
        captions = column_of(image, CAPTIONS) if captions is None else captions
        image_paths = column_of(image, IMAGE_PATHS) if image_paths is None else image_paths
    known = softmax_temperature(made)
    return Opened(image, text, known if temperature is None else temperature, captions, image_paths)
