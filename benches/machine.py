"""The machine: its description, and its limits by ``benches/limits.rs``."""

import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
from pathlib import Path

import numpy as np

import rounds

ROOT = Path(__file__).parent.parent


def describe():
    """What the figures were taken on; no names of hosts, users or folders."""
    import clipsoid
    from clipsoid import _native

    packages = ("numpy", "torch", "polars", "scipy")
    versions = {name: version for name in packages if (version := _version(name))}
    rustc = subprocess.run(["rustc", "--version"], capture_output=True, text=True, check=False)
    return {
        "cpu": _field("/proc/cpuinfo", "model name") or platform.processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "simd": _native.simd_level(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "versions": {
            "clipsoid": clipsoid.__version__,
            "python": platform.python_version(),
            **versions,
            "rustc": rustc.stdout.split()[1] if rustc.returncode == 0 else "unknown",
        },
    }


def _version(package):
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _field(path, name):
    try:
        lines = Path(path).read_text().splitlines()
    except OSError:
        return None
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith(name)), None)


def numpy_product():
    """Seconds of one numpy float32 product of 5,000 x 5,000 x 512."""
    a, b = (np.random.default_rng(seed).random((5000, 512), np.float32) for seed in (1, 2))
    return statistics.median(rounds.take_turns({"G": lambda: _timed_product(a, b)}, 5)["G"])


def _timed_product(a, b):
    return rounds.seconds_of(lambda: a @ b.T)


def cargo_bench(name, *arguments):
    """Run a bench target that prints JSON."""
    command = ["cargo", "bench", "--quiet", "--features", "bench", "--bench", name, "--"]
    done = subprocess.run(
        [*command, *arguments], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True
    )
    return json.loads(done.stdout)


class Limits:
    """A process that measures a limit whenever it is asked to, among the contenders' turns.

    It is built and started when it is asked for the first time.
    """

    def __init__(self):
        self._process = None

    def _start(self):
        build = ["cargo", "bench", "--quiet", "--features", "bench", "--bench", "limits"]
        built = subprocess.run(
            [*build, "--no-run", "--message-format=json"],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        messages = map(json.loads, built.stdout.splitlines())
        (program,) = (m["executable"] for m in messages if m.get("executable"))
        self._process = subprocess.Popen(
            [program, "--serve"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def memory(self, count, passes):
        """Seconds of reading a buffer of `count` bytes with every core."""
        return self._ask("memory", _cores(), count, passes)

    def files(self, paths, passes):
        """Seconds of reading files with every core, mapped and populated."""
        return self._ask("mapped", _cores(), passes, *paths)

    def _ask(self, *words):
        if self._process is None:
            self._start()
        self._process.stdin.write("\t".join(map(str, words)) + "\n")
        self._process.stdin.flush()
        return float(self._process.stdout.readline())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self._process is not None:
            self._process.stdin.close()
            self._process.wait()


def _cores():
    return len(os.sched_getaffinity(0))
