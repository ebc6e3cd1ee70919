"""A distribution to choose after: bins, and how many rows each is to give."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clipsoid._checks import checked_numbers
from clipsoid.errors import SelectionError

#: More would be bins of single rows.
MAX_BINS = 10_000


@dataclass(frozen=True, slots=True, eq=False)
class Target:
    """What the histogram of the chosen rows is to be like.

    Attributes
    ----------
    edges : ndarray of float64 of shape (bins + 1,)
        Ascending. A bin holds its lower edge, the last one its upper edge as well.
    weights : ndarray of float64 of shape (bins,)
        Of any sum above 0.
    """

    edges: NDArray[np.float64]
    weights: NDArray[np.float64]

    def bins_of(self, values: NDArray[Any]) -> NDArray[np.intp]:
        """Return the bin of each value; -1 outside all of them."""
        count = len(self.weights)
        low, high = self.edges[[0, -1]]
        if np.array_equal(self.edges, np.linspace(low, high, count + 1)):
            # Much faster than a search, and put right by the edges themselves.
            inside = np.where((values >= low) & (values <= high), values, low)
            scaled = (inside.astype(np.float64) - low) * (count / (high - low))
            bins = np.minimum(scaled.astype(np.intp), count - 1)
            bins -= inside < self.edges[bins]
            bins += (inside >= self.edges[bins + 1]) & (bins < count - 1)
        else:
            bins = np.searchsorted(self.edges[1:-1], values, side="right").astype(np.intp)
        bins[~((values >= low) & (values <= high))] = -1
        return np.asarray(bins)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name, as `read_target` takes them."""
        return {"edges": self.edges.tolist(), "weights": self.weights.tolist()}


def equal_bins(low: float, high: float, bins: int) -> NDArray[np.float64]:
    """Return edges of bins of one width from the lowest to the highest of some values."""
    # One value is in the middle of its bins, as numpy.histogram has it.
    return np.linspace(low, high, bins + 1) if low < high else _around(low, bins)


def _around(value: float, bins: int) -> NDArray[np.float64]:
    half = max(0.5, abs(value) / 2)
    return np.linspace(value - half, value + half, bins + 1)


def checked_target(label: str, found: Mapping[str, Any]) -> Target:
    """Return a target of given edges and weights, or say what is wrong with it."""
    if set(found) != {"edges", "weights"}:
        names = ", ".join(map(repr, found)) or "nothing"
        raise SelectionError(f"{label}: found {names}; wanted 'edges' and 'weights'")
    try:
        edges, weights = (checked_numbers(name, found[name]) for name in ("edges", "weights"))
    except ValueError as error:
        raise SelectionError(f"{label}: {error}") from None
    if edges.ndim != 1 or weights.ndim != 1 or not 1 <= len(weights) == len(edges) - 1 <= MAX_BINS:
        raise SelectionError(
            f"{label}: found {edges.size} edges and {weights.size} weights; wanted one edge more "
            f"than weights, of which there are 1 to {MAX_BINS}"
        )
    if not (np.diff(edges) > 0).all():
        raise SelectionError(f"{label}: wanted edges that ascend")
    if not (weights >= 0).all() or not weights.any():
        raise SelectionError(f"{label}: wanted weights of 0 or more, and one above 0")
    return Target(edges, weights)


def read_target(path: Path) -> Target:
    """Read edges and weights from a JSON file."""
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise SelectionError(f"{path}: cannot be read: {error}") from None
    if not isinstance(found, dict):
        raise SelectionError(f"{path}: wanted a JSON object of 'edges' and 'weights'")
    return checked_target(str(path), found)


def fill(
    available: Sequence[int], weights: Sequence[float], rows: int, rule: str = "target"
) -> list[int]:
    """Return how many rows each bin gives: in proportion to its weight, as far as it has them.

    Bins that run dry give all they have, and the others share the rest in proportion. That is
    the choice of `rows` rows with the least chi-square distance, and the least Kullback-Leibler
    divergence, from the target; then whole rows by largest remainder, the lower bin first. Exact
    rational arithmetic, so that no platform rounds otherwise. Messages call it `rule`.

    Raises
    ------
    SelectionError
        If the bins of weight above 0 do not hold as many rows.
    """
    share = [Fraction(weight) for weight in weights]
    used = [b for b, weight in enumerate(share) if weight]
    most = sum(available[b] for b in used)
    if rows > most:
        found = f"{most} are left" if all(share) else f"{most} lie where it has any weight"
        raise SelectionError(f"{rule}: wanted {rows} rows, but only {found}")
    given = [0] * len(available)
    left, weight = rows, sum((share[b] for b in used), Fraction(0))
    used.sort(key=lambda b: available[b] / share[b])
    for i, b in enumerate(used):
        if available[b] * weight > left * share[b]:
            used = used[i:]
            break
        given[b] = available[b]
        left, weight = left - available[b], weight - share[b]
    else:
        return given
    wanted = {b: left * share[b] / weight for b in used}
    for b, exact in wanted.items():
        given[b] = int(exact)
    missing = left - sum(given[b] for b in used)
    for b in sorted(used, key=lambda b: (given[b] - wanted[b], b))[:missing]:
        given[b] += 1
    return given
