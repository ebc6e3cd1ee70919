"""One contrastive loss: every figure and every pair's own, against the oracle, torch, open_clip."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy, normalize

import clipsoid as cs
from bounds import assert_within
from contrast_bounds import LossBounds
from oracle import contrast, reference
from unit.pair_samples import SIDE, assert_loss, pairs
from unit.samples import DTYPES, LAYOUTS, cloud, wide

every_dtype = pytest.mark.parametrize("dtype", DTYPES)

#: Rows around the edges of tiles, features around those of vectors, every temperature.
CASES = [
    (2, 2, 1.0),
    (2, 7, 0.005),
    (3, 1024, 0.01),
    (31, 17, 0.07),
    (255, 33, 0.01),
    (256, 64, 0.005),
    (257, 100, 0.003),
    (513, 5, 0.02),
    (1000, 128, 0.005),
    (2000, 48, 0.01),
]


def both_losses(image: Any, text: Any, temperature: float, **options: Any) -> list[tuple]:
    """Either order of the two, with the loss of it: what is per image must be so per text."""
    orders = [(image, text), (text, image)]
    return [
        (*order, cs.contrastive_loss(*order, temperature=temperature, **options))
        for order in orders
    ]


@every_dtype
@pytest.mark.parametrize(("n", "d", "temperature"), CASES)
def test_every_figure_equals_the_oracle(n: int, d: int, temperature: float, dtype: str) -> None:
    image, text = pairs(n, d, dtype, seed=1)
    found = cs.contrastive_loss(image, text, temperature=temperature, per_pair=True)
    assert_loss(found, image, text, dtype, temperature)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_many_features(dtype: str) -> None:
    image, text = pairs(2 * SIDE + 1, 1024, dtype)
    found = cs.contrastive_loss(image, text, per_pair=True)
    assert_loss(found, image, text, dtype)


@every_dtype
@pytest.mark.parametrize("n", [2, 3, 300])
def test_one_feature_knows_two_directions_only(n: int, dtype: str) -> None:
    # Lengths of 1: every cosine is 1 or -1 without rounding, so that all ties are exact.
    rng = np.random.default_rng(n)
    image, text = (rng.choice([-1.0, 1.0], (n, 1)).astype(DTYPES[dtype]) for _ in range(2))
    for temperature in (1.0, 0.01, 0.003):
        found = cs.contrastive_loss(image, text, temperature=temperature, per_pair=True)
        assert_loss(found, image, text, dtype, temperature)
    image, text = pairs(n, 1, dtype)
    found = cs.contrastive_loss(image, text, per_pair=True)
    assert_loss(found, image, text, dtype, decided=False)


@pytest.mark.parametrize("temperature", [1.0, 0.07, 0.01, 0.005])
@pytest.mark.parametrize(("n", "d"), [(2, 3), (300, 40)])
def test_the_loss_is_torch_cross_entropy(n: int, d: int, temperature: float) -> None:
    image, text = pairs(n, d, "float64")
    v, t = (normalize(torch.from_numpy(x), dim=1) for x in (image, text))
    logits, target = t @ v.T / temperature, torch.arange(n)
    found = cs.contrastive_loss(image, text, temperature=temperature, per_pair=True)
    for got, each, matrix in (
        (found.loss_image_to_text, found.per_pair_image_to_text, logits.T),
        (found.loss_text_to_image, found.per_pair_text_to_image, logits),
    ):
        want = cross_entropy(matrix, target, reduction="none").numpy()
        assert_within(each, want, 1e-10, "each pair's loss")
        assert_within(got, want.mean(), 1e-10 * max(1, want.mean()), "mean")


@every_dtype
@pytest.mark.parametrize("temperature", [1.0, 0.07, 0.01, 0.005])
def test_the_loss_is_that_of_open_clip(temperature: float, dtype: str) -> None:
    from open_clip.loss import ClipLoss

    image, text = pairs(300, 40, dtype)
    v, t = (normalize(torch.from_numpy(wide(x)), dim=1) for x in (image, text))
    scale = torch.tensor(1 / temperature, dtype=torch.float64)
    want = float(ClipLoss()(v, t, scale))
    bound = LossBounds(image, text, dtype, temperature).mean("loss", want)
    got = cs.contrastive_loss(image, text, temperature=temperature).loss
    assert_within(got, want, bound, "ClipLoss")


def test_what_a_result_holds() -> None:
    image, text = pairs(50, 8)
    found = cs.contrastive_loss(image, text)
    assert isinstance(found, cs.ContrastiveLoss)
    assert (found.count, found.temperature) == (50, 0.01)
    assert all(type(getattr(found, name)) is float for name in contrast.FIGURES)
    assert found.per_pair_image_to_text is None
    assert found.per_pair_text_to_image is None
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.loss = 0.0  # type: ignore[misc]
    each = cs.contrastive_loss(image, text, per_pair=True)
    directions = each.per_pair_image_to_text, each.per_pair_text_to_image
    assert all(values.shape == (50,) and values.dtype == np.float64 for values in directions)
    np.testing.assert_allclose(each.per_pair, (directions[0] + directions[1]) / 2, rtol=1e-15)
    # Asking for each pair's loss changes nothing else.
    assert all(getattr(each, name) == getattr(found, name) for name in contrast.FIGURES)


@every_dtype
def test_figures_of_one_loss_agree_with_each_other(dtype: str) -> None:
    image, text = pairs(700, 20, dtype)
    found = cs.contrastive_loss(image, text, per_pair=True)
    # Alignment and uniformity are near 50: their sum has their rounding errors.
    assert abs(found.alignment + found.uniformity - found.loss) < 1e-13
    directions = found.loss_image_to_text, found.loss_text_to_image
    assert abs(sum(directions) / 2 - found.loss) < 1e-14
    assert abs(found.per_pair_image_to_text.mean() - directions[0]) < 1e-13
    assert abs(found.per_pair_text_to_image.mean() - directions[1]) < 1e-13


@every_dtype
def test_equal_rows_tie_wherever_they_lie(dtype: str) -> None:
    # Within a tile, across tiles, in the tail: a pair with a twin for its partner never hits.
    image, text = pairs(2 * SIDE + 80, 33, dtype, noise=0.5)
    same = [0, 3, 6, 200, SIDE - 1, SIDE, 2 * SIDE - 1, 2 * SIDE, 2 * SIDE + 79]
    image[same] = image[3]
    text[[*same[4:], 77]] = text[77]
    for v, t, found in both_losses(image, text, 0.01, per_pair=True):
        assert_loss(found, v, t, dtype)


@every_dtype
@pytest.mark.parametrize("n", [2, 300])
def test_a_constant_embedding_never_hits(n: int, dtype: str) -> None:
    image, text = pairs(n, 31, dtype, seed=2)
    constant = np.repeat(text[:1], n, axis=0)
    found = cs.contrastive_loss(image, constant, per_pair=True)
    assert_loss(found, image, constant, dtype)
    assert found.accuracy_image_to_text == 0
    assert found.accuracy_text_to_image == 1 / n
    # Every text is as likely as every other.
    assert_within(found.per_pair_image_to_text, np.log(n), 1e-6, "log n")
    neither = cs.contrastive_loss(constant, constant)
    assert neither.accuracy_image_to_text == neither.accuracy_text_to_image == 0
    assert_within(neither.loss, np.log(n), 1e-6 * max(1, np.log(n)), "log n")


@every_dtype
@pytest.mark.parametrize("temperature", [1.0, 0.01, 0.005, 0.003])
def test_opposite_vectors(temperature: float, dtype: str) -> None:
    # The partner is as far away as can be: losses of up to 2 / tau.
    for n in (2, 300):
        image, _ = pairs(n, 12, dtype)
        found = cs.contrastive_loss(image, -image, temperature=temperature, per_pair=True)
        assert_loss(found, image, -image, dtype, temperature)
    pole = np.array([[1, 0], [-1, 0]], DTYPES[dtype])
    found = cs.contrastive_loss(pole, -pole, temperature=temperature)
    assert_within(found.loss, np.logaddexp(0, 2 / temperature), 1e-4, "poles")


@every_dtype
@pytest.mark.parametrize("temperature", [0.005, 0.003])
def test_lines_whose_logits_are_all_far_below_the_others(temperature: float, dtype: str) -> None:
    # Logits span 2 / tau, 400 or 667: exponentials of one shift for all underflow in float32,
    # and some texts see all images at cosines near -1, their own among them.
    image, text = pairs(400, 40, dtype)
    pole = 40 * np.random.default_rng(1).standard_normal(40)
    v, t = wide(image) + pole, wide(text) + pole
    t[::3] -= 2 * pole
    t[1] = -v[0]
    t[2] = v[0]
    v, t = (x.astype(DTYPES[dtype]) for x in (v, t))
    cosines = contrast.logits(v, t, 1.0)
    assert cosines.max() > 0.999
    assert cosines.min() < -0.999
    assert (cosines.max(axis=1) < -0.9).sum() > 100
    for left, right, found in both_losses(v, t, temperature, per_pair=True):
        assert_loss(found, left, right, dtype, temperature)


@every_dtype
def test_losses_near_zero(dtype: str) -> None:
    image, text = pairs(300, 40, dtype, noise=0.1)
    # The temperature at which the oracle's loss is 0.001.
    low, high = 0.003, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        small = contrast.contrastive_loss(image, text, middle).loss < 0.001
        low, high = (middle, high) if small else (low, middle)
    found = cs.contrastive_loss(image, text, temperature=low, per_pair=True)
    assert_loss(found, image, text, dtype, low)
    assert abs(found.loss - 0.001) < 1e-6
    # A loss is the logarithm of 1 and something: never below zero.
    assert (found.per_pair_image_to_text >= 0).all()
    assert (found.per_pair_text_to_image >= 0).all()
    for temperature in (0.2, 0.05, 0.01, 0.003):
        exact = np.log1p(39 * np.exp(-1 / temperature))
        eye = np.eye(40, dtype=DTYPES[dtype])
        found = cs.contrastive_loss(eye, eye, temperature=temperature, per_pair=True)
        assert_within(found.loss, exact, 1e-6 if dtype != "float64" else 1e-10, "orthonormal")
        assert min(found.loss, found.per_pair.min()) >= 0


@every_dtype
def test_rows_of_very_different_lengths(dtype: str) -> None:
    image, text = pairs(300, 24, dtype, scale=3)
    found = cs.contrastive_loss(image, text, per_pair=True)
    assert_loss(found, image, text, dtype)


def test_lengths_whose_squares_over_and_underflow() -> None:
    image, text = pairs(300, 24, "float64", scale=200)
    assert np.ptp(np.log10(reference.norms(image))) > 380
    found = cs.contrastive_loss(image, text, per_pair=True)
    assert_loss(found, image, text, "float64")
    image, text = (x.astype(np.float32) for x in pairs(300, 24, "float64", scale=30))
    found = cs.contrastive_loss(image, text, per_pair=True)
    assert_loss(found, image, text, "float32")


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_layout_of_memory_changes_no_bit(layout: str, dtype: str) -> None:
    image, text = pairs(300, 21, dtype)
    want = cs.contrastive_loss(image, text, per_pair=True)
    other = LAYOUTS[layout]
    for v, t in ((other(image), text), (image, other(text)), (other(image), other(text))):
        found = cs.contrastive_loss(v, t, per_pair=True)
        np.testing.assert_array_equal(found.per_pair, want.per_pair)
        assert all(getattr(found, name) == getattr(want, name) for name in contrast.FIGURES)


def test_tensors_are_taken_as_they_are() -> None:
    image, text = pairs(60, 9)
    want = cs.contrastive_loss(image, text)
    found = cs.contrastive_loss(torch.from_numpy(image), torch.from_numpy(text))
    assert (found.loss, found.alignment) == (want.loss, want.alignment)


def test_clouds_without_a_common_part() -> None:
    image, text = cloud(500, 16, seed=1), cloud(500, 16, seed=2)
    assert_loss(cs.contrastive_loss(image, text, per_pair=True), image, text, "float32")
