"""Groups of several fits, as if their rows had been fitted together."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from clipsoid._labels import Labels
from clipsoid.errors import MismatchError
from clipsoid.results import Invalid

if TYPE_CHECKING:
    from clipsoid.groups import GroupedEllipsoids

Array = NDArray[np.float64]

#: Fields of one entry for each group, in the order in which `combined` returns them.
ARRAYS = ("count", "mean", "squares", "unit_sum", "norms")


def merged(parts: list[GroupedEllipsoids]) -> dict[str, Any]:
    """Return the fields of all groups together.

    Raises
    ------
    MismatchError
        If dimensions, encoders, temperatures or the types of labels differ.
    ShapeError
        If there are too many groups together.
    """
    dim = parts[0].dim
    for part in parts[1:]:
        if part.dim != dim:
            raise MismatchError(f"groups have {dim} and {part.dim} features")
    known = _known(parts)
    labels = Labels("the groups", lambda: _as_series(parts)).distinct(dim)
    # A boolean is equal to a whole number: types have been compared, so that none meet.
    place = {label: at for at, label in enumerate(labels)}
    at = np.array([place[label] for part in parts for label in part.labels], np.intp)
    arrays = combined(at, len(labels), parts)
    invalid = (
        sum(getattr(part.invalid, name) for part in parts)
        for name in ("non_finite", "zero_norm", "missing")
    )
    return {
        "labels": labels,
        **dict(zip(ARRAYS, arrays, strict=True)),
        "invalid": Invalid(*invalid),
        "dtypes": frozenset[str]().union(*(part.dtypes for part in parts)),
        "simd_levels": frozenset[str]().union(*(part.simd_levels for part in parts)),
        "inputs": frozenset[str]().union(*(part.inputs for part in parts)),
        "rows_of_inputs": sum(part.rows_of_inputs for part in parts),
        **known,
    }


def _known(parts: list[GroupedEllipsoids]) -> dict[str, Any]:
    """Return encoder, temperature and column, None where one part does not know them."""
    known: dict[str, Any] = {}
    for name in ("encoder", "temperature", "by"):
        values = {getattr(part, name) for part in parts}
        if name != "by" and len(values - {None}) > 1:
            both = " and ".join(sorted(map(repr, values - {None})))
            raise MismatchError(f"the {name}s of the groups differ: {both}")
        known[name] = values.pop() if len(values) == 1 else None
    return known


def _as_series(parts: list[GroupedEllipsoids]) -> Iterator[tuple[str, Any]]:
    import polars as pl

    for part in parts:
        yield "the others", pl.Series(list(part.labels))


def combined(
    at: NDArray[np.intp], size: int, parts: list[GroupedEllipsoids]
) -> tuple[NDArray[Any], ...]:
    """Add up groups: entry `i` of all parts, one after another, goes to group `at[i]` of `size`.

    By the formula of Chan et al. for any number of parts: squares are those within each, and of
    the distances of their means.
    """
    count, mean, squares, unit_sum, norms = (
        np.concatenate([getattr(part, name) for part in parts]) for name in ARRAYS
    )
    total = np.zeros(size, np.uint64)
    np.add.at(total, at, count)
    n = count.astype(np.float64)[:, None]
    # Of a group without rows, any mean will do.
    share = n / np.maximum(total, 1).astype(np.float64)[at][:, None]

    def added(values: Array) -> Array:
        sums = np.zeros((size, values.shape[1]))
        np.add.at(sums, at, values)
        return sums

    def moments(means: Array, squares: Array) -> tuple[Array, Array]:
        middle = added(share * means)
        return middle, added(squares + n * (means - middle[at]) ** 2)

    means, deviations = moments(mean, squares)
    norm_mean, norm_squares = moments(norms[:, :1], norms[:, 1:2])
    least, most = np.full(size, np.inf), np.full(size, -np.inf)
    np.minimum.at(least, at, norms[:, 2])
    np.maximum.at(most, at, norms[:, 3])
    all_norms = np.column_stack([norm_mean, norm_squares, least, most])
    return total, means, deviations, added(unit_sum), all_norms
