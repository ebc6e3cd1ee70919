"""Interpolation on the sphere, about the origin and about a moved centre (Eq. 12, Figure 12)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from clipsoid import _slerp
from clipsoid._checks import checked_numbers
from clipsoid._shown import Drawn
from clipsoid._source import Progress
from clipsoid._vectors import directions
from clipsoid.errors import ShapeError
from clipsoid.nearest import NearestRows, nearest_rows
from clipsoid.results import Made

Array = NDArray[np.float64]


def slerp(a: Any, b: Any, theta: ArrayLike, *, extrapolate: bool = False) -> Array:
    """Spherical linear interpolation between vectors, whose lengths are kept as they are.

    Parameters
    ----------
    a, b : array_like of shape (d,) or (n, d)
        One vector or rows, of any float type or of whole numbers; one vector goes with every row of
        the other.
    theta : float or array_like
        Where to: 0 is `a`, 1 is `b`.
    extrapolate : bool, default=False
        Whether theta may lie outside [0, 1].

    Returns
    -------
    ndarray of float64 of shape (..., d) or (..., n, d)
        The shape of theta comes first.

    Raises
    ------
    ValueError
        If theta is not finite, or lies outside [0, 1] without `extrapolate`.
    ShapeError
        If a shape is another, or `a` and `b` differ in rows.
    MismatchError
        If `a` and `b` differ in features.
    DTypeError
        If elements are of another type.
    InvalidRowError
        If a row is not finite or of zero norm; or if rows are opposite, so that no arc between
        them is the shortest.

    See Also
    --------
    vslerp : The same about another centre.

    Notes
    -----
    ``sin((1 - theta) w) / sin(w) a + sin(theta w) / sin(w) b``, with `w` the angle between `a` and
    `b`; parallel vectors have the linear limit. Nothing is normalised: between vectors of length 1
    lie vectors of length 1, between others lengths may leave the range of the two. The angle is
    ``2 atan2(|u - v|, |u + v|)`` for the unit vectors `u` and `v`, precise at both ends, in
    float64. Opposite is what lies within the rounding of the element types of ``|u + v| = 0``.

    Examples
    --------
    >>> import clipsoid as cs
    >>> cs.slerp([1.0, 0.0], [0.0, 2.0], [0, 0.5, 1]).round(4).tolist()
    [[1.0, 0.0], [0.7071, 1.4142], [0.0, 2.0]]
    """
    p, q = _slerp.pair(a, b)
    where = _slerp.thetas(theta, extrapolate)
    angle = _slerp.angles(p, q, directions(p), directions(q))
    return _slerp.along(p.rows, q.rows, angle, where)


def vslerp(
    a: Any, b: Any, theta: ArrayLike, alpha: ArrayLike, mean: Any, *, extrapolate: bool = False
) -> Array:
    """Spherical interpolation about a centre that is moved along the mean (Eq. 12).

    Parameters
    ----------
    a, b, theta, extrapolate
        As for `slerp`.
    alpha : float or array_like
        Multiples of the mean at which the centre lies: 0 is the origin, 1 the mean. The paper uses
        -2 to 2.
    mean : array_like of shape (d,), or Ellipsoid
        The raw mean of the modality. An ellipsoid also says what its rounding may be; a vector is
        taken for the mean of 100,000 rows as long as itself.

    Returns
    -------
    ndarray of float64 of shape (..., d) or (..., n, d)
        The shape of theta comes first, then that of alpha.

    Raises
    ------
    ValueError, ShapeError, MismatchError, DTypeError
        As for `slerp`; also for an alpha that is not finite, or a mean that does not fit.
    InvalidRowError
        As for `slerp`, of the rows after the move; also for a row that vanishes: it is `alpha`
        times the mean, to rounding; and for one whose move leaves the range of float64.

    See Also
    --------
    vslerp_grid : The same over a grid, with the nearest rows of a set.
    vslerp_elementwise : What the published script computes.

    Notes
    -----
    Eq. 12 of [1]_: ``slerp(a - alpha m, b - alpha m, theta) + alpha m``. Embeddings that were
    scaled to length 1 lie on a sphere about the origin, and so about no other centre.

    References
    ----------
    .. [1] Levi & Gilboa, "The Double-Ellipsoid Geometry of CLIP", ICML 2025, arXiv 2411.14517.

    Examples
    --------
    >>> import clipsoid as cs
    >>> between = cs.vslerp([3.0, 0.0], [1.0, 2.0], 0.5, [0, 1], [1.0, 0.0])
    >>> between.round(4).tolist()
    [[2.3511, 1.1756], [2.4142, 1.4142]]
    """
    p, q = _slerp.pair(a, b)
    where = _slerp.thetas(theta, extrapolate)
    centre = _slerp.centre(alpha, mean, p)
    left, right = centre.take_from(p), centre.take_from(q)
    angle = _slerp.angles(p, q, left.units, right.units, centre.alpha)
    return np.asarray(_slerp.along(left.rows, right.rows, angle, where) + centre.rows)


def vslerp_elementwise(
    a: Any, b: Any, theta: ArrayLike, alpha: ArrayLike, mean: Any, *, extrapolate: bool = False
) -> Array:
    """Interpolate as the script published with the paper does in place of `vslerp`: no SLERP.

    Parameters
    ----------
    a, b, theta, alpha, mean, extrapolate
        As for `vslerp`.

    Returns
    -------
    ndarray of float64 of shape (..., d) or (..., n, d)
        The shape of theta comes first, then that of alpha.

    Raises
    ------
    ValueError, ShapeError, MismatchError, DTypeError
        As for `vslerp`.
    InvalidRowError
        As for `vslerp`; of opposite rows, only where both lie along one feature.

    Notes
    -----
    With `u` and `v` the unit vectors of the moved rows, the script takes the arc cosine of the
    elementwise product ``u_l v_l`` where SLERP takes that of its sum, so that each feature has an
    angle and weights of its own. These products are small: all angles are near a right one,
    whatever the angle of the rows, and weights near ``cos(theta pi / 2)`` and
    ``sin(theta pi / 2)``. Between nearly parallel rows lengths grow by up to ``sqrt(2)``. For
    pictures made by that script; a feature whose product is 1 has the linear limit, where the
    script divides 0 by 0.

    Examples
    --------
    >>> import clipsoid as cs
    >>> same = [3.0, 4.0, 0.0]
    >>> cs.vslerp(same, same, 0.5, 0, [1.0, 0.0, 0.0]).round(3).tolist()
    [3.0, 4.0, 0.0]
    >>> cs.vslerp_elementwise(same, same, 0.5, 0, [1.0, 0.0, 0.0]).round(3).tolist()
    [3.638, 4.417, 0.0]
    """
    p, q = _slerp.pair(a, b)
    where = _slerp.thetas(theta, extrapolate)
    centre = _slerp.centre(alpha, mean, p)
    left, right = centre.take_from(p), centre.take_from(q)
    products = (left.units * right.units).clip(-1, 1)
    opposite = products.min(axis=-1) <= _slerp.tolerance(p, q) - 1
    _slerp.refuse_opposite(p, q, opposite, centre.alpha)
    first, second = _slerp.weights(np.arccos(products), where)
    return np.asarray(first * left.rows + second * right.rows + centre.rows)


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class VslerpGrid(Made, Drawn):
    """Vectors between two rows, over places between them and centres (Figure 12, no decoder).

    Attributes
    ----------
    theta : ndarray of float64 of shape (t,)
    alpha : ndarray of float64 of shape (c,)
    vectors : ndarray of float64 of shape (t, c, d) or (t, c, n, d)
    nearest : NearestRows or None
        The rows of a set that are nearest to each vector, where a set was given: arrays of shape
        (t, c, k) or (t, c, n, k).
    simd_level : str
        Instruction set; bits may differ between two.
    version : str
        Version of clipsoid.
    """

    theta: Array
    alpha: Array
    vectors: Array
    nearest: NearestRows | None = None

    def __repr__(self) -> str:
        found = "" if self.nearest is None else ", with nearest rows"
        return (
            f"VslerpGrid({len(self.theta)} theta x {len(self.alpha)} alpha, "
            f"{self.vectors.shape[-1]} features{found})"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the arrays by name; those of the nearest rows as a dictionary, or None."""
        return {
            "theta": self.theta,
            "alpha": self.alpha,
            "vectors": self.vectors,
            "nearest": None if self.nearest is None else self.nearest.to_dict(),
            "simd_level": self.simd_level,
            "version": self.version,
        }


def vslerp_grid(
    a: Any,
    b: Any,
    theta: ArrayLike,
    alpha: ArrayLike,
    mean: Any,
    *,
    rows: Any = None,
    k: int = 1,
    extrapolate: bool = False,
    n_threads: int | None = None,
    progress: Progress | None = None,
) -> VslerpGrid:
    """Interpolate over a grid of theta and alpha, and find the nearest rows of a set (Figure 12).

    Parameters
    ----------
    a, b, mean, extrapolate
        As for `vslerp`.
    theta, alpha : float or array_like of shape (t,) and (c,)
        The two sides of the grid.
    rows : array, tensor, column, path or store of shape (m, d), optional
        A set in which the rows nearest to each vector are found: what a decoder would draw,
        approximately, in pictures that exist.
    k : int, default=1
        How many of them. Where `a` and `b` are rows of the set, they are mostly the nearest: of
        three, one is another.
    n_threads, progress
        As for `nearest_rows`.

    Returns
    -------
    VslerpGrid

    Raises
    ------
    ValueError, ShapeError, MismatchError, DTypeError, InvalidRowError
        As for `vslerp` and `nearest_rows`; a ShapeError also if a side of the grid is no vector.

    Examples
    --------
    >>> import numpy as np, clipsoid as cs
    >>> image = cs.double_ellipsoid(1000, seed=0).image
    >>> e = cs.Ellipsoid.fit(image, covariance=False)
    >>> grid = cs.vslerp_grid(image[0], image[1], [0, 0.5, 1], [0, 2], e, rows=image)
    >>> grid
    VslerpGrid(3 theta x 2 alpha, 512 features, with nearest rows)
    >>> grid.nearest.index[[0, 2], :, 0].tolist()
    [[0, 0], [1, 1]]
    """
    thetas, alphas = _side(theta, "theta"), _side(alpha, "alpha")
    between = vslerp(a, b, thetas, alphas, mean, extrapolate=extrapolate)
    nearest = None
    if rows is not None:
        nearest = nearest_rows(between, rows, k=k, n_threads=n_threads, progress=progress)
    return VslerpGrid(thetas, alphas, between, nearest)


def _side(value: ArrayLike, name: str) -> Array:
    side = np.atleast_1d(checked_numbers(name, value))
    if side.ndim != 1 or len(side) == 0:
        raise ShapeError(f"{name}: found shape {side.shape}; wanted a number or a vector")
    return side
