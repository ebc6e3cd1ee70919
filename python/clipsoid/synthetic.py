"""Synthetic rows: pairs with the geometry of raw CLIP embeddings, and a sphere off its origin.

`double_ellipsoid` is for demos and tests. One Gaussian per modality gives two shifted, tilted
ellipsoids but not the paper's central claim, that the contrastive loss is least where the means
already lie: that needs frequent things, which collect false negatives, to sit near the mean. So a
row is drawn as ::

    x = mean + spread * (topic + typicality * common + (instance + uncertainty * noise) @ axes)

where topic, typicality (of the topic) and instance are shared by the two rows of a pair; mean,
spread, uncertainty and noise belong to one modality; and ``common`` is the direction that the two
means share.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["DoubleEllipsoid", "double_ellipsoid", "shifted_sphere"]

# Each pair of numbers is (image, text). |sigma| of the image shell is the paper's; it gives none
# for text, so text takes the value that puts its norms, too, near 10.
SPREAD = (7.6007, 7.0)
# |m| / |sigma|. The paper has 0.94 and 1.03; a hundredth closer to one another, the conformities of
# the two modalities overlap more as they do there (KL 0.5 with no move, the paper 0.14).
CENTER_RATIO = (0.95, 1.02)
# Shares of the variance |sigma|^2. What is left after these is the modality's own noise. Topic
# and instance set how well a temperature of 0.01 is calibrated, hence where the loss is least.
TOPIC_SHARE = 0.33
INSTANCE_SHARE = 0.095
# Variance along the direction common to both means; captions vary in it more than images do.
TYPICALITY_SHARE = (0.02, 0.04)
# Log-normal sigma of the length of a row's own noise: small, for the shell must stay thin.
UNCERTAINTY = 0.05
# Topics, and the Zipf exponent of their frequencies: natural frequencies are near 1.
N_TOPICS = 300
ZIPF_EXPONENT = 1.0
# Longest over shortest radius. Radii fall geometrically: this sets the thickness of the shell.
RADIUS_RATIO = 12.0
# Size of the random part of the axes before orthogonalisation, against the feature axes: enough
# to correlate the features, too little to wash out the long tail of their variances.
TILT = 0.35
# Tag features, each present in one modality only: the paper counts nine.
N_TAGS = 9
# Highest tag over |m|, and lowest tag over highest.
TAG_HEIGHT = 0.4
TAG_RATIO = 0.4
# Share of the squared mean, tags apart, that the two modalities have in common.
COMMON_SHARE = 0.85
# Fraction of pairs that nearly repeat the pair before, and by how much they differ from it.
TWIN_FRACTION = 0.02
TWIN_JITTER = 0.1
# Below this the nine tags do not fit among the quieter half of the features with room to spare.
MIN_DIM = 32
# Rows drawn at a time. A whole chunk is always drawn, so a row does not depend on n.
CHUNK = 1024


class DoubleEllipsoid(NamedTuple):
    """Paired raw embeddings and the topic of each pair.

    Attributes
    ----------
    image, text : ndarray of shape (n, dim), float32, C-contiguous
        Row i of `image` pairs with row i of `text`. Raw: norms are near 10, not 1.
    topic : ndarray of shape (n,), int64
        Topic of each pair; 0 is the most frequent.
    """

    image: NDArray[np.float32]
    text: NDArray[np.float32]
    topic: NDArray[np.int64]


def double_ellipsoid(n: int, *, dim: int = 512, seed: int = 0) -> DoubleEllipsoid:
    """Draw paired image and text rows from two off-centre, tilted ellipsoids.

    Parameters
    ----------
    n : int
        Number of pairs, at least 2.
    dim : int, default=512
        Number of features, at least 32. The paper's figures are met at 512.
    seed : int, default=0
        Seed of the population (means, axes, topics) and of the rows drawn from it.

    Returns
    -------
    DoubleEllipsoid
        `image` and `text`, of shape (n, dim), float32, raw (norms near 10); `topic`, of shape
        (n,), int64.

    Raises
    ------
    ValueError
        If `n` is below 2 or `dim` below 32.

    Notes
    -----
    What each ingredient is for, by the properties of [1]_:

    - *Means*: off-centre by ``|m| / |sigma|`` of 0.95 and 1.02. Nine tag features are high in one
      modality and absent from the other, which makes the modalities linearly separable and a few
      features dominate ``|m_l| / sigma_l``; the rest of the mean is mostly common to both.
    - *Axes*: radii that fall geometrically along axes a little turned from the features:
      long-tailed feature variances, off-diagonal covariance, and a shell as thin as the paper's.
    - *Topics*: Zipf frequencies. Topics are centred by frequency, and the more frequent have the
      higher cosine to the mean; rivals crowd there, so false negatives grow with conformity.
    - *Instance and own noise*: the part that tells a pair from its topic, and the part that hides
      it, in proportions for which a temperature of 0.01 is about right. Moving the centre would
      sharpen or flatten the cosines, so the contrastive loss is least near no move.
    - *Uncertainty*: the noise of each row has a length of its own, drawn for each modality.
    - *Near-duplicates*: one pair in fifty nearly repeats the pair before it, topic included.

    The same seed gives the same rows, up to the rounding of the machine's matrix product, and the
    rows of a smaller `n` are the first rows of a larger one. O(n dim^2) time; beyond the outputs,
    a few chunks of 1,024 rows.

    References
    ----------
    .. [1] M. Y. Levi and G. Gilboa, "The Double-Ellipsoid Geometry of CLIP", ICML 2025,
       arXiv:2411.14517.

    Examples
    --------
    >>> import clipsoid as cs
    >>> import numpy as np
    >>> pairs = cs.double_ellipsoid(1000, seed=0)
    >>> pairs.image.shape, pairs.text.dtype
    ((1000, 512), dtype('float32'))
    >>> m = pairs.image.mean(axis=0)
    >>> bool(0.9 < np.linalg.norm(m) / np.linalg.norm(pairs.image.std(axis=0)) < 1.0)
    True
    """
    if n < 2:
        raise ValueError(f"n must be at least 2, got {n}")
    if dim < MIN_DIM:
        raise ValueError(f"dim must be at least {MIN_DIM}, got {dim}")
    rng = np.random.Generator(np.random.PCG64(seed))
    population = _population(rng, dim)
    image = np.empty((n, dim), dtype=np.float32)
    text = np.empty((n, dim), dtype=np.float32)
    topic = np.empty(n, dtype=np.int64)
    for start in range(0, n, CHUNK):
        rows = slice(start, start + CHUNK)
        _draw(rng, population, image[rows], text[rows], topic[rows])
    return DoubleEllipsoid(image, text, topic)


def shifted_sphere(n: int, center: ArrayLike, *, seed: int = 0) -> NDArray[np.float64]:
    """Draw normal vectors of variance 1 in each feature around a centre.

    Parameters
    ----------
    n : int
        Number of rows, at least 1.
    center : array_like of shape (dim,)
        Their mean.
    seed : int, default=0
        Seed of the vectors; the same around every centre.

    Returns
    -------
    ndarray of float64 of shape (n, dim)
        In many dimensions nearly a sphere of radius ``sqrt(dim)`` around `center`.

    Raises
    ------
    ValueError
        If `n` is below 1, or `center` is no vector of finite numbers.

    Notes
    -----
    The rows of a smaller `n` are the first rows of a larger one. ``O(n dim)`` time.

    Examples
    --------
    >>> import clipsoid as cs
    >>> cs.shifted_sphere(1000, [10.0, 5.0, 1.0], seed=0).mean(axis=0).round().tolist()
    [10.0, 5.0, 1.0]
    """
    if n < 1:
        raise ValueError(f"n must be at least 1, got {n}")
    middle = np.asarray(center, np.float64)
    if middle.ndim != 1 or len(middle) == 0 or not np.isfinite(middle).all():
        raise ValueError(f"center must be a vector of finite numbers, got {center!r}")
    rng = np.random.Generator(np.random.PCG64(seed))
    return rng.standard_normal((n, len(middle))) + middle


class _Population(NamedTuple):
    """What the rows are drawn from; a pair of arrays is (image, text)."""

    frequency: NDArray[np.float64]  # of each topic
    centers: list[NDArray[np.float32]]  # (topics, dim): mean and topic together
    axes: list[NDArray[np.float32]]  # (dim, dim): from latents to features


def _draw(
    rng: np.random.Generator,
    population: _Population,
    image: NDArray[np.float32],
    text: NDArray[np.float32],
    topic: NDArray[np.int64],
) -> None:
    """Fill the outputs with the first rows of a chunk; draw all of it whatever their length."""
    drawn = rng.choice(N_TOPICS, size=CHUNK, p=population.frequency)
    twin = 1 + np.flatnonzero(rng.random(CHUNK - 1) < TWIN_FRACTION)
    drawn[twin] = drawn[twin - 1]
    topic[:] = drawn[: len(topic)]
    latents = _latents(rng, image.shape[1])
    for k, (out, latent) in enumerate(zip((image, text), latents, strict=True)):
        jitter = rng.standard_normal((len(twin), latent.shape[1]), dtype=np.float32)
        latent[twin] = latent[twin - 1] + np.float32(TWIN_JITTER) * jitter
        x = latent @ population.axes[k]
        x += population.centers[k][drawn]
        out[:] = x[: len(out)]


def _latents(rng: np.random.Generator, dim: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Instance plus own noise of a chunk of pairs, (CHUNK, dim) for each modality.

    Given the two uncertainties of a row, its latents are normal with covariance INSTANCE_SHARE:
    drawing one, and then the other given the first, takes two normal numbers where instance and
    two noises take three. These draws are most of the run time.
    """
    image_variance, text_variance = (
        INSTANCE_SHARE + _noise_variance(rng, share) for share in TYPICALITY_SHARE
    )
    slope = INSTANCE_SHARE / image_variance
    rest = text_variance - slope * INSTANCE_SHARE
    image = rng.standard_normal((CHUNK, dim), dtype=np.float32)
    image *= np.sqrt(image_variance).astype(np.float32)
    text = rng.standard_normal((CHUNK, dim), dtype=np.float32)
    text *= np.sqrt(rest).astype(np.float32)
    text += slope.astype(np.float32) * image
    return image, text


def _noise_variance(rng: np.random.Generator, typicality_share: float) -> NDArray[np.float64]:
    """Squared uncertainty, (CHUNK, 1): log-normal, its mean the share of variance that is left."""
    share = 1.0 - TOPIC_SHARE - INSTANCE_SHARE - typicality_share
    log_length = UNCERTAINTY * rng.standard_normal((CHUNK, 1)) - UNCERTAINTY**2
    variance: NDArray[np.float64] = share * np.exp(2.0 * log_length)
    return variance


def _population(rng: np.random.Generator, dim: int) -> _Population:
    """Draw what all rows have in common."""
    axes = _axes(rng, dim)
    means, common = _means(rng, axes)
    frequency, topics, typicality = _topics(rng, axes)
    centers = [
        mean + spread * (topics + np.sqrt(share) * typicality[:, None] * common)
        for mean, spread, share in zip(means, SPREAD, TYPICALITY_SHARE, strict=True)
    ]
    return _Population(
        frequency=frequency,
        centers=[center.astype(np.float32) for center in centers],
        axes=[(spread * axes).astype(np.float32) for spread in SPREAD],
    )


def _axes(rng: np.random.Generator, dim: int) -> NDArray[np.float64]:
    """Radii times axes, (dim, dim): rows of normal latents times this have total variance 1."""
    radii = RADIUS_RATIO ** -np.linspace(0.0, 1.0, dim)
    radii /= np.linalg.norm(radii)
    turned = np.eye(dim) + TILT / np.sqrt(dim) * rng.standard_normal((dim, dim))
    q, r = np.linalg.qr(turned)
    # The signs are LAPACK's choice; this choice makes them the same on every machine.
    q *= np.sign(np.diag(r))
    axes: NDArray[np.float64] = radii[:, None] * q.T
    return axes


def _means(
    rng: np.random.Generator, axes: NDArray[np.float64]
) -> tuple[list[NDArray[np.float64]], NDArray[np.float64]]:
    """Mean of each modality, and the unit direction that the two have in common."""
    dim = len(axes)
    # Tags tell the modality and little else, so they vary little: the quieter half.
    quiet = np.argsort((axes**2).sum(axis=0))[: dim // 2]
    tags = rng.choice(quiet, size=N_TAGS, replace=False)
    heights = TAG_HEIGHT * np.geomspace(1.0, TAG_RATIO, N_TAGS) * rng.choice([-1, 1], size=N_TAGS)
    common, *own = rng.standard_normal((3, dim))
    common[tags] = 0.0
    common /= np.linalg.norm(common)
    means = []
    for k in range(2):
        own[k][tags] = 0.0
        # Orthogonal to the common direction, so that the shares of the squared mean are exact.
        own[k] -= (own[k] @ common) * common
        own[k] /= np.linalg.norm(own[k])
        mean = np.zeros(dim)
        mean[tags[k::2]] = heights[k::2]
        rest = np.sqrt(1.0 - mean @ mean)
        mean += rest * (np.sqrt(COMMON_SHARE) * common + np.sqrt(1.0 - COMMON_SHARE) * own[k])
        means.append(CENTER_RATIO[k] * SPREAD[k] * mean)
    return means, common


def _topics(
    rng: np.random.Generator, axes: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Frequencies (topics,), offsets (topics, dim) and typicalities (topics,) of mean 0."""
    rank = np.arange(1, N_TOPICS + 1)
    frequency = np.power(rank, -ZIPF_EXPONENT, dtype=np.float64)
    frequency /= frequency.sum()
    topics = rng.standard_normal((N_TOPICS, len(axes))) @ axes
    topics /= np.linalg.norm(topics, axis=1, keepdims=True)
    topics -= frequency @ topics
    topics *= np.sqrt(TOPIC_SHARE / (frequency @ (topics**2).sum(axis=1)))
    typicality = np.log(frequency)
    typicality -= frequency @ typicality
    typicality /= np.sqrt(frequency @ typicality**2)
    return frequency, topics, typicality
