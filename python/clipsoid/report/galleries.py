"""Rows of an analysis with their pictures and captions: galleries, grids, rows of a range."""

# ruff: noqa: RUF001 (Greek letters are meant)

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from clipsoid.report.blocks import Explorer, Galleries, Gallery, Grid, Item, cut
from clipsoid.report.charts.conformity import RANGE
from clipsoid.report.marks import number
from clipsoid.report.thumbnails import Thumbnails

if TYPE_CHECKING:
    from clipsoid.analysis import Analysis
    from clipsoid.analysis.figures import Gallery as Ends
    from clipsoid.analysis.parts import Differences, Modality
    from clipsoid.interpolate import VslerpGrid

#: Pictures of an explorer, spread over the range of its rows.
SPREAD = 72


class Shown:
    """The rows that a page shows: their captions, and their pictures as they are asked for."""

    def __init__(self, found: Analysis, root: Path | None) -> None:
        self.pictures = Thumbnails(root)
        self.has_items = found.items is not None
        self._captions: dict[int, str | None] = {}
        self._paths: dict[int, str | None] = {}
        if found.items is not None:
            rows = found.items["row"].to_list()
            self._captions = dict(zip(rows, found.items["caption"].to_list(), strict=True))
            self._paths = dict(zip(rows, found.items["image_path"].to_list(), strict=True))
        self.has_captions = any(caption is not None for caption in self._captions.values())

    def caption(self, row: int) -> str:
        """Return the caption of a row, short enough to be shown."""
        return cut(self._captions.get(row))

    def path(self, row: int) -> str | None:
        """Return the path of a row's picture."""
        return self._paths.get(row)

    def item(self, row: int, value: str, *, image: bool = True) -> Item:
        """Return a row as it is shown."""
        return Item(
            row, value, self.caption(row), self.pictures.add(self.path(row)) if image else None
        )


def ends(found: Modality, shown: Shown, paper: str) -> Galleries:
    """Return the most and the least conforming rows of a modality."""
    plural = {"image": "images", "text": "captions"}[found.name]

    def gallery(key: str, title: str, caption: str, rows: Ends) -> Gallery:
        return Gallery(
            f"{key}-{found.name}",
            title,
            caption,
            tuple(
                shown.item(int(row), number(float(value)), image=found.name == "image")
                for row, value in zip(rows.row, rows.value, strict=True)
            ),
        )

    return Galleries(
        f"ends-{found.name}",
        paper,
        f"Most and least conforming {plural}",
        (
            gallery("highest", "Highest conformity", "What many resemble.", found.highest),
            gallery("lowest", "Lowest conformity", "What is rare.", found.lowest),
        ),
    )


def differing(found: Differences, shown: Shown) -> Galleries:
    """Return the pairs whose image and caption differ most in how common they are (Figure 10)."""

    def gallery(key: str, title: str, rows: Ends) -> Gallery:
        items = (
            shown.item(int(row), number(float(value), 3))
            for row, value in zip(rows.row, rows.value, strict=True)
        )
        return Gallery(key, title, "", tuple(items))

    return Galleries(
        "differing",
        "Figure 10",
        "Pairs whose percentiles differ most, image minus caption",
        (
            gallery("image-higher", "Common image, rare caption", found.image_higher),
            gallery("text-higher", "Rare image, common caption", found.text_higher),
        ),
    )


def between(found: VslerpGrid, shown: Shown) -> Grid | None:
    """Return the nearest images over theta and alpha (Figure 12, without a decoder)."""
    if found.nearest is None:
        return None
    index, similarity = found.nearest.index[..., 0], found.nearest.similarity[..., 0]
    rows = tuple(
        (
            f"α = {number(float(alpha), 2)}",
            tuple(
                shown.item(int(index[i, j]), number(float(similarity[i, j])))
                for i in range(len(found.theta))
            ),
        )
        for j, alpha in enumerate(found.alpha)
    )
    return Grid(
        "between",
        "Figure 12",
        "The nearest images on the way",
        "The image of the set that is nearest to each vector on the way from the most to the least "
        "conforming image (θ), around a centre that is moved by α; with its cosine to the vector. "
        "The paper decodes these vectors; here they are looked up.",
        "",
        tuple(f"θ = {number(float(theta), 2)}" for theta in found.theta),
        rows,
    )


def explorer(found: Modality, shown: Shown, figure: str) -> Explorer:
    """Return the sampled rows of a modality, to be chosen in its histogram of conformity."""
    sample = found.sample
    rows = [int(row) for row in sample.row]
    columns: dict[str, list[object]] = {
        "row": list(rows),
        "conformity": _short(sample.conformity),
        "cosine_to_mean": _short(sample.cosine_to_mean),
        "norm": _short(sample.norm),
    }
    if shown.has_captions:
        columns["caption"] = [shown.caption(row) for row in rows]
    pictured: list[tuple[int, int]] = []
    if found.name == "image":
        pictured = pictures_of(sample.conformity, [shown.path(row) for row in rows], shown.pictures)
    plural = {"image": "Images", "text": "Captions"}[found.name]
    return Explorer(
        f"rows-{found.name}",
        figure,
        RANGE + found.name,
        f"{plural} of a range",
        "conformity",
        columns,
        tuple(pictured),
        found.count,
    )


def pictures_of(
    values: np.ndarray, paths: Sequence[str | None], pictures: Thumbnails
) -> list[tuple[int, int]]:
    """Make thumbnails of some rows that are spread over the order of their values.

    Returns the place of each row and the number of its thumbnail.
    """
    order = np.argsort(values, kind="stable")
    at = np.unique(np.linspace(0, len(order) - 1, min(SPREAD, len(order))).astype(int))
    numbers = ((int(i), pictures.add(paths[i])) for i in np.sort(order[at]))
    return [(i, image) for i, image in numbers if image is not None]


def _short(values: np.ndarray) -> list[object]:
    return [float(f"{value:.6g}") for value in values]
