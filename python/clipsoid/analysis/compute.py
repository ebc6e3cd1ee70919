"""The work behind an analysis: passes over the rows that its parts share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clipsoid._extras import check_stats
from clipsoid._false_negatives import between
from clipsoid._gather import sampled, taken
from clipsoid._intervals import RESAMPLES, Estimator
from clipsoid._source import Source
from clipsoid.analysis.figures import Gallery, Histogram
from clipsoid.analysis.measured import GALLERY, Measured
from clipsoid.analysis.parts import (
    AnalysisOptions,
    Differences,
    DirectionFigures,
    FeatureHistograms,
    FeaturePlane,
    Link,
    Modality,
    Normalities,
    Retrieval,
    Similarities,
)
from clipsoid.blur import blur_experiment
from clipsoid.contrast import loss_sweep
from clipsoid.difference import ConformityDifference, difference_of
from clipsoid.ellipsoid import Ellipsoid
from clipsoid.errors import InvalidRowError, ShapeError, UnavailableError
from clipsoid.gap import gap_of
from clipsoid.histogram import SimilarityHistogram, count_cosines
from clipsoid.interpolate import VslerpGrid, vslerp_grid
from clipsoid.matching import MatchSweep, matched
from clipsoid.normality import LEAST_ROWS, Normality
from clipsoid.pair import separability_table
from clipsoid.retrieval import Directions, retrieval_ranks
from clipsoid.rivals import Centrality, Rivals, Spearman
from clipsoid.separation import MAX_ROWS, LinearSeparability, fits_at_once, plane_between
from clipsoid.sweep import LossSweep
from clipsoid.whitening import Whitening

Array = NDArray[np.float64]

#: Parts that can be left out, in the order in which they are computed.
PARTS = (
    "separability",
    "linear_separability",
    "gap",
    "similarities",
    "loss_sweep",
    "match_sweep",
    "conformity_difference",
    "retrieval",
    "normality",
    "vslerp",
    "blur",
)

#: Of the grid between two images: Figure 12 draws alphas in [-2, 2].
THETAS, VSLERP_ALPHAS = (0.0, 0.25, 0.5, 0.75, 1.0), (-2.0, -1.0, 0.0, 1.0, 2.0)

#: From the least to the greatest.
COSINES = (-1.0, 1.0)

#: Of the cross-validation of `linear_separability`.
FOLDS = 5

#: Memory of the fits of `linear_separability` that run together, or of one that takes more: at
#: 5,000 pairs of 512 features one does, which is the most that any part of an analysis takes.
FIT_MEMORY = 200_000_000

#: Features that are drawn for both modalities.
SHOWN_FEATURES = 9


@dataclass(frozen=True)
class Compared:
    """The pairs that are compared with one another: all, or a sample of them."""

    image: Source
    text: Source
    ellipsoids: tuple[Ellipsoid, Ellipsoid]
    rows: NDArray[np.int64]

    @classmethod
    def of(cls, image: Measured, text: Measured) -> Compared:
        """Choose them."""
        rows, (images, texts) = image.compared_rows, (image.compared(), text.compared())
        if len(rows) == image.source.count:
            ellipsoids = image.ellipsoid, text.ellipsoid
        else:
            ellipsoids = _means(images, image.n_threads), _means(texts, text.n_threads)
        return cls(images, texts, ellipsoids, rows)


def _means(source: Source, n_threads: int | None) -> Ellipsoid:
    return Ellipsoid.fit(source, covariance=False, n_threads=n_threads)


def features(image: Measured, text: Measured, order: list[int]) -> tuple[FeatureHistograms, ...]:
    """Histograms of the features that separate best."""
    found = []
    for feature in order[:SHOWN_FEATURES]:
        x, y = (modality.columns([feature])[:, 0] for modality in (image, text))
        found.append(FeatureHistograms(feature, *Histogram.together(image.options.bins, x, y)))
    return tuple(found)


def plane(image: Measured, text: Measured, order: list[int]) -> FeaturePlane | None:
    """Return the sample by the first two of some features, if there are two."""
    if len(order) < 2:
        return None
    best = order[:2]
    return FeaturePlane((best[0], best[1]), image.columns(best), text.columns(best))


def similarities(pairs: Compared, bins: int, n_threads: int | None) -> Similarities:
    """Return the distributions of all cosines."""

    def of(x: Source, y: Source | None, *known: Ellipsoid) -> SimilarityHistogram:
        return count_cosines(x, y, bins, COSINES, n_threads, known=known).result()

    image, text = pairs.ellipsoids
    return Similarities(
        of(pairs.image, None, image),
        of(pairs.text, None, text),
        of(pairs.image, pairs.text, image, text),
    )


def retrieval(pairs: Compared, image: Measured, text: Measured, n_threads: int | None) -> Retrieval:
    """Return ranks, and false negatives beside conformity."""
    ranks = retrieval_ranks(pairs.image, pairs.text, n_threads=n_threads)
    rows = pairs.rows
    known = [
        Centrality(m.scores.conformity[rows], m.scores.cosine_to_mean[rows]) for m in (image, text)
    ]
    rivals = between(
        pairs.image, pairs.text, 1, 0.0, n_threads, known=(known[0], known[1])
    ).result()
    recalls = [ranks.recall(k) for k in (1, 5, 10)]

    def figures(pick: int) -> DirectionFigures:
        chosen: list[Directions] = [*recalls, ranks.median_rank, ranks.mean_rank]
        return DirectionFigures(*(one[pick] for one in chosen))

    def link(of: Rivals, spearman: Spearman, measured: Measured) -> Link:
        at = sampled(len(rows), measured.options.sample_rows, measured.options.seed)
        return Link(spearman, rows[at], of.count[at], measured.scores.conformity[rows[at]])

    return Retrieval(
        len(rows),
        figures(0),
        figures(1),
        link(rivals.image_to_text, rivals.image_spearman, image),
        link(rivals.text_to_image, rivals.text_spearman, text),
    )


def plane_of_all(
    image: Source, text: Source, options: AnalysisOptions, n_threads: int | None
) -> LinearSeparability:
    """Separate the modalities by a plane, with as many fits at once as the memory is for."""
    elements = 2 * min(image.count, MAX_ROWS) * image.dim
    at_once = fits_at_once(elements, FIT_MEMORY, n_threads)
    return plane_between(
        image, text, folds=FOLDS, max_rows=MAX_ROWS, seed=options.seed, n_threads=at_once
    )


def differences(image: Measured, text: Measured) -> Differences:
    """Return how common images are beside their texts."""
    found = difference_of(image.scores.conformity, text.scores.conformity)
    return differences_of(found, image.options.bins)


def differences_of(found: ConformityDifference, bins: int) -> Differences:
    """Return distributions and ends of the differences of pairs."""
    percentiles = found.percentile_difference
    image_higher, text_higher = Gallery.ends(percentiles, GALLERY)
    return Differences(
        Histogram.of(percentiles, bins),
        Histogram.of(found.difference, bins),
        image_higher,
        text_higher,
    )


def grid(image: Measured, modality: Modality) -> VslerpGrid | None:
    """Interpolate between the most and the least conforming image, if there is an arc."""
    ends = [gallery.row[0] for gallery in (modality.highest, modality.lowest)]
    rows, at = np.unique(ends, return_inverse=True)
    a, b = taken(image.source, rows).wide()[at]
    try:
        return vslerp_grid(
            a,
            b,
            THETAS,
            VSLERP_ALPHAS,
            image.ellipsoid,
            rows=image.source,
            n_threads=image.n_threads,
        )
    except InvalidRowError:
        # They are opposite, or nothing is left of one, at some alpha.
        return None


def check_parts(options: AnalysisOptions, count: int, dim: int) -> None:
    """Raise, before any work, if a part that is not left out cannot be had."""
    if "linear_separability" not in options.left_out:
        check_stats("linear_separability", "sklearn")
        if dim < 2 or count < FOLDS:
            raise ShapeError(
                f"linear_separability: found {count} rows of {dim} features, wanted {FOLDS} or "
                'more of 2 or more; leave_out=["linear_separability"] does without'
            )
    if "normality" not in options.left_out:
        check_stats("normality", "scipy")
        rows = min(count, options.sample_rows)
        if rows < LEAST_ROWS:
            raise ShapeError(
                f"normality: found {rows} rows in the sample, wanted {LEAST_ROWS} or more; "
                'leave_out=["normality"] does without'
            )


def normality(measured: Measured) -> Normality | None:
    """Test the whitened rows of a modality, if they vary."""
    options, rows = measured.options, measured.sampled.as_source(measured.name)
    try:
        whitening = Whitening.from_ellipsoid(measured.ellipsoid)
        # The sample that is drawn here is the one that the test would draw.
        found = whitening.normality(
            rows, sample=options.sample_rows, seed=options.seed, n_threads=measured.n_threads
        )
    except UnavailableError:
        # They do not, or those that were drawn do not; what must be installed was looked for.
        return None
    return replace(found, total=measured.source.count)


def parts(
    image_source: Source,
    text_source: Source,
    options: AnalysisOptions,
    n_threads: int | None,
    progress: Callable[[str], None],
) -> dict[str, Any]:
    """Compute every part that is not left out, by the names of `Analysis`."""
    progress("modalities")
    image = Measured("image", image_source, options, n_threads)
    text = Measured("text", text_source, options, n_threads)
    found: dict[str, Any] = {"image": image.modality(), "text": text.modality()}
    sources = (image_source, text_source)
    shift: Any = options.shift
    how = Estimator.checked(options.bins, None, options.seed, RESAMPLES)
    sweep: dict[str, Any] = {
        "alphas": options.alphas,
        "shift": options.shift,
        "n_threads": n_threads,
    }

    # Rows that are all the same are nothing once they are centred.
    moves = all(found[name].varies for name in ("image", "text") if shift in (name, "both"))

    @cache
    def pairs() -> Compared:
        return Compared.of(image, text)

    def losses() -> LossSweep | None:
        if not moves:
            return None
        temperature = options.temperature
        return loss_sweep(pairs().image, pairs().text, temperature=temperature, **sweep)

    def matches() -> MatchSweep | None:
        if not moves:
            return None
        return matched(image.conformities(), text.conformities(), options.alphas, shift, how)

    def separable() -> Any:
        frame = separability_table(*sources, image.features, text.features, options.bins, n_threads)
        order = frame["feature"].to_list()
        found["features"] = features(image, text, order)
        if "linear_separability" in options.left_out:
            found["plane"] = plane(image, text, order)
        return frame

    def separated() -> LinearSeparability:
        part = plane_of_all(*sources, options, n_threads)
        # Those that it chose from its own sample: its boundary is drawn among them.
        found["plane"] = plane(image, text, list(part.features))
        return part

    work: dict[str, Callable[[], Any]] = {
        "separability": separable,
        "linear_separability": separated,
        "gap": lambda: gap_of(*sources, image.ellipsoid, text.ellipsoid),
        "similarities": lambda: similarities(pairs(), options.bins, n_threads),
        "loss_sweep": losses,
        "match_sweep": matches,
        "conformity_difference": lambda: differences(image, text),
        "retrieval": lambda: retrieval(pairs(), image, text, n_threads),
        "normality": lambda: Normalities(normality(image), normality(text)),
        "vslerp": lambda: grid(image, found["image"]),
        "blur": lambda: blur_experiment(seed=options.seed, bins=options.bins),
    }
    for name in PARTS:
        if name not in options.left_out:
            progress(name)
            found[name] = work[name]()
    return found
