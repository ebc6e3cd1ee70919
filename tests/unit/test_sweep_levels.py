"""Threads change no bit of a sweep; every SIMD level equals the oracle, each in its own process."""

from __future__ import annotations

import pickle
from functools import cache
from typing import Any

import numpy as np
import pytest

import clipsoid as cs
from bounds import assert_within
from clipsoid import _native
from contrast_bounds import LossBounds
from oracle import contrast
from unit.pair_samples import PARTITIONS, SHIFTS, SIDE, Pairs, assert_rows, pairs
from unit.samples import DTYPES, run_python

LEVELS = _native.simd_levels()
every_level = pytest.mark.parametrize("level", LEVELS)
every_dtype = pytest.mark.parametrize("dtype", DTYPES)

#: Tails of every vector width and register tile, on either side of a tile's edge.
SHAPES = [(2, 2), (3, 5), (7, 3), (17, 9), (33, 20), (SIDE + 1, 33), (SIDE + 70, 16)]
ALPHAS = [-1.0, 0.0, 0.45, 1.2]
TEMPERATURE = 0.01

#: Rows that are equal, far apart, at odd and even places.
SAME = [0, 3, 6, 200, SIDE - 1, SIDE, SIDE + 1, SIDE + 39]


def tied(dtype: str) -> Pairs:
    image, text = pairs(SIDE + 40, 33, dtype, seed=4, noise=0.5)
    image[SAME], text[[*SAME[3:], 77]] = image[3], text[77]
    return image, text


PROBE = """
import pickle, numpy as np, clipsoid as cs
from clipsoid import _native
from unit.pair_samples import SHIFTS, pairs
from unit.samples import DTYPES
from unit.test_sweep_levels import ALPHAS, SHAPES, TEMPERATURE, tied
assert _native.simd_level() == "{LEVEL}"
found = {}
options = {"alphas": ALPHAS, "temperature": TEMPERATURE, "partition": "each"}
for dtype in DTYPES:
    samples = {shape: pairs(*shape, dtype, seed=3) for shape in SHAPES} | {"tied": tied(dtype)}
    for name, sample in samples.items():
        for shift in SHIFTS:
            tables = [
                cs.loss_sweep(*sample, shift=shift, n_threads=threads, **options).table
                for threads in (1, 2, 3)
            ]
            assert all(table.equals(tables[0]) for table in tables), (dtype, name, shift)
            found[dtype, name, shift] = tables[0].rows(named=True)
        one = cs.contrastive_loss(*sample, temperature=TEMPERATURE, per_pair=True)
        found[dtype, name, "pairs"] = (one.per_pair_image_to_text, one.per_pair_text_to_image)
print(pickle.dumps(found).hex())
"""


@cache
def probe(level: str) -> dict[Any, Any]:
    done = run_python(PROBE.replace("{LEVEL}", level), CLIPSOID_SIMD=level)
    return pickle.loads(bytes.fromhex(done.stdout.strip()))


@every_level
@every_dtype
@pytest.mark.parametrize("shift", SHIFTS)
@pytest.mark.parametrize("shape", [*SHAPES, "tied"], ids=str)
def test_every_level_equals_the_oracle(shape: Any, shift: str, dtype: str, level: str) -> None:
    image, text = tied(dtype) if shape == "tied" else pairs(*shape, dtype, seed=3)
    assert_rows(
        probe(level)[dtype, shape, shift],
        image,
        text,
        dtype,
        alphas=ALPHAS,
        shift=shift,
        temperature=TEMPERATURE,
        partition="each",
    )


@every_level
@every_dtype
@pytest.mark.parametrize("shape", [*SHAPES, "tied"], ids=str)
def test_every_level_knows_the_loss_of_each_pair(shape: Any, dtype: str, level: str) -> None:
    image, text = tied(dtype) if shape == "tied" else pairs(*shape, dtype, seed=3)
    want = contrast.contrastive_loss(image, text, TEMPERATURE)
    got = probe(level)[dtype, shape, "pairs"]
    each = want.per_pair_image_to_text, want.per_pair_text_to_image
    bounds = LossBounds(image, text, dtype, TEMPERATURE).per_pair()
    for one, figure, bound in zip(got, each, bounds, strict=True):
        assert_within(one, figure, bound, "each pair's loss")


@every_dtype
@pytest.mark.parametrize("partition", PARTITIONS)
@pytest.mark.parametrize("shift", SHIFTS)
def test_any_number_of_threads_gives_the_same_bits(shift: str, partition: str, dtype: str) -> None:
    image, text = pairs(6 * SIDE + 50, 40, dtype)
    options = {"alphas": ALPHAS, "shift": shift, "partition": partition}
    single = cs.loss_sweep(image, text, n_threads=1, **options)
    for n_threads in (2, 3, 16, None):
        found = cs.loss_sweep(image, text, n_threads=n_threads, **options)
        assert found.table.equals(single.table)
        assert found.refined_alpha == single.refined_alpha


@every_dtype
def test_each_pair_has_the_same_bits_on_any_number_of_threads(dtype: str) -> None:
    image, text = pairs(6 * SIDE + 50, 40, dtype)
    single = cs.contrastive_loss(image, text, per_pair=True, n_threads=1)
    for n_threads in (2, 3, 16, None):
        found = cs.contrastive_loss(image, text, per_pair=True, n_threads=n_threads)
        for name in ("per_pair_image_to_text", "per_pair_text_to_image"):
            np.testing.assert_array_equal(getattr(found, name), getattr(single, name))
        assert all(getattr(found, name) == getattr(single, name) for name in contrast.FIGURES)


@pytest.mark.parametrize("n_threads", [1, 2])
def test_the_same_call_gives_the_same_bits_again(n_threads: int) -> None:
    image, text = pairs(4 * SIDE + 9, 24, "float16")
    first = cs.loss_sweep(image, text, shift="both", n_threads=n_threads)
    for _ in range(4):
        again = cs.loss_sweep(image, text, shift="both", n_threads=n_threads)
        assert again.table.equals(first.table)
