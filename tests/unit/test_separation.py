"""A plane between two modalities: planted ones are found, none is found where there is none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import clipsoid as cs
from unit.samples import DTYPES, cloud, run_python, wide


def planted(n: int, m: int, d: int = 12, gap: float = 4.0, seed: int = 0) -> Any:
    """Features 5 and 2 separate, the fifth better; the others are the same in both."""
    rng = np.random.default_rng([seed, n, m])
    x, y = rng.normal(1, 1, (n, d)), rng.normal(1, 1, (m, d))
    x[:, 5] += 1.5 * gap
    y[:, 2] += gap
    return x, y


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_planted_plane_is_found(dtype: str) -> None:
    x, y = (rows.astype(DTYPES[dtype]) for rows in planted(90, 90))
    found = cs.linear_separability(x, y)
    assert found.features == (5, 2)
    assert found.accuracy_two == found.accuracy_all == 1
    assert found.cross_validated_two == np.mean(found.folds_two) > 0.99
    assert found.cross_validated_all == np.mean(found.folds_all) > 0.99
    # The boundary is in the units of the rows, images on its positive side.
    weights = np.array(found.weights)
    for rows, sign in ((x, 1), (y, -1)):
        assert (sign * (wide(rows)[:, [5, 2]] @ weights + found.intercept) > 0).all()
    counts = found.rows_image, found.rows_text, found.count_image, found.count_text
    assert counts == (90, 90, 90, 90) and found.paired
    assert (found.folds, found.seed) == (5, 0) and len(found.folds_two) == 5
    said = found.to_dict()
    assert said["features"] == (5, 2)
    assert (said["version"], said["dim"], said["max_rows"]) == (cs.__version__, found.dim, 5000)


def test_rows_of_any_unit() -> None:
    x, y = planted(80, 70)
    found = cs.linear_separability(x, y)
    scales = np.geomspace(1e-3, 1e3, x.shape[1])
    scaled = cs.linear_separability(x * scales, y * scales)
    assert scaled.folds_all == found.folds_all and scaled.features == found.features
    # The same plane: to the tolerance of the solver, 1e-4 of its gradient.
    got = np.array(scaled.weights) * scales[[5, 2]]
    np.testing.assert_allclose(got, found.weights, rtol=1e-3)


def test_pairs_stay_in_one_fold() -> None:
    # Each image's text is a shadow of it: who has seen the one knows which side the other is not
    # on. Were they parted, held-out rows would land on the wrong side far more often than by
    # chance; with pairs together it is chance.
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 60))
    y = x + 1e-3 * rng.normal(size=x.shape)
    together = cs.linear_separability(x, y)
    assert together.paired
    # 120 rows right by chance: 0.5 +- 4 standard deviations, of pairs that are right together.
    assert abs(together.cross_validated_all - 0.5) < 4 * 0.5 / np.sqrt(60)
    apart = cs.linear_separability(x, np.concatenate([y, y[:1]]))
    assert not apart.paired and apart.cross_validated_all < 0.3


def test_noise_is_not_separable_where_it_was_not_fitted() -> None:
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(2, 150, 200))
    found = cs.linear_separability(x, y)
    # 300 rows in 200 dimensions: nearly all of those fitted are on their side, by chance.
    assert found.accuracy_all > 0.95
    # The best two of 200 features are chosen without the held-out rows: chance, 4 deviations.
    for share in (found.cross_validated_two, found.cross_validated_all):
        assert abs(share - 0.5) < 4 * 0.5 / np.sqrt(300)
    assert found.accuracy_two > 0.55


def test_a_sample_of_many_rows(tmp_path: Path) -> None:
    x, y = planted(900, 700)
    found = cs.linear_separability(x, y, max_rows=200, folds=3, seed=7)
    counts = found.rows_image, found.rows_text, found.count_image, found.count_text
    assert counts == (200, 200, 900, 700)
    assert found.seed == 7 and len(found.folds_all) == 3
    assert found.weights != cs.linear_separability(x, y, max_rows=200, folds=3).weights
    for i, part in enumerate(np.split(x, [1, 300])):
        np.save(tmp_path / f"{i}.npy", part)
    assert cs.linear_separability(tmp_path, y, max_rows=200, folds=3, seed=7) == found
    # Rows that are not drawn are looked at, too.
    bad = x.copy()
    bad[899] = np.nan
    for seed in range(3):
        with pytest.raises(cs.InvalidRowError, match=r"^image: row 899 holds a value"):
            cs.linear_separability(bad, y, max_rows=5, seed=seed)


def test_drawn_pairs_are_pairs() -> None:
    x, _ = planted(500, 500)
    found = cs.linear_separability(x, x, max_rows=100)
    # Every row is there once as an image and once as a text: exactly half are on the right side.
    assert found.accuracy_all == found.accuracy_two == found.cross_validated_all == 0.5


def test_threads_make_no_difference() -> None:
    x, y = cloud(600, 40), cloud(600, 40, seed=3)
    one = cs.linear_separability(x, y, n_threads=1)
    assert one == cs.linear_separability(x, y, n_threads=2) == cs.linear_separability(x, y)


def test_features_that_do_not_vary() -> None:
    x, y = planted(50, 50)
    x[:, 0] = y[:, 0] = 0.1
    x[:, 1], y[:, 1] = 0.1, 0.3
    found = cs.linear_separability(x, y)
    assert found.features[0] == 1 and found.cross_validated_two == 1


X = cloud(20, 4)


def test_bad_input() -> None:
    for folds in (1, 0, 2.5):
        with pytest.raises(ValueError, match=r"^folds="):
            cs.linear_separability(X, X, folds=folds)
    with pytest.raises(ValueError, match=r"^max_rows=4; wanted as many as folds \(5\) or more"):
        cs.linear_separability(X, X, max_rows=4)
    for seed in (-1, 1.5, None):
        with pytest.raises(ValueError, match=f"^seed={seed}; wanted an integer of 0 or more"):
            cs.linear_separability(X, X, seed=seed)
    with pytest.raises(cs.ShapeError, match=r"^text: found 4 rows, wanted 5 or more"):
        cs.linear_separability(X, X[:4])
    with pytest.raises(cs.ShapeError, match=r"^image: found 1 feature, wanted 2 or more"):
        cs.linear_separability(X[:, :1], X[:, :1])
    with pytest.raises(
        cs.MismatchError, match=r"^image has 4 features, text has 3; wanted the same"
    ):
        cs.linear_separability(X, X[:, :3])
    with pytest.raises(ValueError, match=r"^n_threads=0; wanted"):
        cs.linear_separability(X, X, n_threads=0)


EXTRA = """
import sys
sys.modules |= dict.fromkeys(("sklearn", "scipy"))
import numpy as np, clipsoid as cs
x = np.random.default_rng(0).normal(size=(40, 4))
cs.separability(x, x), cs.tags(x, x), cs.modality_gap(x, x), cs.strongest_features(x)
for call in (cs.linear_separability, lambda x, y: cs.compare(x, {"y": y})):
    try:
        call(x, x)
    except cs.UnavailableError as error:
        print(error)
"""


def test_what_needs_the_extra_says_so_and_the_rest_does_not_need_it() -> None:
    advice = 'not installed here: pip install "clipsoid[stats]"'
    assert run_python(EXTRA).stdout.splitlines() == [
        f"linear_separability needs scikit-learn, {advice}",
        f"compare needs scipy, {advice}",
    ]


def test_nothing_heavy_is_imported() -> None:
    run_python(
        "import sys, clipsoid\n"
        "assert not {'scipy', 'sklearn', 'polars'} & sys.modules.keys(), sys.modules.keys()"
    )
