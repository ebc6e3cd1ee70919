"""The sweep of matching distributions, and the difference within pairs, against the oracle."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import clipsoid as cs
from bounds import assert_within
from clipsoid import _native, matching
from oracle import matching as oracle
from unit.pair_samples import SHIFTS, mirrored, pairs
from unit.samples import DTYPES, cloud, run_python, wide

every_dtype = pytest.mark.parametrize("dtype", DTYPES)
every_shift = pytest.mark.parametrize("shift", SHIFTS)

FIGURES = ["kl_image_text", "kl_text_image", "kde_kl_image_text", "kde_kl_text_image"]
FIGURES += ["js", "wasserstein"]
ALPHAS = [-0.8, 0.0, 0.35, 1.0]


def samples(image: Any, text: Any, alpha: float, shift: str) -> tuple[Any, Any]:
    """Conformities by the definition."""
    moves = {"image": (1, 0), "text": (0, 1), "both": (1, 1)}[shift]
    found = (
        oracle.shifted_conformity(x, [alpha * move])[0]
        for x, move in zip((image, text), moves, strict=True)
    )
    return found  # type: ignore[return-value]


@every_dtype
@every_shift
def test_every_column_equals_the_oracle(shift: str, dtype: str) -> None:
    image, text = cloud(290, 24, dtype), cloud(170, 24, dtype, seed=4, offset=0.5)
    found = cs.match_sweep(image, text, alphas=ALPHAS, shift=shift, bins=20)
    assert found.table.columns == ["alpha", *FIGURES]
    assert found.table["alpha"].to_list() == ALPHAS
    for row, held in zip(found.table.rows(named=True), found.histograms, strict=True):
        p, q = samples(image, text, row["alpha"], shift)
        # Conformities agree to 1e-12: none of these lies that near to an edge, so that counts and
        # what follows from them are the same.
        limits = (min(p.min(), q.min()), max(p.max(), q.max()))
        edges = np.linspace(*limits, 21)
        inner = np.concatenate([p, q])[:, None] - edges[1:-1]
        assert np.abs(inner).min() > 1e-11
        np.testing.assert_array_equal(held.image, np.histogram(p, 20, limits)[0])
        np.testing.assert_array_equal(held.text, np.histogram(q, 20, limits)[0])
        assert_within(held.edges, edges, 1e-11, "edges")
        assert held.alpha == row["alpha"]
        want = oracle.histogram_figures(p, q, 20)
        for name, key in (("kl_image_text", "kl_pq"), ("kl_text_image", "kl_qp"), ("js", "js")):
            assert row[name] == pytest.approx(want[key], rel=1e-12, abs=1e-12)
        assert row["wasserstein"] == pytest.approx(want["wasserstein"], abs=1e-11)
        other = cs.divergence(p, q, bins=20)
        # Densities follow the conformities' error over a bandwidth above 1e-3.
        assert row["kde_kl_image_text"] == pytest.approx(other.kde_kl_pq, rel=1e-7)
        assert row["kde_kl_text_image"] == pytest.approx(other.kde_kl_qp, rel=1e-7)


def test_the_default_grid_and_what_the_result_says() -> None:
    image, text = cloud(60, 8), cloud(45, 8, "float16", seed=2)
    found = cs.match_sweep(image, text)
    alphas = found.table["alpha"].to_numpy()
    assert_within(alphas, np.linspace(-1, 1, 41), 1e-15, "alpha")
    assert all(dtype == pl.Float64 for dtype in found.table.dtypes)
    least = found.table.sort("kl_image_text", maintain_order=True)["alpha"][0]
    assert (found.best_alpha, found.best_by) == (least, "kl_image_text")
    o = found.options
    assert (o.alphas, o.shift, o.bins, o.interval) == (tuple(alphas), "image", 50, None)
    assert (o.image_count, o.text_count, o.dim) == (60, 45, 8)
    assert (o.image_dtype, o.text_dtype) == ("float32", "float16")
    norms = np.linalg.norm(wide(image), axis=1)
    assert o.image_norms == pytest.approx((norms.min(), norms.max()), rel=1e-14)
    assert not o.is_normalized
    assert o.simd_level == cs._native.simd_level()
    assert found.version == cs.__version__
    assert repr(found).startswith("MatchSweep(60 images, 45 texts, alphas=41, shift='image'")
    assert len(repr(found)) < 140
    said = found.to_dict()
    assert said["table"]["js"] == found.table["js"].to_list()
    assert said["options"]["bins"] == 50
    assert said["histograms"][3]["alpha"] == alphas[3]
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.version = ""  # type: ignore[misc]


def test_normalised_rows_are_said_to_be() -> None:
    image, text = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in pairs(40, 6))
    assert cs.match_sweep(image, text, alphas=[0]).options.is_normalized
    assert not cs.match_sweep(image, 2 * text, alphas=[0]).options.is_normalized


@every_shift
def test_threads_batches_and_passes_never_show(
    shift: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image, text = cloud(1300, 12), cloud(1100, 12, seed=3)
    alphas = np.linspace(-1, 1, 30)
    options: dict[str, Any] = {"alphas": alphas, "shift": shift, "bins": 10}
    want = cs.match_sweep(image, text, n_threads=1, **options)
    assert want.table.equals(cs.match_sweep(image, text, n_threads=2, **options).table)
    np.save(tmp_path / "a.npy", image[:600])
    np.save(tmp_path / "b.npy", image[600:])
    files = cs.match_sweep(sorted(tmp_path.glob("*.npy")), text, **options)
    assert want.table.equals(files.table)
    # So few conformities at a time that the grid takes three passes.
    monkeypatch.setattr(matching, "HELD", 1)
    assert want.table.equals(cs.match_sweep(image, text, **options).table)


def test_intervals_are_those_of_divergence() -> None:
    image, text = cloud(200, 8), cloud(150, 8, seed=1)
    options: dict[str, Any] = {"seed": 5, "resamples": 20}
    found = cs.match_sweep(image, text, alphas=[0.0, 0.3], interval=0.9, **options)
    named = ["kde_kl_image_text", "kde_kl_text_image", "js", "wasserstein"]
    columns = [f"{name}_{end}" for name in named for end in ("lower", "upper")]
    assert found.table.columns == ["alpha", *FIGURES, *columns]
    p, q = cs.shifted_conformity(image, [0.3])[0], cs.conformity(text)
    want = cs.divergence(p, q, interval=0.9, **options).intervals.values()
    row = found.table.rows(named=True)[1]
    assert [row[column] for column in columns] == [end for one in want for end in one]


@every_shift
def test_a_row_that_vanishes_is_named_with_its_modality(shift: str) -> None:
    constant = np.tile(np.arange(1.0, 9.0), (30, 1))
    for image, text in ((constant, cloud(20, 8)), (cloud(20, 8), constant)):
        still = {"image": text, "text": image}.get(shift)
        if still is constant:
            assert np.isfinite(cs.match_sweep(image, text, shift=shift).table.to_numpy()).all()
            continue
        name = "image" if image is constant else "text"
        with pytest.raises(cs.InvalidRowError, match=rf"^{name}: row 0 vanishes at alpha = 1"):
            cs.match_sweep(image, text, shift=shift)


def test_far_away_all_conform_alike() -> None:
    found = cs.match_sweep(cloud(40, 6), cloud(30, 6, seed=1), alphas=[1e12], shift="both")
    assert found.table.select(FIGURES[:5]).row(0) == (0, 0, 0, 0, 0)
    assert found.table["wasserstein"][0] < 1e-11


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shift": "none"}, "shift='none'; wanted 'image', 'text' or 'both'"),
        ({"alphas": []}, "alphas is empty"),
        ({"bins": 0}, "bins=0"),
        ({"interval": 2.0}, r"interval=2\.0; wanted a number between 0 and 1"),
        ({"n_threads": -1}, "n_threads=-1"),
    ],
)
def test_an_option_out_of_range(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        cs.match_sweep(cloud(9, 3), cloud(8, 3), **options)


def test_rows_that_cannot_be_used() -> None:
    image, text = cloud(9, 3), cloud(8, 3)
    with pytest.raises(cs.ShapeError, match="text: found 1 rows, wanted 2 or more"):
        cs.match_sweep(image, text[:1])
    with pytest.raises(cs.MismatchError, match="image has 3 features, text has 2; wanted the same"):
        cs.match_sweep(image, text[:, 1:])
    text[5] = np.inf
    with pytest.raises(cs.InvalidRowError, match=r"^text: row 5 holds a value that is not finite"):
        cs.match_sweep(image, text)


@every_dtype
def test_differences_within_pairs(dtype: str) -> None:
    image, text = pairs(203, 16, dtype)
    # Some rows repeat: they share a percentile.
    image[[3, 50, 90]] = image[3]
    found = cs.conformity_difference(image, text)
    for name, x in (("image", image), ("text", text)):
        want = oracle.shifted_conformity(x, [0.0])[0]
        got = getattr(found, f"{name}_conformity")
        assert_within(got, want, 1e-12, name)
        assert_within(getattr(found, f"{name}_percentile"), oracle.percentiles(got), 1e-15, name)
    np.testing.assert_array_equal(
        found.percentile_difference, found.image_percentile - found.text_percentile
    )
    np.testing.assert_array_equal(found.difference, found.image_conformity - found.text_conformity)
    assert len(set(found.image_percentile[[3, 50, 90]])) == 1
    for by, x in (("percentile", found.percentile_difference), ("conformity", found.difference)):
        top, bottom = found.largest(7, by=by)  # type: ignore[arg-type]
        assert top.tolist() == sorted(range(203), key=lambda i: (-x[i], i))[:7]
        assert bottom.tolist() == sorted(range(203), key=lambda i: (x[i], i))[:7]
    assert len(found.largest(1000).image) == len(found) == 203
    assert repr(found).startswith("ConformityDifference(203 pairs")
    assert found.to_dict().keys() >= {"difference", "image_percentile"}
    assert found.to_dict()["version"] == found.version == cs.__version__
    assert found.to_dict()["simd_level"] == _native.simd_level()


def test_percentiles_of_ties_are_in_the_middle() -> None:
    x = np.array([[1.0, 0.0], [0.0, 1.0]])
    found = cs.conformity_difference(x, x)
    assert found.image_percentile.tolist() == [0.5, 0.5]
    assert found.largest(1) == ([0], [0])


def test_differences_of_what_are_no_pairs() -> None:
    image, text = pairs(20, 6)
    with pytest.raises(cs.ShapeError, match="image has 20 rows, text has 19; wanted pairs"):
        cs.conformity_difference(image, text[:-1])
    with pytest.raises(cs.MismatchError, match="image has 6 features, text has 5"):
        cs.conformity_difference(image, text[:, :5])
    with pytest.raises(cs.ShapeError, match="image: found 1 rows, wanted 2 or more"):
        cs.conformity_difference(image[:1], text[:1])
    found = cs.conformity_difference(image, text)
    with pytest.raises(ValueError, match="k=0"):
        found.largest(0)
    with pytest.raises(ValueError, match="by='rank'; wanted 'percentile' or 'conformity'"):
        found.largest(by="rank")  # type: ignore[arg-type]
    text[4] = 0
    with pytest.raises(cs.InvalidRowError, match=r"^text: row 4 has zero norm"):
        cs.conformity_difference(image, text)


def test_nothing_heavy_is_imported() -> None:
    run_python(
        "import sys, numpy as np, clipsoid as cs\n"
        "x = np.arange(12.0).reshape(4, 3) ** 2\n"
        "cs.conformity_difference(x, x); cs.shifted_conformity(x, [0.5])\n"
        "cs.divergence([1.0, 2.0], [2.0], interval=0.9)\n"
        "assert not {'polars', 'scipy', 'sklearn'} & set(sys.modules)\n"
    )


def test_mirror_images_match() -> None:
    # A modality against itself differs by nothing, at any alpha, whichever moves.
    (image, _), _ = mirrored(64, "float64")
    found = cs.match_sweep(image, image, alphas=[-0.3, 0.0, 0.4], shift="both")
    assert found.table.select(FIGURES).to_numpy().tolist() == [[0] * 6] * 3
