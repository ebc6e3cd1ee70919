"""The demo data has the paper's geometry: figures by plain float64 numpy, at several seeds and n.

"The paper" is Levi & Gilboa, ICML 2025; its figures are for MS-COCO and CLIP ViT-B/32. Nothing of
clipsoid but the generator is used here, so the figures check the recipe and not the library.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray

from clipsoid.synthetic import double_ellipsoid

Array = NDArray[np.float64]

TAU = 0.01
ALPHAS = (-1, -0.5, -0.3, -0.2, -0.15, -0.1, -0.05, 0, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 1)
# Several seeds and two sizes, so that the recipe is not tuned to one draw.
CASES = [(1200, 0), (1200, 1), (1200, 2), (5000, 3)]
every_case = pytest.mark.parametrize(("n", "seed"), CASES)


class Pairs(NamedTuple):
    image: Array
    text: Array
    topic: NDArray[np.int64]


@functools.cache
def draw(n: int, seed: int) -> Pairs:
    image, text, topic = double_ellipsoid(n, seed=seed)
    return Pairs(image.astype(np.float64), text.astype(np.float64), topic)


def unit(x: Array) -> Array:
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def center_ratio(x: Array) -> float:
    return float(np.linalg.norm(x.mean(axis=0)) / np.linalg.norm(x.std(axis=0)))


def cosine_to_mean(x: Array) -> Array:
    m = x.mean(axis=0)
    return unit(x) @ m / np.linalg.norm(m)


def conformity(x: Array) -> Array:
    """Mean cosine to the *other* rows."""
    u = unit(x)
    return (u @ u.sum(axis=0) - 1.0) / (len(u) - 1)


def dominance_over_null(x: Array) -> float:
    """Median of Eq. 6 over what untilted features would give at this n."""
    c = np.cov(x.T)
    variance = np.diag(c)
    sigma = np.sqrt(variance)
    dominance = (np.abs(c).sum(axis=1) - variance) / variance
    null = np.sqrt(2 / (np.pi * len(x))) * (sigma.sum() - sigma) / sigma
    return float(np.median(dominance / null))


def separability(pairs: Pairs) -> Array:
    gap = np.abs(pairs.image.mean(axis=0) - pairs.text.mean(axis=0))
    return gap / np.sqrt(pairs.image.var(axis=0) + pairs.text.var(axis=0))


def losses(moving: Array, fixed: Array) -> Array:
    """Contrastive loss (both directions, natural log) with the moving side's mean at each alpha."""
    m = moving.mean(axis=0)
    f = unit(fixed)
    raw, toward = f @ moving.T, f @ m
    out = []
    for alpha in ALPHAS:
        length = np.linalg.norm(moving - alpha * m, axis=1)
        # The largest cosine is 1, so that no exponent is below -2 / TAU = -200: fine in float64.
        rows, columns, own = np.zeros(len(f)), np.zeros(len(f)), np.zeros(len(f))
        for start in range(0, len(f), 256):
            j = np.arange(start, min(start + 256, len(f)))
            logits = (raw[j] - alpha * toward[j, None]) / length
            logits -= 1.0
            logits /= TAU
            own[j] = logits[np.arange(len(j)), j]
            np.exp(logits, out=logits)
            rows[j] = logits.sum(axis=1)
            columns += logits.sum(axis=0)
        out.append(np.mean(np.log(rows) + np.log(columns) - 2 * own) / 2)
    return np.array(out)


def histogram_kl(x: Array, y: Array) -> float:
    """50 bins over the joint range, p = count / n + 1e-10."""
    edges = np.linspace(min(x.min(), y.min()), max(x.max(), y.max()), 51)
    p, q = (np.histogram(z, edges)[0] / len(z) + 1e-10 for z in (x, y))
    return float(np.sum(p * np.log(p / q)))


def false_negatives(query: Array, candidates: Array) -> NDArray[np.int64]:
    """Candidates strictly above the partner, for each query."""
    cosines = unit(query) @ unit(candidates).T
    partner = np.diag(cosines).copy()
    np.fill_diagonal(cosines, -2.0)
    count: NDArray[np.int64] = (cosines > partner[:, None]).sum(axis=1)
    return count


def spearman(x: Array, y: Array) -> float:
    def ranks(z: Array) -> Array:
        _, inverse, count = np.unique(z, return_inverse=True, return_counts=True)
        return (np.cumsum(count) - (count - 1) / 2)[inverse]

    return float(np.corrcoef(ranks(x), ranks(y))[0, 1])


def best_alpha(curve: Array) -> float:
    return float(ALPHAS[int(np.argmin(curve))])


# The contract


def test_rows_are_raw_float32_pairs() -> None:
    pairs = double_ellipsoid(1500, seed=4)
    for x in (pairs.image, pairs.text):
        assert x.shape == (1500, 512)
        assert x.dtype == np.float32
        assert x.flags.c_contiguous
        assert x.flags.owndata
        norms = np.linalg.norm(x, axis=1)
        assert 7.0 < norms.min() < norms.max() < 14.0
        assert abs(norms.mean() - 10.0) < 0.7
    assert pairs.topic.shape == (1500,)
    assert pairs.topic.dtype == np.int64
    assert pairs.topic.min() == 0


@pytest.mark.parametrize(("n", "dim"), [(2, 512), (3, 32), (1023, 64), (1025, 768)])
def test_sizes(n: int, dim: int) -> None:
    pairs = double_ellipsoid(n, dim=dim)
    assert pairs.image.shape == pairs.text.shape == (n, dim)
    assert np.isfinite(pairs.image).all()
    assert np.isfinite(pairs.text).all()
    assert len(np.unique(pairs.image, axis=0)) == n


@pytest.mark.parametrize("n", [-1, 0, 1])
def test_needs_two_pairs(n: int) -> None:
    with pytest.raises(ValueError, match=f"n must be at least 2, got {n}"):
        double_ellipsoid(n)


def test_needs_32_features() -> None:
    with pytest.raises(ValueError, match="dim must be at least 32, got 31"):
        double_ellipsoid(10, dim=31)


def test_seed_decides_rows_and_population() -> None:
    first, again, other = (double_ellipsoid(1200, seed=s) for s in (0, 0, 1))
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a, b)
    # Another seed is another population: the means point elsewhere.
    m, w = first.image.mean(axis=0), other.image.mean(axis=0)
    assert abs(m @ w) < 0.3 * np.linalg.norm(m) * np.linalg.norm(w)


def test_fewer_rows_are_the_first_rows() -> None:
    small, large = double_ellipsoid(1100), double_ellipsoid(3000)
    for a, b in zip(small, large, strict=True):
        np.testing.assert_array_equal(a, b[:1100])


# One modality


@every_case
def test_off_center(n: int, seed: int) -> None:
    pairs = draw(n, seed)
    # The paper: 0.94 and 1.03. The recipe aims at 0.95 and 1.02; a seed moves it by 0.01.
    assert center_ratio(pairs.image) == pytest.approx(0.94, abs=0.025)
    assert center_ratio(pairs.text) == pytest.approx(1.03, abs=0.025)


@every_case
def test_thin_shell(n: int, seed: int) -> None:
    x = draw(n, seed).image
    r = np.linalg.norm(x - x.mean(axis=0), axis=1)
    rms = np.sqrt(np.mean(r**2))
    assert r.mean() == pytest.approx(7.5873, rel=0.005)
    assert rms == pytest.approx(7.6007, rel=0.005)
    # A few topics hold much of the data, and their lengths are drawn: 10 % from seed to seed.
    assert r.var() == pytest.approx(0.1914, rel=0.15)
    assert 1 - r.mean() / rms == pytest.approx(0.0018, abs=0.0003)
    assert r.min() > r.mean() / 2


@every_case
@pytest.mark.parametrize("modality", ["image", "text"])
def test_long_tailed_and_tilted(modality: str, n: int, seed: int) -> None:
    x = getattr(draw(n, seed), modality)
    variance = x.var(axis=0)
    # A sphere's sample variances would stay within 6 sqrt(2 / n), a quarter, of one another.
    assert variance.max() > 5 * np.median(variance)
    assert variance.mean() > 1.3 * np.median(variance)
    # The verdict asks for 1.5; real CLIP data has 2.5 to 5. It grows with n, as the null shrinks.
    assert 2.2 < dominance_over_null(x) < 7.5


@every_case
def test_a_few_features_dominate(n: int, seed: int) -> None:
    for x in (draw(n, seed).image, draw(n, seed).text):
        strength = np.sort(np.abs(x.mean(axis=0)) / x.std(axis=0))[::-1]
        assert strength[0] > 8
        assert strength[0] > 10 * np.median(strength)
        assert np.sum(strength > 5) <= 10


@every_case
def test_conformity_is_linear_in_cosine_to_mean(n: int, seed: int) -> None:
    pairs = draw(n, seed)
    # The paper's slopes, of the cosine on conformity, are nearly 1 / |unit mean|, that is
    # sqrt(1 + c^2) / c for a thin shell of centre ratio c: 1.460 for its image ratio 0.94, but
    # 1.394 for its text ratio 1.03, where it prints 1.411. Both cannot be met for text. Variance
    # along the mean, which makes conformity vary as it should, adds some 0.02 to either.
    for x, slope in ((pairs.image, 1.461), (pairs.text, 1.411)):
        c, cosine = conformity(x), cosine_to_mean(x)
        assert np.polyfit(c, cosine, 1)[0] == pytest.approx(slope, abs=0.04)
        # The paper: 0.9998.
        assert np.corrcoef(c, cosine)[0, 1] > 0.9997


def test_conformity_helper_is_the_mean_of_pairwise_cosines() -> None:
    x = draw(1200, 0).image[:50]
    cosines = unit(x) @ unit(x).T
    np.testing.assert_allclose(conformity(x), (cosines.sum(axis=1) - 1) / 49, atol=1e-12)


# Two modalities


@every_case
def test_nine_tag_features(n: int, seed: int) -> None:
    pairs = draw(n, seed)
    s = separability(pairs)
    # The paper counts nine and does not print its threshold; here there is a gap around 3.
    assert np.sum(s > 3) == 9
    assert np.max(s) > 8
    # Linearly separable: the best tag does it alone.
    image, text = (x[:, np.argmax(s)] for x in pairs[:2])
    assert image.min() > text.max() or image.max() < text.min()


@pytest.mark.parametrize("moving", ["image", "text"])
@every_case
def test_loss_is_least_near_no_move(n: int, seed: int, moving: str) -> None:
    pairs = draw(n, seed)
    sides = (pairs.image, pairs.text) if moving == "image" else (pairs.text, pairs.image)
    curve = losses(*sides)
    assert abs(best_alpha(curve)) <= 0.15
    # A minimum and not a plateau: centring, and moving as far the other way, cost a fifth and more.
    assert min(curve[0], curve[-1]) > 1.2 * curve.min()


def test_one_gaussian_per_modality_would_not_do() -> None:
    """The same joint moments without topics: the tests of the loss and of the link would fail."""
    pairs = draw(1200, 0)
    mix = np.random.default_rng(0).standard_normal((1200, 1200)) / np.sqrt(1200)
    image, text = (x.mean(axis=0) + mix @ (x - x.mean(axis=0)) for x in pairs[:2])
    assert best_alpha(losses(image, text)) > 0.15
    for query, candidates in ((image, text), (text, image)):
        assert abs(spearman(false_negatives(query, candidates), conformity(query))) < 0.15


@every_case
def test_conformities_match_best_near_no_move(n: int, seed: int) -> None:
    image, text, _ = draw(n, seed)
    mi, mt = image.mean(axis=0), text.mean(axis=0)
    still_image, still_text = conformity(image), conformity(text)
    by_image = np.array([histogram_kl(conformity(image - a * mi), still_text) for a in ALPHAS])
    by_text = np.array([histogram_kl(still_image, conformity(text - a * mt)) for a in ALPHAS])
    assert abs(best_alpha(by_image)) <= 0.15
    assert abs(best_alpha(by_text)) <= 0.15
    # The paper reads 0.14. The figure hangs on the few rows in bins that are empty in the other
    # modality (each costs about 15 / n), so only its size is held; a move of 1 gives 10 and more.
    assert 0.1 < by_image[ALPHAS.index(0)] < 0.9
    assert by_image[0] > 5
    assert by_image[-1] > 5


@every_case
def test_false_negatives_gather_near_the_mean(n: int, seed: int) -> None:
    image, text, _ = draw(n, seed)
    for query, candidates in ((image, text), (text, image)):
        count = false_negatives(query, candidates)
        assert spearman(count, conformity(query)) > 0.4
        assert spearman(count, cosine_to_mean(query)) > 0.4
        assert 0.2 < np.mean(count == 0) < 0.65


# The ingredients


@every_case
def test_topics_have_zipf_frequencies(n: int, seed: int) -> None:
    count = np.bincount(draw(n, seed).topic, minlength=300)
    assert len(count) == 300
    expected = n / np.arange(1, 301) / np.sum(1 / np.arange(1, 301))
    # Five standard deviations of a Poisson count, wherever a topic is expected ten times.
    often = expected > 10
    assert often.sum() >= 15
    assert np.all(np.abs(count - expected)[often] < 5 * np.sqrt(expected[often]))


@every_case
def test_frequent_topics_lie_nearer_the_mean(n: int, seed: int) -> None:
    pairs = draw(n, seed)
    for x in (pairs.image, pairs.text):
        cosine = cosine_to_mean(x)
        head, tail = cosine[pairs.topic < 10], cosine[pairs.topic >= 100]
        assert head.mean() - tail.mean() > 1.5 * cosine.std()


@every_case
def test_one_pair_in_fifty_nearly_repeats(n: int, seed: int) -> None:
    pairs = draw(n, seed)
    to_previous = [np.sum(unit(x)[1:] * unit(x)[:-1], axis=1) for x in pairs[:2]]
    twins = np.minimum(*to_previous) > 0.97
    assert twins.mean() == pytest.approx(0.02, abs=5 * np.sqrt(0.02 / n))
    # Near, and not equal; both modalities together; the same topic.
    assert np.maximum(*to_previous).max() < 0.9999
    np.testing.assert_array_equal(twins, np.maximum(*to_previous) > 0.97)
    np.testing.assert_array_equal(pairs.topic[1:][twins], pairs.topic[:-1][twins])


def test_uncertainty_is_each_modality_s_own() -> None:
    pairs = draw(5000, 3)
    # Rows of the most frequent topic differ by instance and noise alone. If the noise of all rows
    # were as long, their squared lengths would have variance 2 tr(C^2) around tr(C).
    lengths = []
    for x in (pairs.image, pairs.text):
        y = x[pairs.topic == 0]
        length = np.sum((y - y.mean(axis=0)) ** 2, axis=1)
        c = np.cov((y - y.mean(axis=0)).T)
        even = 2 * (np.sum(c**2) - np.trace(c) ** 2 / len(y)) / np.trace(c) ** 2
        assert np.var(length) / np.mean(length) ** 2 > 1.3 * even
        lengths.append(length)
    assert abs(np.corrcoef(lengths)[0, 1]) < 0.15
