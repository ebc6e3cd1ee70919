"""Cosines to partners, and likelihoods, beside scores: against float64 numpy."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import polars as pl
import pytest

import clipsoid as cs
from unit.samples import BLOCK, DTYPES, LAYOUTS, cloud, wide

#: Three dot products and two roots in float64, of up to 130 features.
BOUND = 1e-14


def oracle(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    x, y = wide(x), wide(y)
    return (x * y).sum(1) / np.linalg.norm(x, axis=1) / np.linalg.norm(y, axis=1)


@pytest.mark.parametrize("right", DTYPES)
@pytest.mark.parametrize("left", DTYPES)
def test_cosines_of_any_two_types(left: str, right: str) -> None:
    x, y = cloud(BLOCK + 7, 37, left, seed=1), cloud(BLOCK + 7, 37, right, seed=2)
    assert np.abs(cs.cosine(x, y) - oracle(x, y)).max() < BOUND


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_cosines_of_any_layout(layout) -> None:
    x, y = cloud(50, 21, seed=1), cloud(50, 21, "float16", seed=2)
    assert np.array_equal(cs.cosine(layout(x), layout(y)), cs.cosine(x, y))


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_threads_and_batches_never_show(threads: int) -> None:
    x, y = cloud(3 * BLOCK + 5, 16, seed=1), cloud(3 * BLOCK + 5, 16, seed=2)
    whole = cs.cosine(x, y, n_threads=1)
    column = pl.concat(
        [pl.Series(part, dtype=pl.Array(pl.Float32, 16)) for part in np.split(y, [1, 700, 2000])],
        rechunk=False,
    )
    assert column.n_chunks() == 4
    assert np.array_equal(cs.cosine(x, column, n_threads=threads), whole)
    # Whichever of the two is the partner.
    assert np.array_equal(cs.cosine(column, x, n_threads=threads), whole)
    scores = cs.Ellipsoid.fit(x).score(x, partner=column, n_threads=threads)
    assert np.array_equal(scores.cosine_to_partner, whole)


def test_a_row_and_itself() -> None:
    x = cloud(500, 64)
    assert np.abs(cs.cosine(x, x) - 1).max() < BOUND
    assert np.abs(cs.cosine(x, -3 * x) + 1).max() < BOUND
    assert np.abs(cs.cosine(x, x)).max() <= 1


def test_scores_beside_the_cosine_are_those_without_it() -> None:
    x, y = cloud(1500, 24, "float16", seed=1), cloud(1500, 24, seed=2)
    e = cs.Ellipsoid.fit(x)
    plain, scores = e.score(x, member=True), e.score(x, member=True, partner=y)
    for name in ("row", "conformity", "cosine_to_mean", "norm", "status"):
        assert np.array_equal(getattr(plain, name), getattr(scores, name))
    assert np.abs(scores.cosine_to_partner - oracle(x, y)).max() < BOUND
    assert repr(scores) == "Scores(1500 rows, 0 invalid, cosine_to_partner)"
    assert plain.cosine_to_partner is None and "cosine_to_partner" not in plain.to_dict()
    assert [*scores.to_dict()][-2:] == ["cosine_to_partner", "status"]


def test_partners_from_files_of_another_type_and_cut(tmp_path) -> None:
    x, y = cloud(900, 24, seed=1), cloud(900, 24, "float16", seed=2)
    for i, part in enumerate(np.split(y, [10, 400])):
        np.save(tmp_path / f"text_emb_{i}.npy", part)
    assert np.array_equal(cs.cosine(x, tmp_path), cs.cosine(x, y))


def invalid_pair() -> tuple[np.ndarray, np.ndarray]:
    x, y = cloud(20, 8, seed=1), cloud(20, 8, seed=2)
    x[3], y[5], y[11, 2], x[11] = 0, np.nan, np.inf, 0
    return x, y


def test_an_invalid_row_of_either_side_by_policy() -> None:
    x, y = invalid_pair()
    with pytest.raises(cs.InvalidRowError, match=r"x: row 3 has zero norm; the policy"):
        cs.cosine(x, y)
    with pytest.raises(cs.InvalidRowError, match=r"y: row 5 holds a value that is not finite"):
        cs.cosine(cloud(20, 8), y)
    null = cs.cosine(x, y, on_invalid="null")
    assert [*np.flatnonzero(np.isnan(null))] == [3, 5, 11]
    left = np.delete(null, [3, 5, 11])
    assert np.array_equal(cs.cosine(x, y, on_invalid="skip"), left)


def test_an_invalid_partner_leaves_the_row_its_scores() -> None:
    x, y = cloud(20, 8, seed=1), invalid_pair()[1]
    e = cs.Ellipsoid.fit(x)
    with pytest.raises(cs.InvalidRowError, match=r"partner: row 5 .*leave the cosine to it null"):
        e.score(x, partner=y)
    for policy in ("null", "skip"):
        scores = e.score(x, partner=y, on_invalid=policy)
        assert len(scores) == 20 and not scores.status.any()
        assert [*np.flatnonzero(np.isnan(scores.cosine_to_partner))] == [5, 11]
        assert np.isfinite(scores.conformity).all()


def test_missing_partners_are_null() -> None:
    x, y = cloud(4, 3), cloud(4, 3, seed=2).tolist()
    column = pl.Series([y[0], None, y[2], y[3]], dtype=pl.Array(pl.Float32, 3))
    scores = cs.Ellipsoid.fit(x).score(x, partner=column, on_invalid="null")
    assert [*np.isnan(scores.cosine_to_partner)] == [False, True, False, False]
    with pytest.raises(cs.InvalidRowError, match=r"y: row 1 is missing"):
        cs.cosine(x, column)


def test_what_does_not_fit_is_refused() -> None:
    x = cloud(20, 8)
    with pytest.raises(cs.ShapeError, match=r"y: found 19 partners, wanted 20, one for each row"):
        cs.cosine(x, x[:19])
    with pytest.raises(cs.MismatchError, match=r"y: the partners have 7 features.*have 8"):
        cs.cosine(x, x[:, :7])
    w = cs.Whitening.from_ellipsoid(cs.Ellipsoid.fit(cloud(50, 7)))
    with pytest.raises(cs.MismatchError, match=r"the rows have 8 features, the whitening has 7"):
        cs.Ellipsoid.fit(x).score(x, whitening=w)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_log_likelihood_beside_scores(dtype: str) -> None:
    x = cloud(2 * BLOCK + 9, 24, dtype)
    e = cs.Ellipsoid.fit(x, precision="float64")
    w = cs.Whitening.from_ellipsoid(e)
    got = e.score(x, member=True, whitening=w).log_likelihood
    assert np.array_equal(got, w.log_likelihood(x))
    centred = wide(x) - wide(x).mean(0)
    c = np.cov(wide(x).T)
    squares = np.einsum("ij,ij->i", centred @ np.linalg.inv(c), centred)
    want = -0.5 * (squares + 24 * np.log(2 * np.pi) + np.linalg.slogdet(c)[1])
    # Products of narrow rows are float32: whitened entries of a few units, within 1e-5.
    assert np.abs(got - want).max() < (1e-9 if dtype == "float64" else 1e-3)


def test_invalid_rows_have_no_likelihood() -> None:
    x = cloud(60, 8)
    e = cs.Ellipsoid.fit(x)
    x[7] = np.nan
    scores = e.score(x, whitening=cs.Whitening.from_ellipsoid(e), on_invalid="null")
    assert [*np.flatnonzero(np.isnan(scores.log_likelihood))] == [7]


def test_bfloat16_of_ml_dtypes() -> None:
    x = cloud(30, 5).astype(ml_dtypes.bfloat16)
    assert np.abs(cs.cosine(x, wide(x)) - 1).max() < BOUND


def test_a_plot_has_a_panel_for_each_score() -> None:
    pytest.importorskip("altair")
    from clipsoid.report.plots import figure_of

    x, y = cloud(50, 8, seed=1), cloud(50, 8, seed=2)
    e = cs.Ellipsoid.fit(x)
    names = ["conformity", "cosine-to-mean", "norm"]
    assert [panel.key for panel in figure_of(e.score(x)).panels] == names
    more = figure_of(e.score(x, partner=y)).panels
    assert [panel.key for panel in more] == [*names, "cosine-to-partner"]
