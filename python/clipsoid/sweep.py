"""What a sweep of the contrastive loss over alpha gives: mergeable parts, and the result."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from clipsoid._geometry import are_normalized
from clipsoid._native import __version__
from clipsoid._part import PairsOptions, Part
from clipsoid._shown import Drawn

if TYPE_CHECKING:
    import polars as pl

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

_TOTALS = ("text_sum", "text_missed", "image_sum", "image_missed")


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepOptions(PairsOptions):
    """What a sweep was asked for, and of what rows.

    Attributes
    ----------
    alphas : tuple of float
        Those of the table.
    computed : tuple of float
        The same, and 0 where the partition needs it.
    shift, temperature, partition
        As for `loss_sweep`.
    image_norms, text_norms : tuple of float
        Least and greatest norm.
    counts : tuple of int
        Images and texts: as many.
    dim, blocks : int
        Features, and blocks of pairs that the work can be cut into.
    dtype : str
        Element type of the rows.
    simd_level : str
        Instruction set; bits may differ between two.
    rows_digest : str, optional
        Tells the rows of one part from those of another.
    """

    alphas: tuple[float, ...]
    computed: tuple[float, ...]
    shift: str
    temperature: float
    partition: str
    image_norms: tuple[float, float]
    text_norms: tuple[float, float]

    @property
    def count(self) -> int:
        """Pairs."""
        return self.counts[0]

    @property
    def is_normalized(self) -> bool:
        """Whether every norm of both modalities lies within 1 +- 0.01."""
        return are_normalized(*self.image_norms) and are_normalized(*self.text_norms)


class PairLosses(NamedTuple):
    """What is known of each pair at one alpha; arrays of shape (n,).

    Attributes
    ----------
    logit : ndarray of float64
        Cosine over temperature.
    to_text, to_image : ndarray of float64
        Loss of the image among all texts, and of the text among all images, in nats.
    hits_text, hits_image : ndarray of bool
        Whether no other candidate is as near as the partner, or nearer.
    """

    logit: Array
    to_text: Array
    to_image: Array
    hits_text: Mask
    hits_image: Mask


@dataclass(frozen=True, eq=False)
class LossSweepPart(Part):
    """A part of a sweep: what the rivals of every row add up to, as far as they were visited.

    Made by `loss_sweep_part`; parts of one sweep merge, in any order, and can be pickled.

    Attributes
    ----------
    options : SweepOptions
    blocks : frozenset of int
        The blocks of rows that it covers, of ``options.blocks``.
    """

    options: SweepOptions
    _own: Array = field(repr=False)
    _offset: Array = field(repr=False)
    _totals: dict[str, NDArray[Any]] = field(repr=False)

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

    def merge(self, other: LossSweepPart) -> LossSweepPart:
        """Return the part that covers the blocks of both.

        Raises
        ------
        MismatchError
            If they are parts of different sweeps (rows, options, SIMD level), or both cover a
            block.
        """
        blocks = self._joined(other)
        totals = {}
        for name in _TOTALS:
            join = np.add if name.endswith("sum") else np.logical_or
            totals[name] = join(self._totals[name], other._totals[name])
        return LossSweepPart(self.options, blocks, self._own, self._offset, totals)

    def pairs(self, at: int) -> PairLosses:
        """Return what is known of each pair at alpha number `at` of ``options.computed``.

        Raises
        ------
        UnavailableError
            If blocks are missing.
        """
        self._complete()
        own = self._own[at]
        scale, totals = np.exp2(-own), self._totals
        return PairLosses(
            (own + self._offset[at]) * math.log(2),
            np.log1p(totals["image_sum"][at] * scale),
            np.log1p(totals["text_sum"][at] * scale),
            ~totals["image_missed"][at],
            ~totals["text_missed"][at],
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
        fixed = None
        if options.partition == "fixed":
            fixed = self.pairs(options.computed.index(0.0)).hits_text
        rows = []
        for at, alpha in enumerate(options.alphas):
            pairs = self.pairs(at)
            correct = pairs.hits_text if fixed is None else fixed
            loss = (pairs.to_text + pairs.to_image) / 2
            alignment = -float(pairs.logit.mean())
            rows.append(
                {
                    "alpha": alpha,
                    "alignment": alignment,
                    "uniformity": float(loss.mean()) - alignment,
                    "loss": float(loss.mean()),
                    "loss_image_to_text": float(pairs.to_text.mean()),
                    "loss_text_to_image": float(pairs.to_image.mean()),
                    "accuracy_image_to_text": float(pairs.hits_text.mean()),
                    "accuracy_text_to_image": float(pairs.hits_image.mean()),
                    "loss_correct": float(loss[correct].mean()) if correct.any() else None,
                    "loss_misclassified": None if correct.all() else float(loss[~correct].mean()),
                    "count_correct": int(correct.sum()),
                }
            )
        types = {name: pl.Float64 for name in rows[0]} | {"count_correct": pl.Int64}
        return LossSweep(pl.DataFrame(rows, types), options)


@dataclass(frozen=True, eq=False)
class LossSweep(Drawn):
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
