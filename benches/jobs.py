"""The jobs that have peers: what each does, against whom, and which marks it has to meet."""

import shutil

import numpy as np

import analyses
import clipsoid as cs
import data
import frames
import matches
import pairs
import peers
import shards
from job import MB, Job, with_torch


def arrays(rows, dtype):
    """`make` and `few` of a job on an array."""
    return {
        "make": lambda: data.make_rows(rows, dtype),
        "few": lambda: data.make_rows(3000, dtype),
    }


def linear(rows, dtype, mark):
    """Exact conformity, linear."""
    return Job(
        name=f"conformity, linear, {np.dtype(dtype).name}",
        rows=rows,
        rounds=5,
        **arrays(rows, dtype),
        contenders=with_torch(
            {
                "clipsoid": cs.conformity,
                "numpy": peers.conformity_numpy,
                "numpy, by chunks": peers.conformity_numpy_chunked,
            },
            {"torch": peers.conformity_torch, "torch, by chunks": peers.conformity_torch_chunked},
        ),
        limit=lambda limits, x: limits.memory(x.nbytes, 2),
        marks={"limit": mark},
        oracle=data.exact_conformity,
        error_mark=1e-12,
        memory_mark=32 * MB,
    )


def pairwise(rows):
    """Exact conformity, from all pairs."""
    return Job(
        name="conformity, pairwise, float32",
        rows=rows,
        rounds=5,
        **arrays(rows, np.float32),
        contenders=with_torch(
            {
                "clipsoid": lambda x: cs.conformity(x, method="pairwise"),
                "U @ U.T, no sums": lambda x: (u := peers.unit_rows(x)) @ u.T,
                "numpy": peers.pairwise_numpy,
                "numpy, by blocks": peers.pairwise_numpy_blocks,
            },
            {"torch, by blocks": peers.pairwise_torch_blocks},
        ),
        limit=None,
        marks={"U @ U.T, no sums": 0.45},
        oracle=data.exact_conformity,
        error_mark=1e-6,
        memory_mark=32 * MB,
    )


def covariance(rows):
    """Covariance matrix."""
    return Job(
        name="covariance, float32",
        rows=rows,
        rounds=5 if rows <= 200_000 else 3,
        **arrays(rows, np.float32),
        contenders=with_torch(
            {
                "clipsoid": lambda x: cs.Ellipsoid.fit(x).covariance,
                "numpy.cov": peers.covariance_numpy,
                "numpy, by chunks": peers.covariance_numpy_chunked,
            },
            {"torch, by chunks": peers.covariance_torch_chunked},
        ),
        limit=None,
        marks={("numpy, by chunks", "torch, by chunks"): 0.5},
        oracle=data.exact_covariance,
        deviation=data.covariance_deviation,
        error_mark=1e-6,
    )


def scoring(rows, folder):
    """Files to files: a means-only fit, then every row scored into parquet."""
    return Job(
        name="score shards, float16",
        rows=rows,
        rounds=7,
        make=lambda: shards.make_shards(folder / f"shards-{rows}", rows),
        few=lambda: shards.make_shards(folder / "shards-few", 3000),
        contenders={
            "clipsoid": shards.score_clipsoid,
            "numpy and polars": shards.score_by_hand,
        },
        limit=lambda limits, paths: limits.files(paths, 2),
        marks={"limit": 1 / 0.8},
        oracle=shards.exact_scores,
        deviation=shards.score_deviation,
        # Score files hold float32.
        error_mark=1e-7,
        dispose=shutil.rmtree,
    )


def partners(rows, folder):
    """Files to files: every row scored against an ellipsoid, with the cosine to its partner."""
    return Job(
        name="score shards with partners, float16",
        rows=rows,
        rounds=7,
        make=lambda: shards.make_pairs(folder / f"pairs-{rows}", rows),
        few=lambda: shards.make_pairs(folder / "pairs-few", 3000),
        contenders={
            "clipsoid": shards.score_pairs_clipsoid,
            "numpy and polars, cosines alone": shards.cosines_by_hand,
        },
        limit=lambda limits, pairs: limits.files([*pairs[0], *pairs[1]], 1),
        marks={"limit": 1 / 0.8},
        oracle=shards.exact_cosines,
        deviation=shards.cosine_deviation,
        # Score files hold float32.
        error_mark=1e-7,
        dispose=shutil.rmtree,
    )


#: Makers of the jobs, by the name that the command line takes.
MAKERS = {
    "linear-float32": lambda rows, _: linear(rows, np.float32, mark=1.15),
    # 0.20 s where two reads take 0.14 s.
    "linear-float16": lambda rows, _: linear(rows, np.float16, mark=1.43),
    "pairwise": lambda rows, _: pairwise(rows),
    "covariance": lambda rows, _: covariance(rows),
    "score": scoring,
    "expression": lambda rows, _: frames.expression(rows),
    "scan": frames.scan,
    "partners": partners,
    "analyze": lambda rows, _: analyses.job(rows),
    "separability": lambda rows, _: analyses.separability(rows),
    **matches.MAKERS,
    **pairs.MAKERS,
}

#: What runs, at which sizes.
SIZES = [
    ("linear-float32", 1_000_000),
    ("linear-float16", 1_000_000),
    ("pairwise", 20_000),
    ("covariance", 100_000),
    ("covariance", 1_000_000),
    ("score", 2_000_000),
    ("expression", 1_000_000),
    ("scan", 1_000_000),
    ("partners", 1_000_000),
    ("separability", 100_000),
    *matches.SIZES,
    *pairs.SIZES,
]
