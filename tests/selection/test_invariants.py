"""What holds of every selection: exact counts, no row twice, no matter how rows are cut or read."""

from __future__ import annotations

import os
import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import clipsoid as cs
from clipsoid.selection.cuts import keep_smallest, keys_of, order_statistics, values_of
from clipsoid.selection.mask import Mask
from clipsoid.selection.target import fill
from selection.makers import ok, scores, write

SOME = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@SOME
@given(
    st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=2), st.sampled_from("fd")
)
def test_keys_are_in_the_order_of_the_numbers(numbers: list[float], kind: str) -> None:
    with np.errstate(over="ignore"):
        values = np.array(numbers, kind)
    values = values[np.isfinite(values)] + values.dtype.type(0)
    keys = keys_of(values)
    assert (np.argsort(keys, kind="stable") == np.argsort(values, kind="stable")).all()
    assert (values_of(keys, 8 * values.itemsize) == values).all()


@SOME
@given(
    st.lists(
        st.tuples(st.integers(0, 4), st.integers(0, 2**64 - 1) | st.integers(0, 9)), min_size=1
    ),
    st.integers(0, 100),
    st.sampled_from([1, 3, 1000]),
    st.booleans(),
)
def test_the_smallest_of_each_group(
    pairs: list[tuple[int, int]], share: int, step: int, drop: bool
) -> None:
    group = np.array([one for one, _ in pairs])
    keys = np.array([key for _, key in pairs], np.uint64)
    available = np.bincount(group, minlength=5)
    quota = available * share // 100
    mask = Mask(len(pairs))
    mask.write(0, np.ones(len(pairs), np.bool_))

    def runs() -> Any:
        for start in range(0, len(pairs), step):
            kept = mask.read(start, min(step, len(pairs) - start))
            part = slice(start, start + step)
            yield start, kept, keys[part][kept], group[part][kept]

    keep_smallest(runs, mask, 64, quota, available, drop=drop)
    want = np.zeros(len(pairs), np.bool_)
    for one in range(5):
        (own,) = np.nonzero(group == one)
        want[own[np.argsort(keys[own], kind="stable")][: quota[one]]] = True
    assert (mask.read(0, len(pairs)) == (want != drop)).all()


@SOME
@given(st.lists(st.integers(0, 2**64 - 1) | st.integers(0, 5), min_size=1), st.integers(1, 7))
def test_order_statistics(keys: list[int], step: int) -> None:
    batches = [np.array(keys[i : i + step], np.uint64) for i in range(0, len(keys), step)]
    ranks = [1, (len(keys) + 1) // 2, len(keys)]
    found = order_statistics(lambda: batches, 64, ranks)
    assert found.tolist() == [sorted(keys)[rank - 1] for rank in ranks]


@SOME
@given(st.lists(st.booleans(), min_size=1), st.integers(1, 20))
def test_a_mask_gives_back_what_was_written(bits: list[bool], step: int) -> None:
    mask = Mask(len(bits))
    for start in range(0, len(bits), step):
        mask.write(start, np.array(bits[start : start + step]))
    for start in range(0, len(bits), 7):
        assert mask.read(start, len(bits[start : start + 7])).tolist() == bits[start : start + 7]


@SOME
@given(
    st.lists(st.tuples(st.integers(0, 30), st.integers(0, 5)), min_size=1, max_size=5),
    st.data(),
)
def test_no_choice_of_as_many_rows_is_nearer_to_the_target(
    bins: list[tuple[int, int]], data: st.DataObject
) -> None:
    available, weights = (list(part) for part in zip(*bins, strict=True))
    most = sum(a for a, w in bins if w)
    rows = data.draw(st.integers(0, most))
    if not any(weights):
        return
    given_rows = fill(available, weights, rows)
    assert sum(given_rows) == rows
    assert all(0 <= n <= a for n, a in zip(given_rows, available, strict=True))
    total = sum(weights)

    def distance(counts: list[int]) -> Fraction:
        return sum(
            (
                (n - Fraction(rows * w, total)) ** 2 / w
                for n, w in zip(counts, weights, strict=True)
                if w
            ),
            Fraction(0),
        )

    assert all(n == 0 for n, w in zip(given_rows, weights, strict=True) if not w)
    # No row moved from one bin to another brings it nearer by more than a rounding is worth.
    slack = sum((Fraction(1, w) for w in weights if w), Fraction(0))
    for i in range(len(bins)):
        for j in range(len(bins)):
            if i == j or not given_rows[i] or given_rows[j] == available[j] or not weights[j]:
                continue
            moved = list(given_rows)
            moved[i] -= 1
            moved[j] += 1
            assert distance(moved) >= distance(given_rows) - 2 * slack


RULES = [
    {"top": 40},
    {"bottom": "25%"},
    {"quantiles": (0.2, 0.7)},
    {"fraction": 0.3, "per": "shard", "pick": "random", "seed": 5},
    {"balance": True, "rows": 60, "bins": 7, "seed": 3},
    {"where": "norm > AVG(norm)", "above": 0.0, "top": 15},
]


@pytest.mark.parametrize("rules", RULES, ids=lambda rules: next(iter(rules)))
def test_batches_and_the_order_of_files_do_not_matter(
    rules: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = scores()
    folder = write(frame, tmp_path / "scores")
    want = cs.select(frame, **rules).frame.collect()
    assert want.select("shard", "row").is_unique().all()
    files = sorted(folder.iterdir())
    for given_files in (folder, files, files[::-1], str(folder / "*.parquet")):
        monkeypatch.setattr("clipsoid.selection.table.BATCH_ROWS", 37)
        assert cs.select(given_files, **rules).frame.collect().equals(want)


@SOME
@given(st.integers(0, 10**6), st.integers(1, 150), st.sampled_from(["top", "bottom", "rows"]))
def test_exactly_as_many_rows(seed: int, count: int, name: str) -> None:
    frame = scores((40, 130), seed % 1000, steps=1 + seed % 30)
    count = min(count, len(ok(frame)))
    options: Any = {name: count} | ({"balance": True, "seed": seed} if name == "rows" else {})
    found = cs.select(frame, **options).frame.collect()
    assert found.height == count
    assert found.select("shard", "row").is_unique().all()
    assert set(found["status"].cast(pl.String)) == {"ok"}


def test_threads_do_not_matter(tmp_path: Path) -> None:
    folder = write(scores((3000, 2000)), tmp_path / "scores")
    script = """
import sys, clipsoid as cs
scores, out = sys.argv[1:]
found = cs.select(scores, where="norm > 9", balance=True, rows=900, seed=2)
found.write(out + ".parquet", out + ".npy")
"""
    contents = []
    for threads in ("1", "4"):
        out = tmp_path / f"of-{threads}"
        subprocess.run(
            [sys.executable, "-c", script, str(folder), str(out)],
            check=True,
            env={**os.environ, "POLARS_MAX_THREADS": threads},
        )
        contents.append([out.with_suffix(s).read_bytes() for s in (".parquet", ".npy")])
    assert contents[0] == contents[1]
