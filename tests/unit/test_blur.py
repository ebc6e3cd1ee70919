"""The shifted sphere and the blur experiment (Figure 7), by plain numpy."""

from __future__ import annotations

import numpy as np
import pytest

import clipsoid as cs
from bounds import UNIT
from oracle import reference

CENTER = np.r_[10.0, 5.0, 5.0, np.zeros(509)]


def test_rows_are_normal_around_the_centre() -> None:
    n, center = 20_000, np.array([10.0, 5.0, -5.0, 0.0])
    x = cs.shifted_sphere(n, center, seed=3)
    assert x.shape == (n, 4) and x.dtype == np.float64 and x.flags.c_contiguous
    # Six standard errors of a mean, and of entries of a covariance.
    assert (np.abs(x.mean(axis=0) - center) < 6 / n**0.5).all()
    assert (np.abs(np.cov(x.T) - np.eye(4)) < 6 * 2**0.5 / n**0.5).all()
    # The fourth moment of a normal law is 3, of variance 96.
    assert (np.abs(((x - center) ** 4).mean(axis=0) - 3) < 6 * (96 / n) ** 0.5).all()


def test_a_seed_gives_the_same_vectors_around_every_centre() -> None:
    x, y = cs.shifted_sphere(50, np.zeros(7), seed=1), cs.shifted_sphere(50, np.arange(7.0), seed=1)
    np.testing.assert_allclose(y - np.arange(7.0), x, atol=8 * 8 * UNIT)
    np.testing.assert_array_equal(cs.shifted_sphere(20, np.zeros(7), seed=1), x[:20])
    assert (cs.shifted_sphere(50, np.zeros(7), seed=2) != x).all()
    assert cs.shifted_sphere(1, [3]).shape == (1, 1)


@pytest.mark.parametrize("center", [3.0, [], [[1.0, 2.0]], [1.0, np.nan]])
def test_centres_that_are_none(center: object) -> None:
    with pytest.raises(ValueError, match="center must be a vector of finite numbers"):
        cs.shifted_sphere(5, center)


@pytest.mark.parametrize("n", [0, -2])
def test_needs_a_row(n: int) -> None:
    with pytest.raises(ValueError, match=f"n must be at least 1, got {n}"):
        cs.shifted_sphere(n, [1.0])


@pytest.mark.parametrize("seed", [0, 7])
def test_the_experiment_is_its_definition(seed: int) -> None:
    found = cs.blur_experiment(seed=seed, bins=30)
    for sample, center in ((found.centered, 0 * CENTER), (found.shifted, CENTER)):
        np.testing.assert_array_equal(sample.center, center)
        x = cs.shifted_sphere(1000, center, seed=seed)
        cosines = reference.cosine_to_mean(x, x.mean(axis=0))
        # A cosine sums 512 products of unit elements, the mean 1000 rows.
        np.testing.assert_allclose(sample.to_mean, cosines, rtol=0, atol=4 * 1512 * UNIT)
        assert sample.far == cosines.argmin()
        want = np.delete(reference.cosine_matrix(x)[sample.far], sample.far)
        np.testing.assert_allclose(sample.to_far, want, rtol=0, atol=4 * 512 * UNIT)
        for values, counts in (
            (sample.to_mean, sample.to_mean_counts),
            (sample.to_far, sample.to_far_counts),
        ):
            inside = np.searchsorted(found.edges, values, "right") - 1
            inside = np.minimum(inside, 29)  # the last bin has its upper edge too
            assert counts.tolist() == np.bincount(inside, minlength=30).tolist()
            assert counts.sum() == len(values)
    four = np.concatenate([getattr(s, f) for s in (found.centered, found.shifted) for f in FIGURES])
    assert (found.edges[0], found.edges[-1]) == (four.min(), four.max())
    np.testing.assert_allclose(np.diff(found.edges), np.ptp(four) / 30, rtol=1e-12)


FIGURES = ("to_mean", "to_far")


@pytest.mark.parametrize("seed", range(4))
def test_figure_7(seed: int) -> None:
    found = cs.blur_experiment(seed=seed)
    centered, shifted = found.centered, found.shifted
    # Of a row around 0 the mean has a share of 1 / sqrt(1000); around a centre c, both point to
    # it: |c| / sqrt(|c|^2 + 512) = 0.476. Five standard errors, of a cosine's 1 / sqrt(512).
    error = 5 / (512 * 1000) ** 0.5
    assert abs(centered.to_mean.mean() - 1000**-0.5) < error
    assert abs(shifted.to_mean.mean() - (150 / 662) ** 0.5) < error
    # Everything is nearer to the shifted mean than anything is to the other mean.
    assert shifted.to_mean.min() > centered.to_mean.max()
    # The far row: like any other about the origin, and far below the mean off it.
    assert abs(centered.to_far.mean()) < 0.02
    assert 0.05 < shifted.to_far.mean() < shifted.to_mean.mean() - 0.2


def test_words_and_bad_bins() -> None:
    found = cs.blur_experiment(seed=2)
    assert len(found.edges) == 51 and found.seed == 2
    assert repr(found).startswith("BlurExperiment(mean cosine to the mean 0.03")
    assert repr(found.shifted).startswith("BlurSample(1000 rows x 512 features: mean cosine 0.4")
    everything = found.to_dict()
    assert [*everything] == ["centered", "shifted", "edges", "seed"]
    assert everything["shifted"]["to_far"] is found.shifted.to_far
    assert [*everything["centered"]] == [
        *("center", "to_mean", "far", "to_far", "to_mean_counts", "to_far_counts")
    ]
    for bins in (0, 2.5):
        with pytest.raises(ValueError, match=f"bins={bins}; wanted an integer of 1 or more"):
            cs.blur_experiment(bins=bins)
    for seed in (-1, 1.5, None):
        with pytest.raises(ValueError, match=f"seed={seed}; wanted an integer of 0 or more"):
            cs.blur_experiment(seed=seed)
