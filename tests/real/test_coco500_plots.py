"""Results of 500 real pairs (MS-COCO, CLIP ViT-B/16, normalised), drawn and shown."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import clipsoid as cs
from clipsoid.report.plots import figure_of
from report.specs import check, measured, panel_of

Rows = tuple[np.ndarray, np.ndarray]


@pytest.fixture(scope="module")
def rows(real_data: Callable[[str], Path]) -> Rows:
    with np.load(real_data("coco500_clip_vitb16.npz")) as file:
        return file["image"].astype(np.float32), file["text"].astype(np.float32)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_every_result_is_drawn_and_shown(rows: Rows, dtype: str) -> None:
    image, text = (x.astype(dtype) for x in rows)
    e = cs.Ellipsoid.fit(image)
    whitening = cs.Whitening.from_ellipsoid(e)
    results: list[Any] = [
        e,
        e.score(image, member=True),
        e.calibrate(image),
        cs.contrastive_loss(image, text, per_pair=True),
        cs.retrieval_ranks(image, text),
        cs.false_negatives(image, text),
        cs.similarity_histogram(image, text),
        cs.conformity_difference(image, text),
        cs.strongest_features(image),
        cs.nearest_rows(text[:20], image, k=5),
        whitening,
        whitening.normality(image),
    ]
    for result in results:
        check(figure_of(result))
        assert result._repr_html_().startswith(f"<b>{type(result).__name__}</b>")


def test_recall_is_that_of_the_independent_program(
    rows: Rows, real_data: Callable[[str], Path]
) -> None:
    expected = json.loads(real_data("coco500_expected.json").read_text())
    (zero,) = (row for row in expected["sweep_image"] if row["alpha"] == 0)
    figure = figure_of(cs.retrieval_ranks(*rows))
    data = panel_of(figure, "recall").data
    for way in ("image to text", "text to image"):
        wanted = zero[f"accuracy_{way.replace(' ', '_')}"]
        at_one = data.filter((data["series"] == way) & (data["k"] == 1))
        assert at_one["recall"].item() == pytest.approx(wanted, abs=1e-12)
        assert measured(figure)[f"recall at 1, {way}"] == f"{100 * wanted:.1f}%"
