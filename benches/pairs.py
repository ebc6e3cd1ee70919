"""The jobs on pairs: the loss, its sweep over alpha, and ranks."""

from functools import partial

import numpy as np

import clipsoid as cs
import pair_data
import pair_peers
from job import MB, Job, with_torch

#: Pairs of each job.
ROWS = 5_000

#: Of the sweep of `ROWS` pairs; it may grow as their number does.
SWEEP_MEMORY = 50 * MB

#: What METHOD.md allows a mean from float32, relative where it is above 1.
MEAN_ERROR = 1e-6

_ONE_PRODUCT = f"torch, one product{pair_peers.EAGER}"


def made(rows):
    """`make` and `few` of a job."""
    return {
        "make": lambda: pair_data.make_pairs(rows),
        # More than a block: a square would be compiled as one.
        "few": lambda: pair_data.make_pairs(pair_peers.BLOCK + 200),
    }


def _swept(pairs):
    table = cs.loss_sweep(*pairs).table
    return table.select("loss", "accuracy_image_to_text", "accuracy_text_to_image").to_numpy()


def sweep(rows):
    """Loss and accuracies at 41 alphas, the image moved."""
    return Job(
        name="full-batch loss, 41 alphas, float32",
        rows=rows,
        rounds=5,
        **made(rows),
        contenders=with_torch(
            {"clipsoid": _swept, "G": pair_peers.product},
            {
                _ONE_PRODUCT: partial(pair_peers.sweep_torch_product, alphas=pair_data.ALPHAS),
                "torch, per alpha": partial(pair_peers.sweep_torch, alphas=pair_data.ALPHAS),
            },
        ),
        limit=None,
        marks={"G": 2.5, _ONE_PRODUCT: 1 / 3.5, "torch, per alpha": 1 / 70},
        oracle=partial(pair_data.exact_sweep, alphas=pair_data.ALPHAS),
        deviation=lambda found, want: pair_data.mean_deviation(found[:, 0], want[:, 0]),
        error_mark=MEAN_ERROR,
        memory_mark=SWEEP_MEMORY,
        once=("torch, per alpha",),
    )


def loss(rows):
    """One loss."""
    return Job(
        name="full-batch loss, float32",
        rows=rows,
        rounds=7,
        **made(rows),
        contenders=with_torch(
            {
                "clipsoid": lambda pairs: np.array([cs.contrastive_loss(*pairs).loss]),
                "G": pair_peers.product,
                "numpy and scipy": pair_peers.loss_numpy,
            },
            {
                "torch": pair_peers.loss_torch,
                _ONE_PRODUCT: lambda pairs: pair_peers.sweep_torch_product(pairs, (0.0,))[:, 0],
            },
        ),
        limit=None,
        marks={"G": 1.3},
        oracle=lambda pairs: pair_data.exact_sweep(pairs, (0.0,))[:, 0],
        deviation=pair_data.mean_deviation,
        error_mark=MEAN_ERROR,
    )


def _ranked(pairs):
    found = cs.retrieval_ranks(*pairs)
    return np.stack([found.image_to_text, found.text_to_image])


def ranks(rows):
    """Ranks of all partners, both directions; float32 cosines may swap neighbours."""
    return Job(
        name="ranks, float32",
        rows=rows,
        rounds=5,
        **made(rows),
        contenders=with_torch(
            {
                "clipsoid": _ranked,
                "G": pair_peers.product,
                "numpy, sorted": pair_peers.ranks_numpy_sorted,
                "numpy, counted": pair_peers.ranks_numpy_counted,
            },
            {
                "torch, sorted": pair_peers.ranks_torch_sorted,
                f"torch, counted{pair_peers.EAGER}": pair_peers.ranks_torch_counted,
            },
        ),
        limit=None,
        marks={"G": 1.2},
        oracle=pair_data.exact_ranks,
    )


MAKERS = {
    "sweep": lambda rows, _: sweep(rows),
    "loss": lambda rows, _: loss(rows),
    "ranks": lambda rows, _: ranks(rows),
}

SIZES = [
    ("sweep", ROWS),
    ("loss", ROWS),
    ("ranks", ROWS),
]
