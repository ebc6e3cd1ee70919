"""Pairs that the tests of the contrastive loss share, and their comparison with the oracle."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from bounds import assert_within
from contrast_bounds import LossBounds
from oracle import contrast
from unit.samples import DTYPES, TESTS

#: Rows on a side of the library's tiles: what their edges have to be tested around.
SIDE = 256

SHIFTS = ("image", "text", "both")
PARTITIONS = ("fixed", "each")

Pairs = tuple[Any, Any]


def pairs(
    n: int, d: int, dtype: str = "float32", seed: int = 0, *, noise: float = 0.8, scale: float = 0.0
) -> Pairs:
    """Images and texts around centres of their own: few common directions, the rest each its own.

    With `noise` 0.8 and some hundred pairs about half of them hit. Lengths vary by a factor of
    two, or over ``10^(-scale) .. 10^scale``.
    """
    rng = np.random.default_rng([seed, n, d])
    directions = rng.standard_normal((12, d)) / np.sqrt(12)
    common = rng.standard_normal((n, 12)) @ directions
    rows = []
    for _ in range(2):
        center = rng.choice([-1.0, 1.0], d) * rng.uniform(0.3, 0.9, d)
        x = center + common + noise * np.geomspace(1, 0.3, d) * rng.standard_normal((n, d))
        lengths = (
            10 ** rng.uniform(-scale, scale, (n, 1)) if scale else rng.uniform(0.7, 1.4, (n, 1))
        )
        rows.append((x * lengths).astype(DTYPES[dtype]))
    return rows[0], rows[1]


def in_processes(script: str, jobs: Sequence[Any]) -> list[Any]:
    """What a script answers to each job, each in an interpreter of its own, two at a time.

    It finds a job pickled, in hex, as its argument, and prints the answer likewise.
    """
    environment = os.environ | {"PYTHONPATH": str(TESTS)}
    found = []
    for at in range(0, len(jobs), 2):
        running = [
            subprocess.Popen(
                [sys.executable, "-W", "error", "-c", script, pickle.dumps(job).hex()],
                stdout=subprocess.PIPE,
                text=True,
                env=environment,
            )
            for job in jobs[at : at + 2]
        ]
        for process in running:
            output, _ = process.communicate(timeout=120)
            assert process.returncode == 0
            found.append(pickle.loads(bytes.fromhex(output.strip())))
    return found


def mirrored(n: int, dtype: str = "float32", seed: int = 0) -> tuple[Pairs, tuple[Any, Any]]:
    """Pairs of 16 small whole numbers whose means are whole numbers too, and these means.

    Every row has a mirror image in its mean, the row after it, so that the mean and every row that
    is shifted by a small fraction of it are exact in any arithmetic and any order. The last four
    features of the means are zero.
    """
    rng = np.random.default_rng([seed, n])
    common = rng.integers(-9, 10, (n // 2, 16))
    rows, means = [], []
    for _ in range(2):
        mean = rng.integers(8, 30, 16) * rng.choice([-1, 1], 16)
        mean[12:] = 0
        offsets = common + rng.integers(-2, 3, common.shape)
        both = np.stack([mean + offsets, mean - offsets], axis=1)
        rows.append(both.reshape(n, 16).astype(DTYPES[dtype]))
        means.append(mean.astype(np.float64))
    return (rows[0], rows[1]), (means[0], means[1])


def bring_near(x: Any, mean: np.ndarray, row: int, alpha: float, ratio: float) -> float:
    """Make ``|x_row - alpha m|`` about `ratio` times ``|x_row|``, its mirror image with it.

    The difference lies along features where the mean is zero, and is a whole multiple of a power
    of two: every dtype holds it. Returns the ratio that was reached.
    """
    assert row % 2 == 0
    direction = np.array([1, 0, -1, 1])
    length = np.linalg.norm(alpha * mean)
    if ratio:
        step = np.round(np.log2(ratio * length / np.linalg.norm(direction)))
        direction = direction * 2.0 ** max(step, -24)
    apart = np.zeros(16)
    apart[12:] = direction if ratio else 0
    near = np.stack([alpha * mean + apart, (2 - alpha) * mean - apart])
    x[row : row + 2] = near.astype(x.dtype)
    assert (x[row : row + 2].astype(np.float64) == near).all()
    return float(np.linalg.norm(apart) / length)


def assert_rows(
    got: Sequence[dict[str, Any]],
    image: Any,
    text: Any,
    dtype: str,
    *,
    alphas: Sequence[float],
    shift: str = "image",
    temperature: float = 0.01,
    partition: str = "fixed",
    exact_mean: bool = False,
    decided: bool = True,
) -> None:
    """Compare the rows of a sweep with the oracle's, each figure within its bound.

    Where pairs tie in the exact numbers but not in their bits, rounding decides who hits: such
    pairs are allowed only where `decided` is False, and classes are then not compared.
    """
    assert [row["alpha"] for row in got] == list(alphas)
    wanted = contrast.sweep(image, text, alphas, shift, temperature, partition)
    fixed = LossBounds(image, text, dtype, temperature, exact_mean=exact_mean)
    for row, want in zip(got, wanted, strict=True):
        alpha = want["alpha"]
        bounds = LossBounds(image, text, dtype, temperature, alpha, shift, exact_mean=exact_mean)
        at = fixed if partition == "fixed" else bounds
        hits = contrast.contrast(at.logits).hits_image_to_text
        assert list(row) == list(contrast.COLUMNS)
        for name in contrast.FIGURES[:5]:
            allowed = bounds.mean(name, want[name])
            assert_within(row[name], want[name], allowed, f"{name} at alpha {alpha}")
        for axis, name in enumerate(contrast.FIGURES[5:]):
            open_pairs = int(bounds.undecided(axis).sum())
            assert not (decided and open_pairs), f"{name} at alpha {alpha}: {open_pairs} undecided"
            off = abs(row[name] - want[name]) * len(hits)
            assert off <= open_pairs + 1e-9, f"{name} at {alpha}: {row[name]}, want {want[name]}"
        if at.undecided(0).any():
            assert not decided, f"the classes at alpha {alpha} are undecided"
            continue
        assert row["count_correct"] == want["count_correct"], alpha
        for name, members in (("loss_correct", hits), ("loss_misclassified", ~hits)):
            if want[name] is None:
                assert row[name] is None, f"{name} at alpha {alpha}: {row[name]}"
            else:
                assert row[name] is not None, f"{name} at alpha {alpha} is null"
                allowed = bounds.mean(name, want[name], members)
                assert_within(row[name], want[name], allowed, f"{name} at alpha {alpha}")


def assert_sweep(found: Any, image: Any, text: Any, dtype: str, **options: Any) -> None:
    """As `assert_rows`, for what `loss_sweep` returns; it must say how it was made."""
    assert_rows(found.table.rows(named=True), image, text, dtype, **options)
    made = (found.shift, found.temperature, found.partition, found.count)
    defaults = {"shift": "image", "temperature": 0.01, "partition": "fixed"} | options
    assert made == (*(defaults[name] for name in ("shift", "temperature", "partition")), len(image))


def assert_loss(
    found: Any,
    image: Any,
    text: Any,
    dtype: str,
    temperature: float = 0.01,
    *,
    decided: bool = True,
) -> None:
    """Compare one loss with the oracle's, and its pairs where they were asked for."""
    want = contrast.contrastive_loss(image, text, temperature)
    bounds = LossBounds(image, text, dtype, temperature)
    assert (found.count, found.temperature) == (len(image), temperature)
    for name in contrast.FIGURES[:5]:
        figure = getattr(want, name)
        assert_within(getattr(found, name), figure, bounds.mean(name, figure), name)
    for axis, name in enumerate(contrast.FIGURES[5:]):
        open_pairs = int(bounds.undecided(axis).sum())
        assert not (decided and open_pairs), f"{name}: {open_pairs} pairs undecided"
        off = abs(getattr(found, name) - getattr(want, name)) * len(image)
        assert off <= open_pairs + 1e-9, f"{name}: {getattr(found, name)}, {getattr(want, name)}"
    if found.per_pair_image_to_text is not None:
        for name, bound in zip(
            ("per_pair_image_to_text", "per_pair_text_to_image"), bounds.per_pair(), strict=True
        ):
            assert_within(getattr(found, name), getattr(want, name), bound, name)
        assert_within(found.per_pair, want.per_pair, np.maximum(*bounds.per_pair()), "per_pair")
