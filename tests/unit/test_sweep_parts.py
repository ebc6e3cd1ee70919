"""A sweep in parts: other processes compute them, any order merges them, nothing else fits."""

from __future__ import annotations

import itertools
import pickle
from functools import reduce
from typing import Any

import numpy as np
import polars as pl
import pytest

import clipsoid as cs
from bounds import REORDERED, assert_within
from oracle import contrast
from unit.pair_samples import PARTITIONS, SHIFTS, SIDE, assert_sweep, in_processes, pairs
from unit.samples import DTYPES

ALPHAS = [-1.0, -0.3, 0.5, 1.2]
IMAGE, TEXT = pairs(4 * SIDE + 77, 24)

PART = """
import pickle, sys, clipsoid as cs
from unit.pair_samples import pairs
i, n, size, d, dtype, options = pickle.loads(bytes.fromhex(sys.argv[1]))
part = cs.loss_sweep_part(*pairs(size, d, dtype), i, n, **options)
print(pickle.dumps(part).hex())
"""


def merged(parts: list[Any]) -> cs.LossSweep:
    return reduce(lambda one, other: one.merge(other), parts).result()


def assert_same(got: cs.LossSweep, want: cs.LossSweep) -> None:
    """The same sweep, summed in another order."""
    assert got.table.columns == want.table.columns
    for column in want.table.columns:
        one, other = got.table[column], want.table[column]
        assert one.is_null().equals(other.is_null()), column
        known = other.drop_nulls().to_numpy()
        exact = column.startswith(("accuracy", "count")) or column == "alpha"
        bound = 0 if exact else REORDERED * np.maximum(1, np.abs(known))
        assert_within(one.drop_nulls().to_numpy(), known, bound, column)
    assert got.best_alpha == want.best_alpha
    made = [(s.shift, s.temperature, s.partition, s.count) for s in (got, want)]
    assert made[0] == made[1]


@pytest.mark.parametrize(
    ("dtype", "shift", "partition"),
    [("float32", "image", "fixed"), ("float64", "both", "each"), ("bfloat16", "text", "each")],
)
def test_seven_parts_in_seven_processes(dtype: str, shift: str, partition: str) -> None:
    size, d = 4 * SIDE + 77, 24
    options = {"alphas": ALPHAS, "shift": shift, "partition": partition, "temperature": 0.02}
    parts = in_processes(PART, [(i, 7, size, d, dtype, options) for i in range(7)])
    image, text = pairs(size, d, dtype)
    want = cs.loss_sweep(image, text, **options)
    assert_same(merged(parts), want)
    for order in ([6, 2, 0, 5, 3, 1, 4], [3, 4, 5, 6, 0, 1, 2]):
        assert_same(merged([parts[i] for i in order]), want)
    # In a tree, and what was merged travels too.
    halves = [reduce(lambda a, b: a.merge(b), some) for some in (parts[4:], parts[:4])]
    halves = [pickle.loads(pickle.dumps(half)) for half in halves]
    assert_same(halves[0].merge(halves[1]).result(), want)
    assert_sweep(halves[1].merge(halves[0]).result(), image, text, dtype, **options)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [1, 2, 3, 40])
@pytest.mark.parametrize("size", [3, SIDE, SIDE + 1, 3 * SIDE + 5])
def test_any_number_of_parts_of_any_set(size: int, n: int, dtype: str) -> None:
    # There may be more parts than tiles: some are then empty, and merge all the same.
    image, text = pairs(size, 9, dtype)
    want = cs.loss_sweep(image, text, alphas=ALPHAS)
    parts = [cs.loss_sweep_part(image, text, i, n, alphas=ALPHAS) for i in range(n)]
    assert all(isinstance(part, cs.LossSweepPart) for part in parts)
    assert_same(merged(parts), want)
    assert_same(merged(parts[::-1]), want)


@pytest.mark.parametrize("shift", SHIFTS)
@pytest.mark.parametrize("partition", PARTITIONS)
def test_parts_on_any_number_of_threads(shift: str, partition: str) -> None:
    options = {"alphas": ALPHAS, "shift": shift, "partition": partition}
    sweeps = [
        merged(
            [cs.loss_sweep_part(IMAGE, TEXT, i, 3, n_threads=threads, **options) for i in range(3)]
        )
        for threads in (1, 2, 3)
    ]
    assert sweeps[0].table.equals(sweeps[1].table)
    assert sweeps[0].table.equals(sweeps[2].table)


def test_merging_leaves_the_parts_as_they_were() -> None:
    parts = [cs.loss_sweep_part(IMAGE, TEXT, i, 3, alphas=ALPHAS) for i in range(3)]
    before = [pickle.dumps(part) for part in parts]
    want = merged(parts)
    assert_same(merged(parts), want)
    parts = [pickle.loads(dump) for dump in before]
    assert_same(merged(parts), want)


def test_an_incomplete_set_has_no_result() -> None:
    parts = [cs.loss_sweep_part(IMAGE, TEXT, i, 4, alphas=ALPHAS) for i in range(4)]
    for some in itertools.chain([[part] for part in parts], itertools.combinations(parts, 3)):
        whole = reduce(lambda one, other: one.merge(other), some)
        with pytest.raises(cs.ClipsoidError, match=r"not complete|incomplete|missing"):
            whole.result()


def test_a_part_counts_once() -> None:
    parts = [cs.loss_sweep_part(IMAGE, TEXT, i, 2, alphas=ALPHAS) for i in range(2)]
    with pytest.raises(cs.MismatchError):
        parts[0].merge(parts[0])
    with pytest.raises(cs.MismatchError):
        parts[0].merge(parts[1]).merge(parts[1])
    # Cuts that overlap: thirds and halves.
    third = cs.loss_sweep_part(IMAGE, TEXT, 1, 3, alphas=ALPHAS)
    with pytest.raises(cs.MismatchError):
        parts[0].merge(third)


OPTIONS: dict[str, Any] = {
    "alphas": ALPHAS,
    "shift": "image",
    "temperature": 0.02,
    "partition": "fixed",
}


@pytest.mark.parametrize(
    "other",
    [
        {"alphas": ALPHAS[:-1]},
        {"alphas": [*ALPHAS[:-1], 1.3]},
        {"shift": "text"},
        {"shift": "both"},
        {"temperature": 0.03},
        {"partition": "each"},
    ],
    ids=str,
)
def test_parts_of_other_parameters_do_not_merge(other: dict[str, Any]) -> None:
    one = cs.loss_sweep_part(IMAGE, TEXT, 0, 2, **OPTIONS)
    stranger = cs.loss_sweep_part(IMAGE, TEXT, 1, 2, **(OPTIONS | other))
    for left, right in ((one, stranger), (stranger, one)):
        with pytest.raises(cs.MismatchError):
            left.merge(right)


def changed_rows() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Pairs that differ from `IMAGE` and `TEXT`, some in nothing that a sum or a length shows."""
    single = IMAGE.copy()
    single[700, 3] = np.nextafter(single[700, 3], 1)
    swapped = TEXT.copy()
    swapped[[5, 900]] = swapped[[900, 5]]
    return {
        "another seed": pairs(len(IMAGE), 24, seed=1),
        "one bit": (single, TEXT),
        "roles": (TEXT, IMAGE),
        "two texts swapped": (IMAGE, swapped),
        "images turned round": (-IMAGE, TEXT),
        "texts in another order": (IMAGE, np.roll(TEXT, 256, axis=0)),
        "features in another order": (IMAGE[:, ::-1], TEXT),
        "one pair fewer": (IMAGE[:-1], TEXT[:-1]),
        "one feature fewer": (IMAGE[:, 1:], TEXT[:, 1:]),
        "another dtype": (IMAGE.astype(np.float64), TEXT.astype(np.float64)),
    }


@pytest.mark.parametrize("kind", changed_rows())
def test_parts_of_other_rows_do_not_merge(kind: str) -> None:
    one = cs.loss_sweep_part(IMAGE, TEXT, 0, 2, **OPTIONS)
    stranger = cs.loss_sweep_part(*changed_rows()[kind], 1, 2, **OPTIONS)
    for left, right in ((one, stranger), (stranger, one)):
        with pytest.raises(cs.MismatchError):
            left.merge(right)


def test_a_pair_of_other_rows_with_the_same_cosine_is_noticed() -> None:
    # Turned round together, the two keep their lengths and their own logit to the bit: only their
    # rivals' differ. At alpha = 0 not even the means show.
    image, text = IMAGE.copy(), TEXT.copy()
    image[700], text[700] = -image[700], -text[700]
    one = cs.loss_sweep_part(IMAGE, TEXT, 0, 2, alphas=[0.0])
    stranger = cs.loss_sweep_part(image, text, 1, 2, alphas=[0.0])
    with pytest.raises(cs.MismatchError):
        one.merge(stranger)


def test_a_result_is_a_table_of_the_documented_columns() -> None:
    found = merged([cs.loss_sweep_part(IMAGE, TEXT, i, 2, **OPTIONS) for i in (1, 0)])
    assert isinstance(found, cs.LossSweep)
    assert isinstance(found.table, pl.DataFrame)
    assert tuple(found.table.columns) == contrast.COLUMNS
