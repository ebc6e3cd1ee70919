"""The figure that each kind of result is drawn as."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from clipsoid._extras import check_report
from clipsoid.analysis.parts import Normalities, Retrieval
from clipsoid.blur import BlurExperiment
from clipsoid.comparison import Comparison
from clipsoid.contrast import ContrastiveLoss
from clipsoid.difference import ConformityDifference
from clipsoid.divergences import Divergence
from clipsoid.ellipsoid import Ellipsoid
from clipsoid.errors import UnavailableError
from clipsoid.histogram import SimilarityHistogram
from clipsoid.interpolate import VslerpGrid
from clipsoid.matching import MatchSweep
from clipsoid.nearest import NearestRows
from clipsoid.normality import Normality
from clipsoid.pair import StrongestFeatures
from clipsoid.report.charts.blur import blur_figure
from clipsoid.report.charts.calibration import calibration_lines_figure
from clipsoid.report.charts.difference import difference_figure
from clipsoid.report.charts.ellipsoid import ellipsoid_figure
from clipsoid.report.charts.expressiveness import expressiveness_figure
from clipsoid.report.charts.interpolation import interpolation_figure
from clipsoid.report.charts.matching import match_figure
from clipsoid.report.charts.normality import normality_figure
from clipsoid.report.charts.pairs import loss_figure, ranks_figure, rivals_figure
from clipsoid.report.charts.retrieval import retrieval_figure
from clipsoid.report.charts.rows import divergence_figure, nearest_figure, scores_figure
from clipsoid.report.charts.separation import separability_figure
from clipsoid.report.charts.similarity import histogram_figure
from clipsoid.report.charts.spectrum import spectrum_figure
from clipsoid.report.charts.strongest import strongest_figure
from clipsoid.report.charts.sweep import sweep_figure
from clipsoid.report.figure import Figure
from clipsoid.results import Calibration, Scores
from clipsoid.retrieval import RetrievalRanks
from clipsoid.rivals import FalseNegatives, Rivals
from clipsoid.separation import LinearSeparability
from clipsoid.sweep import LossSweep
from clipsoid.whitening import Whitening

#: What draws each class of results; a figure is None where a result lacks what would be drawn.
FIGURES: dict[type, Callable[[Any], Figure | None]] = {
    BlurExperiment: blur_figure,
    Calibration: calibration_lines_figure,
    Comparison: expressiveness_figure,
    ConformityDifference: difference_figure,
    ContrastiveLoss: loss_figure,
    Divergence: divergence_figure,
    Ellipsoid: ellipsoid_figure,
    FalseNegatives: rivals_figure,
    LinearSeparability: separability_figure,
    LossSweep: sweep_figure,
    MatchSweep: match_figure,
    NearestRows: nearest_figure,
    Normalities: normality_figure,
    Normality: normality_figure,
    Retrieval: retrieval_figure,
    RetrievalRanks: ranks_figure,
    Rivals: rivals_figure,
    Scores: scores_figure,
    SimilarityHistogram: histogram_figure,
    StrongestFeatures: strongest_figure,
    VslerpGrid: interpolation_figure,
    Whitening: spectrum_figure,
}


def figure_of(result: Any) -> Figure:
    """Return the figure of a result, as its ``plot`` draws it.

    Raises
    ------
    UnavailableError
        If the extra ``report`` is not installed, or the result lacks what would be drawn.
    TypeError
        If nothing is drawn of such a result.
    """
    check_report()
    of_class = (FIGURES[one] for one in type(result).__mro__ if one in FIGURES)
    draw = next(of_class, None)
    if draw is None:
        raise TypeError(f"no figure is drawn of {type(result).__name__}")
    figure = draw(result)
    # Of these, a grid alone can be.
    if figure is None:
        raise UnavailableError(
            f"a plot of {type(result).__name__}: it has no nearest rows; ask for them by "
            "vslerp_grid(..., rows=rows)"
        )
    return figure
