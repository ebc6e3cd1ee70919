"""Parts of what needs all pairs: whatever computes and merges them, the whole comes out exactly."""

from __future__ import annotations

import itertools
import pickle
from collections.abc import Callable
from functools import partial, reduce
from typing import Any

import numpy as np
import pytest

import clipsoid as cs
from clipsoid import _part
from unit.pair_samples import SIDE, in_processes, pairs
from unit.samples import DTYPES

Options = dict[str, Any]


def rows(n: int, dtype: str = "float32", d: int = 9) -> tuple[Any, Any]:
    """Pairs of which many repeat another: ties that only the number decides."""
    image, text = pairs(n, d, dtype)
    image[5::5], text[3::7] = image[0], text[1]
    return image, text


def ranks(image: Any, text: Any, *part: int, **options: Any) -> Any:
    """All of it, or part ``(i, n)``; as the others below."""
    return (cs.retrieval_ranks_part if part else cs.retrieval_ranks)(image, text, *part, **options)


def captions(image: Any, text: Any, *part: int, step: int = 1, **options: Any) -> Any:
    """Ranks of fewer images than texts."""
    image = image[: len(text) // 2 + 1]
    index = np.arange(len(text)) * step % len(image)
    return ranks(image, text, *part, text_to_image_index=index, **options)


def rivals(image: Any, text: Any, *part: int, **options: Any) -> Any:
    options = {"k": 4, "margin": -0.1} | options
    return (cs.false_negatives_part if part else cs.false_negatives)(image, text, *part, **options)


def within(image: Any, text: Any, *part: int, **options: Any) -> Any:
    options = {"k": 4, "threshold": 0.3} | options
    found = cs.false_negatives_within_part if part else cs.false_negatives_within
    return found(text, *part, **options)


def histogram(image: Any, text: Any, *part: int, **options: Any) -> Any:
    return (cs.similarity_histogram_part if part else cs.similarity_histogram)(
        image, *part, **options
    )


def histogram_between(image: Any, text: Any, *part: int, **options: Any) -> Any:
    options = {"bins": 7, "range": (0.0, 0.8), "y": text[: len(text) // 2 + 1]} | options
    return histogram(image, text, *part, **options)


WORKS: dict[str, Callable[..., Any]] = {
    work.__name__: work for work in (ranks, captions, rivals, within, histogram, histogram_between)
}
every_work = pytest.mark.parametrize("work", WORKS.values(), ids=WORKS)

PARTS = """
import pickle, sys
from unit.test_pair_parts import WORKS, rows
i, n, size, dtype = pickle.loads(bytes.fromhex(sys.argv[1]))
print(pickle.dumps({name: work(*rows(size, dtype), i, n) for name, work in WORKS.items()}).hex())
"""


def merged(parts: Any) -> Any:
    return reduce(lambda one, other: one.merge(other), parts)


def assert_same(got: Any, want: Any) -> None:
    """Equal down to the bits, whatever is nested in what."""
    if isinstance(want, dict):
        assert list(got) == list(want)
        for name, value in want.items():
            assert_same(got[name], value)
    elif isinstance(want, np.ndarray):
        assert got.dtype == want.dtype
        np.testing.assert_array_equal(got, want)
    elif hasattr(want, "to_dict"):
        assert type(got) is type(want)
        assert_same(got.to_dict(), want.to_dict())
    else:
        assert got == want


@pytest.mark.parametrize("dtype", DTYPES)
def test_five_parts_in_five_processes(dtype: str) -> None:
    size = 4 * SIDE + 77
    answers = in_processes(PARTS, [(i, 5, size, dtype) for i in range(5)])
    for name, work in WORKS.items():
        want = work(*rows(size, dtype))
        parts = [answer[name] for answer in answers]
        for order in ([0, 1, 2, 3, 4], [4, 2, 0, 3, 1], [2, 3, 4, 0, 1]):
            assert_same(merged(parts[i] for i in order).result(), want)
        # In a tree, and what was merged travels too.
        halves = [pickle.loads(pickle.dumps(merged(some))) for some in (parts[3:], parts[:3])]
        assert_same(halves[0].merge(halves[1]).result(), want)


@every_work
@pytest.mark.parametrize("n", [1, 2, 3, 40])
@pytest.mark.parametrize("size", [3, SIDE, SIDE + 1, 3 * SIDE + 5])
def test_any_number_of_parts_of_any_set(work: Callable[..., Any], size: int, n: int) -> None:
    # There may be more parts than blocks: some are then empty, and merge all the same.
    image, text = rows(size)
    want = work(image, text)
    parts = [work(image, text, i, n) for i in range(n)]
    assert_same(merged(parts).result(), want)
    assert_same(merged(parts[::-1]).result(), want)


@every_work
def test_parts_on_any_number_of_threads(work: Callable[..., Any]) -> None:
    image, text = rows(3 * SIDE + 9, d=40)
    want = work(image, text, n_threads=1)
    for threads in (1, 2, 3):
        parts = [work(image, text, i, 2, n_threads=threads) for i in range(2)]
        assert_same(merged(parts).result(), want)


@every_work
def test_merging_leaves_the_parts_as_they_were(work: Callable[..., Any]) -> None:
    parts = [work(*rows(3 * SIDE), i, 3) for i in range(3)]
    before = [pickle.dumps(part) for part in parts]
    want = merged(parts).result()
    assert [pickle.dumps(part) for part in parts] == before
    assert_same(merged(parts).result(), want)


@every_work
def test_an_incomplete_set_has_no_result(work: Callable[..., Any]) -> None:
    parts = [work(*rows(7 * SIDE), i, 4) for i in range(4)]
    for some in itertools.chain([[part] for part in parts], itertools.combinations(parts, 3)):
        with pytest.raises(cs.UnavailableError, match=r"not complete: \d of \d blocks .* missing"):
            merged(some).result()


@every_work
def test_a_part_counts_once(work: Callable[..., Any]) -> None:
    image, text = rows(7 * SIDE)
    half, other = (work(image, text, i, 2) for i in range(2))
    third = work(image, text, 1, 3)
    for one, again in ((half, half), (half.merge(other), other), (half, third)):
        with pytest.raises(cs.MismatchError, match=r"block \d of \d is in both parts"):
            one.merge(again)


OTHERS: list[tuple[str, Options, str]] = [
    ("captions", {"step": 3}, "index_digest"),
    ("rivals", {"k": 5}, "k"),
    ("rivals", {"margin": 0.0}, "margin"),
    ("within", {"k": 3}, "k"),
    ("within", {"threshold": 0.4}, "threshold"),
    ("histogram", {"bins": 201}, "bins"),
    ("histogram", {"range": (-1.0, 0.9)}, "range"),
    ("histogram_between", {"y": None}, "counts"),
]


@pytest.mark.parametrize(("name", "options", "field"), OTHERS, ids=str)
def test_parts_of_other_parameters_do_not_merge(name: str, options: Options, field: str) -> None:
    one = WORKS[name](*rows(2 * SIDE), 0, 2)
    stranger = WORKS[name](*rows(2 * SIDE), 1, 2, **options)
    for left, right in ((one, stranger), (stranger, one)):
        with pytest.raises(cs.MismatchError, match=rf"parts of different work: {field} is "):
            left.merge(right)


@every_work
def test_parts_of_other_rows_do_not_merge(work: Callable[..., Any]) -> None:
    image, text = rows(2 * SIDE)
    bit = image.copy(), text.copy()
    for x in bit:
        x[200, 3] = np.nextafter(x[200, 3], 1)
    one = work(image, text, 0, 2)
    for x, y, field in (
        (*bit, "rows_digest"),
        (np.roll(image, 256, axis=0), np.roll(text, 256, axis=0), "rows_digest"),
        (image[:-1], text[:-1], "counts"),
        (image[:, 1:], text[:, 1:], "dim"),
        (image.astype(np.float64), text.astype(np.float64), "dtype"),
    ):
        stranger = work(x, y, 1, 2)
        for left, right in ((one, stranger), (stranger, one)):
            with pytest.raises(cs.MismatchError, match=rf"different work: {field} is "):
                left.merge(right)


def test_parts_of_another_kind_do_not_merge() -> None:
    image, text = rows(2 * SIDE)
    kinds = [partial(work, image, text) for work in (ranks, rivals, within, histogram)]
    kinds.append(partial(cs.loss_sweep_part, image, text))
    for one, other in itertools.permutations(kinds, 2):
        with pytest.raises(cs.MismatchError, match=r"different work: found a \w+Part; wanted a "):
            one(0, 2).merge(other(1, 2))


def test_parts_of_a_triangle_have_as_much_work() -> None:
    for blocks, n in ((1, 1), (1, 5), (2, 2), (40, 3), (1000, 7), (10**6, 1000)):
        parts = [_part.share(blocks, (i, n), triangle=True) for i in range(n)]
        assert [part.start for part in parts] == [0, *(part.stop for part in parts[:-1])]
        assert parts[-1].stop == blocks
        work = [sum(blocks - part[at] for at in (0, -1)) * len(part) / 2 for part in parts if part]
        assert sum(work) == blocks * (blocks + 1) / 2
        if blocks > n:
            assert max(work) - min(work) <= 2 * blocks
    assert _part.share(9, None, triangle=True) == range(9)
    part = within(*rows(8 * SIDE), 0, 2)
    assert part.blocks == {0, 1, 2}


@every_work
def test_the_whole_needs_no_digest(work: Callable[..., Any], monkeypatch) -> None:
    image, text = rows(30)
    want = work(image, text)

    def fail(*arrays: Any) -> str:
        raise AssertionError("rows were hashed")

    for module in ("_part", "retrieval"):
        monkeypatch.setattr(f"clipsoid.{module}.digest", fail)
    assert_same(work(image, text), want)
    with pytest.raises(AssertionError, match="hashed"):
        work(image, text, 0, 1)


def test_a_part_says_what_it_is() -> None:
    part = rivals(*rows(3 * SIDE), 1, 3)
    options = part.options
    assert isinstance(part, cs.FalseNegativesPart)
    assert isinstance(options, cs.FalseNegativesOptions)
    assert (options.k, options.margin, options.counts) == (4, -0.1, (3 * SIDE, 3 * SIDE))
    assert (options.dim, options.dtype, options.blocks, part.blocks) == (9, "float32", 3, {1})
    assert len(repr(part)) < 500
