"""What functions return: frozen, with a short repr, as a dictionary on request."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from clipsoid._native import __version__, simd_level
from clipsoid._shown import Drawn, Shown


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """How a result was made, beside what it was asked for.

    Attributes
    ----------
    simd_level : str
        Instruction set; bits may differ between two.
    version : str
        Version of clipsoid.
    """

    simd_level: str = field(default_factory=simd_level, repr=False)
    version: str = field(default=__version__, repr=False)


@dataclass(frozen=True, slots=True)
class Norms(Shown):
    """Statistics of the norms of a set of rows, in the units of the embeddings.

    Attributes
    ----------
    mean, min, max : float
    variance : float
        With ddof 0, in squared units.
    """

    mean: float
    variance: float
    min: float
    max: float

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Invalid(Shown):
    """Rows that were left out, by reason."""

    non_finite: int = 0
    zero_norm: int = 0
    missing: int = 0

    @property
    def total(self) -> int:
        """Rows left out for any reason."""
        return self.non_finite + self.zero_norm + self.missing

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Shell(Shown):
    """Distances of rows from the mean, ``r_j = |x_j - m|`` (Eq. 3 and 4).

    Attributes
    ----------
    count : int
        Rows measured.
    mean, min, max : float
        In the units of the embeddings.
    variance : float
        With ddof 0, in squared units. A thin shell has a standard deviation far below its mean.
    """

    count: int
    mean: float
    variance: float
    min: float
    max: float

    @property
    def rms(self) -> float:
        """Root of the mean square, ``sqrt(mean r^2)``; for the fitted rows this is ``|sigma|``."""
        return math.sqrt(self.variance + self.mean**2)

    @property
    def relative_error(self) -> float:
        """Error of the mean radius as an estimate of the rms, ``(rms - mean) / rms``."""
        return (self.rms - self.mean) / self.rms if self.rms > 0 else 0.0

    def to_dict(self) -> dict[str, Any]:
        """Return the fields and derived figures by name."""
        return {**asdict(self), "rms": self.rms, "relative_error": self.relative_error}


@dataclass(frozen=True, slots=True)
class Calibration(Drawn):
    """Straight lines between conformity `c` and the cosine to the mean (Definition 2, Eq. 11).

    Attributes
    ----------
    slope, intercept : float
        ``c ~ slope * cos(m, x) + intercept``; the slope is about the length of the unit mean.
    pearson : float
        Correlation of the two, in [-1, 1].
    inverse_slope, inverse_intercept : float
        ``cos(m, x) ~ inverse_slope * c + inverse_intercept``. The slopes that the paper prints
        (1.461 for images, 1.411 for texts) are of this direction.
    count : int
        Rows used.
    member : bool
        Whether each row was left out of its own conformity.
    """

    slope: float
    intercept: float
    pearson: float
    inverse_slope: float
    inverse_intercept: float
    count: int
    member: bool

    def estimate(self, cosine_to_mean: NDArray[np.float64]) -> NDArray[np.float64]:
        """Conformity estimated from cosines to the mean, any shape."""
        return np.asarray(self.slope * cosine_to_mean + self.intercept)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name."""
        return asdict(self)


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Scores(Drawn):
    """Scores of rows against an ellipsoid; every array has one entry per row.

    Attributes
    ----------
    row : ndarray of int64
        Number of the row among the rows that were given.
    conformity : ndarray of float64
        Exact conformity, in [-1, 1]; NaN where the row is invalid.
    cosine_to_mean : ndarray of float64
        Cosine to the raw mean, in [-1, 1]; NaN where the row is invalid or the mean is zero.
    norm : ndarray of float64
        In the units of the embeddings; NaN where it is not finite.
    status : ndarray of uint8
        0 for a valid row; else an index into ``Scores.STATUS``. It speaks of the row itself, not
        of its partner.
    cosine_to_partner : ndarray of float64, optional
        Cosine to the row's partner, in [-1, 1]; NaN where the row or its partner is invalid. None
        where no partners were given, as are the others where they were not asked for.
    log_likelihood : ndarray of float64, optional
        Under the normal law of a whitening, in nats; NaN where the row is invalid.
    group_conformity : ndarray of float64, optional
        Conformity within the row's group, in [-1, 1]; NaN where the row is invalid, or no other
        row is in its group.
    group_rows : ndarray of int64, optional
        Valid rows of its group, itself included if it is a member; 0 where there is no such group.
    """

    #: Scores that a caller has to ask for.
    BESIDE: ClassVar[tuple[str, ...]] = (
        "cosine_to_partner",
        "log_likelihood",
        "group_conformity",
        "group_rows",
    )
    STATUS: ClassVar[tuple[str, ...]] = ("ok", "non_finite", "zero_norm", "missing")

    row: NDArray[np.int64]
    conformity: NDArray[np.float64]
    cosine_to_mean: NDArray[np.float64]
    norm: NDArray[np.float64]
    status: NDArray[np.uint8]
    cosine_to_partner: NDArray[np.float64] | None = None
    log_likelihood: NDArray[np.float64] | None = None
    group_conformity: NDArray[np.float64] | None = None
    group_rows: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.row)

    def __repr__(self) -> str:
        invalid = int(np.count_nonzero(self.status))
        more = "".join(f", {name}" for name in self.beside)
        return f"Scores({len(self)} rows, {invalid} invalid{more})"

    @property
    def beside(self) -> tuple[str, ...]:
        """Names of the scores that were asked for."""
        return tuple(name for name in self.BESIDE if getattr(self, name) is not None)

    def to_dict(self) -> dict[str, Any]:
        """Return the arrays by name, for instance for ``polars.DataFrame``; status in words."""
        names = ("row", "conformity", "cosine_to_mean", "norm", *self.beside)
        return {
            **{name: getattr(self, name) for name in names},
            "status": np.array(self.STATUS)[self.status],
        }
