"""Figure 6 on 500 real pairs (MS-COCO, CLIP ViT-B/16), against an independent program's figures."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import clipsoid as cs
from bounds import assert_within, stated
from oracle import contrast

#: What the program calls a column of the table; the others have their own name.
THERE = {
    "loss_correct": "loss_correct_fixed",
    "loss_misclassified": "loss_misclassified_fixed",
    "count_correct": "count_correct_fixed",
}
EXACT = ("alpha", "accuracy_image_to_text", "accuracy_text_to_image", "count_correct")
#: The matching of distributions is another part of the library.
MATCHING = {"conformity_kl_image_text_50bins", "conformity_kl_text_image_50bins"}

Rows = tuple[np.ndarray, np.ndarray]


@pytest.fixture(scope="module")
def expected(real_data: Callable[[str], Path]) -> dict[str, Any]:
    return json.loads(real_data("coco500_expected.json").read_text())


@pytest.fixture(scope="module", params=["float32", "float64"])
def rows(request: pytest.FixtureRequest, real_data: Callable[[str], Path]) -> Rows:
    with np.load(real_data("coco500_clip_vitb16.npz")) as file:
        return file["image"].astype(request.param), file["text"].astype(request.param)


def grid(expected: dict[str, Any], shift: str) -> list[float]:
    return [row["alpha"] for row in expected[f"sweep_{shift}"]]


def assert_expected(got: list[dict[str, Any]], want: list[dict[str, Any]], dtype: str) -> None:
    for one, other in zip(got, want, strict=True):
        for name in contrast.COLUMNS:
            figure = other[THERE.get(name, name)]
            # An accuracy is a count over 500: exact as a count, whoever divides.
            allowed = 1e-12 if name in EXACT else stated(dtype, figure)
            assert_within(one[name], figure, allowed, f"{name} at alpha {other['alpha']}")


@pytest.mark.parametrize("shift", ["image", "text"])
def test_no_column_is_left_out(expected: dict[str, Any], shift: str) -> None:
    known = {THERE.get(name, name) for name in contrast.COLUMNS}
    for row in expected[f"sweep_{shift}"]:
        assert row.keys() == known | MATCHING


@pytest.mark.parametrize("shift", ["image", "text"])
def test_the_oracle_agrees_with_the_independent_program(
    expected: dict[str, Any], rows: Rows, shift: str
) -> None:
    found = contrast.sweep(*rows, grid(expected, shift), shift)
    assert_expected(found, expected[f"sweep_{shift}"], "float64")


@pytest.mark.parametrize("shift", ["image", "text"])
def test_the_sweep(expected: dict[str, Any], rows: Rows, shift: str) -> None:
    found = cs.loss_sweep(*rows, alphas=grid(expected, shift), shift=shift)
    assert_expected(found.table.rows(named=True), expected[f"sweep_{shift}"], rows[0].dtype.name)
    assert (found.shift, found.temperature, found.partition, found.count) == (
        shift,
        0.01,
        "fixed",
        500,
    )


@pytest.mark.parametrize("shift", ["image", "text", "both"])
@pytest.mark.parametrize("partition", ["fixed", "each"])
def test_the_default_grid_equals_the_oracle(rows: Rows, shift: str, partition: str) -> None:
    found = cs.loss_sweep(*rows, shift=shift, partition=partition).table.rows(named=True)
    alphas = [row["alpha"] for row in found]
    want = contrast.sweep(*rows, alphas, shift, 0.01, partition)
    assert len(alphas) == 41
    for one, other in zip(found, want, strict=True):
        for name in contrast.COLUMNS:
            allowed = 1e-12 if name in EXACT else stated(rows[0].dtype.name, other[name])
            assert_within(one[name], other[name], allowed, f"{name} at alpha {other['alpha']}")


def test_one_loss_is_the_row_at_zero(expected: dict[str, Any], rows: Rows) -> None:
    found = cs.contrastive_loss(*rows)
    (want,) = (row for row in expected["sweep_image"] if row["alpha"] == 0)
    for name in contrast.FIGURES:
        allowed = 1e-12 if name in EXACT else stated(rows[0].dtype.name, want[name])
        assert_within(getattr(found, name), want[name], allowed, name)


def test_the_loss_of_each_pair(rows: Rows) -> None:
    found = cs.contrastive_loss(*rows, per_pair=True)
    want = contrast.contrastive_loss(*rows)
    allowed = 1e-4 if rows[0].dtype == np.float32 else 1e-10
    for name in ("per_pair_image_to_text", "per_pair_text_to_image", "per_pair"):
        assert_within(getattr(found, name), getattr(want, name), allowed, name)


def test_the_loss_is_least_near_zero(expected: dict[str, Any], rows: Rows) -> None:
    # The paper's Property 6; between the grid's values by the parabola through three of them.
    alphas = grid(expected, "image")
    losses = [row["loss"] for row in expected["sweep_image"]]
    found = cs.loss_sweep(*rows, alphas=alphas)
    assert found.best_alpha == alphas[int(np.argmin(losses))] == -0.1
    # Losses near 1.8 are within e = 1.8e-6 (1.8e-10): the vertex, h (a - c) / (2 (a - 2 b + c)),
    # moves by 2 h e / curvature at most, half as much again for a share of it in the denominator.
    at = int(np.argmin(losses))
    curvature = losses[at - 1] - 2 * losses[at] + losses[at + 1]
    bound = 3 * 0.1 * float(stated(rows[0].dtype.name, losses[at])) / curvature
    assert_within(found.refined_alpha, contrast.refined(alphas, losses), bound, "refined")
    assert abs(found.refined_alpha) < 0.2


def test_half_precision_changes_the_sweep_by_its_rounding_only(rows: Rows) -> None:
    # The oracle on the same rounded rows is the measure, not the wider ones.
    image, text = (x.astype(np.float16) for x in rows)
    alphas = [-1.0, -0.1, 0.0, 0.6]
    found = cs.loss_sweep(image, text, alphas=alphas).table.rows(named=True)
    for one, other in zip(found, contrast.sweep(image, text, alphas), strict=True):
        for name in contrast.COLUMNS:
            allowed = 1e-12 if name in EXACT else stated("float16", other[name])
            assert_within(one[name], other[name], allowed, f"{name} at alpha {other['alpha']}")
