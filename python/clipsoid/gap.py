"""How far two modalities lie apart: their means, beside the cosine of their pairs."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clipsoid._shown import Shown
from clipsoid._source import Source, joined_dtypes
from clipsoid._wide import paired_rows
from clipsoid.ellipsoid import Ellipsoid
from clipsoid.pair import two_sets
from clipsoid.results import Made

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ModalityGap(Made, Shown):
    """How far two modalities lie apart.

    Attributes
    ----------
    raw_distance : float
        Between the raw means, in the units of the embeddings.
    unit_distance : float
        Between the means of the rows scaled to unit length, in [0, 2]. Of normalised rows the two
        are the same up to rounding.
    cosine_of_means : float or None
        Of the raw means; None where one of them is zero.
    paired_cosine_mean : float or None
        Mean cosine of image `j` and text `j`; None where the modalities differ in count.
    count_image, count_text : int
        Rows.
    dim : int
        Features.
    dtype : str
        Element type of the rows; joined by a plus where there are several.
    is_normalized : bool
        Whether every norm of both lies within 1 +- 0.01.
    simd_level : str
        Instruction set; bits may differ between two.
    version : str
        Version of clipsoid.
    """

    raw_distance: float
    unit_distance: float
    cosine_of_means: float | None
    paired_cosine_mean: float | None
    count_image: int
    count_text: int
    dim: int
    dtype: str
    is_normalized: bool

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name."""
        return asdict(self)


def modality_gap(image: Any, text: Any, *, n_threads: int | None = None) -> ModalityGap:
    """Distance between the means of two modalities, beside the cosine of their pairs.

    Parameters
    ----------
    image, text : array, tensor, column, path or store of shape (n, d) and (m, d)
        Two rows or more of each; row `j` of one is taken to pair with row `j` of the other where
        they are as many. They need not be normalised.
    n_threads : int, optional
        Most threads to use for the means; all that the process may use by default.

    Returns
    -------
    ModalityGap

    Raises
    ------
    ShapeError, MismatchError, InvalidRowError
        As for `separability`.

    Notes
    -----
    One pass over the rows for the means, one for the pairs, in float64: ``O(n d)`` time, ``O(n)``
    memory.

    Examples
    --------
    >>> import numpy as np, clipsoid as cs
    >>> image = np.array([[4.0, 0.0], [2.0, 0.0]])
    >>> text = np.array([[0.0, 3.0], [1.0, 0.0]])
    >>> gap = cs.modality_gap(image, text)
    >>> round(gap.unit_distance, 6), gap.paired_cosine_mean
    (0.707107, 0.5)
    """
    images, texts = two_sets(image, text, n_threads)
    fitted = (
        Ellipsoid.fit(source, covariance=False, n_threads=n_threads) for source in (images, texts)
    )
    return gap_of(images, texts, *fitted)


def gap_of(images: Source, texts: Source, i: Ellipsoid, t: Ellipsoid) -> ModalityGap:
    """Compare two modalities whose ellipsoids are known."""
    paired = None
    if images.count == texts.count:
        paired = float(
            np.concatenate([_cosines(*two) for two in paired_rows(images, texts)]).mean()
        )
    both = np.stack([i.mean, t.mean])
    return ModalityGap(
        raw_distance=math.hypot(*(i.mean - t.mean)),
        unit_distance=math.hypot(*(i.unit_mean - t.unit_mean)),
        cosine_of_means=float(_cosines(both[:1], both[1:])[0]) if both.any(axis=1).all() else None,
        paired_cosine_mean=paired,
        count_image=i.count,
        count_text=t.count,
        dim=i.dim,
        dtype=joined_dtypes(images, texts),
        is_normalized=i.is_normalized and t.is_normalized,
    )


def _cosines(x: Array, y: Array) -> Array:
    """Cosines of rows in float64; each row is first divided by its largest entry."""
    unit = []
    for rows in (x, y):
        scaled = rows / np.abs(rows).max(axis=1, keepdims=True)
        unit.append(scaled / np.sqrt((scaled**2).sum(axis=1, keepdims=True)))
    return np.asarray((unit[0] * unit[1]).sum(axis=1))
