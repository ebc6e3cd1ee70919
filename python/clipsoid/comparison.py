"""What `compare` returns: candidates against a reference, the tests made, and a table of both."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from clipsoid._shown import Drawn, Shown
from clipsoid.divergences import Divergence
from clipsoid.results import Made

if TYPE_CHECKING:
    import polars as pl

Array = NDArray[np.float64]

#: Of the conformities of a set, by the name of their column.
QUANTILES = {"q05": 0.05, "q25": 0.25, "median": 0.5, "q75": 0.75, "q95": 0.95}

_DIVERGENCES = {
    "kl_candidate_reference": "kl_pq",
    "kl_reference_candidate": "kl_qp",
    "js": "js",
    "wasserstein": "wasserstein",
}


@dataclass(frozen=True, slots=True, eq=False)
class ReferenceConformity(Shown):
    """The reference: its own conformities where its rows were given, else their mean alone.

    Attributes
    ----------
    count : int
        Rows.
    mean : float
        Mean conformity, each row left out of its own.
    std : float or None
        With ddof 1; None for an ellipsoid, as what follows.
    quantiles : dict of str to float, or None
        At 5, 25, 50, 75 and 95 %: `q05`, `q25`, `median`, `q75`, `q95`.
    conformity : ndarray of float64 of shape (n,), or None
    is_normalized : bool
        Whether every norm lies within 1 +- 0.01.
    dtype : str
        Element type of the rows; joined by a plus where there are several.
    """

    count: int
    mean: float
    std: float | None
    quantiles: dict[str, float] | None
    is_normalized: bool
    dtype: str
    conformity: Array | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, eq=False)
class CandidateConformity(Shown):
    """One candidate against the reference.

    Attributes
    ----------
    name : str
    order : int
        Place by mean conformity: 1 is the most generic, the last the rarest. A statement about
        typicality, not about better or worse.
    count : int
        Rows.
    mean, std : float
        Of the conformities; ddof 1.
    quantiles : dict of str to float
        As for `ReferenceConformity`.
    shift : float
        Mean minus that of the reference.
    shift_lower, shift_upper : float or None
        Interval of the shift: of Welch's t where the reference's rows were given, of a
        one-sample t where they were not. None where nothing varies.
    hedges_g : float or None
        The shift in pooled standard deviations, corrected for small samples (Hedges' g); None
        without the reference's rows.
    divergence : Divergence or None
        Of the candidate's conformities (`p`) from the reference's (`q`); None likewise.
    p_value, p_corrected : float or None
        Two-sided, of the test that the interval belongs to; as it is, and by Holm over all tests
        of the comparison.
    is_normalized : bool
    dtype : str
        Element type of the rows, as for `ReferenceConformity`.
    conformity : ndarray of float64 of shape (n,)
        Of each row, in [-1, 1].
    """

    name: str
    order: int
    count: int
    mean: float
    std: float
    quantiles: dict[str, float]
    shift: float
    shift_lower: float | None
    shift_upper: float | None
    hedges_g: float | None
    divergence: Divergence | None
    p_value: float | None
    p_corrected: float | None
    is_normalized: bool
    dtype: str
    conformity: Array = field(repr=False)

    def to_dict(self) -> dict[str, Any]:
        """Return the figures by name, but for the conformities of the rows."""
        apart = {
            name: None if self.divergence is None else getattr(self.divergence, own)
            for name, own in _DIVERGENCES.items()
        }
        return {
            "order": self.order,
            "name": self.name,
            "count": self.count,
            "mean": self.mean,
            "std": self.std,
            **self.quantiles,
            "shift": self.shift,
            "shift_lower": self.shift_lower,
            "shift_upper": self.shift_upper,
            "hedges_g": self.hedges_g,
            **apart,
            "p_value": self.p_value,
            "p_corrected": self.p_corrected,
            "is_normalized": self.is_normalized,
            "dtype": self.dtype,
        }


@dataclass(frozen=True, slots=True)
class ComparisonTest(Shown):
    """A two-sided t test of the difference between two mean conformities.

    Attributes
    ----------
    kind : {"welch", "one-sample", "paired"}
        Two sets of rows; one set against a mean that counts as known; the means of prompts that
        two sets share.
    first, second : str
        Names of the candidates; "reference" for the reference.
    count : int
        Rows of the first, or prompts shared.
    difference : float
        First minus second.
    lower, upper : float or None
        Its interval, not corrected for the number of tests; None where nothing varies.
    statistic, degrees_of_freedom, p_value : float or None
    p_corrected : float or None
        By Holm over all tests of the comparison.
    cohens_dz : float or None
        Effect size of a paired test, Cohen's d_z: the mean of the differences over their standard
        deviation, of ddof 1. None for other kinds, whose effect size is `hedges_g` of
        `CandidateConformity`, and where nothing varies.
    """

    kind: Literal["welch", "one-sample", "paired"]
    first: str
    second: str
    count: int
    difference: float
    lower: float | None
    upper: float | None
    statistic: float | None
    degrees_of_freedom: float | None
    p_value: float | None
    p_corrected: float | None = None
    cohens_dz: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name."""
        return asdict(self)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Comparison(Made, Drawn):
    """Candidates against a reference, the most generic first.

    Attributes
    ----------
    reference : ReferenceConformity
    candidates : dict of str to CandidateConformity
        By name, in their order.
    tests : tuple of ComparisonTest
        All that were made: each candidate against the reference; then the paired ones.
    interval : float
        Coverage of the intervals.
    bins : int
        Of the histograms of the divergences.
    dim : int
        Features.
    notes : tuple of str
        What to know before reading the figures: small samples, prompts that are of one set only,
        rows that are not independent, normalised rows beside raw ones.
    simd_level : str
        Instruction set; bits may differ between two.
    version : str
        Version of clipsoid.
    """

    reference: ReferenceConformity
    candidates: dict[str, CandidateConformity]
    tests: tuple[ComparisonTest, ...]
    interval: float
    bins: int
    dim: int
    notes: tuple[str, ...]

    @property
    def table(self) -> pl.DataFrame:
        """One row per candidate, in order: the figures of `CandidateConformity`.

        Columns: `order`, `name`, `count`, `mean`, `std`, `q05`, `q25`, `median`, `q75`, `q95`,
        `shift`, `shift_lower`, `shift_upper`, `hedges_g`, `kl_candidate_reference`,
        `kl_reference_candidate`, `js`, `wasserstein`, `p_value`, `p_corrected`, `is_normalized`,
        `dtype`.
        """
        return _frame([candidate.to_dict() for candidate in self.candidates.values()])

    @property
    def tests_table(self) -> pl.DataFrame:
        """One row per test: the fields of `ComparisonTest`."""
        return _frame([test.to_dict() for test in self.tests])

    def report(self, path: str | os.PathLike[str], *, title: str | None = None) -> None:
        """Write a page that shows all of it: one HTML file that needs no network.

        Parameters
        ----------
        path : path
            A report that is there is replaced; any other file is not.
        title : str, optional

        Raises
        ------
        OutputError
            If it cannot be written.
        UnavailableError
            If the extra ``report`` is not installed.
        """
        from clipsoid._extras import check_report
        from clipsoid.report import write_page
        from clipsoid.report.comparison import comparison_page

        check_report("reports")
        write_page(comparison_page(self, title=title), path)

    def __repr__(self) -> str:
        order = ", ".join(f"{c.name} {c.mean:.4f}" for c in self.candidates.values())
        notes = f", {len(self.notes)} notes" if self.notes else ""
        return (
            f"Comparison(reference {self.reference.mean:.4f}, {order}, {len(self.tests)} tests, "
            f"intervals of {100 * self.interval:.4g} %{notes})"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the conformities of the rows."""
        names = ("count", "mean", "std", "quantiles", "is_normalized", "dtype")
        return {
            "reference": {name: getattr(self.reference, name) for name in names},
            "candidates": [candidate.to_dict() for candidate in self.candidates.values()],
            "tests": [test.to_dict() for test in self.tests],
            "interval": self.interval,
            "bins": self.bins,
            "dim": self.dim,
            "notes": list(self.notes),
            "simd_level": self.simd_level,
            "version": self.version,
        }


#: Of the columns of both tables; the others are float64, and may be null throughout.
_TYPES = {
    **dict.fromkeys(("order", "count"), "Int64"),
    **dict.fromkeys(("name", "kind", "first", "second", "dtype"), "String"),
    "is_normalized": "Boolean",
}


def _frame(rows: list[dict[str, Any]]) -> pl.DataFrame:
    import polars as pl

    return pl.DataFrame(rows, {name: getattr(pl, _TYPES.get(name, "Float64")) for name in rows[0]})
