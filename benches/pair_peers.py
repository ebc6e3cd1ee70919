"""What a user would write instead for pairs, and the best that could be tuned in Python.

Every function takes a pair of arrays, images and texts.
"""

import functools
import os
import shutil
import sysconfig
from pathlib import Path

import numpy as np

from pair_data import TEMPERATURE
from peers import unit_rows

#: Texts of a block of the one product: its exponentials are read again from the cache. Of powers of
#: two, the fastest; small blocks lose more at the barriers between threads than they gain.
BLOCK = 512

#: Taken from every logit, so that the largest possible one is 80: sums of exponentials stay finite
#: in float32, and no row or column vanishes unless all its cosines are below -0.6.
SHIFT = 1 / TEMPERATURE - 80

_HEADER = Path(sysconfig.get_paths()["include"]) / "Python.h"

#: Whether torch.compile finds what it needs.
CAN_COMPILE = shutil.which(os.environ.get("CXX", "g++")) is not None and _HEADER.exists()

#: What a name says where it does not.
EAGER = "" if CAN_COMPILE else ", eager"


@functools.cache
def compiled(step):
    """The compiled function, of any size; the function itself where torch cannot compile."""
    import torch

    return torch.compile(step, dynamic=True) if CAN_COMPILE else step


def product(pairs):
    """The matrix of products alone."""
    image, text = pairs
    return image @ text.T


# ----------------------------------------------------------------------------------- loss


def _logits_torch(image, text):
    import torch

    normalize = torch.nn.functional.normalize
    return normalize(image, dim=1) @ normalize(text, dim=1).T / TEMPERATURE


def _loss_torch(logits, labels):
    import torch

    cross_entropy = torch.nn.functional.cross_entropy
    return (cross_entropy(logits, labels) + cross_entropy(logits.T, labels)) / 2


def loss_torch(pairs):
    """Cross-entropy of the logits both ways."""
    import torch

    image, text = map(torch.from_numpy, pairs)
    loss = _loss_torch(_logits_torch(image, text), torch.arange(len(text)))
    return np.array([loss.item()])


def loss_numpy(pairs):
    """Log-sum-exp of the logits both ways."""
    from scipy.special import logsumexp

    image, text = map(unit_rows, pairs)
    logits = image @ text.T / np.float32(TEMPERATURE)
    both = (logsumexp(logits, axis=0) + logsumexp(logits, axis=1)) / 2
    return np.array([(both - logits.diagonal()).mean()])


def sweep_torch(pairs, alphas):
    """Everything anew at each alpha."""
    import torch

    image, text = map(torch.from_numpy, pairs)
    mean, labels = image.mean(dim=0), torch.arange(len(text))
    out = []
    for alpha in alphas:
        logits = _logits_torch(image - alpha * mean, text)
        hits = [(logits.argmax(dim=dim) == labels).float().mean() for dim in (1, 0)]
        out.append([float(x) for x in (_loss_torch(logits, labels), *hits)])
    return np.array(out)


def _exponentials(products, offset, scale):
    exponentials = ((products - offset[:, None]) * scale - SHIFT).exp()
    sums = exponentials.sum(dim=1), exponentials.sum(dim=0)
    return exponentials, *sums, exponentials.amax(dim=1), exponentials.amax(dim=0)


def sweep_torch_product(pairs, alphas):
    """One product, by blocks, and for each alpha one exponential that serves both directions."""
    import torch

    image, text = map(torch.from_numpy, pairs)
    text = torch.nn.functional.normalize(text, dim=1)
    offsets = torch.outer(torch.tensor(alphas), text @ image.mean(dim=0))
    scales = 1 / (TEMPERATURE * _lengths_torch(image, alphas))
    step = compiled(_exponentials)
    own, text_sum, text_greatest = torch.empty(3, *scales.shape)
    image_sum, image_greatest = torch.zeros(2, *scales.shape)
    for start in range(0, len(text), BLOCK):
        here = slice(start, start + BLOCK)
        products = text[here] @ image.T
        for at in range(len(alphas)):
            # Views would be compiled for their places.
            vectors = offsets[at, here].clone(), scales[at].clone()
            found, *sums, row_greatest, column_greatest = step(products, *vectors)
            own[at, here] = found.diagonal(start)
            text_sum[at, here] = sums[0]
            image_sum[at] += sums[1]
            text_greatest[at, here] = row_greatest
            torch.maximum(image_greatest[at], column_greatest, out=image_greatest[at])
    loss = (image_sum.log() + text_sum.log()) / 2 - own.log()
    columns = (loss, (own == image_greatest).float(), (own == text_greatest).float())
    return torch.stack([column.mean(dim=1) for column in columns], dim=1).numpy()


def _lengths_torch(image, alphas):
    import torch

    rows, alphas = image.double(), torch.tensor(alphas, dtype=torch.float64)[:, None]
    mean = rows.mean(dim=0)
    squares = (rows**2).sum(dim=1) - 2 * alphas * (rows @ mean) + alphas**2 * (mean @ mean)
    return squares.sqrt().float()


# ---------------------------------------------------------------------------------- ranks


def ranks_numpy_sorted(pairs):
    """Where the partner stands when all candidates are sorted."""
    image, text = map(unit_rows, pairs)
    cosines = image @ text.T
    labels = np.arange(len(text))[:, None]
    orders = (np.argsort(-part, axis=1) for part in (cosines, cosines.T))
    return np.stack([1 + (order == labels).argmax(axis=1) for order in orders])


def ranks_numpy_counted(pairs):
    """How many candidates are above the partner."""
    image, text = map(unit_rows, pairs)
    cosines = image @ text.T
    own = cosines.diagonal()
    return np.stack([1 + (cosines > own[:, None]).sum(axis=1), 1 + (cosines > own).sum(axis=0)])


def _cosines_torch(pairs):
    import torch

    image, text = (torch.nn.functional.normalize(torch.from_numpy(part), dim=1) for part in pairs)
    return image @ text.T


def ranks_torch_sorted(pairs):
    """As `ranks_numpy_sorted`."""
    import torch

    cosines = _cosines_torch(pairs)
    labels = torch.arange(len(cosines))[:, None]
    orders = (part.argsort(dim=1, descending=True) for part in (cosines, cosines.T))
    return np.stack([1 + (order == labels).int().argmax(dim=1).numpy() for order in orders])


def _above(cosines):
    own = cosines.diagonal()
    return (cosines > own[:, None]).sum(dim=1), (cosines > own).sum(dim=0)


def ranks_torch_counted(pairs):
    """As `ranks_numpy_counted`."""
    return np.stack([1 + count.numpy() for count in compiled(_above)(_cosines_torch(pairs))])
