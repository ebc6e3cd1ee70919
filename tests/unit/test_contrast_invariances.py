"""What must not change when pairs are permuted, rows scaled, both rotated, or roles swapped."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import clipsoid as cs
from bounds import assert_within
from contrast_bounds import LossBounds
from oracle import contrast
from unit.pair_samples import PARTITIONS, SHIFTS, SIDE, Pairs, assert_sweep, pairs
from unit.samples import DTYPES

ALPHAS = [-1.5, -1.0, -0.25, 0.0, 0.5, 1.0]
#: A column, and what it is called when images and texts change places.
MIRROR = {
    "loss_image_to_text": "loss_text_to_image",
    "loss_text_to_image": "loss_image_to_text",
    "accuracy_image_to_text": "accuracy_text_to_image",
    "accuracy_text_to_image": "accuracy_image_to_text",
}
every_dtype = pytest.mark.parametrize("dtype", DTYPES)
every_shift = pytest.mark.parametrize("shift", SHIFTS)


def assert_same(
    got: Any, want: Any, sample: Pairs, dtype: str, names: Callable[[str], str] = str
) -> None:
    """Two sweeps of what is the same in exact numbers: each within its bound of the truth."""
    image, text = sample
    rows = zip(got.table.rows(named=True), want.table.rows(named=True), strict=True)
    for one, other in rows:
        bounds = LossBounds(image, text, dtype, want.temperature, other["alpha"], want.shift)
        for name in contrast.FIGURES:
            figure, what = other[names(name)], f"{name} at alpha {other['alpha']}"
            allowed = 0.0 if "accuracy" in name else 2 * bounds.mean(name, figure)
            assert_within(one[name], figure, allowed, what)


@every_dtype
@every_shift
def test_a_permutation_of_the_pairs(shift: str, dtype: str) -> None:
    image, text = pairs(2 * SIDE + 40, 19, dtype)
    order = np.random.default_rng(0).permutation(len(image))
    found = cs.loss_sweep(image[order], text[order], alphas=ALPHAS, shift=shift)
    whole = cs.loss_sweep(image, text, alphas=ALPHAS, shift=shift)
    assert_same(found, whole, (image, text), dtype)
    assert found.table["count_correct"].equals(whole.table["count_correct"])
    one = cs.contrastive_loss(image[order], text[order], per_pair=True)
    other = cs.contrastive_loss(image, text, per_pair=True)
    to_text, to_image = LossBounds(image, text, dtype).per_pair()
    for got, want, bound in (
        (one.per_pair_image_to_text, other.per_pair_image_to_text, to_text),
        (one.per_pair_text_to_image, other.per_pair_text_to_image, to_image),
    ):
        assert_within(got, want[order], 2 * bound[order], "each pair's loss")


@every_dtype
def test_the_length_of_a_row_does_not_count(dtype: str) -> None:
    # Powers of two are exact in every dtype; others only in one that is wide enough.
    image, text = pairs(300, 24, dtype)
    rng = np.random.default_rng(0)
    for scales in (2.0 ** rng.integers(-6, 7, (2, 300, 1)), 10 ** rng.uniform(-9, 9, (2, 300, 1))):
        if dtype != "float64" and (scales > 64).any():
            continue
        scaled = [x * s.astype(x.dtype) for x, s in zip((image, text), scales, strict=True)]
        got = cs.contrastive_loss(*scaled, per_pair=True)
        want = cs.contrastive_loss(image, text, per_pair=True)
        bounds = LossBounds(image, text, dtype)
        for name in contrast.FIGURES:
            allowed = 0 if "accuracy" in name else 2 * bounds.mean(name, getattr(want, name))
            assert_within(getattr(got, name), getattr(want, name), allowed, name)
        assert_within(got.per_pair, want.per_pair, 2 * np.maximum(*bounds.per_pair()), "pairs")


@every_shift
def test_one_scale_for_a_whole_modality_does_not_count_at_any_alpha(shift: str) -> None:
    image, text = pairs(300, 24, "float64")
    for factor in (1e-100, 3.7, 1e100):
        found = cs.loss_sweep(factor * image, text / factor, alphas=ALPHAS, shift=shift)
        want = cs.loss_sweep(image, text, alphas=ALPHAS, shift=shift)
        assert_same(found, want, (image, text), "float64")


@every_shift
def test_a_rotation_of_both(shift: str) -> None:
    # In float64: rotated rows are rounded again, by far less than the bounds.
    image, text = pairs(SIDE + 44, 48, "float64")
    rotation, _ = np.linalg.qr(np.random.default_rng(0).standard_normal((48, 48)))
    found = cs.loss_sweep(image @ rotation, text @ rotation, alphas=ALPHAS, shift=shift)
    want = cs.loss_sweep(image, text, alphas=ALPHAS, shift=shift)
    assert_same(found, want, (image, text), "float64")


@every_dtype
@every_shift
def test_images_and_texts_may_change_places(shift: str, dtype: str) -> None:
    image, text = pairs(SIDE + 44, 30, dtype)
    mirrored = {"image": "text", "text": "image"}.get(shift, shift)
    found = cs.loss_sweep(text, image, alphas=ALPHAS, shift=mirrored)
    want = cs.loss_sweep(image, text, alphas=ALPHAS, shift=shift)
    assert_same(found, want, (image, text), dtype, lambda name: MIRROR.get(name, name))


@every_dtype
@every_shift
def test_nothing_moves_at_alpha_zero(shift: str, dtype: str) -> None:
    image, text = pairs(600, 30, dtype)
    found = cs.loss_sweep(image, text, alphas=[-0.5, 0.0, 0.5], shift=shift)
    row = found.table.row(1, named=True)
    want = cs.contrastive_loss(image, text, per_pair=True)
    bounds = LossBounds(image, text, dtype)
    for name in contrast.FIGURES:
        allowed = 0 if "accuracy" in name else 2 * bounds.mean(name, getattr(want, name))
        assert_within(row[name], getattr(want, name), allowed, name)
    assert row["count_correct"] == round(600 * want.accuracy_image_to_text)
    hits = contrast.contrastive_loss(image, text).hits_image_to_text
    for name, members in (("loss_correct", hits), ("loss_misclassified", ~hits)):
        figure = want.per_pair[members].mean()
        assert_within(row[name], figure, 2 * bounds.mean(name, figure, members), name)


@every_dtype
def test_a_row_of_the_table_does_not_depend_on_the_other_alphas(dtype: str) -> None:
    image, text = pairs(300, 20, dtype)
    whole = cs.loss_sweep(image, text, alphas=ALPHAS, shift="both")
    for at, alpha in enumerate(ALPHAS):
        alone = cs.loss_sweep(image, text, alphas=[alpha], shift="both").table.row(0, named=True)
        beside = whole.table.row(at, named=True)
        bounds = LossBounds(image, text, dtype, 0.01, alpha, "both")
        for name in contrast.FIGURES:
            allowed = 0 if "accuracy" in name else 2 * bounds.mean(name, beside[name])
            assert_within(alone[name], beside[name], allowed, f"{name} at alpha {alpha}")
        assert alone["count_correct"] == beside["count_correct"]


@settings(max_examples=40)
@given(
    n=st.one_of(st.integers(2, 40), st.integers(SIDE - 2, SIDE + 2)),
    d=st.integers(2, 40),
    dtype=st.sampled_from(list(DTYPES)),
    seed=st.integers(0, 2**32 - 1),
    shift=st.sampled_from(SHIFTS),
    partition=st.sampled_from(PARTITIONS),
    temperature=st.floats(0.003, 2),
    alphas=st.lists(st.floats(-2, 2), min_size=1, max_size=4, unique=True),
    noise=st.floats(0.05, 2),
)
def test_any_sweep_equals_the_oracle(
    n: int,
    d: int,
    dtype: str,
    seed: int,
    shift: str,
    partition: str,
    temperature: float,
    alphas: list[float],
    noise: float,
) -> None:
    image, text = pairs(n, d, dtype, seed, noise=noise)
    options = {
        "alphas": sorted(alphas),
        "shift": shift,
        "partition": partition,
        "temperature": temperature,
    }
    found = cs.loss_sweep(image, text, **options)
    assert_sweep(found, image, text, dtype, decided=False, **options)
