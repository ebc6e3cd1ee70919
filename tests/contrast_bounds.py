"""How far a contrastive loss may lie from the oracle's: as METHOD.md states, else as derived here.

Stated: 1e-6 max(1, |want|) from float32 and narrower for means, 1e-4 for a pair's own loss; from
float64 1e-10 for both. The statement is made for the model's temperature and for means of many
pairs. A product in float32 has a rounding error, and a logit is that product over the temperature:
two pairs at a temperature of 0.005 have no average to hide it in. So a derived bound takes over
where it is larger, from the rounding errors of one product of two rows of d features:

* each of its d additions rounds a partial sum s_k by at most ``u |s_k|``, with u = 2^-24 (2^-53
  from float64), and each factor of a term is a rounded one;
* scaling, shifting and dividing by the temperature round it a few more times.

Rounding errors are spread over [-u, u], ``u / sqrt(3)`` their standard deviation, and independent
(Higham & Mary, *A New Approach to Probabilistic Rounding Error Analysis*, 2019). A shift by
alpha m takes a part of every product away and divides by a shorter length, hence multiplies the
errors of row k by ``(|v_k| + |alpha m|) / |v_k - alpha m|``; where that grows the rows themselves
are shifted, and the factor is 1. To first order the error of a pair's loss is that of
``sum_k p_k L_k - L_own``, p being its softmax. `SIGMAS` standard deviations are allowed.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bounds import NARROW, UNIT, stated
from oracle import contrast
from oracle.reference import Array, mean, norms, unit_rows, wide

#: Beyond four standard deviations is one in 16,000; the deviation itself is taken at its largest.
SIGMAS = 4.0

#: Where the errors of two rows would grow by more than this, rows are shifted before they are
#: multiplied.
GREATEST_STRETCH = 3.0


def partial_sums(a: Array, b: Array) -> float:
    """The largest ``sum_k s_k^2 + 2 sum_k (a_k b_k)^2`` of products of a row with a row."""
    terms = a * b
    return float(((np.cumsum(terms, axis=1) ** 2).sum(axis=1) + 2 * (terms**2).sum(axis=1)).max())


class LossBounds:
    """Bounds for the figures of one loss, that at `alpha`.

    Parameters
    ----------
    exact_mean
        The mean of the rows is a number of float64, and so is every shifted row: neither the
        library nor the oracle has anything to round.
    """

    def __init__(
        self,
        image: ArrayLike,
        text: ArrayLike,
        dtype: str,
        temperature: float = 0.01,
        alpha: float = 0.0,
        shift: str = "image",
        *,
        exact_mean: bool = False,
    ) -> None:
        self.dtype, self.temperature, self.exact_mean = dtype, temperature, exact_mean
        self.image, self.text = wide(image), wide(text)
        self.n, self.d = self.image.shape
        self.alpha = {name: alpha if shift in (name, "both") else 0.0 for name in ("image", "text")}
        self.logits = contrast.logits(image, text, temperature, alpha, shift)

    def _amplification(self, name: str) -> tuple[Array, Array, float]:
        """Of each row: stretch, factor on its errors; the largest error of a unit row's place."""
        x, alpha = getattr(self, name), self.alpha[name]
        own, center = norms(x), alpha * mean(x)
        apart = norms(x - center)
        offset = float(norms(center[None])[0])
        with np.errstate(over="ignore"):
            stretch, factor = own / apart, (own + offset) / apart
            # Two means of n rows, summed in float64 in two orders; alpha m is rounded once.
            spread = float(norms(np.abs(x).max(axis=0)[None])[0])
            lost = abs(alpha) * np.sqrt(self.n) * 2 * UNIT * spread / apart
        return stretch, factor, 0.0 if self.exact_mean else float(lost.max())

    @cached_property
    def _which(self) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """For every image and text, which of the distinct ones it is."""
        return contrast.distinct(self.image)[1], contrast.distinct(self.text)[1]

    @cached_property
    def _base(self) -> float:
        """Standard deviation of the error of a cosine of rows as they are."""
        v, t = unit_rows(self.image), unit_rows(self.text)
        rolled = (0, 1, self.n // 2)
        sums = max(partial_sums(t, np.roll(v, by, axis=0)) for by in rolled)
        unit = 2.0**-24 if self.dtype in NARROW else 2.0**-53
        # Either row's length, the shift, its product with the row, the temperature: 1 at most each.
        return float(unit / np.sqrt(3) * np.sqrt(sums + 4))

    @cached_property
    def _errors(self) -> tuple[Array, float]:
        """Of every logit: standard deviation of its error, and what all have in common."""
        image, by_image, lost_image = self._amplification("image")
        text, by_text, lost_text = self._amplification("text")
        if image.max() * text.max() > GREATEST_STRETCH:
            by_image, by_text = np.ones_like(by_image), np.ones_like(by_text)
        single = self._base * np.outer(by_text, by_image)
        # Lengths of shifted rows come from float64 dot products, whose error counts squared.
        length = UNIT * np.sqrt(self.d) * (by_text[:, None] ** 2 + by_image**2)
        both = 1 + (self.dtype not in NARROW)  # The oracle's own errors count as well.
        errors = both * (single + length * np.abs(self.logits) * self.temperature)
        return errors / self.temperature, (lost_image + lost_text) / self.temperature

    @cached_property
    def _softmax(self) -> tuple[Array, Array]:
        """Of each image over the texts, of each text over the images: lines along axes 0 and 1."""
        return tuple(
            np.exp(self.logits - contrast.log_sum_exp(self.logits, axis, keepdims=True))
            for axis in (0, 1)
        )

    @cached_property
    def _of_sums(self) -> tuple[Array, Array]:
        """Standard deviation of each log-sum-exp: ``sum_k p_k error_k``."""
        errors = self._errors[0]
        return tuple(
            np.sqrt(((p * errors) ** 2).sum(axis=axis)) for axis, p in enumerate(self._softmax)
        )

    @cached_property
    def _of_losses(self) -> tuple[Array, Array]:
        """Of each pair's loss: what a pair that matches well gets wrong, it gets wrong twice."""
        own = np.diag(self._errors[0])
        found = []
        for p, sums in zip(self._softmax, self._of_sums, strict=True):
            here = np.diag(p)
            rivals = np.maximum(sums**2 - (here * own) ** 2, 0.0)
            found.append(np.sqrt(rivals + ((1 - here) * own) ** 2))
        return tuple(found)

    def per_pair(self) -> tuple[Array, Array]:
        """Of each pair's own loss: image to text, text to image."""
        promised = 1e-4 if self.dtype in NARROW else 1e-10
        common = 2 * self._errors[1]
        return tuple(np.maximum(promised, SIGMAS * e + common) for e in self._of_losses)

    def mean(self, figure: str, want: ArrayLike, members: ArrayLike | None = None) -> Array:
        """Of the mean that a column holds, over all pairs or over some of them.

        Pairs that are equal share their errors: only distinct ones average theirs out.
        """
        to_text, to_image = self._of_sums if figure == "uniformity" else self._of_losses
        each = {
            "alignment": np.diag(self._errors[0]),
            "loss_image_to_text": to_text,
            "loss_text_to_image": to_image,
        }.get(figure, (to_text + to_image) / 2)
        chosen = np.arange(self.n) if members is None else np.flatnonzero(members)
        distinct = min(len(np.unique(which[chosen])) for which in self._which)
        typical = np.sqrt((each[chosen] ** 2).mean())
        derived = SIGMAS * typical / np.sqrt(distinct) + 2 * self._errors[1]
        return np.maximum(stated(self.dtype, want), derived)

    def undecided(self, axis: int) -> contrast.Mask:
        """Pairs whose hit the errors may decide: image to text along axis 0, the reverse along 1.

        A partner that occurs twice is no such case: equal rows have equal logits, hence a miss.
        """
        errors, common = self._errors
        line = errors.max(axis=axis)
        margin = np.diag(self.logits) - contrast.rival(self.logits, axis)
        which = self._which[1 - axis]
        twice = np.bincount(which)[which] > 1
        return ~twice & (np.abs(margin) <= 2 * (SIGMAS * line + common))
