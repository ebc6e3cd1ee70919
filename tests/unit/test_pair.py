"""Separability, tags, strongest features and the modality gap: against the oracle; bad input."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import clipsoid as cs
from bounds import Bounds, assert_within
from clipsoid import _wide
from oracle import pair as oracle
from oracle import reference
from unit.samples import DTYPES, LAYOUTS, cloud, wide

every_dtype = pytest.mark.parametrize("dtype", DTYPES)
#: Around the 1,024 rows of a block.
every_shape = pytest.mark.parametrize(("n", "m", "d"), [(2, 3, 1), (1023, 1500, 5), (40, 7, 130)])


def two(n: int, m: int, d: int, dtype: str = "float32") -> tuple[Any, Any]:
    return cloud(n, d, dtype), cloud(m, d, dtype, seed=1, offset=0.5)


def check(table: pl.DataFrame, x: Any, y: Any, bins: int = 50) -> None:
    """Every figure within its bound; histograms hold the very counts."""
    a, b = Bounds(x), Bounds(y)
    want = sorted(oracle.table(x, y, bins), key=lambda row: row["feature"])
    got = table.sort("feature")
    assert table.columns == list(want[0])
    assert table["separability"].is_sorted(descending=True)
    wanted = {name: np.array([row[name] for row in want]) for name in want[0]}
    spread = np.hypot(a.sigma, b.sigma)
    # From |gap| / spread: the error of the gap, and that of the spread relative to it.
    separability = (a.mean + b.mean) / spread
    separability += wanted["separability"] * (a.std + b.std) / spread + 4e-16
    allowed = {
        "feature": 0,
        "separability": 2 * separability,
        "mean_image": a.mean,
        "mean_text": b.mean,
        "std_image": a.std,
        "std_text": b.std,
        # The counts are whole numbers and the same; what is left are logarithms of 50 shares.
        "kl_histogram_image_text": 1e-12,
        "kl_histogram_text_image": 1e-12,
    }
    for name, bound in allowed.items():
        assert_within(got[name].to_numpy(), wanted[name], bound, name)
    for name, p, q in (
        ("kl_gaussian_image_text", a, b),
        ("kl_gaussian_text_image", b, a),
    ):
        ratio, gap = p.sigma / q.sigma, np.abs(a.center - b.center) / q.sigma
        # First derivatives by the two deviations and the gap, each times its error, doubled.
        bound = (1 / p.sigma + ratio / q.sigma) * p.std
        bound += (1 + ratio**2 + gap**2) / q.sigma * q.std + gap / q.sigma * (a.mean + b.mean)
        bound += 1e-15 * (1 + ratio**2 + gap**2)
        assert_within(got[name].to_numpy(), wanted[name], 2 * bound, name)


@every_dtype
@every_shape
def test_equals_the_definition(n: int, m: int, d: int, dtype: str) -> None:
    x, y = two(n, m, d, dtype)
    check(cs.separability(x, y), x, y)


@pytest.mark.parametrize("bins", [1, 2, 7, 1000])
def test_bins(bins: int) -> None:
    x, y = two(300, 200, 6)
    check(cs.separability(x, y, bins=bins), x, y, bins)


def test_numbers_on_edges_are_counted_where_numpy_counts_them() -> None:
    # Ten bins over 0..1, values on every edge: i * 0.1 is rounded up and down.
    x = np.tile(np.arange(11)[:, None] * 0.1, (30, 3)) + np.array([1, 1e6, -3e9])
    y = x[::2]
    check(cs.separability(x[:, :1], y[:, :1], bins=10), x[:, :1], y[:, :1], 10)
    got = cs.separability(x, y, bins=10).sort("feature")["kl_histogram_image_text"].to_numpy()
    assert_within(got, oracle.histogram_kl(x, y, 10), 1e-12, "edges")


@given(st.integers(1, 60), st.integers(2, 80), st.integers(0, 2**32 - 1))
def test_histograms_of_coarse_numbers(bins: int, n: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = rng.integers(-8, 9, (n, 3)) * 0.1 + 1
    y = rng.integers(-8, 9, (n + 1, 3)) * 0.1 + 1
    x[0], y[0] = 0.2, 1.8
    got = cs.separability(x, y, bins=bins).sort("feature")["kl_histogram_text_image"].to_numpy()
    assert_within(got, oracle.histogram_kl(y, x, bins), 1e-12, "coarse numbers")


@pytest.mark.parametrize("elements", [1, 40])
def test_any_number_of_rows_at_a_time(elements: int, monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = two(90, 90, 9)
    gap = cs.modality_gap(x, y)
    monkeypatch.setattr(_wide, "ELEMENTS", elements)
    assert cs.modality_gap(x, y) == gap


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_threads_and_batches_give_the_same_bits(layout: str, tmp_path: Path) -> None:
    x, y = two(1300, 1300, 9)
    want, gap = cs.separability(x, y, n_threads=1), cs.modality_gap(x, y, n_threads=1)
    laid = LAYOUTS[layout]
    assert cs.separability(laid(x), laid(y), n_threads=2).equals(want)
    assert cs.modality_gap(laid(x), laid(y), n_threads=2) == gap
    for i, part in enumerate(np.split(x, [1, 700])):
        np.save(tmp_path / f"x_{i}.npy", part)
    assert cs.separability(tmp_path, pl.Series(y), n_threads=2).equals(want)
    assert cs.modality_gap(tmp_path, y, n_threads=2) == gap


def test_exchanged_sets_exchange_columns() -> None:
    x, y = two(300, 200, 6)
    there, back = cs.separability(x, y), cs.separability(y, x)
    assert there["feature"].equals(back["feature"])
    for name in ("kl_gaussian", "kl_histogram"):
        assert there[f"{name}_image_text"].equals(
            back[f"{name}_text_image"].rename(f"{name}_image_text")
        )


def test_features_that_do_not_vary() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(50, 5)), rng.normal(size=(40, 5))
    x[:, 1] = y[:, 1] = 0.1  # the same number everywhere
    x[:, 2], y[:, 2] = 0.1, 0.2  # two numbers, one each
    x[:, 3] = 0.3  # one that varies in one modality only
    x[:, 4] = y[:, 4] = 0  # zero everywhere
    table = cs.separability(x, y)
    assert table["feature"].to_list()[0] == 2 and table["feature"].to_list()[-2:] == [1, 4]
    assert table["separability"].to_list()[-2:] == [None, None]
    row = {row["feature"]: row for row in table.rows(named=True)}
    assert row[2]["separability"] == math.inf and row[2]["std_image"] == 0
    assert row[3]["separability"] == pytest.approx(abs(0.3 - y[:, 3].mean()) / y[:, 3].std())
    for feature in (1, 2, 3, 4):
        assert row[feature]["kl_gaussian_image_text"] is None
        assert row[feature]["kl_gaussian_text_image"] is None
    # Shares 1 and 0 in either order: log(1e10) nats, within the floor's own 1e-8.
    assert row[2]["kl_histogram_image_text"] == pytest.approx(math.log(1e10), abs=1e-7)
    for feature in (1, 4):
        assert row[feature]["kl_histogram_image_text"] == 0
    figures = table.select(pl.selectors.float())
    assert not any(series.is_nan().any() for series in figures)
    found = cs.tags(x, y, threshold=3)
    assert found["feature"].to_list() == [2] and found["higher"].to_list() == ["text"]


def test_tags_are_the_features_above_the_threshold() -> None:
    image, text, _ = cs.double_ellipsoid(1500, seed=4)
    table = cs.separability(image, text)
    assert len(cs.tags(image, text)) == 9
    for threshold in (0, 1.0, 2.5):
        found = cs.tags(image, text, threshold=threshold, n_threads=1)
        above = table.filter(pl.col("separability") > threshold)
        assert found.select("feature", "separability").equals(
            above.select("feature", "separability")
        )
        higher = np.where(above["mean_image"] > above["mean_text"], "image", "text")
        assert found["higher"].to_list() == higher.tolist()


def test_a_feature_at_the_threshold_is_no_tag() -> None:
    x = np.array([[-3.0, 1.0], [3.0, 2.0]])
    y = np.array([[6.0, 1.0], [14.0, 3.0]])
    # Means 0 and 10, variances 9 and 16: 10 / 5, without rounding.
    assert cs.separability(x, y)["separability"][0] == 2
    assert len(cs.tags(x, y, threshold=2)) == 0
    assert cs.tags(x, y, threshold=1.999)["feature"].to_list() == [0]


@every_dtype
def test_strongest_features(dtype: str) -> None:
    x = cloud(500, 40, dtype)
    mean, std = wide(x).mean(0), wide(x).std(0)
    found = cs.strongest_features(x, k=7)
    for frame, measure in ((found.by_ratio, np.abs(mean / std)), (found.by_mean, np.abs(mean))):
        want = np.argsort(-measure, kind="stable")[:7]
        assert frame["feature"].to_list() == want.tolist()
        # Means are within 1e-12 of themselves: float64 sums of 500 numbers of one sign or so.
        np.testing.assert_allclose(frame["mean"], mean[want], rtol=1e-12)
        np.testing.assert_allclose(frame["ratio"], (mean / std)[want], rtol=1e-12)
    assert (found.by_ratio["ratio"].sign() == found.by_ratio["mean"].sign()).all()
    fitted = cs.strongest_features(cs.Ellipsoid.fit(x), k=7)
    assert fitted.by_ratio.equals(found.by_ratio) and fitted.by_mean.equals(found.by_mean)
    assert found.to_dict()["by_mean"] == found.by_mean.rows(named=True)
    assert len(cs.strongest_features(x, k=100).by_mean) == 40


def test_strongest_features_that_do_not_vary() -> None:
    x = np.array([[0.1, 0.0, 3.0], [0.1, 0.0, 2.0], [0.1, 0.0, 2.5]])
    found = cs.strongest_features(x)
    assert found.by_ratio["feature"].to_list() == [0, 2, 1]
    assert found.by_ratio["ratio"].to_list()[::2] == [math.inf, None]


@every_dtype
@pytest.mark.parametrize(("n", "m"), [(2, 2), (1500, 1500), (1500, 300)])
def test_modality_gap(n: int, m: int, dtype: str) -> None:
    x, y = two(n, m, 12, dtype)
    gap = cs.modality_gap(x, y)
    raw, unit = reference.modality_gap(x, y)
    a, b = Bounds(x), Bounds(y)
    assert_within(gap.raw_distance, raw, np.linalg.norm(a.mean + b.mean), "raw")
    assert_within(gap.unit_distance, unit, 4 * (a.eps + b.eps), "unit")
    want = oracle.cosine(wide(x).mean(0), wide(y).mean(0))
    assert_within(gap.cosine_of_means, want, a.cosine_to_mean + b.cosine_to_mean, "cosine")
    if n == m:
        want = oracle.paired_cosine_mean(x, y)
        assert_within(gap.paired_cosine_mean, want, a.eps, "pairs")
    else:
        assert gap.paired_cosine_mean is None
    assert (gap.count_image, gap.count_text, gap.is_normalized) == (n, m, False)
    said = gap.to_dict()
    assert (said["dim"], said["dtype"], said["version"]) == (12, dtype, cs.__version__)
    unit_rows = [wide(rows) / np.linalg.norm(wide(rows), axis=1)[:, None] for rows in (x, y)]
    assert cs.modality_gap(*unit_rows).is_normalized


def test_pairs_of_any_length_and_opposite_means() -> None:
    x = np.array([[1e200, 0.0], [1e-200, 1e-200]])
    assert cs.modality_gap(x, x).paired_cosine_mean == pytest.approx(1, abs=1e-15)
    y = np.array([[1.0, 0.0], [-1.0, 0.0]])
    assert cs.modality_gap(y, y + 1).cosine_of_means is None


CALLS = [cs.separability, cs.tags, cs.modality_gap]
X = cloud(20, 4)


@pytest.mark.parametrize("call", CALLS)
def test_bad_rows(call: Any) -> None:
    with pytest.raises(cs.ShapeError, match=r"^text: found 1 rows, wanted 2 or more$"):
        call(X, X[:1])
    with pytest.raises(
        cs.MismatchError, match=r"^image has 4 features, text has 3; wanted the same$"
    ):
        call(X, X[:, :3])
    bad = X.copy()
    bad[7, 2] = np.nan
    with pytest.raises(cs.InvalidRowError, match=r"^text: row 7 holds a value .* norm is not$"):
        call(X, bad)
    bad[7] = 0
    with pytest.raises(cs.InvalidRowError, match=r"^image: row 7 has zero norm$"):
        call(bad, X)
    column = pl.Series([[1.0, 2.0], None, [0.0, 1.0]])
    with pytest.raises(cs.InvalidRowError, match=r"^image: row 1 is missing \(a null embedding\)$"):
        call(column, X[:, :2])
    with pytest.raises(cs.DTypeError, match=r"^image: elements are int64; wanted float16"):
        call(np.ones((3, 4), np.int64), X)
    with pytest.raises(ValueError, match=r"^n_threads=0; wanted"):
        call(X, X, n_threads=0)


def test_bad_options() -> None:
    for bins in (0, -1, 2.5, None):
        with pytest.raises(ValueError, match=r"^bins=.*; wanted an integer of 1 or more"):
            cs.separability(X, X, bins=bins)
    for threshold in (-1, np.nan, "3", None):
        with pytest.raises(ValueError, match=r"^threshold=.*; wanted a number of 0 or more"):
            cs.tags(X, X, threshold=threshold)
    with pytest.raises(ValueError, match=r"^k=0; wanted"):
        cs.strongest_features(X, k=0)
    with pytest.raises(cs.ShapeError, match=r"found 0 valid rows, wanted 1"):
        cs.strongest_features(X[:0])
    with pytest.raises(cs.UnavailableError, match=r"leave the range of float64; scale the rows"):
        cs.separability(X.astype(np.float64) * 1e200, X)
