"""The jobs that have peers: what each does, against whom, and which marks it has to meet."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import clipsoid as cs
import data
import peers
import shards

MB = 1e6


@dataclass(frozen=True)
class Job:
    """One line of the table.

    Attributes
    ----------
    name : str
        Unique.
    rows : int
        Size of the input.
    rounds : int
        Rounds that are counted.
    make : callable
        Gives the input.
    few : callable
        Gives a small input, to warm up on.
    contenders : dict of str to callable
        Of the input; "clipsoid" is one of them.
    limit : callable, optional
        Of the limits' process and the input: seconds that no implementation can beat.
    against : str or tuple of str
        What the mark refers to: "limit", one contender, or the fastest of several.
    mark : float
        The most that clipsoid's time may be of that.
    oracle, deviation : callable
        The exact result of the input, and how far a result is from it.
    error_mark, memory_mark : float, optional
        The most that clipsoid's deviation and memory (bytes) may be.
    dispose : callable, optional
        Removes what a contender left behind; its time does not count.
    """

    name: str
    rows: int
    rounds: int
    make: Callable[[], Any]
    few: Callable[[], Any]
    contenders: dict[str, Callable[[Any], Any]]
    limit: Callable[[Any, Any], float] | None
    against: str | tuple[str, ...]
    mark: float
    oracle: Callable[[Any], Any]
    deviation: Callable[[Any, Any], float] = data.largest_difference
    error_mark: float | None = None
    memory_mark: float | None = None
    dispose: Callable[[Any], object] = lambda _: None


def with_torch(contenders, torch_contenders):
    """Add the contenders that need torch, where it is installed."""
    return contenders | (torch_contenders if peers.HAS_TORCH else {})


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
        against="limit",
        mark=mark,
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
        against="U @ U.T, no sums",
        mark=0.45,
        oracle=data.exact_conformity,
        error_mark=1e-6,
        memory_mark=32 * MB,
    )


def covariance(rows):
    """Covariance matrix."""
    tuned = ("numpy, by chunks", "torch, by chunks")[: 1 + peers.HAS_TORCH]
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
        against=tuned,
        mark=0.5,
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
        against="limit",
        mark=1 / 0.8,
        oracle=shards.exact_scores,
        deviation=shards.score_deviation,
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
}

#: What runs, at which sizes.
SIZES = [
    ("linear-float32", 1_000_000),
    ("linear-float16", 1_000_000),
    ("pairwise", 20_000),
    ("covariance", 100_000),
    ("covariance", 1_000_000),
    ("score", 2_000_000),
]
