"""The whole paper on real embeddings, and on samples with the moments of real ones."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import clipsoid as cs
from bounds import assert_within
from clipsoid.analysis import PARTS


def with_moments(count: int, mean: np.ndarray, covariance: np.ndarray, seed: int) -> np.ndarray:
    """Normal rows whose mean and covariance (ddof 1) are exactly these, to rounding."""
    dim = len(mean)
    z = np.random.default_rng(seed).standard_normal((count, dim))
    z -= z.mean(axis=0)
    # Of orthogonal columns: no covariance but that of the axes.
    z = np.linalg.qr(z)[0] * np.sqrt(count - 1)
    values, axes = np.linalg.eigh(covariance)
    return z @ (axes * np.sqrt(np.maximum(values, 0.0))).T + mean


def test_moments_of_a_sample_come_back(real_data) -> None:
    stored = np.load(real_data("coco_vitl14_moments.npz"))
    moments = {name: stored[name].astype(np.float64) for name in stored.files}
    rows, count = {}, 1_600
    for seed, name in enumerate(("image", "text")):
        mean, covariance = (
            moments[f"{name}_{what}"].astype(np.float64) for what in ("mean", "cov")
        )
        rows[name] = with_moments(count, mean, covariance, seed)
    found = cs.analyze(rows["image"], rows["text"], leave_out=set(PARTS) - {"gap"})
    for name in rows:
        got = getattr(found, name)
        mean, covariance = (
            moments[f"{name}_{what}"].astype(np.float64) for what in ("mean", "cov")
        )
        scale = np.sqrt(np.trace(covariance))
        assert_within(got.mean, mean, 1e-12 * scale, f"{name} mean")
        variances = np.diag(covariance) * (count - 1) / count
        assert_within(got.std**2, variances, 1e-12 * scale**2, f"{name} variances")
        axes = np.maximum(np.linalg.eigvalsh(covariance)[::-1], 0.0)
        assert_within(got.radii_of_axes**2, axes, 1e-12 * scale**2, f"{name} axes")
        ratio = np.linalg.norm(mean) / np.sqrt(variances.sum())
        assert_within(got.center_ratio, ratio, 1e-10, f"{name} centre ratio")
    gap = np.linalg.norm(moments["image_mean"] - moments["text_mean"])
    assert_within(found.gap.raw_distance, gap, 1e-10 * gap, "gap")


@pytest.fixture(scope="module")
def found(real_data) -> cs.Analysis:
    rows = np.load(real_data("coco500_clip_vitb16.npz"))
    return cs.analyze(rows["image"].astype(np.float64), rows["text"].astype(np.float64))


def test_what_holds_on_real_pairs(found: cs.Analysis) -> None:
    # Normalised: shell and centre are not to be judged.
    answers = {verdict.number: verdict.holds for verdict in found.verdicts}
    assert answers == {1: True, 2: None, 3: True, 4: True, 5: None, 6: True, 7: True}
    (normalised,) = [warning for warning in found.warnings if "normalised" in warning]
    assert normalised.startswith("image and text: ")


@pytest.mark.parametrize("name", ["image", "text"])
def test_figures_are_those_of_an_independent_program(
    name: str, found: cs.Analysis, real_data
) -> None:
    expected = json.loads(Path(real_data("coco500_expected.json")).read_text())[name]
    got = getattr(found, name)
    for figure, value in {
        "center_ratio": got.center_ratio,
        "shell_mean": got.shell.mean,
        "shell_rms": got.shell.rms,
        "odd_over_null_median": got.dominance_ratio,
        "conformity_mean": got.mean_conformity,
        "conformity_std": got.std_conformity,
        "pearson_exact_vs_cos_to_mean": got.calibration.pearson,
    }.items():
        assert_within(value, expected[figure], 1e-10 * max(1, abs(expected[figure])), figure)
    assert got.highest.row[0] == expected["conformity_argmax"]
    assert got.lowest.row[0] == expected["conformity_argmin"]
