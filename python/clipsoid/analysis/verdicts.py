"""Does each property of the paper hold on these rows? The rule, and the figure that decides."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from clipsoid._shown import Shown
from clipsoid._sweeping import SAME_ALPHA

if TYPE_CHECKING:
    from clipsoid.analysis import Analysis
    from clipsoid.analysis.parts import Modality
    from clipsoid.matching import MatchSweep
    from clipsoid.sweep import LossSweep

#: Cross-validated accuracy from which modalities count as linearly separable.
LEAST_ACCURACY = 0.99

#: A thin shell: least radius over the mean radius, and error of the mean radius.
LEAST_RADIUS, GREATEST_ERROR = 0.5, 0.05

#: Standard scores by which feature variances must spread beyond those of a sphere.
LEAST_SCORE = 5.0

#: Median off-diagonal dominance over its null from which features count as tilted.
LEAST_DOMINANCE = 1.5

#: Centre ratio, and how many times what chance gives, ``1 / sqrt(N)``.
LEAST_CENTER, TIMES_CHANCE = 0.1, 5.0

#: How far from 0 the best alpha may lie.
GREATEST_ALPHA = 0.2

#: Distinct rows below which a shell, feature variances and a tilt are not judged. Of normal rows on
#: a sphere 20 would do; of 100 rows of Laplace features no more than 1 % pass for an ellipsoid.
LEAST_ROWS = 100

#: Features below which a tilt is not judged: of 4 that have none, 5 % exceed `LEAST_DOMINANCE`,
#: however many rows there are, and of 8 half a percent.
LEAST_FEATURES = 8

#: Centre ratio of rows that were centred.
AT_ORIGIN = 1e-3

#: Rows for each feature, below which second moments are too noisy, and whitened rows look normal
#: whatever they are.
ROWS_PER_FEATURE = 10


@dataclass(frozen=True, slots=True)
class Verdict(Shown):
    """Whether one property of the paper holds.

    Attributes
    ----------
    number : int
        The property, from 1 to 7.
    name : str
    holds : bool or None
        None where it cannot be judged.
    figure : str
        What decides, with its value.
    rule : str
        When it holds.
    reason : str
        Why it cannot be judged; empty otherwise.
    """

    number: int
    name: str
    holds: bool | None
    figure: str
    rule: str
    reason: str = ""

    def __str__(self) -> str:
        answer = {True: "holds", False: "does not hold", None: "cannot be judged"}[self.holds]
        why = f" ({self.reason})" if self.reason else ""
        return f"{self.number} {self.name}: {answer}{why}; {self.figure}, wanted {self.rule}"


def verdicts(found: Analysis) -> tuple[Verdict, ...]:
    """Judge the seven properties, in their order."""
    return (
        _separable(found),
        _thin_shell(found),
        _ellipsoid(found),
        _tilted(found),
        _off_centre(found),
        _least_loss(found),
        _matched(found),
    )


def _of_both(found: Analysis, measure: Callable[[Modality], float], form: str) -> str:
    image, text = measure(found.image), measure(found.text)
    return f"image {image:{form}}, text {text:{form}}"


def _separable(found: Analysis) -> Verdict:
    rule = f"an accuracy of {LEAST_ACCURACY} or more"
    name = "linearly separable modalities"
    part = found.linear_separability
    if part is None:
        return Verdict(1, name, None, "no figure", rule, "left out")
    accuracy = part.cross_validated_all
    figure = f"cross-validated accuracy of a linear SVM {accuracy:.4f}"
    return Verdict(1, name, accuracy >= LEAST_ACCURACY, figure, rule)


def _thin_shell(found: Analysis) -> Verdict:
    def least(m: Modality) -> float:
        return m.shell.min / m.shell.mean if m.shell.mean else math.nan

    def holds(m: Modality) -> bool:
        return least(m) > LEAST_RADIUS and m.shell.relative_error < GREATEST_ERROR

    figure = "least radius over the mean: " + _of_both(found, least, ".2f")
    figure += "; error of the mean: " + _of_both(found, lambda m: m.shell.relative_error, ".2%")
    rule = f"above {LEAST_RADIUS} and below {GREATEST_ERROR:.0%}"
    reasons = [*_normalized(found), *_too_few(found)]
    return _judged(2, "thin shells", holds, figure, rule, found, reasons)


def _ellipsoid(found: Analysis) -> Verdict:
    def score(m: Modality) -> float:
        return m.variance_score

    figure = "spread of the feature variances beyond a sphere's, in sigmas: "
    figure += _of_both(found, score, ",.0f")
    return _against_chance(3, "ellipsoids, not spheres", score, LEAST_SCORE, figure, found)


def _tilted(found: Analysis) -> Verdict:
    def ratio(m: Modality) -> float:
        return m.tilt_score

    varying = {m.name: int((m.std > 0).sum()) for m in (found.image, found.text) if m.varies}
    few = [
        f"{name}: {count} features that vary are fewer than {LEAST_FEATURES}"
        for name, count in varying.items()
        if count < LEAST_FEATURES
    ]
    figure = "off-diagonal dominance over untilted, median: " + _of_both(found, ratio, ".2f")
    return _against_chance(4, "tilted ellipsoids", ratio, LEAST_DOMINANCE, figure, found, few)


def _off_centre(found: Analysis) -> Verdict:
    def holds(m: Modality) -> bool:
        return m.center_ratio > max(LEAST_CENTER, TIMES_CHANCE / math.sqrt(m.count))

    figure = "|m| / |sigma|: " + _of_both(found, lambda m: m.center_ratio, ".3f")
    rule = f"above {LEAST_CENTER} and {TIMES_CHANCE:g} / sqrt(N)"
    reasons = list(_normalized(found))
    return _judged(5, "centres off the origin", holds, figure, rule, found, reasons)


def _least_loss(found: Analysis) -> Verdict:
    name = "least loss near the given centre"
    return _near_zero(6, name, "the least loss", found.loss_sweep, found)


def _matched(found: Analysis) -> Verdict:
    name = "conformities match near the given centre"
    return _near_zero(7, name, "the least KL", found.match_sweep, found)


def _near_zero(
    number: int, name: str, what: str, sweep: LossSweep | MatchSweep | None, found: Analysis
) -> Verdict:
    rule = f"within {GREATEST_ALPHA} of 0"
    moved = [m for m in (found.image, found.text) if found.options.shift in (m.name, "both")]
    if sweep is None:
        reason = (
            "left out" if all(m.varies for m in moved) else "the rows that move are all the same"
        )
        return Verdict(number, name, None, "no figure", rule, reason)
    # A grid has 0.2 no more exactly than its steps.
    greatest = GREATEST_ALPHA + SAME_ALPHA
    alpha, alphas = sweep.best_alpha, sweep.table["alpha"].to_numpy()
    near = np.abs(alphas) <= greatest
    reason = ""
    if not near.any() or near.all():
        reason = f"the grid has no alpha {'beyond' if near.all() else 'within'} "
        reason += f"{GREATEST_ALPHA} of 0"
    elif all(m.center_ratio < AT_ORIGIN for m in moved):
        reason = "the centre is the origin: nothing changes as it moves"
    answer = None if reason else abs(alpha) <= greatest
    return Verdict(number, name, answer, f"alpha of {what} {alpha + 0.0:g}", rule, reason)


def _judged(
    number: int,
    name: str,
    holds: Callable[[Modality], bool],
    figure: str,
    rule: str,
    found: Analysis,
    reasons: Sequence[str],
) -> Verdict:
    """Both modalities must have the property, unless there is a reason not to judge."""
    reason = "; ".join([*_constant(found), *reasons])
    answer = None if reason else holds(found.image) and holds(found.text)
    return Verdict(number, name, answer, figure, rule, reason)


def _against_chance(
    number: int,
    name: str,
    measure: Callable[[Modality], float],
    least: float,
    figure: str,
    found: Analysis,
    reasons: Sequence[str] = (),
) -> Verdict:
    """As `_judged`, by a figure that is measured against chance.

    What exceeds chance grows with the number of rows: from `LEAST_ROWS` on, few may show too little
    of it, not too much.
    """

    def holds(m: Modality) -> bool:
        return measure(m) > least

    reasons = [*reasons, *_undefined(found, measure), *_too_few(found)]
    if not reasons and not (holds(found.image) and holds(found.text)):
        reasons = list(_few_for_each_feature(found))
    return _judged(number, name, holds, figure, f"above {least:g}", found, reasons)


def _constant(found: Analysis) -> Iterator[str]:
    for modality in (found.image, found.text):
        if not modality.varies:
            yield f"the {modality.name} rows are all the same"


def _normalized(found: Analysis) -> Iterator[str]:
    for modality in (found.image, found.text):
        if modality.is_normalized:
            yield f"{modality.name} rows are normalised"


def _undefined(found: Analysis, measure: Callable[[Modality], float]) -> Iterator[str]:
    for modality in (found.image, found.text):
        if modality.varies and math.isnan(measure(modality)):
            yield (
                f"{modality.name}: no such figure of {int((modality.std > 0).sum())} features that "
                f"vary and {len(modality.sample.row)} sampled rows"
            )


def _too_few(found: Analysis) -> Iterator[str]:
    for modality in (found.image, found.text):
        if modality.varies and modality.distinct < LEAST_ROWS:
            yield f"{modality.name}: {modality.distinct} rows are fewer than {LEAST_ROWS}"


def _few_for_each_feature(found: Analysis) -> Iterator[str]:
    for modality in (found.image, found.text):
        if modality.distinct < ROWS_PER_FEATURE * modality.dim:
            yield (
                f"{modality.name}: {modality.distinct:,} rows are fewer than "
                f"{ROWS_PER_FEATURE} for each of {modality.dim} features"
            )


def cautions(found: Analysis) -> Iterator[str]:
    """Yield what a reader should know before the figures."""
    # What is so of both modalities is said once.
    names: dict[str, list[str]] = {}
    for name, words in (*_of_rows(found), *_of_whitening(found)):
        names.setdefault(words, []).append(name)
    for words, of in names.items():
        yield f"{' and '.join(of)}: {words}"
    part, count = found.retrieval, found.image.count
    of_pairs = {
        "losses": found.loss_sweep,
        "ranks": found.retrieval,
        "all cosines": found.similarities,
    }
    sampled = [name for name, one in of_pairs.items() if one is not None]
    if count > found.options.most_pairs and sampled:
        yield (
            f"of {found.options.most_pairs:,} sampled pairs of {count:,}, not of all: "
            f"{', '.join(sampled)}"
        )
    if part is not None and part.text_to_image.median_rank > part.pairs / 4:
        yield (
            f"the pairs look unrelated: the median rank of a text's image is "
            f"{part.text_to_image.median_rank:,.0f} of {part.pairs:,}"
        )


def _of_rows(found: Analysis) -> Iterator[tuple[str, str]]:
    """Yield the name of a modality, and what is to be known of its rows."""
    for modality in (found.image, found.text):
        if modality.is_normalized:
            yield (
                modality.name,
                "rows are normalised; centre, shell, tilt and whitening describe the unit sphere, "
                "not the encoder's ellipsoid",
            )
        if modality.count < ROWS_PER_FEATURE * modality.dim:
            yield (
                modality.name,
                f"{modality.count:,} rows of {modality.dim} features; second moments are noisy",
            )
        if modality.distinct < modality.count:
            yield (
                modality.name,
                f"{modality.count - modality.distinct:,} of {modality.count:,} rows repeat others",
            )


def _of_whitening(found: Analysis) -> Iterator[tuple[str, str]]:
    """Yield the name of a modality, and what its tests of normality cannot tell."""
    if found.normality is None:
        return
    for name in ("image", "text"):
        tested = getattr(found.normality, name)
        if tested is not None and tested.fit_count < ROWS_PER_FEATURE * tested.dim:
            yield (
                name,
                f"too few rows ({tested.fit_count:,} of {tested.dim} features) to whiten: passing "
                "tests of normality says nothing here",
            )
