"""What has no peer: growth with the number of rows, threads, the import, and ten million rows."""

import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

import clipsoid as cs
import data
import machine
import memory
import pair_data
import pairs as pair_jobs
import rounds
import shards

#: The most that the larger size may take of what the law of growth allows.
GROWTH_MARK = 1.2
THREADS_MARK = 1.8
IMPORT_MARK = 0.15
LARGE_ROWS = 10_000_000
LARGE_MARK = 300e6
CACHED_SHARDS = 100
CACHED_ROUNDS = 5
CACHED_MARK = 1 / 0.8

_IMPORT = """
import time
import numpy
start = time.perf_counter()
import clipsoid
print(time.perf_counter() - start)
"""


def import_seconds(runs=7):
    """Median time of ``import clipsoid`` in a fresh process that has numpy already."""
    command = [sys.executable, "-c", _IMPORT]
    times = [float(subprocess.check_output(command, text=True)) for _ in range(runs)]
    return statistics.median(times)


def means(x, n_threads=None):
    """Fit without covariance."""
    return cs.Ellipsoid.fit(x, covariance=False, n_threads=n_threads)


def scatter(x, n_threads=None):
    """Fit with covariance."""
    return cs.Ellipsoid.fit(x, n_threads=n_threads)


def pairs(x, n_threads=None):
    """Conformity from all pairs."""
    return cs.conformity(x, method="pairwise", n_threads=n_threads)


def growth(scale):
    """Time at a size and at a larger one, over what the law of growth allows.

    The smaller size is worked through as often as it goes into the larger one, from different rows,
    so that a cache which holds it does not count as an advantage.
    """
    x = data.make_rows(1_000_000 // scale, np.float32)
    for name, run, large, factor, power in (
        ("means-only fit", means, len(x), 10, 1),
        ("fit with covariance", scatter, len(x), 10, 1),
        ("conformity, pairwise", pairs, 20_000 // scale, 2, 2),
    ):
        small = large // factor
        runs = {
            "small": lambda run=run, small=small, factor=factor: _all_of(run, x, small, factor),
            "large": lambda run=run, large=large: run(x[:large]),
        }
        timed = {key: _timer(work) for key, work in runs.items()}
        seconds = rounds.take_turns(timed, 5)
        yield {
            "job": f"growth, {name}",
            "rows": [small, large],
            "seconds": [
                statistics.median(seconds["small"]) / factor,
                statistics.median(seconds["large"]),
            ],
            "ratio": rounds.ratio(seconds, "large", "small") / factor ** (power - 1),
            "mark": GROWTH_MARK,
        }


def sweep_growth(scale, folder):
    """As `growth`, of the sweep over alpha, and its memory; the larger size is done once, alone."""
    factor = 8
    small = pair_jobs.ROWS // scale
    large = factor * small
    image, text = pair_data.make_pairs(large)
    peaks = []

    def all_small():
        for start in range(0, large, small):
            here = slice(start, start + small)
            cs.loss_sweep(image[here], text[here])

    def all_large():
        peak, seconds = memory.peak_of_contender("sweep", "clipsoid", large, folder)
        peaks.append(peak)
        return seconds

    timed = {"small": _timer(all_small), "large": all_large}
    seconds = rounds.take_turns(timed, 2, once=("large",))
    return {
        "job": "growth, full-batch loss, 41 alphas",
        "rows": [small, large],
        "seconds": [statistics.median(seconds["small"]) / factor, *seconds["large"]],
        "ratio": rounds.ratio(seconds, "large", "small") / factor,
        "mark": GROWTH_MARK,
        "memory": peaks[0],
        "memory_mark": factor * pair_jobs.SWEEP_MEMORY,
    }


def _all_of(run, x, small, factor):
    for i in range(factor):
        run(x[i * small : (i + 1) * small])


def _timer(work):
    return lambda: rounds.seconds_of(work)


def threads(scale):
    """Time with one thread over time with two."""
    for name, run, rows in (
        ("fit with covariance", scatter, 200_000 // scale),
        ("conformity, pairwise", pairs, 10_000 // scale),
    ):
        x = data.make_rows(rows, np.float32)
        timed = {n: _timer(lambda n=n, run=run, x=x: run(x, n_threads=n)) for n in (1, 2)}
        seconds = rounds.take_turns(timed, 5)
        yield {
            "job": f"2 threads for 1, {name}",
            "rows": [rows, rows],
            "seconds": [statistics.median(seconds[1]), statistics.median(seconds[2])],
            "ratio": rounds.ratio(seconds, 1, 2),
            "mark": THREADS_MARK,
        }


def large(limits, folder, rows):
    """Rows from disk, not from the page cache: a means-only fit, and every row scored."""
    base = Path(tempfile.mkdtemp(prefix="clipsoid-large-", dir=folder))
    try:
        shard_rows = min(rows, shards.LARGE_SHARD)
        paths = shards.make_shards(base / "shards", rows, shard_rows)
        command = [sys.executable, "-m", "clipsoid.cli", "score", str(base / "shards"), "--quiet"]
        shards.forget(paths)
        peak, seconds = memory.peak_of_command([*command, "--out", str(base / "scores")])
        deviation = shards.score_deviation(base / "scores", shards.exact_scores(paths))
        shards.forget(paths)
        limit = limits.files(paths, 2)
        _, again = memory.peak_of_command([*command, "--out", str(base / "again")])
    finally:
        shutil.rmtree(base)
    return {
        "job": "score from disk, float16",
        "rows": rows,
        "seconds": seconds,
        "limit": limit,
        "cached": again,
        "memory": peak,
        "mark": LARGE_MARK,
        "error": deviation,
    }


def cached(limits, folder, rows):
    """Rows in many shards, from the page cache: a means-only fit, and every row scored."""
    base = Path(tempfile.mkdtemp(prefix="clipsoid-cached-", dir=folder))
    try:
        paths = shards.tile_shards(base / "shards", rows, CACHED_SHARDS)
        timed = {
            "clipsoid": lambda: _seconds_and_away(paths),
            "limit": lambda: limits.files(paths, 2),
        }
        seconds = rounds.take_turns(timed, CACHED_ROUNDS)
        command = [sys.executable, "-m", "clipsoid.cli", "score", str(base / "shards"), "--quiet"]
        peak, _ = memory.peak_of_command([*command, "--out", str(base / "scores")])
    finally:
        shutil.rmtree(base)
    return {
        "job": f"score {CACHED_SHARDS} shards, from the page cache, float16",
        "rows": rows,
        "rounds": seconds,
        "seconds": statistics.median(seconds["clipsoid"]),
        "limit": statistics.median(seconds["limit"]),
        "ratio": rounds.ratio(seconds, "clipsoid", "limit"),
        "ratio_mark": CACHED_MARK,
        "memory": peak,
        "mark": LARGE_MARK,
    }


def _seconds_and_away(paths):
    """Score once; what is written is removed when the time was taken."""
    made = []
    elapsed = rounds.seconds_of(lambda: made.append(shards.score_clipsoid(paths)))
    shutil.rmtree(made[0])
    return elapsed


def machine_figures(folder, quick):
    """Limits of the machine, shares of the peak, and the yardstick `G`."""
    return {
        "numpy_product_seconds": machine.numpy_product(),
        **machine.cargo_bench("limits", "--folder", str(folder)),
        "product": [] if quick else machine.cargo_bench("shares"),
    }
