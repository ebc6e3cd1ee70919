"""The geometry of CLIP embeddings: exact, in one pass, at any number of rows.

>>> import clipsoid as cs
>>> image, text, topic = cs.double_ellipsoid(2000, seed=0)
>>> e = cs.Ellipsoid.fit(image)
>>> conformity = e.conformity(image, member=True)
>>> bool(0.9 < e.center_ratio < 1.0)
True
"""

from importlib import import_module
from typing import TYPE_CHECKING

from clipsoid._native import __version__

# Function and module have one name: imported later, the module would hide the function.
from clipsoid.conformity import conformity
from clipsoid.ellipsoid import Ellipsoid
from clipsoid.errors import (
    ClipsoidError,
    DTypeError,
    EmbedError,
    EmbedWarning,
    InvalidRowError,
    LossWarning,
    MismatchError,
    OutputError,
    PairingWarning,
    SelectionError,
    ShapeError,
    SmallSampleWarning,
    StoreError,
    UnavailableError,
)
from clipsoid.results import Calibration, Invalid, Norms, Scores, Shell

if TYPE_CHECKING:
    from clipsoid._false_negatives import (
        false_negatives,
        false_negatives_part,
        false_negatives_within,
        false_negatives_within_part,
    )
    from clipsoid._intervals import Interval
    from clipsoid.analysis import Analysis, analyze
    from clipsoid.blur import BlurExperiment, BlurSample, blur_experiment
    from clipsoid.comparison import (
        CandidateConformity,
        Comparison,
        ComparisonTest,
        ReferenceConformity,
    )
    from clipsoid.contrast import ContrastiveLoss, contrastive_loss, loss_sweep, loss_sweep_part
    from clipsoid.difference import ConformityDifference, LargestDifferences, conformity_difference
    from clipsoid.divergences import Divergence, divergence
    from clipsoid.expressiveness import compare
    from clipsoid.gap import ModalityGap, modality_gap
    from clipsoid.groups import GroupedEllipsoids
    from clipsoid.histogram import (
        SimilarityHistogram,
        SimilarityHistogramOptions,
        SimilarityHistogramPart,
        similarity_histogram,
        similarity_histogram_part,
    )
    from clipsoid.interpolate import VslerpGrid, slerp, vslerp, vslerp_elementwise, vslerp_grid
    from clipsoid.matching import MatchHistogram, MatchOptions, MatchSweep, match_sweep
    from clipsoid.nearest import NearestRows, nearest_rows
    from clipsoid.normality import Normality
    from clipsoid.pair import StrongestFeatures, separability, strongest_features, tags
    from clipsoid.partners import cosine
    from clipsoid.polars import scan
    from clipsoid.retrieval import (
        RetrievalRanks,
        RetrievalRanksOptions,
        RetrievalRanksPart,
        retrieval_ranks,
        retrieval_ranks_part,
    )
    from clipsoid.rivals import (
        FalseNegatives,
        FalseNegativesOptions,
        FalseNegativesPart,
        Rivals,
        RivalsOptions,
        RivalsPart,
        Spearman,
    )
    from clipsoid.selection import ScoreDistribution, Selection, select, select_again
    from clipsoid.separation import LinearSeparability, linear_separability
    from clipsoid.shifted import shifted_conformity
    from clipsoid.store import EmbeddingSet, PairCheck, Store, open_set, open_store
    from clipsoid.sweep import LossSweep, LossSweepPart, SweepOptions
    from clipsoid.synthetic import DoubleEllipsoid, double_ellipsoid, shifted_sphere
    from clipsoid.whitening import Whitening

__all__ = [
    "Analysis",
    "BlurExperiment",
    "BlurSample",
    "Calibration",
    "CandidateConformity",
    "ClipsoidError",
    "Comparison",
    "ComparisonTest",
    "ConformityDifference",
    "ContrastiveLoss",
    "DTypeError",
    "Divergence",
    "DoubleEllipsoid",
    "Ellipsoid",
    "EmbedError",
    "EmbedWarning",
    "EmbeddingSet",
    "FalseNegatives",
    "FalseNegativesOptions",
    "FalseNegativesPart",
    "GroupedEllipsoids",
    "Interval",
    "Invalid",
    "InvalidRowError",
    "LargestDifferences",
    "LinearSeparability",
    "LossSweep",
    "LossSweepPart",
    "LossWarning",
    "MatchHistogram",
    "MatchOptions",
    "MatchSweep",
    "MismatchError",
    "ModalityGap",
    "NearestRows",
    "Normality",
    "Norms",
    "OutputError",
    "PairCheck",
    "PairingWarning",
    "ReferenceConformity",
    "RetrievalRanks",
    "RetrievalRanksOptions",
    "RetrievalRanksPart",
    "Rivals",
    "RivalsOptions",
    "RivalsPart",
    "ScoreDistribution",
    "Scores",
    "Selection",
    "SelectionError",
    "ShapeError",
    "Shell",
    "SimilarityHistogram",
    "SimilarityHistogramOptions",
    "SimilarityHistogramPart",
    "SmallSampleWarning",
    "Spearman",
    "Store",
    "StoreError",
    "StrongestFeatures",
    "SweepOptions",
    "UnavailableError",
    "VslerpGrid",
    "Whitening",
    "__version__",
    "analyze",
    "blur_experiment",
    "compare",
    "conformity",
    "conformity_difference",
    "contrastive_loss",
    "cosine",
    "divergence",
    "double_ellipsoid",
    "false_negatives",
    "false_negatives_part",
    "false_negatives_within",
    "false_negatives_within_part",
    "linear_separability",
    "loss_sweep",
    "loss_sweep_part",
    "match_sweep",
    "modality_gap",
    "nearest_rows",
    "open_set",
    "open_store",
    "retrieval_ranks",
    "retrieval_ranks_part",
    "scan",
    "select",
    "select_again",
    "separability",
    "shifted_conformity",
    "shifted_sphere",
    "similarity_histogram",
    "similarity_histogram_part",
    "slerp",
    "strongest_features",
    "tags",
    "vslerp",
    "vslerp_elementwise",
    "vslerp_grid",
]

#: Where the other names live: a module is imported when one of its names is first asked for.
_NAMES = {
    "_false_negatives": (
        "false_negatives",
        "false_negatives_part",
        "false_negatives_within",
        "false_negatives_within_part",
    ),
    "_intervals": ("Interval",),
    "analysis": ("Analysis", "analyze"),
    "blur": ("BlurExperiment", "BlurSample", "blur_experiment"),
    "comparison": ("CandidateConformity", "Comparison", "ComparisonTest", "ReferenceConformity"),
    "contrast": ("ContrastiveLoss", "contrastive_loss", "loss_sweep", "loss_sweep_part"),
    "difference": ("ConformityDifference", "LargestDifferences", "conformity_difference"),
    "divergences": ("Divergence", "divergence"),
    "expressiveness": ("compare",),
    "gap": ("ModalityGap", "modality_gap"),
    "groups": ("GroupedEllipsoids",),
    "histogram": (
        "SimilarityHistogram",
        "SimilarityHistogramOptions",
        "SimilarityHistogramPart",
        "similarity_histogram",
        "similarity_histogram_part",
    ),
    "interpolate": ("VslerpGrid", "slerp", "vslerp", "vslerp_elementwise", "vslerp_grid"),
    "matching": ("MatchHistogram", "MatchOptions", "MatchSweep", "match_sweep"),
    "nearest": ("NearestRows", "nearest_rows"),
    "normality": ("Normality",),
    "pair": ("StrongestFeatures", "separability", "strongest_features", "tags"),
    "polars": ("scan",),
    "partners": ("cosine",),
    "retrieval": (
        "RetrievalRanks",
        "RetrievalRanksOptions",
        "RetrievalRanksPart",
        "retrieval_ranks",
        "retrieval_ranks_part",
    ),
    "rivals": (
        "FalseNegatives",
        "FalseNegativesOptions",
        "FalseNegativesPart",
        "Rivals",
        "RivalsOptions",
        "RivalsPart",
        "Spearman",
    ),
    "selection": ("ScoreDistribution", "Selection", "select", "select_again"),
    "separation": ("LinearSeparability", "linear_separability"),
    "shifted": ("shifted_conformity",),
    "store": ("EmbeddingSet", "PairCheck", "Store", "open_set", "open_store"),
    "sweep": ("LossSweep", "LossSweepPart", "SweepOptions"),
    "synthetic": ("DoubleEllipsoid", "double_ellipsoid", "shifted_sphere"),
    "whitening": ("Whitening",),
}
_MODULE_OF = {name: module for module, names in _NAMES.items() for name in names}

#: Modules that are attributes without an import of their own.
_MODULES = {"embed", "report", *(module for module in _NAMES if not module.startswith("_"))}

if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        """Import what is first asked for (PEP 562). Type checkers see the imports above."""
        if name in _MODULE_OF:
            found = getattr(import_module(f"clipsoid.{_MODULE_OF[name]}"), name)
        elif name in _MODULES:
            found = import_module(f"clipsoid.{name}")
        else:
            raise AttributeError(f"module 'clipsoid' has no attribute {name!r}")
        globals()[name] = found
        return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_MODULES})
