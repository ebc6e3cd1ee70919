"""Analyses at the edge: few rows, one feature, rows that are all the same, grids without a zero."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import clipsoid as cs
from clipsoid._batch import CARRIERS
from clipsoid._row_hash import TOGETHER, row_hashes
from clipsoid.analysis import PARTS
from clipsoid.separation import FIT_BYTES, fits_at_once
from unit.samples import DTYPES, LAYOUTS, cloud
from unit.test_analysis import same

SLOW = ("linear_separability", "normality")


def judged(image: Any, text: Any, *numbers: int, **options: Any) -> dict[int, Any]:
    found = cs.analyze(image, text, leave_out=PARTS, **options)
    return {number: found.verdicts[number - 1] for number in numbers}


def spheres(seed: int, n: int, dim: int) -> np.ndarray:
    return np.random.default_rng([seed, n, dim]).standard_normal((2, n, dim)) + 1


@pytest.mark.parametrize("dim", [8, 100])
@pytest.mark.parametrize("n", [2, 3, 5, 20, 99])
def test_of_few_rows_no_shape_is_judged(n: int, dim: int) -> None:
    for number, verdict in judged(*spheres(0, n, dim), 2, 3, 4).items():
        assert verdict.holds is None, str(verdict)
        assert f"image: {n} rows are fewer than 100; text: {n} rows" in verdict.reason, number
    # Repeated rows are no more rows than they are distinct.
    repeated = np.repeat(spheres(0, n, dim), -(-200 // n), axis=1)
    for verdict in judged(*repeated, 2, 3, 4).values():
        assert verdict.holds is None, str(verdict)


@pytest.mark.parametrize(
    ("dim", "n", "trials"), [(8, 100, 60), (8, 400, 60), (64, 100, 30), (256, 100, 6)]
)
def test_spheres_are_hardly_ever_ellipsoids(dim: int, n: int, trials: int) -> None:
    # Either modality passes for an ellipsoid in less than 1 % of the cases, for tilted in 0.5 % at
    # 8 features; that both do is rarer than one in a thousand: never here.
    for seed in range(trials):
        for verdict in judged(*spheres(seed, n, dim), 3, 4).values():
            assert verdict.holds is not True, f"{seed}: {verdict}"


def test_the_spread_of_variances_has_no_bias_of_few_rows() -> None:
    # The mean over 300 spheres of a score of mean 0 and deviation near 1: four deviations of it.
    # With moments of the sample as they are it would be 4 / N sqrt((d - 1) / 2) = 0.45 too high.
    scores = []
    for seed in range(150):
        found = cs.analyze(*spheres(seed, 100, 256), leave_out=PARTS)
        scores += [found.image.variance_score, found.text.variance_score]
    assert abs(np.mean(scores)) < 4 * 1.1 / np.sqrt(len(scores)) < 0.3


@pytest.mark.parametrize("dim", [16, 64])
def test_long_tails_that_features_share_are_no_tilt(dim: int) -> None:
    def t3(seed: int) -> np.ndarray:
        rng = np.random.default_rng([seed, dim])
        lengths = np.sqrt(3 / rng.chisquare(3, (2, 20 * dim, 1)))
        return rng.standard_normal((2, 20 * dim, dim)) * lengths

    for seed in range(5):
        found = cs.analyze(*t3(seed), leave_out=PARTS)
        assert found.verdicts[3].holds is False, str(found.verdicts[3])
        # As independent features they would pass for tilted.
        assert found.image.dominance_ratio > 1.5
    # A tilt of such rows is seen.
    tilted = t3(0) @ np.linalg.cholesky(np.full((dim, dim), 0.5) + 0.5 * np.eye(dim)).T
    assert judged(*tilted, 4)[4].holds is True


@pytest.mark.parametrize("dtype", DTYPES)
def test_fourth_moments_equal_their_definitions(dtype: str) -> None:
    from scipy import stats

    n, dim = 203, 70
    image, text = (cloud(n, dim, dtype, seed) for seed in (0, 1))
    image[:, 5] = 1
    found = cs.analyze(image, text, leave_out=PARTS)
    for got, rows in ((found.image, image), (found.text, text)):
        x = np.delete(rows.astype(np.float64), 5, axis=1) if got.name == "image" else rows
        x = x.astype(np.float64)
        z = (x - x.mean(axis=0)) / x.std(axis=0)
        pairs = (z**2).T @ z**2 / n
        off = pairs[~np.eye(len(pairs), dtype=bool)]
        # Sums of n d float64 terms: some hundred roundings.
        assert got.cokurtosis == pytest.approx(off.mean(), rel=1e-12)
        want = 3 + stats.kurtosis(x, axis=0, bias=False).mean()
        assert got.kurtosis == pytest.approx(want, rel=1e-12)
        assert got.tilt_score == pytest.approx(got.dominance_ratio / off.mean() ** 0.5, rel=1e-12)


@pytest.mark.parametrize("dim", [1, 2, 7])
def test_of_few_features_no_tilt_is_judged(dim: int) -> None:
    rows = spheres(1, 400, dim)
    answers = judged(*rows, 3, 4)
    for more in (rows, np.concatenate([rows, np.ones((2, 400, 8))], axis=2)):
        verdict = judged(*more, 4)[4]
        assert verdict.holds is None
        assert f"image: {dim} features that vary are fewer than 8" in verdict.reason
    if dim == 1:
        assert answers[3].holds is None
        assert "image: no such figure of 1 features that vary" in answers[3].reason
        assert "cannot be judged" in str(answers[3])
    else:
        assert answers[3].holds is False


def test_a_sample_of_three_rows_shows_no_kurtosis() -> None:
    answers = judged(*spheres(1, 400, 16), 3, sample_rows=3)
    assert answers[3].holds is None
    assert "16 features that vary and 3 sampled rows" in answers[3].reason


@pytest.mark.parametrize("grid", [np.linspace(-1, 1, 41), np.arange(-20, 21) * 0.05])
@pytest.mark.parametrize("sign", [1, -1])
def test_alphas_that_are_rounded_are_within_the_limit(grid: np.ndarray, sign: int) -> None:
    from dataclasses import replace

    from clipsoid.analysis.verdicts import verdicts

    image, text, _ = cs.double_ellipsoid(300, dim=32, seed=0)
    found = cs.analyze(image, text, alphas=grid, leave_out=[*SLOW, "vslerp"])
    at = int(np.abs(grid - sign * 0.2).argmin())
    for part, column in (("loss_sweep", "loss"), ("match_sweep", "kl_image_text")):
        sweep = getattr(found, part)
        losses = np.ones(len(grid))
        losses[at] = 0
        table = sweep.table.with_columns(**{column: losses})
        changed = replace(found, **{part: replace(sweep, table=table)})
        answers = {v.number: v for v in verdicts(changed)}
        assert answers[6 if part == "loss_sweep" else 7].holds is True
        losses[:] = 1
        losses[at + sign] = 0
        table = sweep.table.with_columns(**{column: losses})
        changed = replace(found, **{part: replace(sweep, table=table)})
        answers = {v.number: v for v in verdicts(changed)}
        assert answers[6 if part == "loss_sweep" else 7].holds is False


@pytest.mark.parametrize("alphas", [[0.2], [-0.2, 0.2], [0.2 + 1.8e-16]])
def test_a_grid_up_to_the_limit_has_nothing_beyond(alphas: list[float]) -> None:
    found = cs.analyze(*spheres(0, 50, 6), alphas=alphas, leave_out=[*SLOW, "vslerp"])
    for verdict in found.verdicts[5:]:
        assert "no alpha beyond 0.2" in verdict.reason


def test_key_figures_stand_beside_the_paper_at_zero_only() -> None:
    rows = spheres(0, 60, 6)
    for alphas, there in (([-1, 0.5, 1], False), ([-1, 0.0], True), ([-0.1, 1e-16, 0.1], True)):
        found = cs.analyze(*rows, alphas=alphas, leave_out=[*SLOW, "vslerp"])
        figures = found.to_frame()["figure"].to_list()
        assert ("kl_image_text" in figures) is there
        assert ("loss" in figures) is there
        assert "best_alpha_of_loss" in figures
    frame = found.to_frame()
    shown = frame.filter(frame["figure"] == "loss")["image"][0]
    assert shown == found.loss_sweep.table["loss"][1]


@pytest.mark.parametrize("constant", ["image", "text", "both"])
@pytest.mark.parametrize("shift", ["image", "text", "both"])
def test_a_modality_that_does_not_vary_ends_nothing(constant: str, shift: str) -> None:
    rows = dict(zip(("image", "text"), spheres(2, 120, 9).astype(np.float32), strict=True))
    for name in rows:
        if constant in (name, "both"):
            rows[name] = np.repeat(rows[name][:1], 120, axis=0)
    found = cs.analyze(rows["image"], rows["text"], shift=shift)
    for name in rows:
        varies = constant not in (name, "both")
        assert (getattr(found.normality, name) is not None) is varies
        assert getattr(found, name).varies is varies
    moves = shift != "both" and constant not in (shift, "both")
    assert (found.loss_sweep is not None) is moves
    assert (found.match_sweep is not None) is moves
    for verdict in found.verdicts[5:]:
        assert (verdict.reason == "the rows that move are all the same") is not moves
    for verdict in found.verdicts[1:5]:
        assert verdict.holds is None
        assert "rows are all the same" in verdict.reason
    assert found.linear_separability is not None
    assert found.retrieval is not None
    same(cs.Analysis.from_json(found.to_json()), found)
    shares = {line["figure"]: line for line in found.to_frame().to_dicts()}["anderson_darling_pass"]
    assert [shares[name] is None for name in rows] == [not getattr(found, n).varies for n in rows]


def test_a_sample_that_does_not_vary_is_not_tested() -> None:
    rows = np.repeat(spheres(0, 1, 4), 5_000, axis=1)
    rows[:, 7] += 1
    found = cs.analyze(*rows, sample_rows=20, seed=1, leave_out=set(PARTS) - {"normality"})
    assert 7 not in found.image.sample.row
    assert (found.normality.image, found.normality.text) == (None, None)


def test_whitening_by_few_rows_is_pointed_out() -> None:
    parts = set(PARTS) - {"normality"}
    few, enough = (cs.analyze(*spheres(0, n, 12), leave_out=parts) for n in (119, 120))
    assert [w for w in few.warnings if "normality" in w] == [
        "image and text: too few rows (119 of 12 features) to whiten: passing tests of normality "
        "says nothing here"
    ]
    assert not any("normality" in warning for warning in enough.warnings)
    tested = few.normality.image
    assert (tested.count, tested.fit_count, tested.dim, tested.rank) == (119, 119, 12, 12)
    without = cs.analyze(*spheres(0, 119, 12), leave_out=PARTS)
    assert not any("normality" in warning for warning in without.warnings)


def test_sampled_pairs_are_mentioned_with_what_is_made_of_them() -> None:
    rows = spheres(0, 60, 6)
    pairwise = ("similarities", "loss_sweep", "retrieval")
    for kept, said in (((), None), (("retrieval",), "ranks"), (pairwise, "losses, ranks, all cos")):
        found = cs.analyze(*rows, most_pairs=30, leave_out=set(PARTS) - set(kept))
        about = [w for w in found.warnings if "sampled pairs" in w]
        if said is None:
            assert about == []
        else:
            assert len(about) == 1
            assert about[0].startswith(f"of 30 sampled pairs of 60, not of all: {said}")


@pytest.mark.parametrize("dtype", DTYPES)
def test_rows_that_differ_are_no_repeats(dtype: str) -> None:
    axes = np.eye(64).astype(DTYPES[dtype])
    found = cs.analyze(axes, axes[::-1], leave_out=PARTS)
    assert (found.image.distinct, found.text.distinct) == (64, 64)
    assert not any("repeat" in warning for warning in found.warnings)
    repeated = np.concatenate([axes[:10], axes[:50]])
    found = cs.analyze(repeated, repeated, leave_out=PARTS)
    assert found.image.distinct == 50
    # What is so of both is said once, what is so of one by its name.
    assert "image and text: 10 of 60 rows repeat others" in found.warnings
    assert sum("repeat" in warning for warning in found.warnings) == 1
    found = cs.analyze(repeated, axes[:60], leave_out=PARTS)
    assert "image: 10 of 60 rows repeat others" in found.warnings
    assert not any(warning.startswith("text: 10") for warning in found.warnings)


@pytest.mark.parametrize("dim", [1, 3, 8, 129])
@pytest.mark.parametrize("dtype", DTYPES)
def test_hashes_are_those_of_the_bytes_of_a_row(dtype: str, dim: int) -> None:
    n = 5 + 3 * TOGETHER // (dim * CARRIERS[dtype].itemsize)
    rows = cloud(min(n, 3_000), dim, dtype).view(CARRIERS[dtype])
    got = row_hashes(rows)
    assert (got.dtype, got.shape) == (np.uint64, (len(rows),))
    # Exactly as many as there are strings of bytes.
    assert len(np.unique(got)) == len({row.tobytes() for row in rows})
    parts = [row_hashes(part) for part in np.array_split(rows, 7)]
    np.testing.assert_array_equal(np.concatenate(parts), got)
    for name, layout in LAYOUTS.items():
        if "endian" not in name:
            np.testing.assert_array_equal(row_hashes(layout(rows)), got, name)


def test_hashes_tell_rows_that_are_nearly_alike() -> None:
    # One bit of one word, one swap, one sign: what sums of the words would not tell.
    rows = np.zeros((1 + 64 * 16, 16), np.uint64)
    for bit in range(64):
        for word in range(16):
            rows[1 + 16 * bit + word, word] = np.uint64(1) << np.uint64(bit)
    assert len(np.unique(row_hashes(rows))) == len(rows)
    orders = np.array([np.roll(np.arange(16.0), k) for k in range(16)])
    signs = np.where(np.arange(16)[:, None] == np.arange(16), -1.0, 1.0)
    assert len(np.unique(row_hashes(np.concatenate([orders, signs])))) == 32
    # Each bit of a row turns half of the bits of its hash: 32 of 64, give or take 4 each.
    turned = np.bitwise_count(row_hashes(rows)[1:] ^ row_hashes(rows)[0])
    assert abs(turned.mean() - 32) < 1
    assert turned.min() > 8


def test_fits_run_together_as_far_as_memory_goes() -> None:
    # 5,000 pairs of 512 features: one fit is 154 MB.
    elements = 2 * 5_000 * 512
    assert fits_at_once(elements, 200_000_000, 8) == 1
    assert fits_at_once(elements // 4, 200_000_000, 8) == 5
    assert fits_at_once(elements // 4, 200_000_000, 2) == 2
    assert fits_at_once(10 * elements, 200_000_000, None) == 1
    assert FIT_BYTES * elements < 200_000_000
