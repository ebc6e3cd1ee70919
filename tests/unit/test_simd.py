"""Every SIMD level that this CPU has, each in a process of its own, against the oracle."""

from __future__ import annotations

import io
from functools import cache

import numpy as np
import pytest

from bounds import Bounds, assert_within
from clipsoid import _native
from oracle import reference
from unit.samples import BLOCK, DTYPES, cloud, run_python

LEVELS = _native.simd_levels()
#: Tails of every vector width and register tile; a matrix that is not read in place.
SHAPES = [
    (2, 1),
    (5, 2),
    (37, 3),
    (37, 7),
    (37, 9),
    (37, 17),
    (37, 33),
    (300, 100),
    (BLOCK + 1, 64),
]
#: Rows that are equal, far apart, at odd and even places.
SAME = [0, 3, 6, 255, 256, 515, BLOCK - 1, BLOCK, 2 * BLOCK, 2 * BLOCK + 50]

PROBE = """
import io, sys, numpy as np, clipsoid as cs
from unit.samples import DTYPES, cloud
from unit.test_simd import SAME, SHAPES
found = {}
for dtype in DTYPES:
    for n, d in SHAPES:
        x = cloud(n, d, dtype)
        for layout, rows in (("C", x), ("F", np.asfortranarray(x))):
            e = cs.Ellipsoid.fit(rows)
            assert e.simd_levels == {LEVEL}, e.simd_levels
            shell = e.shell(rows)
            figures = {
                "mean": e.mean, "unit_mean": e.unit_mean, "std": e.std, "covariance": e.covariance,
                "exact": cs.Ellipsoid.fit(rows, precision="float64").covariance,
                "norms": [e.norms.mean, e.norms.min, e.norms.max], "shell": [shell.mean, shell.rms],
                "cosine": e.cosine_to_mean(rows), "linear": cs.conformity(rows),
                "pairwise": cs.conformity(rows, method="pairwise"),
                "one thread": cs.Ellipsoid.fit(rows, n_threads=1).covariance,
                "two threads": cs.Ellipsoid.fit(rows, n_threads=2).covariance,
            }
            for name, figure in figures.items():
                found[f"{dtype} {n} {d} {layout} {name}"] = figure
    x = cloud(2 * 1024 + 77, 33, dtype)
    x[SAME] = x[SAME[0]]
    for method in ("linear", "pairwise"):
        found[f"{dtype} ties {method}"] = cs.conformity(x, method=method)[SAME]
out = io.BytesIO()
np.savez(out, **found)
print(out.getvalue().hex())
"""


@cache
def probe(level: str) -> dict[str, np.ndarray]:
    script = PROBE.replace("{LEVEL}", repr({level}))
    done = run_python(script, CLIPSOID_SIMD=level)
    with np.load(io.BytesIO(bytes.fromhex(done.stdout.strip()))) as found:
        return dict(found)


every_level = pytest.mark.parametrize("level", LEVELS)


@every_level
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("n", "d"), SHAPES)
def test_every_level_equals_the_oracle(n: int, d: int, dtype: str, level: str) -> None:
    x = cloud(n, d, dtype)
    wide, narrow = Bounds(x), Bounds(x, dtype)
    lengths, shell = reference.norms(x), reference.shell(x)
    want = {
        "mean": (reference.mean(x), wide.mean),
        "unit_mean": (reference.unit_mean(x), wide.unit_mean),
        "std": (reference.std(x), wide.std),
        "covariance": (reference.covariance(x), narrow.covariance),
        "exact": (reference.covariance(x), wide.covariance),
        "norms": ([lengths.mean(), lengths.min(), lengths.max()], wide.norm),
        "shell": ([shell.mean, shell.rms], wide.radius),
        "cosine": (reference.cosine_to_mean(x, reference.mean(x)), wide.cosine_to_mean),
        "linear": (reference.conformity(x), wide.conformity),
        "pairwise": (reference.conformity(x), narrow.pairwise),
    }
    for layout in "CF":
        got = {name: probe(level)[f"{dtype} {n} {d} {layout} {name}"] for name in want}
        for name, (figure, bound) in want.items():
            assert_within(got[name], figure, bound, f"{name}, {layout} order")


@every_level
@pytest.mark.parametrize("dtype", DTYPES)
def test_layouts_and_threads_change_no_bit_at_any_level(dtype: str, level: str) -> None:
    found = {key: value for key, value in probe(level).items() if key.startswith(dtype)}
    pairs = [(key, key.replace(" C ", " F ")) for key in found if " C " in key]
    pairs += [(key, key.replace("one thread", "two threads")) for key in found if "one t" in key]
    assert len(pairs) == (12 + 2) * len(SHAPES)
    for one, other in pairs:
        np.testing.assert_array_equal(found[one], found[other])


@every_level
@pytest.mark.parametrize("method", ["linear", "pairwise"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_identical_rows_tie_exactly_at_every_level(dtype: str, method: str, level: str) -> None:
    ties = probe(level)[f"{dtype} ties {method}"]
    assert len(ties) == len(SAME)
    assert len(set(ties)) == 1


def test_the_portable_level_is_always_there_and_the_fastest_is_the_default() -> None:
    assert LEVELS[0] == "portable"
    script = "from clipsoid import _native; print(_native.simd_level())"
    assert run_python(script, CLIPSOID_SIMD="").stdout.strip() in LEVELS
    assert run_python(script, CLIPSOID_SIMD="portable").stdout.strip() == "portable"
    assert _native.simd_level() in LEVELS


def test_an_unknown_level_is_a_clear_error() -> None:
    script = """
import numpy as np, clipsoid as cs
for call in (cs.conformity, cs.Ellipsoid.fit, lambda x: cs.conformity(x, method="pairwise")):
    try:
        call(np.ones((3, 2)))
    except cs.UnavailableError as error:
        print(error)
"""
    lines = run_python(script, CLIPSOID_SIMD="sse9").stdout.splitlines()
    assert len(lines) == 3
    for line in lines:
        assert "'sse9'" in line
        assert all(level in line for level in LEVELS)


def test_levels_of_merged_ellipsoids_are_united(tmp_path) -> None:
    import clipsoid as cs

    x = cloud(50, 4)
    path = tmp_path / "portable.ellipsoid"
    script = f"""
import clipsoid as cs
from unit.samples import cloud
cs.Ellipsoid.fit(cloud(50, 4)).save({str(path)!r})
"""
    run_python(script, CLIPSOID_SIMD="portable")
    loaded = cs.Ellipsoid.load(path)
    assert loaded.simd_levels == {"portable"}
    merged = cs.Ellipsoid.fit(x).merge(loaded)
    assert merged.simd_levels == {"portable", _native.simd_level()}
