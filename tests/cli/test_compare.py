"""``clipsoid compare``: what it prints, and what it refuses."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import clipsoid as cs

SETS = ("real.npy", "glide=glide.npy", "unclip=unclip.npy")


@pytest.fixture
def sets(tmp_path: Path) -> dict[str, np.ndarray]:
    """A reference and two candidates, in a file each, in one for all, and as an ellipsoid."""
    rng = np.random.default_rng(3)
    made = {"real": 120, "glide": 80, "unclip": 80}
    found = {
        name: (rng.normal(size=(n, 16)) + center).astype(np.float32)
        for (name, n), center in zip(made.items(), (0.7, 1.0, 0.6), strict=True)
    }
    for name, rows in found.items():
        np.save(tmp_path / f"{name}.npy", rows)
    np.savez(tmp_path / "set.npz", **found)
    cs.Ellipsoid.fit(found["real"]).save(tmp_path / "real.ellipsoid")
    cs.Ellipsoid.fit(found["real"], covariance=False).save(tmp_path / "other.name")
    return found


def made(sets: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: sets[name] for name in ("glide", "unclip")}


@pytest.mark.parametrize("paired", [False, True])
def test_json_is_what_the_library_gives(run, sets, paired):
    words = ("--paired",) if paired else ()
    options = ("--interval", 0.9, "--bins", 20, "--threads", 1)
    outcome = run("compare", *SETS, *words, *options, "--json")
    want = cs.compare(sets["real"], made(sets), paired=paired, interval=0.9, bins=20)
    files = {"reference": "real.npy", "glide": "glide.npy", "unclip": "unclip.npy"}
    how = {"paths": files, "paired": paired, "prompts": {}}
    assert outcome.json == want.to_dict() | how and "400 of 400 rows" in outcome.err
    assert len(outcome.json["tests"]) == 2 + paired
    assert outcome.json["version"] == cs.__version__ and outcome.json["dim"] == 16


@pytest.mark.parametrize("name", ["real.ellipsoid", "other.name"])
def test_an_ellipsoid_as_reference(run, sets, name):
    outcome = run("compare", name, *SETS[1:], "--json")
    want = cs.compare(cs.Ellipsoid.fit(sets["real"]), made(sets))
    assert outcome.json.items() >= want.to_dict().items() and "160 of 160 rows" in outcome.err
    assert outcome.json["paths"]["reference"] == name
    text = " ".join(run("compare", name, *SETS[1:]).out.split())
    assert "The mean of the ellipsoid counts as known" in text and "none" in text


def test_keys(run, sets):
    files = ("set.npz", "glide=set.npz", "same=set.npz")
    found = run("compare", *files, "--key", "glide", "--reference-key", "real", "--json").json
    want = cs.compare(sets["real"], {"glide": sets["glide"], "same": sets["glide"]})
    assert found.items() >= want.to_dict().items()
    assert run("compare", "set.npz", "glide=set.npz", "--key", "real").code == 0
    missing = run("compare", "set.npz", "glide=set.npz")
    assert missing.code == 3 and "set.npz: holds 3 members" in missing.err


def test_the_text_fits_a_terminal(run, sets):
    want = cs.compare(sets["real"], made(sets), paired=True)
    long = "a-very-long-name-of-a-generator=glide.npy"
    outcome = run("compare", *SETS, long, "--paired", "--quiet", "--json")
    assert outcome.err == ""
    text = run("compare", *SETS, long, "--paired").out
    lines = text.splitlines()
    assert max(map(len, lines)) <= 80
    (glide,) = (line.split() for line in lines if line.startswith("glide ") and "80" in line[:30])
    part = want.candidates["glide"]
    assert glide[1:5] == ["80", f"{part.mean:.4f}", f"{part.std:.4f}", f"{part.shift:+.4f}"]
    assert glide[6] == f"{part.shift_upper - part.shift:.4f}"
    assert glide[7:9] == [f"{part.hedges_g:.2f}", f"{part.divergence.kl_pq:.2f}"]
    starts = [line.split()[0] for line in lines if line and not line.startswith(("-", " "))]
    # It has a line of its own, and its figures stand below.
    assert starts[:4] == ["reference", "glide", long.partition("=")[0], "unclip"]
    assert "shift +- 95 %" in text and "Holm-corrected over 6" in text
    (pair,) = (test for test in want.tests if test.kind == "paired")
    (line,) = (line.split() for line in lines if line.startswith("glide        unclip"))
    assert line[2:4] == ["80", f"{pair.difference:+.4f}"]
    assert line[6:8] == [f"{pair.statistic:.2f}", f"{pair.cohens_dz:.2f}"]


def test_names_that_begin_and_end_alike_stay_apart(run, sets):
    short = run("compare", "real.npy", "generator_v1=glide.npy", "generator_v2=unclip.npy").out
    assert [line.split()[1] for line in short.splitlines() if line.startswith("gen")] == ["80"] * 2
    names = [f"generator_v{i}_of_last_year" for i in (1, 2)]
    text = run("compare", "real.npy", *(f"{name}=glide.npy" for name in names), "--paired").out
    lines = text.splitlines()
    assert max(map(len, lines)) <= 80
    for name in names:
        figures = lines[lines.index(name) + 1].split()
        assert figures[0] == "80"
    assert " minus ".join(names) in lines


def prompted(run, sets, tmp_path, first, second, *words):
    for name, (suffix, prompts) in (("glide", first), ("unclip", second)):
        path = tmp_path / f"{name}-prompts{suffix}"
        if suffix == ".npy":
            np.save(path, prompts)
        else:
            frame = pl.DataFrame({"prompt": prompts, "other": range(len(prompts))})
            frame.write_csv(path) if suffix == ".csv" else frame.write_parquet(path)
    files = (
        f"--prompts={n}={n}-prompts{s}"
        for n, (s, _) in zip(made(sets), (first, second), strict=True)
    )
    return run("compare", *SETS, *files, "--prompt-column", "prompt", *words)


@pytest.mark.parametrize("suffixes", [(".npy", ".csv"), (".parquet", ".npy"), (".csv", ".parquet")])
def test_prompts_from_files(run, sets, tmp_path, suffixes):
    ids = [np.arange(80) // 2, np.arange(5, 85)]
    first, second = zip(suffixes, ids, strict=True)
    found = prompted(run, sets, tmp_path, first, second, "--json").json
    # As text, whatever the format: 5 to 39 are shared.
    texts = {name: one.astype(str) for name, one in zip(made(sets), ids, strict=True)}
    want = cs.compare(sets["real"], made(sets), paired=texts)
    assert found.items() >= want.to_dict().items() and found["tests"][-1]["count"] == 35
    assert found["prompts"] == {
        f"{n}": f"{n}-prompts{s}" for n, s in zip(made(sets), suffixes, strict=True)
    }
    assert found["notes"][0] == "glide: 5 of 40 prompts have no partner in unclip"


def test_prompts_that_do_not_fit(run, sets, tmp_path):
    for bad, message in (
        ((".npy", np.arange(79)), "glide-prompts.npy: has 79 prompts, glide.npy has 80 rows"),
        ((".npy", np.arange(80.0)), "glide-prompts.npy: found float64 of shape (80,); wanted"),
        ((".csv", [None, *"b" * 79]), "glide-prompts.csv: row 0 of 'prompt' is missing"),
    ):
        outcome = prompted(run, sets, tmp_path, bad, (".npy", np.arange(80)))
        assert outcome.code == 3 and message in outcome.err, outcome.err
    column = run("compare", *SETS, "--prompts", "glide=glide-prompts.csv")
    assert column.code == 3 and "the columns prompt, other; say which" in column.err
    absent = run("compare", *SETS, "--prompts", "glide=no.csv")
    assert absent.code == 3 and "no.csv: cannot be read" in absent.err
    of_ellipsoid = run("compare", "real.ellipsoid", *SETS[1:], "--prompts", "reference=x.npy")
    assert of_ellipsoid.code == 3 and "real.ellipsoid is an ellipsoid" in of_ellipsoid.err


def test_small_samples_are_noted_and_no_warning(run, sets, tmp_path):
    np.save(tmp_path / "few.npy", sets["glide"][:7])
    outcome = run("compare", "real.npy", "few=few.npy", "--quiet", "--json")
    assert outcome.err == "" and outcome.json["notes"][0].startswith("few: 7 rows")
    assert "- few: 7 rows; intervals" in run("compare", "real.npy", "few=few.npy").out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("real.npy",), "NAME=PATH"),
        (("real.npy", "glide.npy"), "'glide.npy' is not NAME=PATH"),
        (("real.npy", "=glide.npy"), "'=glide.npy' is not NAME=PATH"),
        (("real.npy", "a=x.npy", "a=y.npy"), "NAME=PATH: 'a' is named twice"),
        (("real.npy", "reference=x.npy"), "'reference' is taken"),
        (("real.npy", "a=x.npy", "--interval", "1"), "'1' is not a number between 0 and 1"),
        (("real.npy", "a=x.npy", "--interval", "0"), "'0' is not a number above 0"),
        (("real.npy", "a=x.npy", "--paired", "--prompts", "a=p.npy"), "not allowed with"),
        (("real.npy", "a=x.npy", "--prompts", "b=p.npy"), "--prompts: 'b' is no candidate"),
        (("real.npy", "a=x.npy", "--prompts", "p.npy"), "'p.npy' is not NAME=PATH"),
        (("real.npy", "a=x.npy", "--bins", "0"), "'0' is not a whole number of 1 or more"),
    ],
)
def test_a_wrong_command_line_is_refused_before_any_work(run, words, message):
    # The files to be read are not even there.
    outcome = run("compare", *words)
    assert outcome.code == 2 and message in outcome.err


def test_rows_at_fault(run, sets, tmp_path):
    np.save(tmp_path / "narrow.npy", sets["glide"][:, :7])
    bad = sets["glide"].copy()
    bad[9] = np.nan
    np.save(tmp_path / "bad.npy", bad)
    for words, message in (
        (("real.npy", "a=narrow.npy"), "narrow.npy: the rows have 7 features, real.npy has 16"),
        (("real.ellipsoid", "a=narrow.npy"), "7 features, the ellipsoid has 16"),
        (("real.npy", "a=bad.npy"), "bad.npy: row 9 holds a value that is not finite"),
        (("bad.npy", "a=real.npy"), "bad.npy: row 9 holds a value that is not finite"),
        (("real.npy", "a=nowhere.npy"), "nowhere.npy"),
        (
            ("real.npy", "a=glide.npy", "--paired"),
            "--paired: glide.npy has 80 rows, and nothing else has as many",
        ),
        (
            ("real.npy", "a=glide.npy", "b=real.npy", "--paired"),
            "--paired: real.npy has 120 rows, glide.npy has 80; wanted as many",
        ),
        (("real.npy", "a=glide.npy", "--dtype", "float16"), "float32; wanted float16"),
    ):
        outcome = run("compare", *words)
        assert outcome.code == 3 and message in outcome.err, outcome.err
        assert "policy" not in outcome.err


def test_it_needs_an_extra(sets, tmp_path):
    code = (
        "import sys; sys.modules['scipy'] = None; from clipsoid.cli import main; "
        "sys.exit(main(['compare', 'real.npy', 'glide=glide.npy']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 3 and 'pip install "clipsoid[stats]"' in done.stderr


def test_real_captions_against_real_images(run, real_data):
    path = real_data("coco500_clip_vitb16.npz")
    keys = ("--reference-key", "image", "--key", "text")
    found = run("compare", path, f"captions={path}", *keys, "--paired", "--json").json
    (captions,) = found["candidates"]
    # Across the modality gap: far less like the images than images are.
    assert captions["shift_upper"] < -0.1 and captions["p_corrected"] < 1e-100
    assert [test["kind"] for test in found["tests"]] == ["welch", "paired"]
