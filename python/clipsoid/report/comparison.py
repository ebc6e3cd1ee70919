"""The page of a comparison: generated images or captions beside real ones."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from clipsoid._native import __version__
from clipsoid.report.blocks import Page, Section, Table
from clipsoid.report.charts.expressiveness import expressiveness_figure
from clipsoid.report.marks import number

if TYPE_CHECKING:
    from clipsoid.comparison import Comparison

#: The format of what can be taken out of the page.
FORMAT = "clipsoid.comparison"

#: Columns of the table of candidates, by the name of their figure.
CANDIDATES = {
    "order": "order",
    "name": "candidate",
    "count": "rows",
    "mean": "mean",
    "std": "std",
    "q05": "5 %",
    "q25": "25 %",
    "median": "median",
    "q75": "75 %",
    "q95": "95 %",
    "shift": "shift",
    "shift_lower": "shift from",
    "shift_upper": "shift to",
    "hedges_g": "Hedges' g",
    "kl_candidate_reference": "KL from ref.",
    "kl_reference_candidate": "KL of ref.",
    "js": "JS",
    "wasserstein": "Wasserstein",
    "p_corrected": "p (Holm)",
}

#: Of the table of tests.
TESTS = {
    "kind": "test",
    "first": "first",
    "second": "second",
    "count": "n",
    "difference": "difference",
    "lower": "from",
    "upper": "to",
    "cohens_dz": "d_z",
    "statistic": "t",
    "degrees_of_freedom": "df",
    "p_value": "p",
    "p_corrected": "p (Holm)",
}


def comparison_page(found: Comparison, title: str | None = None) -> Page:
    """Return all that a report of a comparison says.

    Parameters
    ----------
    found : Comparison
    title : str, optional
    """
    share = f"{100 * found.interval:.4g} %"
    own = found.reference.conformity is not None
    intro = (
        "Conformity tells how typical something is of the reference. A generator whose images are "
        "more generic than real ones draws what is common, one whose images are rarer draws what "
        "is not; neither is better or worse."
    )
    against = "Welch's t" if own else "a one-sample t, the mean of the ellipsoid counting as known"
    sections = (
        Section("expressiveness-part", "Generic and rare", intro, (expressiveness_figure(found),)),
        Section(
            "figures",
            "Every figure",
            "",
            (
                Table(
                    "candidates",
                    "Candidates",
                    tuple(CANDIDATES.values()),
                    tuple(_rows(found.table.to_dicts(), CANDIDATES)),
                    f"The most generic first. Shift: mean minus that of the reference, {share} "
                    f"interval by {against}. Divergences in nats, Wasserstein in conformity.",
                ),
                Table(
                    "tests",
                    "Tests",
                    tuple(TESTS.values()),
                    tuple(_rows(found.tests_table.to_dicts(), TESTS)),
                    "Two-sided t tests of the first mean minus the second. Intervals are of each "
                    f"test by itself; p (Holm) is corrected over all {len(found.tests)}.",
                ),
            ),
        ),
    )
    return Page(
        title or "Generated beside real: how generic",
        _summary(found),
        (),
        tuple(_key_figures(found)),
        found.notes,
        sections,
        tuple(_made(found)),
        (),
        {"format": FORMAT, "text": json.dumps(found.to_dict())},
    )


def _rows(rows: list[dict[str, Any]], columns: dict[str, str]) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of a table."""
    for row in rows:
        yield tuple(row[name] for name in columns)


def _summary(found: Comparison) -> str:
    many = len(found.candidates)
    what = "1 candidate" if many == 1 else f"{many:,} candidates"
    return f"{what} against {found.reference.count:,} rows of a reference"


def _key_figures(found: Comparison) -> Iterator[tuple[str, str]]:
    candidates = list(found.candidates.values())
    yield "mean conformity of the reference", number(found.reference.mean)
    ends = {"most generic": candidates[0], "rarest": candidates[-1]}
    for what, one in ends.items() if len(candidates) > 1 else [("the candidate", candidates[0])]:
        yield what, f"{one.name}, shift {number(one.shift)}"
    generic, rare = (
        sum(one.shift * sign > 0 and _apart(one.p_corrected, found) for one in candidates)
        for sign in (1, -1)
    )
    yield f"more generic than the reference, at level {1 - found.interval:g}", f"{generic:,}"
    yield "rarer than it", f"{rare:,}"
    yield "neither can be told", f"{len(candidates) - generic - rare:,}"


def _apart(p: float | None, found: Comparison) -> bool:
    return p is not None and p < 1 - found.interval


def _made(found: Comparison) -> Iterator[tuple[str, str]]:
    real = found.reference
    yield "version of clipsoid", __version__
    yield "reference", f"{real.count:,} rows, {_kind(real.is_normalized)}"
    yield "of it", "an ellipsoid: the mean alone" if real.conformity is None else "every row"
    for one in found.candidates.values():
        yield one.name, f"{one.count:,} rows, {_kind(one.is_normalized)}"
    yield "tests", f"{len(found.tests)}, two-sided, corrected by Holm"
    yield "level", f"{1 - found.interval:g}"
    yield "bins of the divergences", str(found.bins)


def _kind(is_normalized: bool) -> str:
    return "normalised" if is_normalized else "raw"
