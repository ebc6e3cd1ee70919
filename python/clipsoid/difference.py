"""Where the two rows of a pair stand in their modalities: common in one, rare in the other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from clipsoid._checks import checked_count
from clipsoid._gather import modalities
from clipsoid._ranks import average_ranks
from clipsoid._shown import Drawn
from clipsoid._source import check_threads
from clipsoid.conformity import conformity
from clipsoid.results import Made

Array = NDArray[np.float64]


class LargestDifferences(NamedTuple):
    """Pairs that differ most, the largest difference first.

    Attributes
    ----------
    image : ndarray of int64
        Pairs whose image is the more common one of the two.
    text : ndarray of int64
        Pairs whose text is.
    """

    image: NDArray[np.int64]
    text: NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class ConformityDifference(Made, Drawn):
    """Conformity of the two rows of each pair within their modalities.

    Attributes
    ----------
    image_conformity, text_conformity : ndarray of float64 of shape (n,)
        In [-1, 1]. The two scales differ.
    image_percentile, text_percentile : ndarray of float64 of shape (n,)
        Share of the modality's rows that conform less, half of those that conform the same
        included, the row itself among them: in (0, 1).
    simd_level : str
        Instruction set; bits may differ between two.
    version : str
        Version of clipsoid.
    """

    image_conformity: Array
    text_conformity: Array
    image_percentile: Array
    text_percentile: Array

    @property
    def difference(self) -> Array:
        """Conformity of the image minus that of the text."""
        return self.image_conformity - self.text_conformity

    @property
    def percentile_difference(self) -> Array:
        """Percentile of the image minus that of the text, in (-1, 1)."""
        return self.image_percentile - self.text_percentile

    def largest(
        self, k: int = 10, *, by: Literal["percentile", "conformity"] = "percentile"
    ) -> LargestDifferences:
        """Return the `k` pairs that differ most in either direction.

        Parameters
        ----------
        k : int, default=10
            All pairs where there are fewer.
        by : {"percentile", "conformity"}, default="percentile"
            Which difference.

        Returns
        -------
        LargestDifferences
            Row numbers; of equal differences the lower number comes first.

        Raises
        ------
        ValueError
            If `k` is below 1, or `by` names no difference.
        """
        k = checked_count("k", k)
        if by not in ("percentile", "conformity"):
            raise ValueError(f"by={by!r}; wanted 'percentile' or 'conformity'")
        difference = self.percentile_difference if by == "percentile" else self.difference
        image, text = (np.argsort(x, kind="stable")[:k] for x in (-difference, difference))
        return LargestDifferences(image, text)

    def __len__(self) -> int:
        return len(self.image_conformity)

    def __repr__(self) -> str:
        (image,), (text,) = self.largest(1)
        found = self.percentile_difference
        return (
            f"ConformityDifference({len(self)} pairs, percentiles differ from {found[text]:.3f} "
            f"at {text} to {found[image]:.3f} at {image})"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the fields and the differences by name."""
        names = (
            "image_conformity",
            "text_conformity",
            "image_percentile",
            "text_percentile",
            "difference",
            "percentile_difference",
            "simd_level",
            "version",
        )
        return {name: getattr(self, name) for name in names}


def conformity_difference(
    image: Any, text: Any, *, n_threads: int | None = None
) -> ConformityDifference:
    """How much more common the image of each pair is among images than its text among texts.

    Parameters
    ----------
    image, text : array, tensor, column, path or store of shape (n, d)
        Two pairs or more, row `j` with row `j`: float16, bfloat16, float32 or float64; they need
        not be normalised.
    n_threads : int, optional
        Most threads to use; all that the process may use by default.

    Returns
    -------
    ConformityDifference

    Raises
    ------
    ShapeError
        If there are not as many texts as images, or fewer than two pairs.
    MismatchError
        If the two differ in dimension.
    InvalidRowError
        If a row is missing, not finite or of zero norm.

    See Also
    --------
    match_sweep : How the two distributions compare as a whole.

    Notes
    -----
    Figure 10 of [1]_. Conformities of images and texts lie on different scales; percentiles, of
    average ranks ``(rank - 1/2) / n``, do not. ``O(n d + n log n)`` time, ``O(n)`` memory.

    References
    ----------
    .. [1] Levi & Gilboa, "The Double-Ellipsoid Geometry of CLIP", ICML 2025, arXiv 2411.14517.

    Examples
    --------
    >>> import numpy as np, clipsoid as cs
    >>> image = np.array([[1.0, 0.0], [3.0, 4.0], [0.0, 2.0]])
    >>> text = np.array([[1.0, 0.0], [0.0, 2.0], [3.0, 4.0]])
    >>> found = cs.conformity_difference(image, text)
    >>> found.percentile_difference.round(3).tolist()
    [0.0, 0.333, -0.333]
    >>> found.largest(1)
    LargestDifferences(image=array([1]), text=array([2]))
    """
    check_threads(n_threads)
    return difference_of(*(conformity(x, n_threads=n_threads) for x in modalities(image, text)))


def difference_of(image: Array, text: Array) -> ConformityDifference:
    """Compare two modalities whose conformities are known."""
    shares = [(average_ranks(x) - 0.5) / len(x) for x in (image, text)]
    return ConformityDifference(image, text, shares[0], shares[1])
