"""What a job of the table is made of."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import data
import peers

MB = 1e6


@dataclass(frozen=True)
class Job:
    """One line of the table.

    Attributes
    ----------
    name : str
        Unique.
    rows : int
        Size of the input.
    rounds : int
        Rounds that are counted.
    make : callable
        Gives the input.
    few : callable
        Gives a small input, to warm up on.
    contenders : dict of str to callable
        Of the input; "clipsoid" is one of them.
    limit : callable, optional
        Of the limits' process and the input: seconds that no implementation can beat.
    marks : dict of (str or tuple of str) to float
        The most that clipsoid's time may be of the limit's ("limit"), of a contender's, or of the
        fastest of several. Those of contenders that are left out are left out too.
    oracle, deviation : callable
        The exact result of the input, and how far a result is from it.
    error_mark, memory_mark : float, optional
        The most that clipsoid's deviation and memory (bytes) may be.
    dispose : callable, optional
        Removes what a contender left behind; its time does not count.
    once : tuple of str, optional
        Contenders so slow that they run in one round only, with no warm-up.
    elements : int, optional
        Of the input: the time of each is told.
    """

    name: str
    rows: int
    rounds: int
    make: Callable[[], Any]
    few: Callable[[], Any]
    contenders: dict[str, Callable[[Any], Any]]
    limit: Callable[[Any, Any], float] | None
    marks: dict[str | tuple[str, ...], float]
    oracle: Callable[[Any], Any]
    deviation: Callable[[Any, Any], float] = data.largest_difference
    error_mark: float | None = None
    memory_mark: float | None = None
    dispose: Callable[[Any], object] = lambda _: None
    once: tuple[str, ...] = ()
    elements: int | None = None


def with_torch(contenders, torch_contenders):
    """Add the contenders that need torch, where it is installed."""
    return contenders | (torch_contenders if peers.HAS_TORCH else {})
