"""What an analysis consists of: one part for each property and figure of the paper."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clipsoid._shown import Drawn, Shown
from clipsoid.analysis.figures import Gallery, Histogram, Sample
from clipsoid.histogram import SimilarityHistogram
from clipsoid.normality import Normality
from clipsoid.results import Calibration, Norms, Shell
from clipsoid.rivals import Spearman

Array = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class AnalysisOptions:
    """What was asked for.

    Attributes
    ----------
    temperature : float
    shift : str
        The modality whose centre moves in both sweeps.
    alphas : tuple of float
        Of both sweeps.
    bins : int
        Of every histogram.
    left_out : tuple of str
        Parts that were not computed.
    sample_rows : int
        Most rows of a sample that is drawn.
    most_pairs : int
        Most pairs for what compares all with all.
    seed : int
    """

    temperature: float
    shift: str
    alphas: tuple[float, ...]
    bins: int
    left_out: tuple[str, ...]
    sample_rows: int
    most_pairs: int
    seed: int


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Modality(Shown):
    """The geometry of one modality: Figures 3, 4, 5, 8 and 9.

    Attributes
    ----------
    name : str
        ``"image"`` or ``"text"``.
    count, dim : int
    distinct : int
        Rows whose bytes differ from those of all rows before them.
    dtypes : tuple of str
        Element types as stored.
    is_normalized : bool
        Whether the rows are unit vectors; shell, centre and tilt then describe the sphere.
    norms : Norms
    norm_histogram : Histogram
    mean, std : ndarray of float64 of shape (d,)
        Raw mean, and standard deviation of each feature.
    center_ratio : float
        ``|m| / |sigma|``.
    shell : Shell
    radii : Histogram
        Distances from the mean.
    centred_features : tuple of Histogram
        Of the first ten features minus their means, over the sample.
    kurtosis : float
        Mean over the features of the fourth moment over the squared variance, estimated without
        bias from the sample: 3 for normal laws. NaN where no feature varies, or of three rows or
        fewer.
    cokurtosis : float
        Mean over pairs of features of ``E[x_l^2 x_k^2] / (sigma_l^2 sigma_k^2)`` about the mean,
        over the sample: 1 for independent features. NaN where fewer than two vary.
    variances : Histogram
        Of the features' variances.
    radii_of_axes : ndarray of float64 of shape (d,)
        Square roots of the eigenvalues of the covariance, descending.
    dominance, dominance_null : ndarray of float64 of shape (d,)
        Off-diagonal dominance of each feature, and what untilted features would show.
    mean_conformity, std_conformity : float
    conformity : Histogram
        Exact, each row left out.
    calibration : Calibration or None
        Between conformity and the cosine to the mean; None where one of them does not vary.
    highest, lowest : Gallery
        The most and the least conforming rows.
    sample : Sample
    """

    name: str
    count: int
    dim: int
    distinct: int
    dtypes: tuple[str, ...]
    is_normalized: bool
    norms: Norms
    norm_histogram: Histogram
    mean: Array
    std: Array
    center_ratio: float
    shell: Shell
    radii: Histogram
    centred_features: tuple[Histogram, ...]
    kurtosis: float
    cokurtosis: float
    variances: Histogram
    radii_of_axes: Array
    dominance: Array
    dominance_null: Array
    mean_conformity: float
    std_conformity: float
    conformity: Histogram
    calibration: Calibration | None
    highest: Gallery
    lowest: Gallery
    sample: Sample

    @property
    def varies(self) -> bool:
        """Whether the rows are not all the same."""
        return bool((self.std > 0).any())

    @property
    def dominance_ratio(self) -> float:
        """Median over the features of dominance over its null; NaN where none varies.

        The null is that of as many rows as are distinct: a row that is repeated adds nothing.
        """
        with np.errstate(invalid="ignore", divide="ignore"):
            ratio = self.dominance / self.dominance_null
        ratio = ratio[np.isfinite(ratio)] * np.sqrt(self.distinct / self.count)
        return float(np.median(ratio)) if len(ratio) else float("nan")

    @property
    def tilt_score(self) -> float:
        """`dominance_ratio` over the square root of ``cokurtosis``; NaN where fewer than two vary.

        The null of dominance is that of independent features. Where they share the length of their
        row, and this has long tails, untilted features show the square root as much again.
        """
        return float(self.dominance_ratio / np.sqrt(self.cokurtosis))

    @property
    def variance_score(self) -> float:
        """How far feature variances spread beyond those of a sphere, in standard deviations.

        With equal true variances, the relative error of a variance ``v`` of ``N`` distinct rows has
        the variance ``q = (kurtosis - 3) / N + 2 / (N - 1)``, and ``sum (v / mean v - 1)^2 / q``
        nearly a chi-square law of ``d - 1`` degrees. NaN of three rows or fewer.
        """
        variances, degrees = self.std**2, self.dim - 1
        if degrees < 1 or not self.varies:
            return float("nan")
        spread = ((variances / variances.mean() - 1) ** 2).sum()
        rows = self.distinct
        if rows < 2:
            return float("nan")
        # Of features with two values the kurtosis is 1, and no error is left.
        error = max((self.kurtosis - 3) / rows + 2 / (rows - 1), 1e-3 / rows)
        statistic = spread / error
        return float((statistic - degrees) / np.sqrt(2 * degrees))

    def __repr__(self) -> str:
        return (
            f"Modality({self.name!r}, count={self.count}, dim={self.dim}, "
            f"center_ratio={self.center_ratio:.3f}, mean_conformity={self.mean_conformity:.3f})"
        )


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class FeatureHistograms(Shown):
    """One feature of both modalities, over the sample (Figure 2).

    Attributes
    ----------
    feature : int
    image, text : Histogram
        With the same edges.
    """

    feature: int
    image: Histogram
    text: Histogram


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class FeaturePlane(Shown):
    """The sample, by the two features that separate best (Figure 2).

    Attributes
    ----------
    features : tuple of int
    image, text : ndarray of float64 of shape (k, 2)
    """

    features: tuple[int, int]
    image: Array
    text: Array


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Similarities(Shown):
    """Distributions of all cosines, over the pairs that were compared.

    Attributes
    ----------
    image, text, between : SimilarityHistogram
        Within the images, within the texts, and of images with texts.
    """

    image: SimilarityHistogram
    text: SimilarityHistogram
    between: SimilarityHistogram


@dataclass(frozen=True, slots=True)
class DirectionFigures(Shown):
    """Retrieval in one direction.

    Attributes
    ----------
    recall_at_1, recall_at_5, recall_at_10 : float
        Fractions, in [0, 1].
    median_rank, mean_rank : float
    """

    recall_at_1: float
    recall_at_5: float
    recall_at_10: float
    median_rank: float
    mean_rank: float


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Link(Shown):
    """How false negatives go with conformity, in one modality (section 6, Prediction 1).

    Attributes
    ----------
    spearman : Spearman
    row : ndarray of int64
        Numbers of sampled rows, ascending.
    count : ndarray of int64
        False negatives of each.
    conformity : ndarray of float64
    """

    spearman: Spearman
    row: Integers
    count: Integers
    conformity: Array


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Retrieval(Drawn):
    """Ranks and false negatives, over the pairs that were compared.

    Attributes
    ----------
    pairs : int
        How many were compared, each with all others.
    image_to_text, text_to_image : DirectionFigures
    image_link, text_link : Link
    """

    pairs: int
    image_to_text: DirectionFigures
    text_to_image: DirectionFigures
    image_link: Link
    text_link: Link


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Differences(Shown):
    """How common the image of a pair is beside its text (Figure 10).

    Attributes
    ----------
    percentiles : Histogram
        Of the difference of the two percentiles, image minus text, in [-1, 1].
    raw : Histogram
        Of the difference of the two conformities.
    image_higher, text_higher : Gallery
        Pairs in which one percentile exceeds the other by most.
    """

    percentiles: Histogram
    raw: Histogram
    image_higher: Gallery
    text_higher: Gallery


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Normalities(Drawn):
    """How far whitened rows are from a normal law.

    Attributes
    ----------
    image, text : Normality or None
        None where the rows, or those that were drawn, are all the same.
    """

    image: Normality | None
    text: Normality | None
