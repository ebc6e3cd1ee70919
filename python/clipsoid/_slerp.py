"""The arithmetic under `interpolate`, and its checks: angles, weights, moved rows."""

from __future__ import annotations

from typing import Any, NamedTuple, NoReturn

import numpy as np
from numpy.typing import ArrayLike, NDArray

from clipsoid import _native
from clipsoid._checks import checked_numbers
from clipsoid._vectors import LEAST_NORM, SPACING, Vectors, directions, scaled_to_unit, vectors
from clipsoid.ellipsoid import Ellipsoid
from clipsoid.errors import InvalidRowError, MismatchError, ShapeError

Array = NDArray[np.float64]

#: Rows behind a mean that comes without its ellipsoid, and whose norms are then taken for its own.
SUPPOSED_COUNT = 100_000


class Moved(NamedTuple):
    """Rows about centres, alpha first, then the shape of the rows; and their directions."""

    rows: Array
    units: Array


class Centre(NamedTuple):
    """Where rows are moved from: ``alpha m``, shaped to be taken from them.

    The mean is that of `mean_of` rows, `rms` the root mean square of their norms.
    """

    alpha: Array
    rows: Array
    mean_of: int
    rms: float

    def take_from(self, x: Vectors) -> Moved:
        """Return the rows about the centre, where something is left of each."""
        with np.errstate(over="ignore"):
            rows = x.rows - self.rows
        units, length = scaled_to_unit(rows)
        norms = scaled_to_unit(x.rows)[1]
        least = _native.least_left(self.mean_of, self.rms, self.alpha.ravel(), norms.ravel())
        gone = length <= least.reshape(length.shape)
        lost = ~(gone | ((length >= LEAST_NORM) & (length < np.inf)))
        if (gone | lost).any():
            at = _first(gone | lost)
            alpha, row = self.alpha[at[: self.alpha.ndim]], at[-1] if x.rows.ndim > 1 else 0
            if lost[at]:
                what = f"leaves the range of float64 at alpha = {alpha:g}"
                _refuse(f"{x.place(row)} {what}", row, "non_finite")
            what = f"vanishes at alpha = {alpha:g}: it is alpha times the mean"
            _refuse(f"{x.place(row)} {what}", row, "vanishes")
        return Moved(rows, units)


def pair(a: Any, b: Any) -> tuple[Vectors, Vectors]:
    """Return two vectors, or rows that go with one another, of one shape."""
    p, q = vectors(a, "a"), vectors(b, "b")
    for x in (p, q):
        if x.rows.ndim > 2:
            raise ShapeError(f"{x.name}: found shape {x.rows.shape}; wanted (d,) or (n, d)")
        # Before one vector is repeated, so that the row at fault has the number that it was given.
        directions(x)
    if p.dim != q.dim:
        raise MismatchError(f"a has {p.dim} features, b has {q.dim}; wanted the same")
    counts = [len(x.rows) for x in (p, q) if x.rows.ndim == 2]
    if len({*counts}) > 1 and 1 not in counts:
        raise ShapeError(f"a has {counts[0]} rows, b has {counts[1]}; wanted as many, or one")
    left, right = np.broadcast_arrays(p.rows, q.rows)
    return p._replace(rows=left), q._replace(rows=right)


def thetas(theta: ArrayLike, extrapolate: bool) -> Array:
    """Return theta as an array, within [0, 1] unless it may lie outside."""
    found = checked_numbers("theta", theta)
    outside = (found < 0) | (found > 1)
    if outside.any() and not extrapolate:
        raise ValueError(
            f"theta: {found[outside][0]:g} lies outside [0, 1]; wanted a number within, or "
            "extrapolate=True"
        )
    return found


def centre(alpha: ArrayLike, mean: Any, x: Vectors) -> Centre:
    """Return ``alpha m`` in the shape in which it is taken from `x`."""
    alphas = checked_numbers("alpha", alpha)
    m = vectors(mean.mean if isinstance(mean, Ellipsoid) else mean, "mean")
    if m.rows.ndim != 1:
        raise ShapeError(f"mean: found shape {m.rows.shape}; wanted ({x.dim},)")
    if m.dim != x.dim:
        raise MismatchError(f"mean has {m.dim} features, a has {x.dim}; wanted the same")
    if not np.isfinite(m.rows).all():
        raise ValueError(
            "mean: holds a value that is not finite; wanted a vector of finite numbers"
        )
    count, rms = SUPPOSED_COUNT, float(scaled_to_unit(m.rows)[1])
    if isinstance(mean, Ellipsoid):
        count, rms = mean.count, mean._state["norm_rms"]
    with np.errstate(over="ignore"):
        moved = alphas.reshape(alphas.shape + (1,) * x.rows.ndim) * m.rows
    return Centre(alphas, moved, count, rms)


def tolerance(p: Vectors, q: Vectors) -> float:
    """Return the length that ``u + v`` of opposite rows may have by rounding.

    That of the elements as they were given, and that of two lengths in float64.
    """
    elements = max(SPACING[x.given.dtype] for x in (p, q))
    return elements + (p.dim + 4) * SPACING["float64"] / 2


def angles(p: Vectors, q: Vectors, u: Array, v: Array, alpha: Array | None = None) -> Array:
    """Return the angles between `p` and `q`, moved by `alpha`, whose directions are `u` and `v`."""
    apart, together = np.linalg.norm(u - v, axis=-1), np.linalg.norm(u + v, axis=-1)
    refuse_opposite(p, q, together <= tolerance(p, q), alpha)
    return np.asarray(2 * np.arctan2(apart, together))


def refuse_opposite(
    p: Vectors, q: Vectors, opposite: NDArray[np.bool_], alpha: Array | None = None
) -> None:
    """Raise for the first row of `p` that is opposite to that of `q`, if there is one."""
    if not opposite.any():
        return
    at = _first(opposite)
    moved = 0 if alpha is None else alpha.ndim
    row = at[-1] if len(at) > moved else 0
    where = "" if alpha is None else f" at alpha = {alpha[at[:moved]]:g}"
    what = f"is opposite to {q.place(row)}{where}: no arc between them is the shortest"
    _refuse(f"{p.place(row)} {what}", row, "opposite")


def weights(angle: Array, theta: Array) -> tuple[Array, Array]:
    """Return ``sin((1 - theta) w) / sin(w)`` and ``sin(theta w) / sin(w)`` for each theta.

    As quotients of ``sin(x) / x``, which is 1 at 0: the linear limit needs no case of its own.
    """
    theta = theta.reshape(theta.shape + (1,) * angle.ndim)
    turns, rest = angle / np.pi, 1 - theta
    whole = np.sinc(turns)
    return rest * np.sinc(rest * turns) / whole, theta * np.sinc(theta * turns) / whole


def along(p: Array, q: Array, angle: Array, theta: Array) -> Array:
    """Return the points of the arcs from `p` to `q`: theta first, then the shape of the rows."""
    first, second = weights(angle, theta)
    return np.asarray(first[..., None] * p + second[..., None] * q)


def _first(where: NDArray[np.bool_]) -> tuple[int, ...]:
    return tuple(int(i) for i in np.unravel_index(where.argmax(), where.shape))


def _refuse(message: str, row: int, status: str) -> NoReturn:
    error = InvalidRowError(message)
    error.row, error.status = row, status
    raise error
