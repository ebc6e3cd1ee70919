"""The contrastive loss and its sweep over alpha in plain float64 numpy, from the paper's equations.

Levi & Gilboa, *The Double-Ellipsoid Geometry of CLIP*, ICML 2025 (arXiv 2411.14517), Eq. 7 to 9 and
Fig. 6. ``t_j`` is the text of pair j, ``v_k`` the image of pair k: rows of all matrices are texts,
columns images. Every matrix is whole, every shifted row is made by subtraction, and nothing is
shared with the library.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from oracle.reference import Array, mean, unit_rows, wide

Mask = NDArray[np.bool_]

#: The columns of a sweep, in order.
COLUMNS = (
    "alpha",
    "alignment",
    "uniformity",
    "loss",
    "loss_image_to_text",
    "loss_text_to_image",
    "accuracy_image_to_text",
    "accuracy_text_to_image",
    "loss_correct",
    "loss_misclassified",
    "count_correct",
)
#: Which of them a single loss has too.
FIGURES = COLUMNS[1:8]


class Contrast(NamedTuple):
    """One loss: what its pairs have in common, and each pair's own."""

    alignment: float
    uniformity: float
    loss: float
    loss_image_to_text: float
    loss_text_to_image: float
    accuracy_image_to_text: float
    accuracy_text_to_image: float
    per_pair_image_to_text: Array
    per_pair_text_to_image: Array
    hits_image_to_text: Mask
    hits_text_to_image: Mask

    @property
    def per_pair(self) -> Array:
        """A pair's own loss: the mean of its two directions."""
        return (self.per_pair_image_to_text + self.per_pair_text_to_image) / 2


def moved(image: ArrayLike, text: ArrayLike, alpha: float, shift: str) -> tuple[Array, Array]:
    """``v' = v - alpha m_i`` and ``t' = t - alpha m_t`` (Eq. 9), for whichever modality moves."""
    v, t = wide(image), wide(text)
    if shift in ("image", "both"):
        v = v - alpha * mean(v)
    if shift in ("text", "both"):
        t = t - alpha * mean(t)
    return v, t


def distinct(x: ArrayLike) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """One place of each distinct row, and for every row which of these it equals."""
    _, first, which = np.unique(wide(x), axis=0, return_index=True, return_inverse=True)
    return first, which.reshape(-1)


def logits(
    image: ArrayLike,
    text: ArrayLike,
    temperature: float,
    alpha: float = 0.0,
    shift: str = "image",
) -> Array:
    """``L_jk = cos(t_j, v_k) / tau`` (Eq. 7), j the text row, k the image column.

    A product of matrices may round two equal rows differently, by where they lie: each distinct
    row is multiplied once, so that equal rows tie exactly.
    """
    v, t = moved(image, text, alpha, shift)
    (first_v, which_v), (first_t, which_t) = distinct(image), distinct(text)
    cosines = unit_rows(t[first_t]) @ unit_rows(v[first_v]).T
    return cosines[np.ix_(which_t, which_v)] / temperature


def log_sum_exp(logits: Array, axis: int, *, keepdims: bool = False) -> Array:
    """``log sum exp`` along an axis, each line less its maximum."""
    peak = logits.max(axis=axis, keepdims=True)
    sums = np.log(np.exp(logits - peak).sum(axis=axis, keepdims=True)) + peak
    return sums if keepdims else sums.squeeze(axis)


def rival(logits: Array, axis: int) -> Array:
    """The highest logit of each line that is not its partner's."""
    others = logits.copy()
    np.fill_diagonal(others, -np.inf)
    return others.max(axis=axis)


def pair_losses(logits: Array, axis: int) -> Array:
    """``log sum_k exp(L_jk) - L_jj`` of each line: ``log(1 + sum over rivals exp(L_jk - L_jj))``.

    Written with the rivals apart, so that a loss of 1e-9 has its digits.
    """
    own = np.diag(logits)
    relative = logits - (own[:, None] if axis == 1 else own)
    np.fill_diagonal(relative, -np.inf)
    # Of the partner's 1 and the rivals, the largest term is taken out of the sum.
    peak = np.maximum(relative.max(axis=axis), 0.0)
    rest = np.exp(relative - (peak[:, None] if axis == 1 else peak)).sum(axis=axis)
    return np.where(peak == 0, np.log1p(rest), peak + np.log(np.exp(-peak) + rest))


def contrast(logits: Array) -> Contrast:
    """Eq. 7 and 8: a softmax over all texts for each image (axis 0), and the reverse (axis 1)."""
    own = np.diag(logits)
    to_text, to_image = pair_losses(logits, 0), pair_losses(logits, 1)
    hits = [own > rival(logits, axis) for axis in (0, 1)]
    alignment = -own.mean()
    uniformity = (log_sum_exp(logits, 0) + log_sum_exp(logits, 1)).mean() / 2
    figures = (
        alignment,
        uniformity,
        (to_text.mean() + to_image.mean()) / 2,
        to_text.mean(),
        to_image.mean(),
        *(hit.mean() for hit in hits),
    )
    return Contrast(*map(float, figures), to_text, to_image, *hits)


def contrastive_loss(image: ArrayLike, text: ArrayLike, temperature: float = 0.01) -> Contrast:
    """The loss of pairs as they are."""
    return contrast(logits(image, text, temperature))


def sweep(
    image: ArrayLike,
    text: ArrayLike,
    alphas: Sequence[float],
    shift: str = "image",
    temperature: float = 0.01,
    partition: str = "fixed",
) -> list[dict[str, Any]]:
    """A row for each alpha (Fig. 6), by `COLUMNS`.

    Pairs are correct by image-to-text hits, whichever modality moves: those at alpha = 0, or with
    partition "each" those at the row's own alpha. The mean loss of no pair is None.
    """
    fixed = contrast(logits(image, text, temperature)).hits_image_to_text
    rows = []
    for alpha in alphas:
        one = contrast(logits(image, text, temperature, alpha, shift))
        correct = fixed if partition == "fixed" else one.hits_image_to_text
        classes = [
            float(one.per_pair[members].mean()) if members.any() else None
            for members in (correct, ~correct)
        ]
        figures = [getattr(one, name) for name in FIGURES]
        values = [float(alpha), *figures, *classes, int(correct.sum())]
        rows.append(dict(zip(COLUMNS, values, strict=True)))
    return rows


def vertex(x: Sequence[float], y: Sequence[float]) -> float:
    """Where the parabola through three points has its extremum (Newton's divided differences).

    ``y_0 + s (x - x_0) + c (x - x_0)(x - x_1)`` has the slope ``s + c (2 x - x_0 - x_1)``.
    """
    slope = (y[1] - y[0]) / (x[1] - x[0])
    curvature = ((y[2] - y[1]) / (x[2] - x[1]) - slope) / (x[2] - x[0])
    return (x[0] + x[1] - slope / curvature) / 2


def refined(alphas: Sequence[float], losses: Sequence[float]) -> float:
    """The vertex through the least loss and its two neighbours; at an end, the grid's value."""
    at = int(np.argmin(losses))
    if at in (0, len(losses) - 1):
        return float(alphas[at])
    return vertex(alphas[at - 1 : at + 2], losses[at - 1 : at + 2])
