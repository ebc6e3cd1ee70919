"""One modality, measured in two passes over its rows."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from clipsoid import _native
from clipsoid._batch import Batch
from clipsoid._features import fitted
from clipsoid._gather import Taking, gathered, sampled, widened
from clipsoid._row_hash import row_hashes
from clipsoid._scoring import gather
from clipsoid._source import Located, Source
from clipsoid._summary import calibration_of, shell_of
from clipsoid.analysis.figures import Gallery, Histogram, Sample
from clipsoid.analysis.parts import AnalysisOptions, Modality
from clipsoid.divergences import Sample as Sorted
from clipsoid.errors import UnavailableError
from clipsoid.matching import Conformities
from clipsoid.results import Calibration

Array = NDArray[np.float64]

#: Rows of a gallery.
GALLERY = 24

#: Features whose deviations from the mean are drawn.
CENTRED = 10

#: Features that are in float64 at one time.
TOGETHER = 64


def squares(rows: Array) -> Array:
    """Squared deviations in variances, of the features that vary."""
    found = (rows - rows.mean(axis=0)) ** 2
    variances = found.mean(axis=0)
    varies = variances > 0
    return np.asarray(found[:, varies] / variances[varies])


class Measured:
    """One modality, and what its parts are made of: one pass for the fit, one for all the rest.

    Attributes
    ----------
    ellipsoid : Ellipsoid
    scores : Scores
        Of every row, left out of its own conformity.
    radii : ndarray of float64
        Distance of every row from the mean.
    sampled_rows, compared_rows : ndarray of int64
        Numbers of the rows that are drawn, and of those that are compared with all others; the
        same in both modalities if they are pairs.
    sampled : Gathered
        The rows that are drawn.
    distinct : int
        How many rows are not repeats of others, byte by byte.
    """

    def __init__(
        self, name: str, source: Source, options: AnalysisOptions, n_threads: int | None
    ) -> None:
        self.name, self.source, self.options, self.n_threads = name, source, options, n_threads
        self.sampled_rows = sampled(source.count, options.sample_rows, options.seed)
        self.compared_rows = sampled(source.count, options.most_pairs, options.seed)
        self.ellipsoid, self.features = fitted(source, n_threads, covariance=True)
        mean, radii, hashes = self.ellipsoid.mean, [], []
        drawn, compared = Taking(self.sampled_rows), Taking(self.compared_rows)
        of_all = len(self.compared_rows) == source.count
        takings = [drawn] if of_all else [drawn, compared]

        def watched() -> Iterator[Located]:
            for located in source.read():
                batch = located.batch
                radii.append(_native.distances(batch.rows, batch.dtype, mean, n_threads)[0])
                hashes.append(row_hashes(batch.rows))
                for taking in takings:
                    taking.add(located)
                yield located
                del located, batch

        self.scores = self.ellipsoid.score(
            replace(source, read=watched), member=True, n_threads=n_threads
        )
        self.radii = gather(iter(radii))
        self.distinct = len(np.unique(np.concatenate(hashes)))
        self.sampled = drawn.gathered()
        self._compared = None if of_all else compared.gathered()

    def compared(self) -> Source:
        """Return the rows that are compared with all others, as one batch."""
        # All rows are read once more, and copied only if they are not one array as they stand.
        found = gathered(self.source) if self._compared is None else self._compared
        return found.as_source(self.name)

    def columns(self, features: slice | list[int]) -> Array:
        """Return features of the rows that are drawn."""
        batch = self.sampled.batch
        some = np.ascontiguousarray(batch.rows[:, features])
        return np.asarray(widened(Batch(some, batch.dtype), "float64").rows)

    def fourth_moments(self) -> tuple[float, float]:
        """Return mean kurtosis and mean cokurtosis of the features of the rows that are drawn."""
        n, varying, fourths = len(self.sampled_rows), 0, 0.0
        lengths = np.zeros(n)
        for start in range(0, self.source.dim, TOGETHER):
            some = squares(self.columns(slice(start, start + TOGETHER)))
            varying += some.shape[1]
            fourths += float((some**2).mean(axis=0).sum())
            lengths += some.sum(axis=1)
        kurtosis = cokurtosis = math.nan
        if varying and n > 3:
            # Without the bias of a small sample: 3 in the mean for normal rows, however few.
            excess = (n + 1) * (fourths / varying - 3) + 6
            kurtosis = 3 + (n - 1) / ((n - 2) * (n - 3)) * excess
        if varying > 1:
            # The square of a row's length has all the products of two features.
            products = float((lengths**2).mean()) - fourths
            cokurtosis = products / (varying * (varying - 1))
        return kurtosis, cokurtosis

    def conformities(self) -> Conformities:
        """Return where conformities come from as the centre moves, or stays."""
        still = None
        if self.options.shift not in (self.name, "both"):
            still = Sorted.of(self.scores.conformity, self.name)
        return Conformities(self.source, self.ellipsoid, still, self.n_threads)

    def calibration(self) -> Calibration | None:
        """Regress conformity on the cosine to the mean."""
        try:
            return calibration_of([self.scores], member=True)
        except UnavailableError:
            return None

    def modality(self) -> Modality:
        """Return the part that describes it."""
        e, scores, bins = self.ellipsoid, self.scores, self.options.bins
        mean, std, at = e.mean, e.std, self.sampled_rows
        first = self.columns(slice(CENTRED)).T
        highest, lowest = Gallery.ends(scores.conformity, GALLERY)
        kurtosis, cokurtosis = self.fourth_moments()
        return Modality(
            name=self.name,
            count=e.count,
            dim=e.dim,
            distinct=self.distinct,
            dtypes=tuple(sorted(e.dtypes)),
            is_normalized=e.is_normalized,
            norms=e.norms,
            norm_histogram=Histogram.of(scores.norm, bins),
            mean=mean,
            std=std,
            center_ratio=e.center_ratio,
            shell=shell_of([self.radii]),
            radii=Histogram.of(self.radii, bins),
            centred_features=tuple(
                Histogram.of(column - mean[k], bins) for k, column in enumerate(first)
            ),
            kurtosis=kurtosis,
            cokurtosis=cokurtosis,
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
