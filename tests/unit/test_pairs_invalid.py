"""What a caller of anything over all pairs may get wrong: every function refuses it by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl
import pytest

import clipsoid as cs
from unit.pair_samples import SIDE, pairs
from unit.samples import DTYPES

IMAGE, TEXT = pairs(40, 6)

Call = Callable[..., Any]
#: Functions of images and texts that are pairs: part `i` of `n`, or the whole.
PAIRED: dict[str, tuple[Call, Call | None]] = {
    "contrastive_loss": (cs.contrastive_loss, None),
    "loss_sweep": (cs.loss_sweep, cs.loss_sweep_part),
    "retrieval_ranks": (cs.retrieval_ranks, cs.retrieval_ranks_part),
    "false_negatives": (cs.false_negatives, cs.false_negatives_part),
}
#: The same of one set, with an argument that one of them needs.
WITHIN: dict[str, tuple[Call, Call | None]] = {
    "false_negatives_within": (
        lambda x, **o: cs.false_negatives_within(x, **{"threshold": 0.5} | o),
        lambda x, i, n, **o: cs.false_negatives_within_part(x, i, n, **{"threshold": 0.5} | o),
    ),
    "similarity_histogram": (cs.similarity_histogram, cs.similarity_histogram_part),
}


def calls(functions: dict[str, tuple[Call, Call | None]]) -> dict[str, Call]:
    """Every function by name, and each that does parts as one that does the second of three."""

    def second(part: Call, sets: int) -> Call:
        return lambda *rows, **o: part(*rows[:sets], 1, 3, **o)

    found = {}
    for name, (whole, part) in functions.items():
        found[name] = whole
        if part is not None:
            found[f"{name}_part"] = second(part, 1 if name in WITHIN else 2)
    return found


def every(functions: dict[str, Call]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("call", functions.values(), ids=functions)


ON_PAIRS, ON_SETS = calls(PAIRED), calls(WITHIN)
every_pair, every_call = every(ON_PAIRS), every(ON_PAIRS | ON_SETS)
with_k = {name: call for name, call in (ON_PAIRS | ON_SETS).items() if "negatives" in name}
#: What makes a row invalid.
KINDS = {"non_finite": [np.nan, np.inf, -np.inf], "zero_norm": [0.0, -0.0]}
PROBLEMS = {"non_finite": "holds a value that is not finite", "zero_norm": "has zero norm"}


def given(call: Call, *rows: Any) -> tuple[list[Any], list[str]]:
    """The rows that a function takes, and what it calls them."""
    if call in ON_SETS.values():
        return [rows[0]], ["x"]
    return list(rows), ["image", "text"]


@every_pair
def test_unequal_counts(call: Call) -> None:
    for image, text in ((IMAGE, TEXT[:-1]), (IMAGE[1:], TEXT), (IMAGE[:0], TEXT)):
        message = rf"image has {len(image)} rows, text has {len(text)}; wanted pairs, row by row"
        with pytest.raises(cs.ShapeError, match=message):
            call(image, text)


@every_pair
def test_unequal_dimensions(call: Call) -> None:
    for image, text in ((IMAGE, TEXT[:, 1:]), (IMAGE[:, :1], TEXT)):
        message = (
            rf"^image has {image.shape[1]} features, text has {text.shape[1]}; wanted the same"
        )
        with pytest.raises(cs.MismatchError, match=message):
            call(image, text)


@every_call
@pytest.mark.parametrize("n", [0, 1])
def test_fewer_than_two_rows(call: Call, n: int) -> None:
    rows, names = given(call, IMAGE[:n], TEXT[:n])
    with pytest.raises(cs.ShapeError, match=rf"^{names[0]}: found {n} rows, wanted 2 or more"):
        call(*rows)


@every_call
@pytest.mark.parametrize("n_threads", [0, -1, 1.5, "2", float("nan")])
def test_a_bad_number_of_threads(call: Call, n_threads: Any) -> None:
    with pytest.raises(ValueError, match=r"n_threads=.*wanted None") as caught:
        call(*given(call, IMAGE, TEXT)[0], n_threads=n_threads)
    assert repr(n_threads) in str(caught.value)


@every_call
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("row", [0, SIDE - 1, SIDE, SIDE + 43])
def test_a_row_without_a_direction_is_named(call: Call, row: int, dtype: str) -> None:
    for at, name in enumerate(given(call, IMAGE, TEXT)[1]):
        for status, values in KINDS.items():
            for value in values:
                rows = [x.copy() for x in given(call, *pairs(SIDE + 44, 6, dtype))[0]]
                if status == "zero_norm":
                    rows[at][row] = value
                else:
                    rows[at][row, row % 6] = value
                message = rf"^{name}: row {row} {PROBLEMS[status]}"
                with pytest.raises(cs.InvalidRowError, match=message) as caught:
                    call(*rows)
                assert (caught.value.row, caught.value.status) == (row, status)
                assert "policy" not in str(caught.value)


@every_call
def test_a_row_of_a_store_is_named_by_its_file(call: Call, tmp_path) -> None:
    for values in KINDS.values():
        bad = TEXT.copy()
        bad[37] = values[0]
        for i, part in enumerate(np.split(bad, [30])):
            np.save(tmp_path / f"{i}.npy", part)
        rows = given(call, IMAGE, TEXT)[0]
        rows[-1] = tmp_path
        with pytest.raises(cs.InvalidRowError, match=r"1\.npy: row 7 "):
            call(*rows)


@every_call
def test_a_missing_row_is_named(call: Call) -> None:
    rows, names = given(call, IMAGE, TEXT)
    values: list[Any] = rows[-1].tolist()
    values[3] = None
    rows[-1] = pl.Series(values, dtype=pl.Array(pl.Float32, 6))
    with pytest.raises(cs.InvalidRowError, match=rf"^{names[-1]}: row 3 is missing"):
        call(*rows)


@every_pair
@pytest.mark.parametrize("n_threads", [1, 2])
def test_of_several_invalid_rows_the_first_is_named(call: Call, n_threads: int) -> None:
    image, text = pairs(3 * SIDE, 6)
    image[[100, 300, 700]] = np.nan
    text[[50, 699]] = 0
    with pytest.raises(cs.InvalidRowError, match=r"^image: row 100 |^text: row 50 "):
        call(image, text, n_threads=n_threads)


@every_call
@pytest.mark.parametrize("at", [0, 1])
def test_what_is_no_matrix_of_floats_is_named(call: Call, at: int) -> None:
    names = given(call, IMAGE, TEXT)[1]
    for wrong, error, message in (
        (IMAGE[0], cs.ShapeError, r"found shape \(6,\)"),
        (IMAGE[None], cs.ShapeError, r"found shape \(1, 40, 6\)"),
        (IMAGE[:, :0], cs.ShapeError, ""),
        (IMAGE.astype(np.int32), cs.DTypeError, "elements are int32"),
        (IMAGE.astype(np.complex64), cs.DTypeError, "elements are complex64"),
        (IMAGE.tolist(), cs.DTypeError, ""),
        (None, cs.DTypeError, ""),
    ):
        rows = given(call, IMAGE, TEXT)[0]
        last = min(at, len(rows) - 1)
        rows[last] = wrong
        with pytest.raises(error, match=f"^{names[last]}: {message}"):
            call(*rows)


@pytest.mark.parametrize("name", [name for name in PAIRED | WITHIN if name != "contrastive_loss"])
@pytest.mark.parametrize(("i", "n"), [(3, 3), (-1, 3), (0, 0), (5, 2), (0, -1)])
def test_a_part_that_is_not_there(name: str, i: int, n: int) -> None:
    _, part = (PAIRED | WITHIN)[name]
    assert part is not None
    rows = [IMAGE, TEXT] if name in PAIRED else [IMAGE]
    with pytest.raises(ValueError, match=rf"part {i} of {n}; wanted 0 <= i < n"):
        part(*rows, i, n)


@every(with_k)
@pytest.mark.parametrize("k", [0, -3, 2.5, None, "2"])
def test_a_bad_k(call: Call, k: Any) -> None:
    with pytest.raises(ValueError, match=r"k=.*wanted an integer of 1 or more"):
        call(*given(call, IMAGE, TEXT)[0], k=k)


@every(with_k)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, None, "0.1"])
def test_a_bad_margin_or_threshold(call: Call, value: Any) -> None:
    name = "threshold" if call in ON_SETS.values() else "margin"
    with pytest.raises(ValueError, match=rf"{name}=.*wanted a finite number"):
        call(*given(call, IMAGE, TEXT)[0], **{name: value})
