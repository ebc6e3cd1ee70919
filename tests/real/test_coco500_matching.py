"""Figures 10 and 11 on 500 real pairs (MS-COCO, CLIP ViT-B/16), against an independent program."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import clipsoid as cs
from bounds import assert_within, stated_conformity
from oracle import matching as oracle

#: What the program calls a column.
THERE = {
    "kl_image_text": "conformity_kl_image_text_50bins",
    "kl_text_image": "conformity_kl_text_image_50bins",
}

Rows = tuple[np.ndarray, np.ndarray]


@pytest.fixture(scope="module")
def expected(real_data: Callable[[str], Path]) -> dict[str, Any]:
    return json.loads(real_data("coco500_expected.json").read_text())


@pytest.fixture(scope="module")
def rows(real_data: Callable[[str], Path]) -> Rows:
    with np.load(real_data("coco500_clip_vitb16.npz")) as file:
        return file["image"].astype(np.float64), file["text"].astype(np.float64)


@pytest.mark.parametrize("shift", ["image", "text"])
def test_the_histogram_figures(expected: dict[str, Any], rows: Rows, shift: str) -> None:
    want = expected[f"sweep_{shift}"]
    found = cs.match_sweep(*rows, alphas=[row["alpha"] for row in want], shift=shift)
    for name, there in THERE.items():
        figures = np.array([row[there] for row in want])
        assert_within(found.table[name].to_numpy(), figures, 1e-10 * figures, name)
    # Figure 11: the distributions match best where they already lie.
    assert found.best_alpha == 0
    assert found.table["kl_image_text"].min() == pytest.approx(0.133, abs=5e-4)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("at", [0, 1], ids=["image", "text"])
def test_the_conformities(rows: Rows, at: int, dtype: str) -> None:
    x = rows[at].astype(dtype)
    alphas = np.linspace(-1, 1, 9)
    found = cs.shifted_conformity(x, alphas)
    # Float64 arithmetic whatever the storage, and no row that shrinks much.
    allowed = stated_conformity("float64")
    assert_within(found, oracle.shifted_conformity(x, alphas), allowed, "conformity")


def test_intervals_hold_their_figures(rows: Rows) -> None:
    found = cs.match_sweep(*rows, alphas=[-0.5, -0.1, 0.0, 0.1, 0.5], interval=0.95)
    for row in found.table.rows(named=True):
        # The least distance of two normal samples of 500 is far below this.
        assert 0 < row["wasserstein_lower"] < row["wasserstein"] < row["wasserstein_upper"]
        for name in ("js", "kde_kl_image_text", "kde_kl_text_image"):
            lower, upper = row[f"{name}_lower"], row[f"{name}_upper"]
            assert (lower is None) is (upper is None)
            # Far apart the two hardly overlap: nothing tells how sure 10 nats are.
            assert (lower is None) or abs(row["alpha"]) < 0.5
            if lower is None:
                assert row["alpha"] != 0
                continue
            assert 0 <= lower < row[name] < upper
            # Less its bias a figure lies lower than it was found, where zero does not cut it off.
            assert lower == 0 or lower + upper < 2 * row[name]


def test_differences_of_pairs(rows: Rows) -> None:
    found = cs.conformity_difference(*rows)
    for name, x in zip(("image", "text"), rows, strict=True):
        want = oracle.percentiles(oracle.shifted_conformity(x, [0.0])[0])
        assert_within(getattr(found, f"{name}_percentile"), want, 1e-12, name)
    image, text = found.largest(5)
    assert (np.diff(found.percentile_difference[image]) <= 0).all()
    assert found.percentile_difference[image].min() > 0.5
    assert found.percentile_difference[text].max() < -0.5
