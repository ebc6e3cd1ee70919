"""What an analysis is of: two modalities as they are given, or one set that holds both."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from clipsoid._source import is_path

#: Of the loss, where nothing says another.
USUAL_TEMPERATURE = 0.01


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
    """Open a set where no texts are given; what it knows is used where nothing else is given."""
    if text is None:
        from clipsoid.store import EmbeddingSet, open_set
        from clipsoid.store.layouts.columns import CAPTIONS, IMAGE_PATHS, column_of
        from clipsoid.store.layouts.embedding_set import checked_pairs
        from clipsoid.store.origin import softmax_temperature

        if not isinstance(image, EmbeddingSet) and not is_path(image):
            raise ValueError("text=None; wanted images and texts, or one set that holds both")
        found = image if isinstance(image, EmbeddingSet) else open_set(image)
        image, text = found.pairs()
        checked_pairs(image, text, found.path)
        if found.origin is not None and temperature is None:
            temperature = softmax_temperature(found.origin)
        captions = column_of(image, CAPTIONS) if captions is None else captions
        image_paths = column_of(image, IMAGE_PATHS) if image_paths is None else image_paths
    if temperature is None:
        temperature = USUAL_TEMPERATURE
    return Opened(image, text, temperature, captions, image_paths)
