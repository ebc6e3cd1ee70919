"""The geometry of CLIP embeddings: exact, in one pass, at any number of rows.

>>> import clipsoid as cs
>>> image, text, topic = cs.double_ellipsoid(2000, seed=0)
>>> e = cs.Ellipsoid.fit(image)
>>> conformity = e.conformity(image, member=True)
>>> bool(0.9 < e.center_ratio < 1.0)
True
"""

from clipsoid._intervals import Interval
from clipsoid._native import __version__
from clipsoid.conformity import conformity
from clipsoid.contrast import ContrastiveLoss, contrastive_loss, loss_sweep, loss_sweep_part
from clipsoid.difference import (
    ConformityDifference,
    LargestDifferences,
    conformity_difference,
)
from clipsoid.divergences import Divergence, divergence
from clipsoid.ellipsoid import Ellipsoid
from clipsoid.errors import (
    ClipsoidError,
    DTypeError,
    InvalidRowError,
    MismatchError,
    OutputError,
    ShapeError,
    StoreError,
    UnavailableError,
)
from clipsoid.histogram import SimilarityHistogram, similarity_histogram
from clipsoid.matching import MatchHistogram, MatchOptions, MatchSweep, match_sweep
from clipsoid.results import Calibration, Invalid, Norms, Scores, Shell
from clipsoid.retrieval import RetrievalRanks, retrieval_ranks
from clipsoid.rivals import (
    FalseNegatives,
    Rivals,
    Spearman,
    false_negatives,
    false_negatives_within,
)
from clipsoid.shifted import shifted_conformity
from clipsoid.store import Store, open_store
from clipsoid.sweep import LossSweep, LossSweepPart, SweepOptions
from clipsoid.synthetic import DoubleEllipsoid, double_ellipsoid

__all__ = [
    "Calibration",
    "ClipsoidError",
    "ConformityDifference",
    "ContrastiveLoss",
    "DTypeError",
    "Divergence",
    "DoubleEllipsoid",
    "Ellipsoid",
    "FalseNegatives",
    "Interval",
    "Invalid",
    "InvalidRowError",
    "LargestDifferences",
    "LossSweep",
    "LossSweepPart",
    "MatchHistogram",
    "MatchOptions",
    "MatchSweep",
    "MismatchError",
    "Norms",
    "OutputError",
    "RetrievalRanks",
    "Rivals",
    "Scores",
    "ShapeError",
    "Shell",
    "SimilarityHistogram",
    "Spearman",
    "Store",
    "StoreError",
    "SweepOptions",
    "UnavailableError",
    "__version__",
    "conformity",
    "conformity_difference",
    "contrastive_loss",
    "divergence",
    "double_ellipsoid",
    "false_negatives",
    "false_negatives_within",
    "loss_sweep",
    "loss_sweep_part",
    "match_sweep",
    "open_store",
    "retrieval_ranks",
    "shifted_conformity",
    "similarity_histogram",
]
