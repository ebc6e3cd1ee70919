"""Ranges and histograms of the features of 500 real pairs (MS-COCO, CLIP ViT-B/16)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from clipsoid._features import fitted, histograms
from clipsoid._source import as_source
from oracle import features as oracle
from unit.samples import DTYPES

Rows = tuple[np.ndarray, np.ndarray]


@pytest.fixture(scope="module")
def rows(real_data: Callable[[str], Path]) -> Rows:
    with np.load(real_data("coco500_clip_vitb16.npz")) as file:
        return file["image"], file["text"]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("bins", [50, 64])
def test_counts_are_those_of_numpy(rows: Rows, dtype: str, bins: int) -> None:
    image, text = (x.astype(DTYPES[dtype]) for x in rows)
    measured = [fitted(as_source(x), None)[1] for x in (image, text)]
    for x, found in zip((image, text), measured, strict=True):
        np.testing.assert_array_equal((found.low, found.high), oracle.ranges(x))
    # Over the joint range, as where modalities are compared.
    low = np.minimum(*(found.low for found in measured))
    high = np.maximum(*(found.high for found in measured))
    for x in (image, text):
        got = histograms(as_source(x), low, high, bins, None)
        np.testing.assert_array_equal(got, oracle.histograms(x, low, high, bins))
