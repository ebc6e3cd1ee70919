"""Two modalities and a comparison on 500 real pairs (MS-COCO, CLIP ViT-B/16)."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import clipsoid as cs
from bounds import assert_within, stated
from oracle import expressiveness
from oracle import pair as oracle
from unit.samples import DTYPES

Rows = tuple[np.ndarray, np.ndarray]


@pytest.fixture(scope="module")
def expected(real_data: Callable[[str], Path]) -> dict[str, Any]:
    return json.loads(real_data("coco500_expected.json").read_text())["pair"]


@pytest.fixture(scope="module")
def rows(real_data: Callable[[str], Path]) -> Rows:
    with np.load(real_data("coco500_clip_vitb16.npz")) as file:
        return file["image"], file["text"]


def test_separability_equals_the_independent_program(expected: dict[str, Any], rows: Rows) -> None:
    top = cs.separability(*rows).head(10)
    assert top["feature"].to_list() == [feature for feature, _ in expected["separability_top10"]]
    want = [figure for _, figure in expected["separability_top10"]]
    assert_within(top["separability"].to_numpy(), want, stated("float32", want), "separability")


def test_the_modality_gap_equals_the_independent_program(
    expected: dict[str, Any], rows: Rows
) -> None:
    gap = cs.modality_gap(*rows)
    for name, there in (
        ("raw_distance", "centroid_gap_raw"),
        ("unit_distance", "centroid_gap_unit"),
        ("paired_cosine_mean", "paired_cosine_mean"),
    ):
        want = expected[there]
        assert_within(getattr(gap, name), want, stated("float32", want), name)
    assert gap.is_normalized and (gap.count_image, gap.count_text) == (500, 500)


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_type_equals_the_oracle(rows: Rows, dtype: str) -> None:
    image, text = (x.astype(DTYPES[dtype]) for x in rows)
    got = cs.separability(image, text).sort("feature")
    want = sorted(oracle.table(image, text), key=lambda row: row["feature"])
    for name in got.columns:
        figures = np.array([row[name] for row in want])
        allowed = stated("float64", figures)
        assert_within(got[name].to_numpy(), figures, allowed, name)


def test_few_features_tell_the_modalities_apart(rows: Rows) -> None:
    found = cs.tags(*rows)
    assert found.select("feature", "higher").rows() == [(442, "image"), (362, "text")]
    # Property 1: linearly separable, and by two features.
    plane = cs.linear_separability(*rows)
    assert plane.features == (442, 362) and plane.paired
    assert min(plane.cross_validated_two, plane.cross_validated_all) >= 0.99
    image, text = (x[:, plane.features].astype(np.float64) for x in rows)
    sides = [x @ np.array(plane.weights) + plane.intercept for x in (image, text)]
    share = ((sides[0] > 0).sum() + (sides[1] <= 0).sum()) / 1000
    assert plane.accuracy_two == pytest.approx(share, abs=1e-12)


def test_strongest_features_are_those_that_separate(rows: Rows) -> None:
    for x in rows:
        found = cs.strongest_features(x, k=2)
        assert set(found.by_ratio["feature"]) == {442, 362} or set(found.by_mean["feature"]) == {
            442,
            362,
        }


def test_halves_of_real_images_do_not_differ_and_captions_do(rows: Rows) -> None:
    image, text = rows
    order = np.random.default_rng(0).permutation(500)
    real, half = image[order[:250]], image[order[250:]]
    found = cs.compare(real, {"half": half, "captions": text}, interval=0.999)
    assert list(found.candidates) == ["half", "captions"] and found.notes == ()
    half_of, captions = found.candidates.values()
    assert half_of.p_corrected > 0.001 > captions.p_corrected
    assert half_of.shift_lower < 0 < half_of.shift_upper
    for test, made in zip(found.tests, (half, text), strict=True):
        own, other = expressiveness.conformities(real, made)
        want = expressiveness.welch(other, own, 0.999)
        for name, figure in want.items():
            allowed = 1e-8 * max(1, abs(figure))
            assert_within(getattr(test, name), figure, allowed, name)


def test_captions_against_the_images_that_they_describe(rows: Rows) -> None:
    image, text = rows
    found = cs.compare(image, {"captions": text}, paired=True)
    own, other = expressiveness.conformities(image, text)
    want = expressiveness.paired(other, own, 0.95)
    (test,) = (test for test in found.tests if test.kind == "paired")
    for name, figure in want.items():
        assert_within(getattr(test, name), figure, 1e-8 * max(1, abs(figure)), name)
    effect = expressiveness.cohens_dz(other, own)
    assert_within(test.cohens_dz, effect, 1e-8 * abs(effect), "d_z")
