"""Whether a plane separates two modalities: a linear support vector machine, cross-validated."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from clipsoid._checks import checked_count, checked_seed
from clipsoid._extras import check_stats
from clipsoid._features import sample_features, separability_of
from clipsoid._gather import sampled, taken
from clipsoid._shown import Drawn
from clipsoid._source import Source, joined_dtypes
from clipsoid.ellipsoid import Ellipsoid
from clipsoid.errors import ShapeError
from clipsoid.pair import two_sets
from clipsoid.results import Made

Array = NDArray[np.float64]
Integers = NDArray[np.int64]

#: Rows of each modality that are fitted, if not told otherwise.
MAX_ROWS = 5000

#: Memory of one fit for each element of the rows: a copy in float64, and the solver's own of pairs
#: of an index and a number.
FIT_BYTES = 30


@dataclass(frozen=True, slots=True)
class LinearSeparability(Made, Drawn):
    """How well a plane tells images from texts, on two features and on all.

    Attributes
    ----------
    features : (int, int)
        The two most separable features of the rows used, counted from 0, the best first.
    accuracy_two, accuracy_all : float
        Share of the rows that the plane was fitted to on its right side, in [0, 1].
    cross_validated_two, cross_validated_all : float
        Share of held-out rows on the right side: mean over the folds.
    folds_two, folds_all : tuple of float
        That of each fold.
    weights : (float, float)
    intercept : float
        The boundary on two features, ``weights . (x_first, x_second) + intercept = 0``, in the
        units of the embeddings; positive on the side of the images.
    rows_image, rows_text : int
        Rows used: all, or a sample.
    count_image, count_text : int
        Rows given.
    paired : bool
        Whether image and text of one number were kept in one fold: where they are as many.
    folds, max_rows, seed : int
        As asked for.
    dim : int
        Features.
    dtype : str
        Element type of the rows; joined by a plus where there are several.
    simd_level : str
        Instruction set; bits may differ between two.
    version : str
        Version of clipsoid.
    """

    features: tuple[int, int]
    accuracy_two: float
    accuracy_all: float
    cross_validated_two: float
    cross_validated_all: float
    folds_two: tuple[float, ...]
    folds_all: tuple[float, ...]
    weights: tuple[float, float]
    intercept: float
    rows_image: int
    rows_text: int
    count_image: int
    count_text: int
    paired: bool
    folds: int
    max_rows: int
    seed: int
    dim: int
    dtype: str

    def __repr__(self) -> str:
        return (
            f"LinearSeparability(features={self.features}, "
            f"cross_validated_two={self.cross_validated_two:.4f}, "
            f"cross_validated_all={self.cross_validated_all:.4f}, "
            f"rows={self.rows_image}+{self.rows_text})"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name."""
        return asdict(self)


class _Plane(NamedTuple):
    """What one fit gives: share of rows on their side, the features, the plane over them."""

    accuracy: float
    features: Integers
    weights: Array
    intercept: float


def linear_separability(
    image: Any,
    text: Any,
    *,
    folds: int = 5,
    max_rows: int = MAX_ROWS,
    seed: int = 0,
    n_threads: int | None = None,
) -> LinearSeparability:
    """How well a plane separates two modalities (Property 1 and Figure 2).

    Parameters
    ----------
    image, text : array, tensor, column, path or store of shape (n, d) and (m, d)
        As many rows as folds, or more, of two features or more. Where they are as many, row `j` of
        one is taken to pair with row `j` of the other: the two are in one fold, so that no row is
        judged by a plane that has seen its partner.
    folds : int, default=5
        Of the cross-validation, 2 or more.
    max_rows : int, default=5000
        Of each modality; of more, this many are drawn without replacement, pairs together.
    seed : int, default=0
        Of the folds and the sample.
    n_threads : int, optional
        Most threads to use, one for each fit; all that the process may use by default.

    Returns
    -------
    LinearSeparability
        The same for the same seed, whatever the number of threads.

    Raises
    ------
    UnavailableError
        If scikit-learn is not installed: it comes with the extra ``stats``.
    ShapeError
        If there are fewer rows than folds, or one feature only.
    MismatchError
        If the two differ in dimension.
    InvalidRowError
        If a row is missing, not finite or of zero norm; every row is looked at, drawn or not.
    ValueError
        If `folds` is below 2, `max_rows` below `folds`, or `seed` no whole number of 0 or more.

    See Also
    --------
    separability : Each feature by itself.

    Notes
    -----
    A linear support vector machine (scikit-learn's ``LinearSVC``: squared hinge loss, C = 1, solved
    in the primal, which takes the same few Newton steps whether or not a plane exists). In every
    fold, features are standardised, and the best two chosen by Eq. 5 of [1]_, on the training rows
    alone. Each modality is spread evenly over the folds. One pass over all rows for their checks,
    one for the sample; then ``2 (folds + 1)`` fits at ``O(max_rows d)`` a step and 30 bytes of
    memory for each element and thread.

    References
    ----------
    .. [1] Levi & Gilboa, "The Double-Ellipsoid Geometry of CLIP", ICML 2025, arXiv 2411.14517.

    Examples
    --------
    >>> import clipsoid as cs
    >>> image, text, _ = cs.double_ellipsoid(500, seed=0)
    >>> found = cs.linear_separability(image, text)
    >>> found.cross_validated_all, found.cross_validated_two
    (1.0, 1.0)
    """
    check_stats("linear_separability", "sklearn")
    folds, max_rows = checked_count("folds", folds, 2), checked_count("max_rows", max_rows)
    seed = checked_seed(seed)
    if max_rows < folds:
        raise ValueError(f"max_rows={max_rows}; wanted as many as folds ({folds}) or more")
    images, texts = two_sets(image, text, n_threads)
    for source in (images, texts):
        source.expect_rows(folds)
        # For its checks alone: a sample may not meet the rows that cannot be used or squared.
        _ = Ellipsoid.fit(source, covariance=False, n_threads=n_threads).std
    if images.dim < 2:
        raise ShapeError(f"{images.name}: found 1 feature, wanted 2 or more")
    return plane_between(
        images, texts, folds=folds, max_rows=max_rows, seed=seed, n_threads=n_threads
    )


def plane_between(
    images: Source, texts: Source, *, folds: int, max_rows: int, seed: int, n_threads: int | None
) -> LinearSeparability:
    """Separate two sets of which every row is known to be usable."""
    paired = images.count == texts.count
    rng = np.random.default_rng(seed)
    x, image_fold = _drawn(images, max_rows, folds, rng)
    # The same draws again are the same rows and folds: pairs stay together.
    y, text_fold = _drawn(texts, max_rows, folds, np.random.default_rng(seed) if paired else rng)
    rows, sizes = np.concatenate([x, y]), (len(x), len(y))
    # The solver takes several times the memory of the rows: they are kept as narrow as they came.
    del x, y
    if "float64" not in images.dtypes | texts.dtypes:
        rows = rows.astype(np.float32)
    is_image = np.repeat([True, False], sizes)
    fold = np.concatenate([image_fold, text_fold])

    def fitted(job: tuple[bool, int]) -> _Plane:
        two, held = job
        # No fold has the number -1: nothing is held out, and the rows fitted are judged.
        return _fitted(rows, is_image, fold == held, two)

    jobs = [(two, held) for two in (True, False) for held in range(-1, folds)]
    with ThreadPoolExecutor(n_threads or _processors()) as pool:
        found = list(pool.map(fitted, jobs))
    (two, *two_held), (whole, *whole_held) = found[: folds + 1], found[folds + 1 :]
    first, second = two.features
    return LinearSeparability(
        features=(int(first), int(second)),
        accuracy_two=two.accuracy,
        accuracy_all=whole.accuracy,
        cross_validated_two=float(np.mean([plane.accuracy for plane in two_held])),
        cross_validated_all=float(np.mean([plane.accuracy for plane in whole_held])),
        folds_two=tuple(plane.accuracy for plane in two_held),
        folds_all=tuple(plane.accuracy for plane in whole_held),
        weights=(float(two.weights[0]), float(two.weights[1])),
        intercept=two.intercept,
        rows_image=sizes[0],
        rows_text=sizes[1],
        count_image=images.count,
        count_text=texts.count,
        paired=paired,
        folds=folds,
        max_rows=max_rows,
        seed=seed,
        dim=images.dim,
        dtype=joined_dtypes(images, texts),
    )


def fits_at_once(elements: int, memory: int, n_threads: int | None) -> int:
    """Return how many fits to this many elements run together within some bytes: one or more."""
    return max(1, min(n_threads or _processors(), memory // (FIT_BYTES * elements)))


def _processors() -> int:
    """Return how many the process may use, where the system says so."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _drawn(
    source: Source, most: int, folds: int, rng: np.random.Generator
) -> tuple[Array, Integers]:
    """Rows drawn from a source, and the fold of each."""
    chosen = sampled(source.count, most, rng)
    return taken(source, chosen).wide(), rng.permutation(len(chosen)) % folds


def _fitted(
    rows: NDArray[Any], is_image: NDArray[np.bool_], held: NDArray[np.bool_], two: bool
) -> _Plane:
    """Fit to the rows that are not held out; judge by those that are, or by the same if none is."""
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import LinearSVC

    train, test = ~held, held if held.any() else ~held
    features = np.arange(rows.shape[1])
    if two:
        features = _best_two(_copied(rows, train & is_image), _copied(rows, train & ~is_image))
        rows = rows[:, features]
    # In place: what is scaled are copies of the rows.
    scaler = StandardScaler(copy=False)
    machine = LinearSVC(dual=False)
    machine.fit(scaler.fit_transform(_copied(rows, train)), is_image[train])
    accuracy = machine.score(scaler.transform(_copied(rows, test)), is_image[test])
    weights = machine.coef_[0] / scaler.scale_
    intercept = float(machine.intercept_[0] - weights @ scaler.mean_)
    return _Plane(float(accuracy), features, weights, intercept)


def _copied(rows: NDArray[Any], chosen: NDArray[np.bool_]) -> Array:
    return np.asarray(rows[chosen].astype(np.float64, copy=False))


def _best_two(x: Array, y: Array) -> Integers:
    """Features by separability, the best first, ties by the number."""
    found = separability_of(sample_features(x), sample_features(y))
    # One number in all rows separates nothing.
    return np.argsort(-np.nan_to_num(found, nan=-1.0, posinf=np.inf), kind="stable")[:2]
