"""Clipsoid against its peers and the machine's limits, in one run; a table, JSON and Markdown.

    python benches/table.py [--quick] [--large] [--only WORD] [--folder DIR] [--out DIR]

Contenders take turns in every round; very slow ones take part in one only. Times are medians over
the rounds; ratios are medians of the ratios within a round. Memory is peak anonymous memory above
the input and the imports. Accuracy is the largest deviation from a float64 oracle. clipsoid has to
be installed as a release build.
"""

import argparse
import json
import statistics
import sys
import tempfile
from pathlib import Path

import analyses
import machine
import memory
import peers
import remote
import render
import reports
import rounds
import scaling
from jobs import MAKERS, SIZES


def run_job(key, rows, limits, folder, quick):
    """Measure every contender of a job: time, deviation, memory."""
    job = MAKERS[key](rows, folder)
    seconds, errors = _take_turns(job, limits, 2 if quick else job.rounds)
    others = [name for name in job.contenders if name != "clipsoid"]
    # A contender that stops short of the result is no peer, where there are others.
    complete = [name for name in others if errors[name] is not None]
    best = rounds.fastest(seconds, complete or others)
    return {
        "job": job.name,
        "rows": rows,
        "elements": job.elements,
        "seconds": {name: statistics.median(times) for name, times in seconds.items()},
        "rounds": seconds,
        "best_peer": best,
        "marks": _marks(job, seconds, best),
        "error": errors,
        "error_mark": job.error_mark,
        "memory": {
            name: memory.peak_of_contender(key, name, rows, folder)[0] for name in job.contenders
        },
        "memory_mark": job.memory_mark,
    }


def _marks(job, seconds, best):
    """Every mark and, where none shows the best peer, a line for it that has none."""
    marks = {}
    for against, mark in job.marks.items():
        names = (against,) if isinstance(against, str) else against
        present = [name for name in names if name in seconds]
        if present:
            marks[rounds.fastest(seconds, present)] = mark
    if "limit" not in marks:
        marks.setdefault(best, None)
    return [
        {"against": name, "ratio": rounds.ratio(seconds, "clipsoid", name), "mark": mark}
        for name, mark in marks.items()
    ]


def _take_turns(job, limits, count):
    """Seconds of every contender and of the limit in every round, and every deviation."""
    given = job.make()
    want = job.oracle(given)
    errors = {}

    def turn(name):
        results = []
        elapsed = rounds.seconds_of(lambda: results.append(job.contenders[name](given)))
        if name not in errors:
            errors[name] = _deviation(job, results[0], want)
        job.dispose(results.pop())
        return elapsed

    timed = {name: lambda name=name: turn(name) for name in job.contenders}
    if job.limit:
        timed["limit"] = lambda: job.limit(limits, given)
    return rounds.take_turns(timed, count, job.once), errors


def _deviation(job, result, want):
    # A contender may stop short of the result: a product alone, say.
    if getattr(result, "shape", None) not in (None, getattr(want, "shape", None)):
        return None
    return job.deviation(result, want)


def measure(options, folder):
    """Everything that was asked for."""
    scale = 10 if options.quick else 1
    names = {}

    def wanted(name):
        names[name] = options.only is None or options.only in name
        return names[name]

    found = {"machine": machine.describe(), "jobs": [], "scaling": []}
    if not peers.HAS_TORCH:
        render.say("torch is not installed: its contenders are left out")
    with machine.Limits() as limits:
        if wanted("machine"):
            render.say("the machine's limits")
            found["figures"] = scaling.machine_figures(folder, options.quick)
        for key, rows in SIZES:
            if wanted(key):
                render.say(f"{key}, {rows // scale:,} rows")
                job = run_job(key, rows // scale, limits, folder, options.quick)
                found["jobs"].append(job)
        if wanted("growth"):
            render.say("growth")
            found["scaling"] += scaling.growth(scale)
            found["scaling"].append(scaling.sweep_growth(scale, folder))
        if wanted("analyze"):
            render.say("analyze")
            found["analyze"] = analyses.measure(scale, folder)
        if wanted("report"):
            render.say("report")
            found["report"] = reports.measure(scale, folder)
        if wanted("remote"):
            render.say("remote")
            found["remote"] = remote.measure(scale, folder)
        if wanted("threads"):
            render.say("threads")
            found["scaling"] += scaling.threads(scale)
        if wanted("import"):
            render.say("import")
            found["import"] = {"seconds": scaling.import_seconds(), "mark": scaling.IMPORT_MARK}
        if options.large and wanted("large"):
            render.say(f"{scaling.LARGE_ROWS // scale:,} rows from disk")
            found["large"] = scaling.large(limits, folder, scaling.LARGE_ROWS // scale)
        if options.large and wanted("cached"):
            render.say(f"{scaling.LARGE_ROWS // scale:,} rows from the page cache")
            found["cached"] = scaling.cached(limits, folder, scaling.LARGE_ROWS // scale)
    if not any(names.values()):
        sys.exit(f"--only {options.only}: wanted a part of one of {', '.join(names)}")
    return found


def main():
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a tenth of the rows, two rounds")
    parser.add_argument("--large", action="store_true", help="ten million rows on disk, too")
    parser.add_argument("--only", metavar="WORD", help="only what has this in its name")
    parser.add_argument("--folder", type=Path, help="where temporary files go (11 GB for --large)")
    parser.add_argument("--out", type=Path, default=machine.ROOT / "bench-results")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="clipsoid-bench-", dir=options.folder) as folder:
        found = measure(options, Path(folder))
    options.out.mkdir(parents=True, exist_ok=True)
    lines = render.marks(found)
    print("\n".join(render.text(lines)))
    (options.out / "bench.json").write_text(json.dumps(found, indent=1) + "\n")
    (options.out / "bench.md").write_text(render.markdown(found, lines))


if __name__ == "__main__":
    main()
