"""Ranks: against the definition, ties, several captions, invariances, every level, bad input."""

from __future__ import annotations

import io
from functools import cache
from typing import Any

import numpy as np
import pytest

import clipsoid as cs
from bounds import stated_conformity
from clipsoid import _native
from oracle import retrieval as oracle
from unit.samples import DTYPES, cloud, run_python

#: Tiles are 256 rows wide, register tiles 4 to 32.
SHAPES = [(2, 3), (3, 64), (31, 2), (255, 17), (256, 8), (257, 130), (600, 33)]
every_dtype = pytest.mark.parametrize("dtype", DTYPES)
every_shape = pytest.mark.parametrize(("n", "d"), SHAPES, ids=str)
RNG_SEED = 11


def pairs(n: int, d: int, dtype: str = "float32", captions: int = 1, noise: float = 0.6) -> Any:
    """Images, noisy captions of them in a shuffled order, and whose caption each is."""
    rng = np.random.default_rng([RNG_SEED, n, d, captions])
    image = cloud(n, d, "float64", offset=0.3)
    image_of = rng.permutation(np.tile(np.arange(n), captions))
    text = image[image_of] + noise * rng.standard_normal((len(image_of), d))
    return image.astype(DTYPES[dtype]), text.astype(DTYPES[dtype]), image_of


def check(got: cs.RetrievalRanks, image: Any, text: Any, image_of: Any, dtype: str) -> None:
    """Equal to the definition, but for rows that an error within the tolerance could move."""
    s = oracle.cosines(image, text)
    sides = (
        (got.image_to_text, oracle.partners(s, image_of)),
        (got.text_to_image, oracle.partners_of_texts(s, image_of)),
    )
    for ranks, found in sides:
        sure = oracle.robust(found, 2 * stated_conformity(dtype))
        assert ranks.dtype == np.float64
        assert sure.mean() > 0.9
        np.testing.assert_array_equal(ranks[sure], oracle.ranks(found)[sure])


@every_dtype
@every_shape
def test_ranks_equal_the_definition(n: int, d: int, dtype: str) -> None:
    image, text, image_of = pairs(n, d, dtype)
    text = text[np.argsort(image_of)]
    check(cs.retrieval_ranks(image, text), image, text, np.arange(n), dtype)


@every_dtype
@pytest.mark.parametrize(("n", "captions"), [(2, 2), (85, 3), (128, 5), (300, 2)])
def test_several_captions_equal_the_definition(n: int, captions: int, dtype: str) -> None:
    image, text, image_of = pairs(n, 20, dtype, captions)
    got = cs.retrieval_ranks(image, text, text_to_image_index=image_of)
    check(got, image, text, image_of, dtype)


@every_dtype
@pytest.mark.parametrize(("n", "d"), [(257, 130), (600, 33)])
def test_duplicates_tie_exactly(n: int, d: int, dtype: str) -> None:
    image, text, image_of = pairs(n, d, dtype)
    text = text[np.argsort(image_of)]
    same = np.array([0, 1, 17, 200, 255, 256, n - 1])
    text[same], image[same[::2]] = text[3], image[5]
    got = cs.retrieval_ranks(image, text)
    check(got, image, text, np.arange(n), dtype)
    # Seven texts tie for the images that own them, four images for the texts that own those.
    assert (got.image_to_text[[1, 200, 256]] >= 4).all()
    assert (got.text_to_image[same[::2]] >= 2.5).all()


def test_one_feature_and_signs_alone() -> None:
    # Powers of two scale to exactly 1: nothing but ties.
    x = np.array([[1.0], [-2.0], [4.0], [-0.5], [8.0]])
    y = np.array([[2.0], [2.0], [-1.0], [-4.0], [1.0]])
    check(cs.retrieval_ranks(x, y), x, y, np.arange(5), "float64")


@every_dtype
@pytest.mark.parametrize("constant", ["image", "text", "both"])
def test_a_constant_embedding_never_hits(constant: str, dtype: str) -> None:
    n = 300
    image, text = cloud(n, 9, dtype), cloud(n, 9, dtype, seed=1)
    if constant != "text":
        image[:] = image[0]
    if constant != "image":
        text[:] = text[0]
    ranks = cs.retrieval_ranks(image, text)
    if constant != "image":
        assert (ranks.image_to_text == 1 + (n - 1) / 2).all()
        assert ranks.recall(1).image_to_text == 0
    if constant != "text":
        assert (ranks.text_to_image == 1 + (n - 1) / 2).all()
        assert ranks.recall(1).text_to_image == 0


def test_own_further_captions_are_no_rivals() -> None:
    image = np.eye(3)
    # Image 0 has three captions: two that are the same, one that is worse.
    text = np.array([[1.0, 0.1, 0], [1.0, 0.1, 0], [0.3, 1, 0], [0, 1.0, 0], [0, 0, 1.0]])
    ranks = cs.retrieval_ranks(image, text, text_to_image_index=[0, 0, 0, 1, 2])
    assert ranks.image_to_text.tolist() == [1, 1, 1]
    assert ranks.text_to_image.tolist() == [1, 1, 2, 1, 1]


def test_recall_median_and_mean() -> None:
    ranks = cs.RetrievalRanks(np.array([1.0, 1.5, 2.0, 9.0]), np.array([1.0, 3.0]))
    assert ranks.recall(1) == (0.25, 0.5)
    assert ranks.recall(2) == (0.75, 0.5)
    assert ranks.recall(9).image_to_text == 1
    assert ranks.median_rank == (1.75, 2)
    assert ranks.mean_rank == (13.5 / 4, 2)
    assert ranks.mean_rank.text_to_image == 2
    assert repr(ranks) == "RetrievalRanks(4 images, 2 texts, recall@1 0.2500 and 0.5000)"
    said = ranks.to_dict()
    assert {*said} == {"image_to_text", "text_to_image", "simd_level", "version"}
    for k in (0, -1, 1.5, None):
        with pytest.raises(ValueError, match=r"k=.*wanted an integer of 1 or more"):
            ranks.recall(k)  # type: ignore[arg-type]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_threads_order_and_lengths_change_nothing(dtype: str) -> None:
    image, text, image_of = pairs(600, 64, dtype, 2)
    got = cs.retrieval_ranks(image, text, text_to_image_index=image_of, n_threads=1)
    for n_threads in (2, 3):
        other = cs.retrieval_ranks(image, text, text_to_image_index=image_of, n_threads=n_threads)
        np.testing.assert_array_equal(other.image_to_text, got.image_to_text)
        np.testing.assert_array_equal(other.text_to_image, got.text_to_image)
    rng = np.random.default_rng(0)
    p, q = rng.permutation(600), rng.permutation(1200)
    # Lengths are powers of two, so that directions keep their bits.
    scale = 2.0 ** rng.integers(-3, 4, (1200, 1))
    other = cs.retrieval_ranks(
        (image * scale[:600].astype(dtype))[p],
        (text * scale.astype(dtype))[q],
        text_to_image_index=np.argsort(p)[image_of[q]],
    )
    np.testing.assert_array_equal(other.image_to_text, got.image_to_text[p])
    np.testing.assert_array_equal(other.text_to_image, got.text_to_image[q])


def test_extreme_lengths_have_directions() -> None:
    image, text, image_of = pairs(60, 7, "float64")
    text = text[np.argsort(image_of)]
    got = cs.retrieval_ranks(image * 2.0**900, text * 2.0**-900)
    np.testing.assert_array_equal(got.image_to_text, cs.retrieval_ranks(image, text).image_to_text)


def test_different_types_layouts_and_sources_agree(tmp_path) -> None:
    image, text, image_of = pairs(300, 16, "float16")
    text = text[np.argsort(image_of)]
    want = cs.retrieval_ranks(image.astype(np.float64), text.astype(np.float64))
    np.save(tmp_path / "a.npy", text[:100])
    np.save(tmp_path / "b.npy", text[100:])
    for x, y in (
        (image.astype(np.float32), text.astype(np.float64)),
        (np.asfortranarray(image).astype(np.float64), text.astype(np.float32)),
        (image.astype(">f8"), str(tmp_path)),
    ):
        got = cs.retrieval_ranks(x, y)
        np.testing.assert_array_equal(got.image_to_text, want.image_to_text)
        np.testing.assert_array_equal(got.text_to_image, want.text_to_image)


PROBE = """
import io, sys, numpy as np, clipsoid as cs
from unit.samples import DTYPES
from unit.test_retrieval import SHAPES, pairs
found = {}
for dtype in DTYPES:
    for n, d in SHAPES:
        image, text, image_of = pairs(n, d, dtype, 2)
        text[-2:] = text[:2]
        ranks = cs.retrieval_ranks(image, text, text_to_image_index=image_of)
        found[f"{dtype} {n} {d} i"] = ranks.image_to_text
        found[f"{dtype} {n} {d} t"] = ranks.text_to_image
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
def test_every_level_equals_the_definition(n: int, d: int, dtype: str, level: str) -> None:
    image, text, image_of = pairs(n, d, dtype, 2)
    text[-2:] = text[:2]
    found = probe(level)
    got = cs.RetrievalRanks(found[f"{dtype} {n} {d} i"], found[f"{dtype} {n} {d} t"])
    check(got, image, text, image_of, dtype)


X = cloud(20, 4)


@pytest.mark.parametrize(
    ("index", "error", "message"),
    [
        (np.arange(19), cs.ShapeError, r"found shape \(19,\); wanted \(20,\)"),
        (np.arange(20.0), cs.DTypeError, r"elements are float64; wanted integers"),
        (np.r_[:19, 20], cs.MismatchError, r"row 19 is 20; wanted an image from 0 to 19"),
        (np.r_[-1, 1:20], cs.MismatchError, r"row 0 is -1; wanted an image from 0 to 19"),
        (np.r_[:7, 6, 8:20], cs.MismatchError, r"image 7 has no text"),
    ],
)
def test_bad_indices(index: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=f"^text_to_image_index: {message}"):
        cs.retrieval_ranks(X, X, text_to_image_index=index)


def test_an_index_says_whose_text_is_whose() -> None:
    with pytest.raises(cs.ShapeError, match="pairs, row by row; text_to_image_index says which"):
        cs.retrieval_ranks(X, X[:19])
    for image, text, index in ((X[:1], X, np.zeros(20, int)), (X, X[:1], [0])):
        with pytest.raises(cs.ShapeError, match="found 1 rows, wanted 2 or more"):
            cs.retrieval_ranks(image, text, text_to_image_index=index)
