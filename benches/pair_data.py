"""The pairs of the jobs on pairs, and their float64 oracles, worked through by blocks of texts."""

import numpy as np

import clipsoid as cs
import data

TEMPERATURE = 0.01

#: Those of `loss_sweep` by default.
ALPHAS = tuple(round(-1 + step / 20, 2) for step in range(41))

#: Texts of a block.
BLOCK = 500


def make_pairs(count):
    """Images and texts off the origin that share a topic and more: accuracies are about 0.35."""
    return cs.double_ellipsoid(count)[:2]


def _blocks(image, text):
    # Where a block starts, its unit texts, and their products with all images.
    image = image.astype(np.float64)
    for start in range(0, len(text), BLOCK):
        part = data.units(text[start : start + BLOCK].astype(np.float64))
        yield start, part, part @ image.T


def exact_sweep(pairs, alphas):
    """Loss and accuracies, image to text and text to image, at each alpha; the image moves."""
    image, text = pairs
    mean = image.mean(axis=0, dtype=np.float64)
    lengths = [np.linalg.norm(image - alpha * mean, axis=1) for alpha in alphas]
    own = np.empty((len(alphas), len(text)))
    # Sums of exponentials less their bound, and greatest logits: of texts, and of images.
    text_sum, text_greatest = np.empty_like(own), np.empty_like(own)
    image_sum, image_greatest = np.zeros_like(own), np.full_like(own, -np.inf)
    for start, part, products in _blocks(image, text):
        here = slice(start, start + len(part))
        for at, (alpha, length) in enumerate(zip(alphas, lengths, strict=True)):
            logits = (products - alpha * (part @ mean)[:, None]) / (length * TEMPERATURE)
            own[at, here] = logits.diagonal(start)
            text_greatest[at, here] = logits.max(axis=1)
            np.maximum(image_greatest[at], logits.max(axis=0), out=image_greatest[at])
            logits -= 1 / TEMPERATURE
            np.exp(logits, out=logits)
            text_sum[at, here] = logits.sum(axis=1)
            image_sum[at] += logits.sum(axis=0)
    both = (np.log(image_sum) + np.log(text_sum)) / 2 + 1 / TEMPERATURE
    columns = (both - own, own >= image_greatest, own >= text_greatest)
    return np.stack([column.mean(axis=1) for column in columns], axis=1)


def exact_ranks(pairs):
    """Rank of each image's text, and of each text's image."""
    image, text = (data.units(part.astype(np.float64)) for part in pairs)
    own = np.einsum("ij,ij->i", image, text)
    ranks = np.zeros((2, len(text)))
    for start, part, products in _blocks(image, text):
        here = slice(start, start + len(part))
        # A partner does not count against itself, however its own product was rounded.
        np.einsum("ii->i", products[:, here])[:] = own[here]
        for rank, mine in ((ranks[0], own), (ranks[1, here], own[here, None])):
            axis = mine.ndim - 1
            rank += (products > mine).sum(axis=axis) + (products == mine).sum(axis=axis) / 2
    # Each partner is equal to itself, which made half a rank.
    return ranks + 0.5


def mean_deviation(found, want):
    """Largest deviation of a mean, relative where the mean is above 1."""
    return float((np.abs(np.asarray(found) - want) / np.maximum(1, np.abs(want))).max())
