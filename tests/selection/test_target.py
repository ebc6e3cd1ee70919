"""Rows chosen so that their histogram becomes another: flat, given, or that of other scores."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import clipsoid as cs
from clipsoid.selection.target import Target, fill


@pytest.fixture
def frame() -> pl.DataFrame:
    values = np.random.default_rng(4).normal(0.4, 0.05, 4000).astype(np.float32)
    return pl.DataFrame({"conformity": values, "at": range(4000)})


def chosen(frame: pl.DataFrame, **options: Any) -> np.ndarray:
    selection = cs.select(frame, **options)
    found = selection.frame.collect()
    assert found["at"].is_unique().all() and found["at"].is_sorted()
    return found["conformity"].to_numpy()


def test_a_flat_histogram_as_far_as_the_rows_go(frame: pl.DataFrame) -> None:
    values = frame["conformity"].to_numpy()
    edges = np.linspace(float(values.min()), float(values.max()), 11)
    available = np.histogram(values, edges)[0]
    got = np.histogram(chosen(frame, balance=True, rows=1000, bins=10), edges)[0]
    # The level that the water reaches, by bisection.
    low, high = 0.0, 4000.0
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if np.minimum(available, middle).sum() < 1000 else (low, middle)
    assert got.sum() == 1000
    assert np.abs(got - np.minimum(available, low)).max() < 1
    dry = available <= low
    assert dry.any() and (got[dry] == available[dry]).all()


def test_a_given_histogram(frame: pl.DataFrame, tmp_path: Path) -> None:
    target = {"edges": [0.3, 0.35, 0.4, 0.5], "weights": [1, 2, 0.5]}
    got = chosen(frame, target=target, rows=700)
    assert np.histogram(got, target["edges"])[0].tolist() == [200, 400, 100]
    (tmp_path / "t.json").write_text(json.dumps(target))
    assert (chosen(frame, target=tmp_path / "t.json", rows=700) == got).all()


def test_the_histogram_of_other_scores(frame: pl.DataFrame, tmp_path: Path) -> None:
    other = np.random.default_rng(5).normal(0.42, 0.02, 500).astype(np.float32)
    pl.DataFrame({"conformity": other}).write_parquet(tmp_path / "o.parquet")
    edges = np.linspace(float(other.min()), float(other.max()), 6)
    want = np.histogram(other, edges)[0]
    for given in (tmp_path / "o.parquet", pl.DataFrame({"conformity": other})):
        got = chosen(frame, target=given, rows=500, bins=5)
        assert np.histogram(got, edges)[0].tolist() == want.tolist()
    selection = cs.select(frame, target=tmp_path / "o.parquet", rows=500, bins=5)
    assert selection.rules["target"] == {"edges": edges.tolist(), "weights": want.tolist()}


@pytest.mark.parametrize(
    ("available", "weights", "rows", "want"),
    [
        ([5, 5], [1, 1], 4, [2, 2]),
        ([5, 5], [1, 1], 5, [3, 2]),
        ([1, 9, 9], [1, 1, 1], 7, [1, 3, 3]),
        ([1, 9, 9], [1, 2, 4], 13, [1, 4, 8]),
        ([9, 9], [0, 1], 9, [0, 9]),
        ([3, 4], [1, 100], 7, [3, 4]),
        ([0, 0, 6], [1, 1, 1], 2, [0, 0, 2]),
        ([4], [0.1], 0, [0]),
    ],
)
def test_filling_by_hand(
    available: list[int], weights: list[float], rows: int, want: list[int]
) -> None:
    assert fill(available, weights, rows) == want


@pytest.mark.parametrize("edges", [np.linspace(-0.3, 1.1, 8), np.array([-0.3, 0.0, 0.1, 1.1])])
def test_bins_are_those_of_numpy(edges: np.ndarray) -> None:
    rng = np.random.default_rng(0)
    near = np.concatenate([edges, np.nextafter(edges, 9), np.nextafter(edges, -9)])
    values = np.concatenate([near, rng.uniform(-0.5, 1.3, 500), [np.nan, np.inf, -np.inf]])
    for kind in (np.float64, np.float32):
        bins = Target(edges, np.ones(len(edges) - 1)).bins_of(values.astype(kind))
        inside = values.astype(kind)[bins >= 0]
        got = np.bincount(bins[bins >= 0], minlength=len(edges) - 1)
        assert got.tolist() == np.histogram(inside, edges)[0].tolist()
        with np.errstate(invalid="ignore"):
            within = (values.astype(kind) >= edges[0]) & (values.astype(kind) <= edges[-1])
        assert ((bins >= 0) == within).all()


def test_scores_that_are_all_equal() -> None:
    frame = pl.DataFrame({"conformity": [0.25] * 9, "at": range(9)})
    assert len(chosen(frame, balance=True, rows=4)) == 4


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ({"edges": [0, 1]}, "target: found 'edges'; wanted 'edges' and 'weights'"),
        ({"edges": [0, 1], "weights": [1, 1]}, "found 2 edges and 2 weights; wanted one edge more"),
        ({"edges": [1, 0], "weights": [1]}, "wanted edges that ascend"),
        ({"edges": [0, 1], "weights": [-1]}, "wanted weights of 0 or more, and one above 0"),
        ({"edges": [0, 1], "weights": [0]}, "and one above 0"),
        ({"edges": [0, "b"], "weights": [1]}, "target: edges="),
        ({"edges": [0, 0.4, 1], "weights": [0, 1]}, r"only \d+ lie where it has any weight"),
    ],
)
def test_targets_that_are_wrong(frame: pl.DataFrame, target: Any, message: str) -> None:
    with pytest.raises(cs.SelectionError, match=message):
        cs.select(frame, target=target, rows=4000)


def test_target_files_that_are_wrong(frame: pl.DataFrame, tmp_path: Path) -> None:
    path = tmp_path / "t.json"
    for text, message in (("{", "cannot be read"), ("[]", "wanted a JSON object")):
        path.write_text(text)
        with pytest.raises(cs.SelectionError, match=rf"t\.json: {message}"):
            cs.select(frame, target=path, rows=1)
