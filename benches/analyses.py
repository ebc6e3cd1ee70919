"""The whole paper on one set of pairs: how long each part takes, and the memory of all."""

import itertools
import statistics
import time

import clipsoid as cs
import memory
from job import MB, Job

ROWS = 5_000

#: Parts whose time is that of a library: they have a mark together with the rest.
SLOW = ("linear_separability", "normality")

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
