"""The whole paper on one set of pairs, and one part of it at a larger size, feature by feature."""

import itertools
import statistics
import time

import numpy as np

import clipsoid as cs
import data
import memory
from job import MB, Job

ROWS = 5_000

#: Parts whose time is that of a library: they have a mark together with the rest.
SLOW = ("linear_separability", "normality")

#: Bins of the histograms of features.
BINS = 50

QUICK_MARK, ALL_MARK, MEMORY_MARK = 2.0, 10.0, 200 * MB


def analyze(pairs, progress=None):
    """Everything; the pairs are those of the demo, not of the other jobs: topics, tags, tilt."""
    return cs.analyze(*pairs, progress=progress)


def _pairs(rows):
    image, text, _ = cs.double_ellipsoid(rows, seed=0)
    return image, text


def job(rows):
    """The job whose memory is watched; it has no peer."""
    return Job(
        name="analyze, float32",
        rows=rows,
        rounds=3,
        make=lambda: _pairs(rows),
        few=lambda: _pairs(300),
        contenders={"clipsoid": analyze},
        limit=None,
        marks={},
        oracle=lambda _: None,
    )


def _two_sets(rows):
    x = data.make_rows(2 * rows, np.float32)
    return x[:rows], x[rows:]


def separability_numpy(pair, widen=np.asarray):
    """Moments and ranges, then a histogram of each feature: what a user would write."""
    low = np.minimum(*(x.min(axis=0) for x in pair))
    high = np.maximum(*(x.max(axis=0) for x in pair))
    (m_x, m_y), (v_x, v_y) = zip(*((x.mean(axis=0), x.var(axis=0)) for x in pair), strict=True)
    counts = [
        [
            np.histogram(widen(column), BINS, limits)[0]
            for column, *limits in zip(x.T, widen(low), widen(high), strict=True)
        ]
        for x in pair
    ]
    p, q = (np.array(c) / len(x) + 1e-10 for c, x in zip(counts, pair, strict=True))
    return np.stack([np.abs(m_x - m_y) / np.sqrt(v_x + v_y), (p * np.log(p / q)).sum(axis=1)])


def _separability(pair):
    table = cs.separability(*pair, bins=BINS).sort("feature")
    return table.select("separability", "kl_histogram_image_text").to_numpy().T


def _exact_separability(pair):
    """Histograms by numpy, of features in float64; moments in two passes."""
    sums = [sum(part.sum(axis=0) for part in data.float64_parts(x)) / len(x) for x in pair]
    squares = [
        sum(((part - mean) ** 2).sum(axis=0) for part in data.float64_parts(x)) / len(x)
        for x, mean in zip(pair, sums, strict=True)
    ]
    separability = np.abs(sums[0] - sums[1]) / np.sqrt(squares[0] + squares[1])
    wide = separability_numpy(pair, lambda x: np.asarray(x, np.float64))
    return np.stack([separability, wide[1]])


def separability(rows):
    """Two sets feature by feature."""
    return Job(
        name="separability, two of float32",
        rows=rows,
        rounds=5,
        make=lambda: _two_sets(rows),
        few=lambda: _two_sets(3000),
        contenders={"clipsoid": _separability, "numpy": separability_numpy},
        limit=None,
        marks={"numpy": 1 / 5},
        oracle=_exact_separability,
        error_mark=1e-9,
        once=("numpy",),
        elements=2 * rows * data.DIM,
    )


def measure(scale, folder):
    """Seconds of each part and of all, medians over rounds, and the peak memory."""
    rows = ROWS // scale
    pairs = _pairs(rows)
    # Imports of scikit-learn and scipy are not the work.
    analyze(_pairs(300))
    rounds = [_parts(pairs) for _ in range(3)]
    parts = {name: statistics.median(one[name] for one in rounds) for name in rounds[0]}
    quick = statistics.median(
        sum(seconds for name, seconds in one.items() if name not in SLOW) for one in rounds
    )
    return {
        "job": "analyze, float32",
        "rows": rows,
        "parts": parts,
        "quick": quick,
        "quick_mark": QUICK_MARK,
        "all": statistics.median(sum(one.values()) for one in rounds),
        "all_mark": ALL_MARK,
        "memory": memory.peak_of_contender("analyze", "clipsoid", rows, folder)[0],
        "memory_mark": MEMORY_MARK,
    }


def _parts(pairs):
    """Seconds of each part, in one round."""
    marks = []
    analyze(pairs, lambda name: marks.append((name, time.perf_counter())))
    marks.append((None, time.perf_counter()))
    return {name: end - start for (name, start), (_, end) in itertools.pairwise(marks)}
