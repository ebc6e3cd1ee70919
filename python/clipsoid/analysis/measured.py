"""One modality, measured: each pass over its rows is made once."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from clipsoid import _native
from clipsoid._batch import Batch
from clipsoid._features import fitted
from clipsoid._gather import Gathered, taken, widened
from clipsoid._scoring import measured
from clipsoid._source import Source
from clipsoid.analysis.parts import (
    AnalysisOptions,
    Gallery,
    Histogram,
    Modality,
    Sample,
)
from clipsoid.divergences import Sample as Sorted
from clipsoid.errors import UnavailableError
from clipsoid.matching import Conformities
from clipsoid.results import Calibration, Scores

Array = NDArray[np.float64]

#: Rows of a gallery.
GALLERY = 24

#: Features whose deviations from the mean are drawn.
CENTRED = 10

#: Features that are in float64 at one time.
TOGETHER = 64


def sample(count: int, most: int, seed: int) -> NDArray[np.int64]:
    """Return row numbers, ascending: all of them, or a sample without replacement."""
    if count <= most:
        return np.arange(count)
    return np.sort(np.random.default_rng(seed).choice(count, most, replace=False, shuffle=False))


def kurtosis(rows: Array) -> Array:
    """Fourth moment over the squared variance of each feature; NaN where it does not vary."""
    squares = (rows - rows.mean(axis=0)) ** 2
    with np.errstate(invalid="ignore"):
        return np.asarray((squares**2).mean(axis=0) / squares.mean(axis=0) ** 2)


def distinct(*figures: Array) -> int:
    """Count rows that differ in some figure; rows that are equal agree in all."""
    order = np.lexsort(figures)
    differs = np.zeros(len(order) - 1, bool)
    for figure in figures:
        differs |= np.diff(figure[order]) != 0
    return 1 + int(np.count_nonzero(differs))


class Measured:
    """One modality, and what its parts are made of; each pass is made once."""

    def __init__(
        self, name: str, source: Source, options: AnalysisOptions, n_threads: int | None
    ) -> None:
        self.name, self.source, self.options, self.n_threads = name, source, options, n_threads
        self.ellipsoid, self.features = fitted(source, n_threads, covariance=True)

    @cached_property
    def scores(self) -> Scores:
        """Of every row, left out of its own conformity."""
        return self.ellipsoid.score(self.source, member=True, n_threads=self.n_threads)

    @cached_property
    def radii(self) -> Array:
        """Distance of every row from the mean."""
        mean = self.ellipsoid.mean
        found = measured(
            self.source, "error", lambda b: _native.distances(b.rows, b.dtype, mean, self.n_threads)
        )
        return np.concatenate([radii for radii, _ in found])

    @cached_property
    def sampled_rows(self) -> NDArray[np.int64]:
        """Numbers of the rows that are drawn; the same in both modalities if they are pairs."""
        return sample(self.source.count, self.options.sample_rows, self.options.seed)

    @cached_property
    def _sampled(self) -> Gathered:
        return taken(self.source, self.sampled_rows)

    def columns(self, features: slice | list[int]) -> Array:
        """Return features of the rows that are drawn."""
        batch = self._sampled.batch
        some = np.ascontiguousarray(batch.rows[:, features])
        return np.asarray(widened(Batch(some, batch.dtype), "float64").rows)

    def kurtosis(self) -> float:
        """Return the mean kurtosis of the features of the rows that are drawn."""
        starts = range(0, self.source.dim, TOGETHER)
        of_all = np.concatenate([kurtosis(self.columns(slice(k, k + TOGETHER))) for k in starts])
        known = of_all[np.isfinite(of_all)]
        return float(known.mean()) if len(known) else float("nan")

    def conformities(self) -> Conformities:
        """Return where conformities come from as the centre moves, or stays."""
        still = None
        if self.options.shift not in (self.name, "both"):
            still = Sorted.of(self.scores.conformity, self.name)
        return Conformities(self.source, self.ellipsoid, still, self.n_threads)

    def calibration(self) -> Calibration | None:
        """Regress conformity on the cosine to the mean."""
        try:
            return self.ellipsoid.calibrate(self.source, n_threads=self.n_threads)
        except UnavailableError:
            return None

    def modality(self) -> Modality:
        """Return the part that describes it."""
        e, scores, bins = self.ellipsoid, self.scores, self.options.bins
        mean, std, at = e.mean, e.std, self.sampled_rows
        first = self.columns(slice(CENTRED)).T
        highest, lowest = Gallery.ends(scores.conformity, GALLERY)
        return Modality(
            name=self.name,
            count=e.count,
            dim=e.dim,
            distinct=distinct(scores.norm, scores.conformity, self.radii),
            dtypes=tuple(sorted(e.dtypes)),
            is_normalized=e.is_normalized,
            norms=e.norms,
            norm_histogram=Histogram.of(scores.norm, bins),
            mean=mean,
            std=std,
            center_ratio=e.center_ratio,
            shell=e.shell(self.source, n_threads=self.n_threads),
            radii=Histogram.of(self.radii, bins),
            centred_features=tuple(
                Histogram.of(column - mean[k], bins) for k, column in enumerate(first)
            ),
            kurtosis=self.kurtosis(),
            variances=Histogram.of(std**2, bins),
            radii_of_axes=np.sqrt(np.maximum(np.linalg.eigvalsh(e.covariance)[::-1], 0.0)),
            dominance=e.off_diagonal_dominance,
            dominance_null=e.off_diagonal_dominance_null,
            mean_conformity=e.mean_conformity,
            std_conformity=float(scores.conformity.std()),
            conformity=Histogram.of(scores.conformity, bins),
            calibration=self.calibration(),
            highest=highest,
            lowest=lowest,
            sample=Sample(at, scores.conformity[at], scores.cosine_to_mean[at], scores.norm[at]),
        )
