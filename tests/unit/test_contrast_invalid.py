"""What a caller of the contrastive loss may get wrong: every function refuses it by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import clipsoid as cs
from unit.pair_samples import pairs

IMAGE, TEXT = pairs(40, 6)

#: Every function, with the arguments that it needs beside the rows.
CALLS: dict[str, Callable[..., Any]] = {
    "contrastive_loss": cs.contrastive_loss,
    "loss_sweep": cs.loss_sweep,
    "loss_sweep_part": lambda image, text, **o: cs.loss_sweep_part(image, text, 1, 3, **o),
}
every_call = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
every_sweep = pytest.mark.parametrize("call", list(CALLS.values())[1:], ids=list(CALLS)[1:])


@every_call
@pytest.mark.parametrize("temperature", [0, 0.0, -0.01, float("nan"), float("inf"), 0.00299, -1])
def test_a_temperature_out_of_range(call: Callable[..., Any], temperature: float) -> None:
    with pytest.raises(ValueError, match=rf"temperature={temperature!r}.*0\.003") as caught:
        call(IMAGE, TEXT, temperature=temperature)
    assert "finite" in str(caught.value)


@every_call
def test_temperatures_at_the_ends_of_the_range(call: Callable[..., Any]) -> None:
    for temperature in (0.003, 1, 1e6):
        call(IMAGE, TEXT, temperature=temperature)


@every_sweep
@pytest.mark.parametrize("alphas", [[], (), np.empty(0)])
def test_no_alphas(call: Callable[..., Any], alphas: Any) -> None:
    with pytest.raises(ValueError, match=r"alphas.*empty"):
        call(IMAGE, TEXT, alphas=alphas)


@every_sweep
@pytest.mark.parametrize("alpha", [float("nan"), float("inf"), -float("inf")])
def test_an_alpha_that_is_not_finite(call: Callable[..., Any], alpha: float) -> None:
    with pytest.raises(ValueError, match=rf"alphas.*{alpha!r}.*finite"):
        call(IMAGE, TEXT, alphas=[0.0, alpha, 1.0])


@every_sweep
@pytest.mark.parametrize("name", ["images", "", None, "IMAGE", 0])
def test_an_unknown_shift(call: Callable[..., Any], name: Any) -> None:
    with pytest.raises(ValueError, match=r"shift=.*'image', 'text' or 'both'") as caught:
        call(IMAGE, TEXT, shift=name)
    assert repr(name) in str(caught.value)


@every_sweep
@pytest.mark.parametrize("name", ["Fixed", "", None, "zero"])
def test_an_unknown_partition(call: Callable[..., Any], name: Any) -> None:
    with pytest.raises(ValueError, match=r"partition=.*'fixed' or 'each'") as caught:
        call(IMAGE, TEXT, partition=name)
    assert repr(name) in str(caught.value)


@every_call
def test_options_are_given_by_name(call: Callable[..., Any]) -> None:
    with pytest.raises(TypeError):
        call(IMAGE, TEXT, *[0.01] * 3)


def test_the_smallest_subnormal_is_a_direction() -> None:
    # Not zero, though its square is; from float64 norms down to 1e-307 are promised.
    smallest = {"float16": 6e-8, "bfloat16": 1e-40, "float32": 1e-45, "float64": 1e-307}
    for dtype, tiny in smallest.items():
        image, text = (x.copy() for x in pairs(40, 6, dtype))
        image[7], text[9] = 0, 0
        image[7, 2] = text[9, 4] = tiny
        assert image[7, 2] != 0
        found = cs.contrastive_loss(image, text)
        image[7, 2] = text[9, 4] = 1
        want = cs.contrastive_loss(image, text)
        assert abs(found.loss - want.loss) < 1e-6
        assert found.accuracy_image_to_text == want.accuracy_image_to_text
