"""The sweep over alpha against the oracle: whatever moves, rows that nearly vanish, minima."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import numpy as np
import polars as pl
import pytest

import clipsoid as cs
from bounds import assert_within
from contrast_bounds import LossBounds
from oracle import contrast, reference
from unit.pair_samples import (
    PARTITIONS,
    SHIFTS,
    SIDE,
    Pairs,
    assert_sweep,
    bring_near,
    mirrored,
    pairs,
)
from unit.samples import DTYPES, wide

every_dtype = pytest.mark.parametrize("dtype", DTYPES)
every_shift = pytest.mark.parametrize("shift", SHIFTS)

#: In the default grid and out of it, beyond 1, with and without 0.
ALPHAS = [-3.0, -1.0, -0.35, 0.0, 0.05, 0.7, 1.0, 1.9]


def check(sample: Pairs, dtype: str, **options: Any) -> cs.LossSweep:
    exact = {name: options.pop(name) for name in ("exact_mean", "decided") if name in options}
    found = cs.loss_sweep(*sample, **options)
    assert_sweep(found, *sample, dtype, **options, **exact)
    return found


@every_dtype
@every_shift
@pytest.mark.parametrize("partition", PARTITIONS)
def test_every_column_equals_the_oracle(partition: str, shift: str, dtype: str) -> None:
    check(pairs(SIDE + 45, 40, dtype), dtype, alphas=ALPHAS, shift=shift, partition=partition)


@every_dtype
@pytest.mark.parametrize(
    ("n", "d", "temperature", "shift"),
    [
        (2, 2, 1.0, "both"),
        (3, 1, 0.01, "image"),
        (3, 700, 0.05, "text"),
        (31, 17, 0.005, "both"),
        (SIDE - 1, 9, 0.02, "text"),
        (SIDE, 100, 0.01, "image"),
        (2 * SIDE + 1, 16, 0.005, "image"),
        (1000, 130, 0.003, "both"),
    ],
)
def test_every_size_and_temperature(
    n: int, d: int, temperature: float, shift: str, dtype: str
) -> None:
    options = {"alphas": [-1.0, 0.3, 1.2], "shift": shift, "temperature": temperature}
    # One feature knows two directions: all pairs tie, by rounding only.
    check(pairs(n, d, dtype, seed=3), dtype, decided=d > 1, **options)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@every_shift
def test_alphas_that_leave_nothing_but_the_mean(shift: str, dtype: str) -> None:
    # All moved rows are nearly parallel, then parallel: rounding decides every hit.
    options = {"alphas": [-1e9, 1e3, 1e6, 1e12, 1e100], "shift": shift, "decided": False}
    check(pairs(SIDE + 44, 24, dtype), dtype, **options)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_two_thousand_pairs(dtype: str) -> None:
    check(pairs(2000, 96, dtype), dtype, alphas=[-0.6, 0.4], shift="both", partition="each")


def test_the_default_grid() -> None:
    image, text = pairs(60, 8)
    found = cs.loss_sweep(image, text)
    assert isinstance(found, cs.LossSweep)
    assert isinstance(found.table, pl.DataFrame)
    assert tuple(found.table.columns) == contrast.COLUMNS
    assert found.table["count_correct"].dtype.is_integer()
    others = [column for column in contrast.COLUMNS if column != "count_correct"]
    assert all(found.table[column].dtype == pl.Float64 for column in others)
    alphas = found.table["alpha"].to_numpy()
    assert_within(alphas, np.linspace(-1, 1, 41), 1e-15, "alpha")
    assert (alphas[0], alphas[20], alphas[40]) == (-1, 0, 1)
    assert_sweep(found, image, text, "float32", alphas=list(alphas))
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.best_alpha = 0.0


@every_dtype
def test_the_fixed_partition_is_made_at_zero_whatever_the_grid(dtype: str) -> None:
    sample = pairs(300, 24, dtype)
    hits = int(contrast.contrastive_loss(*sample).hits_image_to_text.sum())
    for shift in SHIFTS:
        found = check(sample, dtype, alphas=[-0.9, 0.6], shift=shift)
        assert found.table["count_correct"].to_list() == [hits, hits]
    found = check(sample, dtype, alphas=[-0.9, 0.6], shift="text", partition="each")
    assert hits not in found.table["count_correct"].to_list()


@every_dtype
@pytest.mark.parametrize("partition", PARTITIONS)
def test_a_class_without_pairs_is_null(partition: str, dtype: str) -> None:
    # Pairs that all hit; then texts that are all alike, and none does.
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((50, 40)) + 0.2
    image, text = (
        x.astype(DTYPES[dtype]) for x in (rows, rows + 0.2 * rng.standard_normal(rows.shape))
    )
    for v, t, empty in (
        (image, text, "loss_misclassified"),
        (image, np.repeat(text[:1], 50, axis=0), "loss_correct"),
    ):
        table = check((v, t), dtype, alphas=[-0.2, 0.0, 0.2], partition=partition).table
        other = {"loss_correct", "loss_misclassified"} - {empty}
        assert table[empty].null_count() == 3
        assert table[other.pop()].null_count() == 0
        assert set(table["count_correct"]) == ({50} if empty == "loss_misclassified" else {0})


@every_dtype
@every_shift
def test_equal_rows_tie_at_every_alpha(shift: str, dtype: str) -> None:
    image, text = pairs(2 * SIDE + 60, 24, dtype, seed=6, noise=0.5)
    same = [0, 3, 6, 200, SIDE - 1, SIDE, 2 * SIDE - 1, 2 * SIDE, 2 * SIDE + 59]
    image[same], text[[*same[4:], 77]] = image[3], text[77]
    check((image, text), dtype, alphas=[-1.0, 0.4, 1.0], shift=shift, partition="each")


@every_dtype
@every_shift
def test_opposite_vectors_and_constant_ones(shift: str, dtype: str) -> None:
    image, text = pairs(40, 12, dtype)
    options = {"alphas": [-1.0, 0.0, 0.5], "shift": shift, "temperature": 0.005}
    check((image, -image), dtype, **options)
    constant = np.repeat(text[:1], 40, axis=0)
    check((image, constant), dtype, **options)


@every_shift
def test_rows_of_very_different_lengths(shift: str) -> None:
    options = {"alphas": [-1.0, 0.0, 0.6], "shift": shift, "decided": False}
    check(pairs(300, 24, "float32", scale=3), "float32", **options)
    check(pairs(300, 24, "float64", scale=3), "float64", **options)
    # Beside rows of 1e200 all others vanish from the mean, and the mean from none of them: most
    # shifted rows are the mean, turned round.
    check(pairs(300, 24, "float64", scale=200), "float64", **options)


@every_dtype
@every_shift
@pytest.mark.parametrize("ratio", [2e-2, 2e-3, 5e-4, 1e-6, 1e-9])
@pytest.mark.parametrize("alpha", [1.0, -1.0, 0.5])
def test_rows_that_nearly_vanish(alpha: float, ratio: float, shift: str, dtype: str) -> None:
    # From little to next to nothing. The means are exact, so the oracle's direction of what is
    # left of a row is exact too.
    (image, text), (image_mean, text_mean) = mirrored(SIDE + 30, dtype)
    for x, mean in ((image, image_mean), (text, text_mean)):
        for row in (4, SIDE + 8):
            reached = bring_near(x, mean, row, alpha, ratio)
            assert 0.5 * ratio < reached < 4 * ratio
        np.testing.assert_array_equal(reference.mean(x), mean)
    options = {"alphas": [0.25, alpha], "shift": shift, "exact_mean": True, "decided": False}
    check((image, text), dtype, **(options | {"alphas": sorted(options["alphas"])}))


@every_dtype
@every_shift
@pytest.mark.parametrize(("alpha", "row"), [(1.0, 4), (-1.0, SIDE + 8), (0.5, 0)])
def test_a_row_that_vanishes_is_named_with_its_alpha(
    alpha: float, row: int, shift: str, dtype: str
) -> None:
    _, means = mirrored(SIDE + 30, dtype)
    moving = {"image": [0], "text": [1], "both": [0, 1]}[shift]
    for modality in moving:
        (image, text), _ = mirrored(SIDE + 30, dtype)
        bring_near((image, text)[modality], means[modality], row, alpha, 0.0)
        message = rf"^{('image', 'text')[modality]}: row {row} .*{alpha:g}"
        with pytest.raises(cs.InvalidRowError, match=message) as caught:
            cs.loss_sweep(image, text, alphas=[-2.0, alpha, 2.0], shift=shift)
        assert caught.value.row == row
        # It vanishes there and nowhere else, and only if it moves.
        others = {"alphas": [-2.0, 0.75, 2.0], "exact_mean": True, "decided": False}
        check((image, text), dtype, shift=shift, **others)
        still = {"image": "text", "text": "image"}.get(shift)
        if still:
            cs.loss_sweep(image, text, alphas=[alpha], shift=still)


@every_dtype
@pytest.mark.parametrize("n", [2, 3, 300])
def test_a_constant_embedding_vanishes_at_one(n: int, dtype: str) -> None:
    _, text = pairs(n, 8, dtype)
    # Small numbers: the mean is exact in every arithmetic.
    constant = np.tile(np.arange(1, 9), (n, 1)).astype(text.dtype)
    with pytest.raises(cs.InvalidRowError, match=r"^image: row 0 .*alpha.*1"):
        cs.loss_sweep(constant, text)
    with pytest.raises(cs.InvalidRowError, match=r"^text: row 0 .*alpha.*1"):
        cs.loss_sweep(text, constant, shift="text", alphas=[0.0, 1.0])
    check((constant, text), dtype, alphas=[-1.0, 0.5, 2.0])


def spread_of_vertex(alphas: list[float], losses: list[float], error: list[float]) -> float:
    """How far the vertex moves when each of three losses is wrong by up to its error."""
    nominal = contrast.vertex(alphas, losses)
    moved = [
        contrast.vertex(alphas, list(np.array(losses) + np.array(signs) * error))
        for signs in itertools.product((-1, 1), repeat=3)
    ]
    return max(abs(x - nominal) for x in moved)


@every_dtype
@pytest.mark.parametrize(
    "alphas",
    [
        list(np.linspace(-1, 1, 41)),
        [-2.0, -0.6, -0.1, 0.02, 0.3, 0.9, 1.4],
        [-1.0, 0.1, 3.0],
    ],
)
def test_the_best_alpha_is_refined_by_a_parabola(alphas: list[float], dtype: str) -> None:
    image, text = pairs(400, 24, dtype)
    found = cs.loss_sweep(image, text, alphas=alphas)
    losses = [row["loss"] for row in contrast.sweep(image, text, alphas)]
    at = int(np.argmin(losses))
    assert 0 < at < len(alphas) - 1
    assert found.best_alpha == alphas[at]
    near = slice(at - 1, at + 2)
    error = [
        float(LossBounds(image, text, dtype, alpha=alpha).mean("loss", loss))
        for alpha, loss in zip(alphas[near], losses[near], strict=True)
    ]
    bound = spread_of_vertex(alphas[near], losses[near], error)
    assert_within(found.refined_alpha, contrast.refined(alphas, losses), bound, "refined")


@every_dtype
def test_the_vertex_of_a_loss_that_is_a_mirror_image_of_itself(dtype: str) -> None:
    # v - alpha m is (a, (1 - alpha) c) where texts have no last feature and the images' mean has
    # nothing else: the loss at 1 + x is that at 1 - x, and less at 1, where cosines are largest.
    rng = np.random.default_rng(0)
    offsets = rng.integers(-9, 10, (150, 8))
    image = np.concatenate([offsets, -offsets])
    text = image + rng.integers(-4, 5, image.shape)
    image = np.hstack([image, np.full((300, 1), 11)]).astype(DTYPES[dtype])
    text = np.hstack([text, np.zeros((300, 1))]).astype(DTYPES[dtype])
    alphas = [0.0, 0.4, 0.7, 1.0, 1.3, 1.9]
    losses = [row["loss"] for row in contrast.sweep(image, text, alphas, temperature=0.2)]
    found = cs.loss_sweep(image, text, alphas=alphas, temperature=0.2)
    assert found.best_alpha == 1
    error = [
        float(LossBounds(image, text, dtype, 0.2, alpha, exact_mean=True).mean("loss", loss))
        for alpha, loss in zip(alphas[2:5], losses[2:5], strict=True)
    ]
    assert_within(found.refined_alpha, 1, spread_of_vertex(alphas[2:5], losses[2:5], error), "")


def test_an_end_of_the_grid_is_its_own_refinement() -> None:
    image, text = pairs(300, 24)
    falling = cs.loss_sweep(image, text, alphas=[-3.0, -2.0, -1.0])
    rising = cs.loss_sweep(image, text, alphas=[1.0, 2.0, 3.0])
    assert (falling.best_alpha, falling.refined_alpha) == (-1, -1)
    assert (rising.best_alpha, rising.refined_alpha) == (1, 1)
    single = cs.loss_sweep(image, text, alphas=[0.3])
    assert (single.best_alpha, single.refined_alpha) == (0.3, 0.3)


def test_a_loss_that_is_flat_has_a_refinement_within_the_grid() -> None:
    # A constant image keeps its direction at every alpha below 1.
    _, text = pairs(100, 8)
    constant = np.tile(np.arange(1, 9), (100, 1)).astype(np.float32)
    alphas = [-1.0, -0.5, 0.0, 0.5]
    found = cs.loss_sweep(constant, text, alphas=alphas)
    assert found.best_alpha in alphas
    assert -1 <= found.refined_alpha <= 0.5


def test_alphas_of_any_kind_and_in_any_order() -> None:
    image, text = pairs(60, 8)
    want = {row["alpha"]: row for row in contrast.sweep(image, text, [-1, 0, 0.5])}
    for alphas in ([0.5, -1, 0], (0.5, -1.0, 0.0), np.array([-1, 0.5, 0])):
        rows = cs.loss_sweep(image, text, alphas=alphas).table.rows(named=True)
        assert sorted(row["alpha"] for row in rows) == [-1, 0, 0.5]
        for row in rows:
            assert abs(row["loss"] - want[row["alpha"]]["loss"]) < 1e-5


def test_the_input_is_left_alone() -> None:
    image, text = pairs(300, 24)
    before = wide(image), wide(text)
    cs.loss_sweep(image, text, shift="both")
    np.testing.assert_array_equal(before, (wide(image), wide(text)))


@pytest.mark.parametrize(("alpha", "row"), [(0.5, 0), (1.5, 1)])
def test_a_row_that_is_its_mean_up_to_rounding_vanishes(alpha: float, row: int) -> None:
    # Once and three times one vector: their mean is twice it, but for the roundings of a sum.
    rng = np.random.default_rng(0)
    times = np.where(np.arange(700) % 2, 3.0, 1.0)[:, None]
    image, text = times * rng.standard_normal(512), rng.standard_normal((700, 512))
    with pytest.raises(cs.InvalidRowError, match=f"image: row {row} vanishes at alpha = {alpha}"):
        cs.loss_sweep(image, text, alphas=[alpha])


@every_dtype
@every_shift
@pytest.mark.parametrize("width", [0.03, 0.3])
def test_losses_in_a_narrow_cone_are_as_good_as_anywhere(
    width: float, shift: str, dtype: str
) -> None:
    # Hardly anything is left of the rows near alpha = 1: where products are made before the move
    # their rounding grows by the inverse, on either side. No bound but the one that is promised.
    rng = np.random.default_rng(4)
    axis = rng.standard_normal(64)
    axis /= np.linalg.norm(axis)
    common = rng.standard_normal((SIDE + 30, 64)) / 8
    image, text = (
        (sign * axis + width * (common + 0.8 * rng.standard_normal(common.shape) / 8)).astype(
            DTYPES[dtype]
        )
        for sign in (1, -1)
    )
    alphas = [-1.0, 0.5, 0.8, 0.97, 1.0, 1.1, 1.5]
    part = cs.loss_sweep_part(image, text, 0, 1, alphas=alphas, shift=shift)
    promised = 1e-10 if dtype == "float64" else 1e-4
    for at, alpha in enumerate(alphas):
        want = contrast.contrast(contrast.logits(image, text, 0.01, alpha, shift))
        found = part.pairs(at)
        assert_within(found.to_text, want.per_pair_image_to_text, promised, f"{alpha} to text")
        assert_within(found.to_image, want.per_pair_text_to_image, promised, f"{alpha} to image")
