"""vSLERP between 500 real images (MS-COCO, CLIP ViT-B/16), against an independent program."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import clipsoid as cs
from bounds import assert_within, stated, stated_conformity
from oracle import interpolation, reference, retrieval

THETAS = [0.0, 0.3, 0.5, 1.0]
ALPHAS = [-2.0, 0.0, 1.0, 1.5, 2.0]


@pytest.fixture(scope="module", params=["float32", "float64"])
def image(request: pytest.FixtureRequest, real_data: Callable[[str], Path]) -> np.ndarray:
    with np.load(real_data("coco500_clip_vitb16.npz")) as file:
        return file["image"].astype(request.param)


def test_the_value_of_the_independent_program(
    image: np.ndarray, real_data: Callable[[str], Path]
) -> None:
    expected = json.loads(real_data("coco500_expected.json").read_text())
    want = expected["vslerp_image0_image1_theta0.3_alpha1.5_first5"]
    mean = reference.mean(image)
    oracle = interpolation.vslerp(image[0], image[1], 0.3, 1.5, mean)
    assert_within(oracle[:5], want, 1e-10, "oracle")
    # The rows are widened exactly, so that their type does not matter.
    for m in (mean, cs.Ellipsoid.fit(image, covariance=False)):
        found = cs.vslerp(image[0], image[1], 0.3, 1.5, m)
        assert_within(found[:5], want, 1e-10, "vslerp")


@pytest.mark.parametrize("pair", [(0, 1), (328, 436), (7, 400)])
def test_a_grid_equals_the_oracle(image: np.ndarray, pair: tuple[int, int]) -> None:
    mean = reference.mean(image)
    a, b = image[list(pair)]
    grid = cs.vslerp_grid(a, b, THETAS, ALPHAS, mean, rows=image, k=3)
    want = np.array(
        [[interpolation.vslerp(a, b, t, alpha, mean) for alpha in ALPHAS] for t in THETAS]
    )
    assert_within(grid.vectors, want, stated("float64", want), "vectors")
    assert grid.nearest is not None
    cosines = retrieval.cosines(want.reshape(-1, 512), image).reshape(*want.shape[:2], 500)
    best = -np.sort(-cosines, axis=-1)[..., :3]
    error = stated_conformity(image.dtype.name) if image.dtype == np.float32 else 1e-10
    assert_within(grid.nearest.similarity, best, error, "similarity")
    there = np.take_along_axis(cosines, grid.nearest.index, axis=-1)
    assert_within(there, best, error, "index")
    # The ends are the rows themselves, whatever the centre.
    assert (grid.nearest.index[[0, -1], :, 0] == np.array(pair)[:, None]).all()


def test_normalised_rows_stay_on_their_sphere_about_the_origin_only(image: np.ndarray) -> None:
    mean = reference.mean(image)
    between = cs.vslerp(image[0], image[1], 0.5, [0.0, 1.0, -2.0], mean)
    lengths = np.linalg.norm(between, axis=1)
    # The two were scaled to length 1 in half precision; their weights add up to less than 2.
    assert abs(lengths[0] - 1) < 2 * np.abs(reference.norms(image[:2]) - 1).max() < 1e-3
    assert (np.abs(lengths[1:] - 1) > 1e-3).all()


def test_the_published_behaviour_is_another_one(image: np.ndarray) -> None:
    mean = reference.mean(image)
    a, b = image[0], image[1]
    found = cs.vslerp_elementwise(a, b, 0.3, ALPHAS, mean)
    for row, alpha in zip(found, ALPHAS, strict=True):
        want = interpolation.vslerp_elementwise(a, b, 0.3, alpha, mean)
        assert_within(row, want, stated("float64", want), f"alpha {alpha}")
    apart = np.linalg.norm(found - cs.vslerp(a, b, 0.3, ALPHAS, mean), axis=1)
    # About the mean the rows are nearly at a right angle, where the two agree. At -2, 0 and 2 the
    # angle is 60 degrees or less: both weights differ by a tenth, of rows of length 0.7 or more.
    assert apart.argmin() == ALPHAS.index(1.0)
    assert (apart[[ALPHAS.index(alpha) for alpha in (-2, 0, 2)]] > 0.1).all()
