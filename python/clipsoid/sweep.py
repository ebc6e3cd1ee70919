"""What a sweep of the contrastive loss over alpha gives: mergeable parts, and the result."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from clipsoid._native import __version__
from clipsoid.ellipsoid import NORMALIZED_WITHIN
from clipsoid.errors import MismatchError, UnavailableError

if TYPE_CHECKING:
    import polars as pl

Array = NDArray[np.float64]

_TOTALS = ("text_sum", "text_greatest", "image_sum", "image_greatest")


@dataclass(frozen=True, slots=True)
class SweepOptions:
    """What a sweep was asked for, and of what rows.

    Attributes
    ----------
    alphas : tuple of float
        Those of the table.
    computed : tuple of float
        The same, and 0 where the partition needs it.
    shift, temperature, partition
        As for `loss_sweep`.
    count, dim, blocks : int
        Pairs, features, and blocks of pairs that the work can be cut into.
    dtype : str
        Element type of the rows.
    image_norms, text_norms : tuple of float
        Least and greatest norm.
    simd_level : str
        Instruction set; bits may differ between two.
    """

    alphas: tuple[float, ...]
    computed: tuple[float, ...]
    shift: str
    temperature: float
    partition: str
    count: int
    dim: int
    dtype: str
    image_norms: tuple[float, float]
    text_norms: tuple[float, float]
    blocks: int
    simd_level: str

    @property
    def is_normalized(self) -> bool:
        """Whether every norm of both modalities lies within 1 +- 0.01."""
        ends = (*self.image_norms, *self.text_norms)
        return all(abs(norm - 1) <= NORMALIZED_WITHIN for norm in ends)


@dataclass(frozen=True, eq=False)
class LossSweepPart:
    """A part of a sweep: what the rivals of every row add up to, as far as they were visited.

    Made by `loss_sweep_part`; parts of one sweep merge, in any order, and can be pickled.

    Attributes
    ----------
    options : SweepOptions
    blocks : frozenset of int
        The blocks of rows that it covers, of ``options.blocks``.
    """

    options: SweepOptions
    blocks: frozenset[int]
    _own: Array = field(repr=False)
    _offset: Array = field(repr=False)
    _totals: dict[str, Array] = field(repr=False)

    @classmethod
    def of(cls, options: SweepOptions, left: str, state: Any, blocks: range) -> Self:
        """From what the core gives, whose left rows are those of `left`."""
        shape = (len(options.computed), options.count)
        right = "image" if left == "text" else "text"
        sides = {left: "left", right: "right"}
        totals = {}
        for name in _TOTALS:
            side, what = name.split("_")
            totals[name] = state[f"{sides[side]}_{what}"].reshape(shape)
        own = state["own"].reshape(shape)
        return cls(options, frozenset(blocks), own, state["offset"], totals)

    @cached_property
    def _digest(self) -> str:
        digest = hashlib.blake2b(digest_size=16)
        digest.update(repr(self.options).encode())
        digest.update(self._own.tobytes() + self._offset.tobytes())
        return digest.hexdigest()

    def merge(self, other: LossSweepPart) -> LossSweepPart:
        """Return the part that covers the blocks of both.

        Raises
        ------
        MismatchError
            If they are parts of different sweeps (rows, options, SIMD level), or both cover a
            block.
        """
        if self.options != other.options:
            raise MismatchError(
                f"parts of different sweeps: found {other.options}, wanted {self.options}"
            )
        if self._digest != other._digest:
            raise MismatchError("parts of different sweeps: their rows differ")
        twice = self.blocks & other.blocks
        if twice:
            raise MismatchError(f"block {min(twice)} of {self.options.blocks} is in both parts")
        totals = {}
        for name in _TOTALS:
            join = np.add if name.endswith("sum") else np.maximum
            totals[name] = join(self._totals[name], other._totals[name])
        blocks = self.blocks | other.blocks
        return LossSweepPart(self.options, blocks, self._own, self._offset, totals)

    def _complete(self) -> None:
        missing = self.options.blocks - len(self.blocks)
        if missing:
            raise UnavailableError(
                f"the sweep is not complete: {missing} of {self.options.blocks} blocks of rows are "
                "missing; merge the other parts first"
            )

    def logits(self) -> Array:
        """Return each pair's own logit, of shape (alphas computed, n)."""
        return np.asarray((self._own + self._offset[:, None]) * math.log(2))

    def losses(self) -> tuple[Array, Array]:
        """Return the losses of each pair, image to text and text to image, as `logits`."""
        self._complete()
        scale = np.exp2(-self._own)
        to_text, to_image = (self._totals[f"{side}_sum"] * scale for side in ("image", "text"))
        return np.log1p(to_text, out=to_text), np.log1p(to_image, out=to_image)

    def hits(self) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Return whether no rival is as near as the partner: for images, for texts, as `logits`."""
        self._complete()
        return (
            self._totals["image_greatest"] < self._own,
            self._totals["text_greatest"] < self._own,
        )

    def result(self) -> LossSweep:
        """Return the sweep, once all parts are merged.

        Raises
        ------
        UnavailableError
            If blocks are missing.
        """
        import polars as pl

        options = self.options
        to_text, to_image = self.losses()
        hits_to_text, hits_to_image = self.hits()
        alignment = -self.logits().mean(axis=1)
        pair = (to_text + to_image) / 2
        loss = pair.mean(axis=1)
        correct = hits_to_text
        if options.partition == "fixed":
            correct = np.broadcast_to(hits_to_text[options.computed.index(0.0)], correct.shape)
        count_correct = correct.sum(axis=1)
        columns: dict[str, Any] = {
            "alpha": options.computed,
            "alignment": alignment,
            "uniformity": loss - alignment,
            "loss": loss,
            "loss_image_to_text": to_text.mean(axis=1),
            "loss_text_to_image": to_image.mean(axis=1),
            "accuracy_image_to_text": hits_to_text.mean(axis=1),
            "accuracy_text_to_image": hits_to_image.mean(axis=1),
            "loss_correct": _means(pair, correct),
            "loss_misclassified": _means(pair, ~correct),
            "count_correct": count_correct,
        }
        return LossSweep(pl.DataFrame(columns).head(len(options.alphas)), options)


def _means(values: Array, chosen: NDArray[np.bool_]) -> pl.Series:
    """Mean of the chosen values of each row, null where there are none."""
    import polars as pl

    counts = chosen.sum(axis=1)
    sums = np.where(chosen, values, 0.0).sum(axis=1)
    means = [float(s / n) if n else None for s, n in zip(sums, counts, strict=True)]
    return pl.Series(means, dtype=pl.Float64)


@dataclass(frozen=True, eq=False)
class LossSweep:
    """The contrastive loss at each alpha.

    Attributes
    ----------
    table : polars.DataFrame
        One row per alpha: `alpha`, `alignment`, `uniformity`, `loss`, `loss_image_to_text`,
        `loss_text_to_image`, `accuracy_image_to_text`, `accuracy_text_to_image`, `loss_correct`,
        `loss_misclassified`, `count_correct`. Losses are in nats, accuracies in [0, 1]; the loss of
        a class of pairs is the mean of its pairs' own losses, null where the class is empty.
    options : SweepOptions
        How it was made.
    version : str
        Version of clipsoid.
    """

    table: pl.DataFrame
    options: SweepOptions
    version: str = __version__

    @property
    def shift(self) -> str:
        """The modality that moved."""
        return self.options.shift

    @property
    def temperature(self) -> float:
        """Temperature of the loss."""
        return self.options.temperature

    @property
    def partition(self) -> str:
        """Which pairs count as correct."""
        return self.options.partition

    @property
    def count(self) -> int:
        """Pairs."""
        return self.options.count

    @property
    def best_alpha(self) -> float:
        """Alpha of the least loss, on the grid."""
        return float(self.table["alpha"][int(self.table["loss"].arg_min() or 0)])

    @property
    def refined_alpha(self) -> float:
        """Alpha of the least loss, refined: vertex of the parabola through it and its neighbours.

        That of the grid where the least loss lies at an end of it.
        """
        table = self.table.unique("alpha").sort("alpha")
        x, y = table["alpha"].to_numpy(), table["loss"].to_numpy()
        i = int(y.argmin())
        if i in (0, len(x) - 1):
            return float(x[i])
        left, right = x[i] - x[i - 1], x[i + 1] - x[i]
        fall, rise = (y[i - 1] - y[i]) * right, (y[i + 1] - y[i]) * left
        # Both are zero on level ground.
        if fall + rise == 0:
            return float(x[i])
        return float(x[i] + (fall * right - rise * left) / (2 * (fall + rise)))

    def __repr__(self) -> str:
        o = self.options
        return (
            f"LossSweep(count={o.count}, alphas={len(o.alphas)}, shift={o.shift!r}, "
            f"temperature={o.temperature:g}, best_alpha={self.best_alpha:g}, "
            f"refined_alpha={self.refined_alpha:.4g})"
        )
