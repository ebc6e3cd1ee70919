"""Rows that vanish among 500 real pairs (MS-COCO, CLIP ViT-B/16)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import clipsoid as cs
from oracle import vanishing as oracle


@pytest.fixture(scope="module", params=["image", "text"])
def x(request: pytest.FixtureRequest, real_data: Callable[[str], Path]) -> np.ndarray:
    with np.load(real_data("coco500_clip_vitb16.npz")) as file:
        return file[request.param].astype(np.float32)


def test_a_real_row_behind_a_mean_that_cancels(x: np.ndarray) -> None:
    # All rows and their opposites, the longest one once more: their sum.
    longest = int(np.linalg.norm(x, axis=1).argmax())
    both = np.concatenate([x, x[longest : longest + 1], -x])
    alpha = float(len(both))
    assert oracle.share_of_rounding(both, 500, alpha) < 0.1
    row = min(longest, 500)
    message = rf"row {row} vanishes at alpha = {alpha:g}"
    with pytest.raises(cs.InvalidRowError, match=rf"^x: {message}"):
        cs.shifted_conformity(both, [1.0, alpha])
    with pytest.raises(cs.InvalidRowError, match=rf"^image: {message}"):
        cs.match_sweep(both, x, alphas=[1.0, alpha])
    with pytest.raises(cs.InvalidRowError, match=rf"^image: {message}"):
        cs.loss_sweep(both, np.roll(both, 1, axis=0), alphas=[1.0, alpha])


def test_centred_rows_stay(x: np.ndarray) -> None:
    # What a mean that was taken away has left is rounding: moderate multiples of it are none.
    centred = x - x.mean(axis=0, dtype=np.float64)
    found = cs.shifted_conformity(centred, [-2.0, 0.0, 2.0])
    np.testing.assert_allclose(found, found[1:2].repeat(3, axis=0), rtol=0, atol=1e-12)
