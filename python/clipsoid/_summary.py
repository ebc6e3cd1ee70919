"""What figures of single rows come to: a calibration, a thin shell."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from clipsoid import _native
from clipsoid._accumulator import counted
from clipsoid.errors import ShapeError, UnavailableError
from clipsoid.results import Calibration, Scores, Shell


def calibration_of(parts: Iterable[Scores], *, member: bool) -> Calibration:
    """Regress conformity on the cosine to the mean, and the reverse; rows with NaN are left out."""
    regression = _native.Regression()
    for part in parts:
        regression.update(part.cosine_to_mean, part.conformity)
    count, slope, intercept, inverse_slope, inverse_intercept, pearson = regression.result()
    if count < 2:
        raise ShapeError(f"a calibration: found {counted(count)}, wanted 2 or more")
    if math.isnan(slope) or math.isnan(inverse_slope):
        raise UnavailableError("conformity or cosine does not vary over the rows: no line fits")
    return Calibration(slope, intercept, pearson, inverse_slope, inverse_intercept, count, member)


def shell_of(parts: Iterable[NDArray[np.float64]]) -> Shell:
    """Return the shell that distances from the mean make; those that are NaN are left out."""
    shell = _native.Shell()
    for radii in parts:
        shell.update(radii)
    count, average, variance, least, greatest = shell.result()
    if count == 0:
        raise ShapeError("the shell: found 0 valid rows, wanted 1 or more")
    if not squares_are_safe(greatest):
        variance = math.nan
    return Shell(count, average, variance, least, greatest)


def squares_are_safe(greatest: float) -> bool:
    """Whether squares of numbers up to `greatest`, and their sums, are good float64."""
    return greatest == 0 or 1e-130 < greatest < 1e145
