"""500 real pairs (MS-COCO, CLIP ViT-B/16) against the figures of an independent program."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import clipsoid as cs
from bounds import assert_within, stated, stated_conformity
from oracle import reference

GOLDEN = Path(__file__).parents[1] / "golden" / "paper.json"
MODALITIES = ("image", "text")


class Fitted:
    """A modality and what the library finds in it."""

    def __init__(self, x: np.ndarray) -> None:
        self.x = x
        self.dtype = x.dtype.name
        self.e = cs.Ellipsoid.fit(x)
        self.shell = self.e.shell(x)
        self.calibration = self.e.calibrate(x)

    @cached_property
    def conformity(self) -> np.ndarray:
        return self.e.conformity(self.x, member=True)

    @cached_property
    def dominance(self) -> np.ndarray:
        return self.e.off_diagonal_dominance

    @cached_property
    def dominance_over_null(self) -> np.ndarray:
        return self.dominance / self.e.off_diagonal_dominance_null


def spread(values: np.ndarray) -> list[float]:
    return [values.min(), float(np.median(values)), values.max()]


#: Every key of a modality's block, and where the library has it.
FIGURES: dict[str, Callable[[Fitted], Any]] = {
    "count": lambda f: f.e.count,
    "dim": lambda f: f.e.dim,
    "mean_norm": lambda f: np.linalg.norm(f.e.mean),
    "sigma_norm": lambda f: np.linalg.norm(f.e.std),
    "center_ratio": lambda f: f.e.center_ratio,
    "shell_mean": lambda f: f.shell.mean,
    "shell_var": lambda f: f.shell.variance,
    "shell_rms": lambda f: f.shell.rms,
    "shell_min": lambda f: f.shell.min,
    "odd_min_median_max": lambda f: spread(f.dominance),
    "odd_over_null_median": lambda f: np.median(f.dominance_over_null),
    "conformity_mean": lambda f: f.e.mean_conformity,
    "conformity_std": lambda f: f.conformity.std(),
    "conformity_first5": lambda f: f.conformity[:5],
    "conformity_argmax": lambda f: f.conformity.argmax(),
    "conformity_argmin": lambda f: f.conformity.argmin(),
    "pearson_exact_vs_cos_to_mean": lambda f: f.calibration.pearson,
    "fit_conformity_from_cosine_a_b": lambda f: [f.calibration.slope, f.calibration.intercept],
    "fit_cosine_from_conformity_a_b": lambda f: [
        f.calibration.inverse_slope,
        f.calibration.inverse_intercept,
    ],
}
EXACT = ("count", "dim", "conformity_argmax", "conformity_argmin")


@pytest.fixture(scope="module")
def expected(real_data: Callable[[str], Path]) -> dict[str, Any]:
    return json.loads(real_data("coco500_expected.json").read_text())


@pytest.fixture(scope="module")
def rows(real_data: Callable[[str], Path]) -> dict[str, np.ndarray]:
    with np.load(real_data("coco500_clip_vitb16.npz")) as file:
        return {name: file[name] for name in MODALITIES}


@pytest.fixture(scope="module", params=["float32", "float64"])
def fitted(request: pytest.FixtureRequest, rows: dict[str, np.ndarray]) -> dict[str, Fitted]:
    return {name: Fitted(x.astype(request.param)) for name, x in rows.items()}


def test_no_figure_of_a_modality_is_left_out(expected: dict[str, Any]) -> None:
    for modality in MODALITIES:
        assert expected[modality].keys() == FIGURES.keys()


@pytest.mark.parametrize("modality", MODALITIES)
@pytest.mark.parametrize("figure", FIGURES)
def test_figures_of_a_modality(
    fitted: dict[str, Fitted], expected: dict[str, Any], modality: str, figure: str
) -> None:
    one, want = fitted[modality], np.asarray(expected[modality][figure], np.float64)
    got = np.asarray(FIGURES[figure](one), np.float64)
    assert got.shape == want.shape
    bound = stated(one.dtype, want)
    if figure.startswith("conformity"):
        bound = np.asarray(stated_conformity(one.dtype))
    assert_within(got, want, 0.0 if figure in EXACT else bound, figure)


def test_the_modality_gap(fitted: dict[str, Fitted], expected: dict[str, Any]) -> None:
    image, text = fitted["image"].e, fitted["text"].e
    pair = expected["pair"]
    for key, gap in (
        ("centroid_gap_raw", image.mean - text.mean),
        ("centroid_gap_unit", image.unit_mean - text.unit_mean),
    ):
        bound = stated(fitted["image"].dtype, pair[key])
        assert_within(np.linalg.norm(gap), pair[key], bound, key)


@pytest.mark.parametrize("modality", MODALITIES)
def test_pairwise_and_the_oracle_agree_row_by_row(fitted: dict[str, Fitted], modality: str) -> None:
    one = fitted[modality]
    want = reference.conformity(one.x)
    # The linear form is float64 arithmetic whatever the storage.
    assert_within(one.conformity, want, stated_conformity("float64"), "linear")
    pairwise = cs.conformity(one.x, method="pairwise")
    assert_within(pairwise, want, stated_conformity(one.dtype), "pairwise")


@pytest.mark.parametrize("modality", MODALITIES)
def test_cross_modal_conformity(fitted: dict[str, Fitted], modality: str) -> None:
    other = fitted["text" if modality == "image" else "image"]
    got = other.e.conformity(fitted[modality].x)
    want = reference.conformity_of_outsiders(fitted[modality].x, other.x)
    assert_within(got, want, stated_conformity("float64"), "cross-modal conformity")


def test_the_rows_are_known_for_normalised(fitted: dict[str, Fitted]) -> None:
    assert all(one.e.is_normalized for one in fitted.values())


@pytest.mark.parametrize("modality", MODALITIES)
def test_the_slope_that_the_paper_prints_is_the_inverse_one(
    fitted: dict[str, Fitted], modality: str
) -> None:
    printed = json.loads(GOLDEN.read_text())[modality]
    line = fitted[modality].calibration
    slope = printed["estimated_conformity_slope"]
    assert abs(line.inverse_slope - slope) < 0.1 * slope
    assert abs(line.slope - slope) > 0.4 * slope
    assert line.pearson >= printed["estimated_conformity_pearson"]


def test_half_precision_changes_the_conformity_by_its_rounding_only(
    rows: dict[str, np.ndarray],
) -> None:
    # Each element is rounded by 2^-11 of itself, so a cosine by 2^-10 at most.
    for x in rows.values():
        half = cs.conformity(x.astype(np.float16))
        assert_within(half, cs.conformity(x), 2.0**-10, "conformity from float16")
        assert len(np.unique(half)) == len(np.unique(cs.conformity(x)))
