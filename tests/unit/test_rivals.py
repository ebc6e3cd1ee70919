"""False negatives: against plain sorting, between two sets and within one; the central link."""

from __future__ import annotations

import io
from functools import cache
from typing import Any

import numpy as np
import pytest
from scipy import stats

import clipsoid as cs
from bounds import stated_conformity
from clipsoid import _native
from oracle import reference
from oracle import retrieval as oracle
from unit.samples import DTYPES, cloud, run_python

SHAPES = [(2, 3), (3, 64), (31, 2), (255, 17), (257, 130), (600, 33)]
#: How many to name, and by how much they exceed the partner.
OPTIONS = [(1, 0.0), (10, 0.05), (10, -0.4), (700, 0.0)]
every_dtype = pytest.mark.parametrize("dtype", DTYPES)
every_shape = pytest.mark.parametrize(("n", "d"), SHAPES, ids=str)


def pairs(n: int, d: int, dtype: str) -> tuple[Any, Any]:
    """Images and noisy captions; every ninth of either is one that another is too."""
    image = cloud(n, d, "float64", offset=0.3)
    text = image + 0.6 * np.random.default_rng([n, d]).standard_normal((n, d))
    image[9::9], text[4::9] = image[0], text[1]
    return image.astype(DTYPES[dtype]), text.astype(DTYPES[dtype])


def check(got: cs.Rivals, s: Any, partner: Any, margin: float, k: int, error: float) -> None:
    """As by sorting row `r` of cosines `s` without its entry `r`, where an error cannot decide."""
    n = len(s)
    assert (got.count.dtype, got.index.dtype) == (np.int64, np.int64)
    assert got.index.shape == got.similarity.shape == got.margin.shape == (n, min(k, n))
    sure = 0
    for r in range(n):
        rivals = np.delete(s[r] - partner[r] - margin, r)
        if ((np.abs(rivals) <= error) & ((rivals != 0) | (margin != 0))).any():
            continue
        sure += 1
        want = oracle.rivals_above(s[r], partner[r] + margin, r)
        assert got.count[r] == len(want)
        index, similarity = got.index[r], got.similarity[r]
        held = min(k, len(want))
        assert (index[held:] == -1).all()
        assert np.isnan(similarity[held:]).all()
        index, similarity = index[:held], similarity[:held]
        assert (np.abs(similarity - s[r, want[:held]]) <= error).all()
        assert (np.abs(similarity - s[r, index]) <= error).all()
        np.testing.assert_array_equal(index, index[np.lexsort((index, -similarity))])
        assert len(set(index)) == held
        assert (np.abs(got.margin[r, :held] - (similarity - partner[r])) <= error).all()
        # The last one named is no worse than the first one left out.
        clear = (
            held == len(want) or s[r, want[held - 1]] - s[r, want[held]] > error or held == n - 1
        )
        if clear and (np.diff(s[r, want[: held + 1]]) <= -error).all():
            np.testing.assert_array_equal(index, want[:held])
    assert sure > 0.9 * n


def check_pairs(got: Any, image: Any, text: Any, margin: float, k: int, dtype: str) -> None:
    s, error = oracle.cosines(image, text), 2 * stated_conformity(dtype)
    check(got[0], s, np.diag(s), margin, k, error)
    check(got[1], s.T, np.diag(s), margin, k, error)


@every_dtype
@every_shape
@pytest.mark.parametrize(("k", "margin"), OPTIONS)
def test_false_negatives_equal_plain_sorting(
    n: int, d: int, k: int, margin: float, dtype: str
) -> None:
    image, text = pairs(n, d, dtype)
    got = cs.false_negatives(image, text, k=k, margin=margin)
    check_pairs((got.image_to_text, got.text_to_image), image, text, margin, k, dtype)


@every_dtype
@every_shape
@pytest.mark.parametrize(("k", "threshold"), [(3, 0.9), (10, 0.2), (700, -0.5)])
def test_within_one_set_equals_plain_sorting(
    n: int, d: int, k: int, threshold: float, dtype: str
) -> None:
    x, _ = pairs(n, d, dtype)
    got = cs.false_negatives_within(x, threshold=threshold, k=k)
    s = oracle.cosines(x, x)
    check(got, s, np.full(n, threshold), 0.0, k, 2 * stated_conformity(dtype))
    np.testing.assert_array_equal(got.margin, got.similarity - threshold)


def test_ties_go_to_the_lower_number_and_do_not_count_as_above() -> None:
    n = 600
    image = np.tile(np.array([[1.0, 0.0]]), (n, 1))
    text = np.tile(np.array([[3.0, 4.0]]), (n, 1))
    better = np.array([7, 255, 256, 511, 512, 599])
    text[better] = [4.0, 3.0]
    got = cs.false_negatives(image, text, k=4).image_to_text
    rest = np.setdiff1d(np.arange(n), better)
    assert (got.count[better] == 0).all()
    assert (got.count[rest] == 6).all()
    assert (got.index[rest] == better[:4]).all()
    assert (got.index[better] == -1).all()
    # The partner is no rival, however low the bar.
    everything = cs.false_negatives(image, text, k=2, margin=-3.0)
    assert (everything.image_to_text.count == n - 1).all()
    assert (everything.text_to_image.count == n - 1).all()
    assert (everything.text_to_image.index[5:] == [0, 1]).all()
    assert everything.text_to_image.index[:2].tolist() == [[1, 2], [0, 2]]


def test_any_k_takes_no_more_places_than_there_are_candidates() -> None:
    image, text = pairs(10, 5, "float32")
    got = cs.false_negatives(image, text, k=10**9, margin=-3.0)
    for rivals in (got.image_to_text, got.text_to_image):
        assert rivals.index.shape == rivals.similarity.shape == rivals.margin.shape == (10, 10)
        assert (rivals.count == 9).all()
        assert (rivals.index[:, 9] == -1).all()
    within = cs.false_negatives_within(text, k=10**9, threshold=-2)
    assert within.index.shape == (10, 10)
    assert [sorted(row) for row in within.index[:, :9]] == [
        [j for j in range(10) if j != i] for i in range(10)
    ]


def same(a: cs.Rivals, b: cs.Rivals) -> None:
    for name, array in a.to_dict().items():
        np.testing.assert_array_equal(array, b.to_dict()[name])


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_threads_change_no_bit(dtype: str) -> None:
    image, text = pairs(1200, 64, dtype)
    # Rivals everywhere, and many ties: whichever tile comes first must not show.
    text[600:] = text[:600]
    one = cs.false_negatives(image, text, k=7, margin=-0.1, n_threads=1)
    within = cs.false_negatives_within(text, k=7, threshold=-1.0, n_threads=1)
    for n_threads in (2, 3, 5):
        got = cs.false_negatives(image, text, k=7, margin=-0.1, n_threads=n_threads)
        same(got.image_to_text, one.image_to_text)
        same(got.text_to_image, one.text_to_image)
        assert got.image_spearman == one.image_spearman
        again = cs.false_negatives_within(text, k=7, threshold=-1.0, n_threads=n_threads)
        same(again, within)


def test_the_order_of_pairs_changes_nothing() -> None:
    image, text = cloud(300, 20, "float32"), cloud(300, 20, "float32", seed=4)
    one = cs.false_negatives(image, text, k=5)
    p = np.random.default_rng(0).permutation(300)
    other = cs.false_negatives(image[p], text[p] * 4, k=5)
    for side in ("image_to_text", "text_to_image"):
        a, b = getattr(other, side), getattr(one, side)
        np.testing.assert_array_equal(a.count, b.count[p])
        np.testing.assert_array_equal(a.similarity, b.similarity[p])
        there = a.index >= 0
        np.testing.assert_array_equal(p[a.index[there]], b.index[p][there])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_spearman_is_that_of_average_ranks(dtype: str) -> None:
    image, text, _ = cs.double_ellipsoid(500, dim=32, seed=3)
    image, text = image.astype(dtype), text.astype(dtype)
    got = cs.false_negatives(image, text)
    for x, rivals, found in (
        (image, got.image_to_text, got.image_spearman),
        (text, got.text_to_image, got.text_spearman),
    ):
        series = {
            "conformity": reference.conformity(x),
            "cosine_to_mean": reference.cosine_to_mean(x, reference.mean(x)),
        }
        count = oracle.average_ranks(rivals.count)
        for name, want in series.items():
            value = getattr(found, name)
            correlation = reference.pearson(count, oracle.average_ranks(want))
            assert value == pytest.approx(correlation, abs=1e-12)
            assert value == pytest.approx(stats.spearmanr(rivals.count, want)[0], abs=1e-12)


def test_common_rows_have_many_false_negatives() -> None:
    # Prediction 1 of the paper, which the synthetic pairs are made to show.
    image, text, _ = cs.double_ellipsoid(1200, seed=0)
    got = cs.false_negatives(image, text)
    assert min(*got.image_spearman, *got.text_spearman) > 0.3


def test_a_series_that_does_not_vary_has_no_correlation() -> None:
    image = cloud(50, 8, "float64")
    got = cs.false_negatives(image, image)
    assert not got.image_to_text.count.any()
    assert got.image_spearman == got.text_spearman == (None, None)
    # A mean of zero gives no cosine.
    x = np.array([[1.0, 0], [-1, 0], [0, 1], [0, -1]])
    y = np.array([[1.0, 0], [0, 1], [0, 2], [1, 1]])
    found = cs.false_negatives(x, y).image_spearman
    assert found.cosine_to_mean is None


def test_reprs_and_dictionaries_are_short() -> None:
    image, text = pairs(31, 5, "float32")
    got = cs.false_negatives(image, text, k=2)
    texts, images = got.image_to_text.count.sum(), got.text_to_image.count.sum()
    assert repr(got) == (
        f"FalseNegatives(31 pairs, {texts} texts and {images} images above partners)"
    )
    rows = np.count_nonzero(got.image_to_text.count)
    assert repr(got.image_to_text) == f"Rivals(31 rows, {rows} with rivals, {texts} in all)"
    assert len(got.image_to_text) == 31
    plain = got.to_dict()
    assert plain["image_to_text"]["count"] is got.image_to_text.count
    assert set(plain["text_spearman"]) == {"conformity", "cosine_to_mean"}


PROBE = """
import io, numpy as np, clipsoid as cs
from unit.samples import DTYPES
from unit.test_rivals import SHAPES, pairs
found = {}
for dtype in DTYPES:
    for n, d in SHAPES:
        got = cs.false_negatives(*pairs(n, d, dtype), k=10, margin=-0.2)
        for side in ("image_to_text", "text_to_image"):
            for name, array in getattr(got, side).to_dict().items():
                found[f"{dtype} {n} {d} {side} {name}"] = array
out = io.BytesIO()
np.savez(out, **found)
print(out.getvalue().hex())
"""


@cache
def probe(level: str) -> dict[str, np.ndarray]:
    done = run_python(PROBE, CLIPSOID_SIMD=level)
    with np.load(io.BytesIO(bytes.fromhex(done.stdout.strip()))) as found:
        return dict(found)


@pytest.mark.parametrize("level", _native.simd_levels())
@every_dtype
@every_shape
def test_every_level_equals_plain_sorting(n: int, d: int, dtype: str, level: str) -> None:
    image, text = pairs(n, d, dtype)
    names = ("count", "index", "similarity", "margin")
    got = [
        cs.Rivals(*(probe(level)[f"{dtype} {n} {d} {side} {name}"] for name in names))
        for side in ("image_to_text", "text_to_image")
    ]
    check_pairs(got, image, text, -0.2, 10, dtype)
