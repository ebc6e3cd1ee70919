"""Generators and captioners against a reference of real ones: how generic is what they make."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clipsoid._checks import checked_count, checked_share
from clipsoid._extras import check_stats
from clipsoid._geometry import are_normalized
from clipsoid._prompts import REFERENCE, Pair, Prompts, pairs_of, prompts_of, unpaired
from clipsoid._scoring import joined, score_batches
from clipsoid._source import Progress, Source, as_source, check_threads, joined_dtypes
from clipsoid._t_tests import Sample, cohens_dz, hedges_g, holm, one_sample, welch
from clipsoid.comparison import (
    QUANTILES,
    CandidateConformity,
    Comparison,
    ComparisonTest,
    ReferenceConformity,
)
from clipsoid.divergences import divergence
from clipsoid.ellipsoid import Ellipsoid
from clipsoid.errors import SmallSampleWarning

Array = NDArray[np.float64]

#: Fewer rows, or shared prompts, than this are pointed out.
FEW = 30


def compare(
    reference: Any,
    candidates: Mapping[str, Any],
    *,
    paired: Any = None,
    interval: float = 0.95,
    bins: int = 50,
    n_threads: int | None = None,
    progress: Progress | None = None,
) -> Comparison:
    """Conformity of generated images or captions against real ones (Figure 13).

    Parameters
    ----------
    reference : Ellipsoid, or array, tensor, column, path or store of shape (n, d)
        Real images or captions: their rows, two or more, or an ellipsoid fitted to them. With rows
        there are a distribution to compare with, an effect size and a two-sample test; of an
        ellipsoid only the mean is known.
    candidates : mapping of str to array, tensor, column, path or store of shape (m, d)
        What each generator made, by its name: two rows or more, none of them part of the
        reference.
    paired : None, bool, vector or mapping of str to vector, optional
        Which rows were made for the same prompt. True: row `j` of every candidate, and of the
        reference where it has as many rows. A vector of shape (m,): the prompt of each row, the
        same for every candidate. A mapping of names, of which "reference" may be one, to such
        vectors: sets that it does not name take no part in paired tests. Prompts are integers or
        strings; where a set has several rows for a prompt, their mean counts. Prompts without a
        partner take no part in a test, and are counted in `notes`.
    interval : float, default=0.95
        Coverage of the intervals, in (0, 1).
    bins : int, default=50
        Of the histograms of the divergences.
    n_threads : int, optional
        Most threads to use; all that the process may use by default.
    progress : callable, optional
        Called with a number of rows whenever that many are done. The reference's rows are passed
        twice.

    Returns
    -------
    Comparison
        Its `table` has one row per candidate, the most generic first.

    Raises
    ------
    UnavailableError
        If scipy is not installed: it comes with the extra ``stats``.
    ShapeError
        If a set has fewer than two rows, or `paired` is not one prompt for each row.
    MismatchError
        If a candidate and the reference differ in dimension, or prompts do not pair up.
    InvalidRowError
        If a row is missing, not finite or of zero norm.
    DTypeError
        If elements, or prompts, are of another type.
    ValueError
        If there is no candidate, one is called "reference" or nothing, or `interval` or `bins` is
        out of range.

    Warns
    -----
    SmallSampleWarning
        If a set has fewer than 30 rows, or two sets share fewer than 30 prompts; also in `notes`.

    Notes
    -----
    A row's conformity is its mean cosine to the reference: ``s.u`` for a candidate,
    ``(N s.u - 1) / (N - 1)`` for a row of the reference, so that both are means over other rows.
    High is generic, low is rare. Norms do not matter, so that normalised rows can be compared with
    raw ones; this is noted.

    The reference set at hand is the measure: intervals and tests are about the mean conformity *to
    it* of further rows of either kind. Against the reference the interval and the test are those
    of Welch's t, with the reference's rows as the second sample, or of a one-sample t for an
    ellipsoid, whose mean then counts as known. Paired tests are t tests of the differences of
    prompt means, whose effect size is Cohen's d_z. All p-values are two-sided, and corrected by
    Holm over all tests of the call. Two passes over the reference, one over each candidate,
    ``O(n d)``; one float64 per row is kept.

    References
    ----------
    .. [1] Levi & Gilboa, "The Double-Ellipsoid Geometry of CLIP", ICML 2025, arXiv 2411.14517.

    Examples
    --------
    >>> import clipsoid as cs
    >>> real, _, _ = cs.double_ellipsoid(1000, seed=0)
    >>> other, _, _ = cs.double_ellipsoid(500, seed=0)
    >>> center = cs.Ellipsoid.fit(real).mean
    >>> found = cs.compare(real, {"plain": other, "bland": other + 0.5 * center}, paired=True)
    >>> list(found.candidates)
    ['bland', 'plain']
    >>> [(test.kind, test.first, test.second) for test in found.tests][-1]
    ('paired', 'plain', 'bland')
    """
    check_stats("compare", "scipy")
    check_threads(n_threads)
    bins = checked_count("bins", bins)
    interval = checked_share("interval", interval)
    sources = _opened(candidates)
    own = (
        None
        if isinstance(reference, Ellipsoid)
        else as_source(reference, REFERENCE).without_policies()
    )
    if own is not None:
        own.expect_rows(2)
    dim, of = (reference.dim, "the ellipsoid") if own is None else (own.dim, own.name)
    for source in sources.values():
        source.expect_dim(dim, of)
        source.expect_rows(2)
    counts = {name: source.count for name, source in sources.items()}
    prompts = prompts_of(paired, counts if own is None else counts | {REFERENCE: own.count})
    pairs = pairs_of(prompts)

    e = reference
    if own is not None:
        e = Ellipsoid.fit(own, covariance=False, n_threads=n_threads, progress=progress)
    real = _reference(e, own, n_threads, progress)
    scores = {}
    for name, source in sources.items():
        scores[name] = joined(
            [
                *score_batches(
                    source, e.reference(member=False), n_threads=n_threads, progress=progress
                )
            ]
        )
    conformity = {name: found.conformity for name, found in scores.items()}
    normalized = {
        name: are_normalized(found.norm.min(), found.norm.max()) for name, found in scores.items()
    }
    samples = {name: Sample.of(values) for name, values in conformity.items()}
    if real.conformity is not None:
        conformity[REFERENCE] = real.conformity
    tests = [*_against(samples, real, interval), *_paired(conformity, prompts, pairs, interval)]
    corrected = holm([test.p_value for test in tests])
    tests = [replace(test, p_corrected=p) for test, p in zip(tests, corrected, strict=True)]
    by_mean = sorted(samples, key=lambda name: -samples[name].mean)
    made = {
        name: _candidate(
            name,
            order,
            conformity[name],
            real,
            test,
            bins,
            is_normalized=normalized[name],
            dtype=joined_dtypes(sources[name]),
        )
        for order, name in enumerate(by_mean, 1)
        for test in tests
        if test.first == name and test.kind != "paired"
    }
    few = _few(made, real, tests)
    for note in few:
        warnings.warn(note, SmallSampleWarning, stacklevel=2)
    notes = (*few, *unpaired(prompts, pairs), *_repeated(prompts), *_mixed(made, real))
    return Comparison(real, made, tuple(tests), interval, bins, dim, notes)


def _opened(candidates: Mapping[str, Any]) -> dict[str, Source]:
    if not isinstance(candidates, Mapping):
        raise TypeError(
            f"candidates: found {type(candidates).__qualname__}; wanted a mapping of names to rows"
        )
    if not candidates:
        raise ValueError("candidates: found none; wanted one or more")
    for name in candidates:
        if not isinstance(name, str) or name in ("", REFERENCE):
            raise ValueError(f"candidates: found the name {name!r}; wanted another, in words")
    return {
        name: as_source(rows, f"candidates[{name!r}]").without_policies()
        for name, rows in candidates.items()
    }


def _quantiles(values: Array) -> dict[str, float]:
    found = np.quantile(values, list(QUANTILES.values()))
    return dict(zip(QUANTILES, map(float, found), strict=True))


def _reference(
    e: Ellipsoid, own: Source | None, n_threads: int | None, progress: Progress | None
) -> ReferenceConformity:
    if own is None:
        dtype = "+".join(sorted(e.dtypes))
        return ReferenceConformity(e.count, e.mean_conformity, None, None, e.is_normalized, dtype)
    parts = score_batches(own, e.reference(member=True), n_threads=n_threads, progress=progress)
    values = joined([*parts]).conformity
    sample = Sample.of(values)
    return ReferenceConformity(
        e.count,
        sample.mean,
        float(np.sqrt(sample.variance)),
        _quantiles(values),
        e.is_normalized,
        joined_dtypes(own),
        values,
    )


def _against(
    samples: Mapping[str, Sample], real: ReferenceConformity, interval: float
) -> list[ComparisonTest]:
    """Test every candidate against the reference."""
    tests = []
    for name, sample in samples.items():
        if real.conformity is None:
            found = one_sample(sample, real.mean, interval)
            tests.append(ComparisonTest("one-sample", name, REFERENCE, sample.size, *found))
        else:
            found = welch(sample, Sample.of(real.conformity), interval)
            tests.append(ComparisonTest("welch", name, REFERENCE, sample.size, *found))
    return tests


def _paired(
    conformity: Mapping[str, Array],
    prompts: Mapping[str, Prompts],
    pairs: Sequence[Pair],
    interval: float,
) -> list[ComparisonTest]:
    """Test every two sets that share enough prompts."""
    tests = []
    for first, second, both in (pair for pair in pairs if pair.is_tested):
        means = []
        for name in (first, second):
            own = prompts[name]
            means.append(own.means(conformity[name])[np.searchsorted(own.names, both)])
        scale = float(np.abs(means).max())
        differences = Sample.of(means[0] - means[1], scale)
        found = one_sample(differences, 0.0, interval)
        effect = cohens_dz(differences)
        tests.append(ComparisonTest("paired", first, second, len(both), *found, cohens_dz=effect))
    return tests


def _candidate(
    name: str,
    order: int,
    values: Array,
    real: ReferenceConformity,
    test: ComparisonTest,
    bins: int,
    *,
    is_normalized: bool,
    dtype: str,
) -> CandidateConformity:
    sample, effect, apart = Sample.of(values), None, None
    if real.conformity is not None:
        effect = hedges_g(sample, Sample.of(real.conformity))
        apart = divergence(values, real.conformity, bins=bins)
    return CandidateConformity(
        name=name,
        order=order,
        count=sample.size,
        mean=sample.mean,
        std=float(np.sqrt(sample.variance)),
        quantiles=_quantiles(values),
        shift=test.difference,
        shift_lower=test.lower,
        shift_upper=test.upper,
        hedges_g=effect,
        divergence=apart,
        p_value=test.p_value,
        p_corrected=test.p_corrected,
        is_normalized=is_normalized,
        dtype=dtype,
        conformity=values,
    )


def _few(
    made: Mapping[str, CandidateConformity],
    real: ReferenceConformity,
    tests: list[ComparisonTest],
) -> list[str]:
    """Say which samples are small."""
    counts = {REFERENCE: real.count} | {name: one.count for name, one in made.items()}
    found = [
        f"{name}: {count} rows; intervals and p-values are rough below {FEW}"
        for name, count in counts.items()
        if count < FEW
    ]
    return found + [
        f"{test.first} and {test.second}: {test.count} shared prompts; their test is rough below "
        f"{FEW}"
        for test in tests
        if test.kind == "paired"
        and test.count < FEW <= min(counts[test.first], counts[test.second])
    ]


def _repeated(prompts: Mapping[str, Prompts]) -> list[str]:
    """Say where rows are not independent."""
    return [
        f"{name}: {len(own.place)} rows for {len(own.names)} prompts: rows of one prompt are not "
        "independent, so its interval and p-value against the reference are too sure"
        for name, own in prompts.items()
        if len(own.names) < len(own.place)
    ]


def _mixed(made: Mapping[str, CandidateConformity], real: ReferenceConformity) -> list[str]:
    """Say where normalised rows meet raw ones."""
    words = {True: "normalised", False: "raw"}
    return [
        f"{name}: rows are {words[one.is_normalized]}, those of the reference "
        f"{words[real.is_normalized]}: conformity is the same for both"
        for name, one in made.items()
        if one.is_normalized != real.is_normalized
    ]
