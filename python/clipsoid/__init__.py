"""The geometry of CLIP embeddings: exact, in one pass, at any number of rows.

>>> import clipsoid as cs
>>> image, text, topic = cs.double_ellipsoid(2000, seed=0)
>>> e = cs.Ellipsoid.fit(image)
>>> conformity = e.conformity(image, member=True)
>>> bool(0.9 < e.center_ratio < 1.0)
True
"""

from clipsoid._native import __version__
from clipsoid.conformity import conformity
from clipsoid.contrast import ContrastiveLoss, contrastive_loss, loss_sweep, loss_sweep_part
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
from clipsoid.false_negatives import (
    false_negatives,
    false_negatives_part,
    false_negatives_within,
    false_negatives_within_part,
)
from clipsoid.histogram import (
    SimilarityHistogram,
    SimilarityHistogramOptions,
    SimilarityHistogramPart,
    similarity_histogram,
    similarity_histogram_part,
)
from clipsoid.results import Calibration, Invalid, Norms, Scores, Shell
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
from clipsoid.store import Store, open_store
from clipsoid.sweep import LossSweep, LossSweepPart, SweepOptions
from clipsoid.synthetic import DoubleEllipsoid, double_ellipsoid

__all__ = [
    "Calibration",
    "ClipsoidError",
    "ContrastiveLoss",
    "DTypeError",
    "Divergence",
    "DoubleEllipsoid",
    "Ellipsoid",
    "FalseNegatives",
    "FalseNegativesOptions",
    "FalseNegativesPart",
    "Invalid",
    "InvalidRowError",
    "LossSweep",
    "LossSweepPart",
    "MismatchError",
    "Norms",
    "OutputError",
    "RetrievalRanks",
    "RetrievalRanksOptions",
    "RetrievalRanksPart",
    "Rivals",
    "RivalsOptions",
    "RivalsPart",
    "Scores",
    "ShapeError",
    "Shell",
    "SimilarityHistogram",
    "SimilarityHistogramOptions",
    "SimilarityHistogramPart",
    "Spearman",
    "Store",
    "StoreError",
    "SweepOptions",
    "UnavailableError",
    "__version__",
    "conformity",
    "contrastive_loss",
    "divergence",
    "double_ellipsoid",
    "false_negatives",
    "false_negatives_part",
    "false_negatives_within",
    "false_negatives_within_part",
    "loss_sweep",
    "loss_sweep_part",
    "open_store",
    "retrieval_ranks",
    "retrieval_ranks_part",
    "similarity_histogram",
    "similarity_histogram_part",
]
