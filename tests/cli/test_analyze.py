"""``clipsoid analyze``: what it prints and writes, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import clipsoid as cs

FILES = ("--images", "image.npy", "--texts", "text.npy")
QUICK = ("--leave-out", "normality", "--leave-out", "linear_separability")


@pytest.fixture
def pairs(tmp_path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Pairs in two files, and captions and paths in two more."""
    image, text, _ = cs.double_ellipsoid(400, dim=32, seed=1)
    np.save(tmp_path / "image.npy", image)
    np.save(tmp_path / "text.npy", text)
    table = pl.DataFrame(
        {
            "caption": [f"caption, {i}" for i in range(400)],
            "image_path": [f"{i:05}" for i in range(400)],
            "alt": [f"alt {i}" for i in range(400)],
        }
    )
    table.write_csv(tmp_path / "meta.csv")
    table.write_parquet(tmp_path / "meta.parquet")
    return image, text


def test_json_is_what_the_library_gives(run, pairs, tmp_path):
    outcome = run("analyze", *FILES, *QUICK, "--json", "--out", "all.json", "--threads", 1)
    want = cs.analyze(*pairs, leave_out=QUICK[1::2])
    assert outcome.json == json.loads(want.to_json())
    saved = (tmp_path / "all.json").read_text()
    assert cs.Analysis.from_json(saved).to_json() == want.to_json()
    # Progress names the parts.
    assert "analyze: retrieval" in outcome.err


def test_the_table_fits_a_terminal_and_shows_every_verdict(run, pairs):
    outcome = run("analyze", *FILES, "--out", "all.json")
    lines = outcome.out.splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[0] == "400 pairs, 32 features, float32, raw"
    want = cs.analyze(*pairs)
    text = " ".join(outcome.out.split())
    for verdict in want.verdicts:
        assert f"{verdict.number} {verdict.name}" in text
        assert f"{verdict.figure}; wanted {verdict.rule}" in text or verdict.reason in text
    figure = dict(zip(want.to_frame()["figure"], want.to_frame()["image"], strict=True))
    assert f"centre ratio |m| / |sigma| {figure['center_ratio']:.4f} 0.9400" in text
    assert f"SVM, all features {figure['svm_accuracy']:.4f}" in text
    assert text.endswith("written all.json")


def test_options_reach_the_library(run, pairs):
    words = ("--shift", "text", "--temperature", 0.05, "--most-pairs", 100, "--seed", 3)
    more = ("--alphas", "-0.5:0.5:3", "--bins", 7, "--sample-rows", 90)
    outcome = run("analyze", *FILES, *QUICK, *words, *more, "--json", "--quiet")
    want = cs.analyze(
        *pairs,
        leave_out=QUICK[1::2],
        shift="text",
        temperature=0.05,
        most_pairs=100,
        seed=3,
        alphas=[-0.5, 0, 0.5],
        bins=7,
        sample_rows=90,
    )
    assert outcome.json["options"]["alphas"] == [-0.5, 0, 0.5]
    assert outcome.json == json.loads(want.to_json())
    assert outcome.err == ""


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_captions_and_paths_travel(run, pairs, suffix):
    words = ("--metadata", f"meta.{suffix}", *QUICK, "--json")
    items = run("analyze", *FILES, *words).json["items"]["columns"]
    assert items["caption"][:2] == ["caption, 0", "caption, 1"]
    # A name that looks like a number stays a name.
    assert items["image_path"][-1] == f"{items['row'][-1]:05}"
    items = run("analyze", *FILES, *words, "--caption-column", "alt").json["items"]["columns"]
    assert items["caption"][3] == "alt 3" and items["image_path"][3] == "00003"


def test_one_of_the_usual_columns_will_do(run, pairs, tmp_path):
    pl.read_csv(tmp_path / "meta.csv").select("caption").write_csv(tmp_path / "captions.csv")
    words = ("--metadata", "captions.csv", *QUICK, "--json")
    items = run("analyze", *FILES, *words).json["items"]["columns"]
    assert items["caption"][3] == "caption, 3" and items["image_path"][3] is None


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("--leave-out", "gaps"), 2, "invalid choice: 'gaps'"),
        (("--temperature", "0"), 2, "--temperature"),
        (("--temperature", "0.001"), 2, "--temperature: 0.001 is too small"),
        (("--most-pairs", "1"), 2, "--most-pairs: 1"),
        (("--metadata", "none.csv"), 3, "none.csv: cannot be read"),
        (("--metadata", "image.npy"), 3, "image.npy: cannot be read"),
        (
            ("--metadata", "meta.csv", "--caption-column", "x", "--image-column", "y"),
            3,
            "no column x or y",
        ),
        (("--metadata", "meta.csv", "--image-column", "y"), 3, "meta.csv: has no column y; it has"),
        (("--metadata", "short.csv"), 3, "short.csv: has 2 rows, the images have 400; wanted one"),
        (("--alphas", "a"), 2, "--alphas: 'a' is neither START:STOP:COUNT nor numbers"),
        (("--bins", "0"), 2, "--bins: '0' is not a whole number of 1 or more"),
        (("--sample-rows", "0"), 2, "--sample-rows: '0' is not"),
        (("--out", "image.npy"), 4, "was not written by clipsoid analyze"),
        (("--out", "no/all.json"), 4, "no/all.json"),
        (("--texts", "few.npy"), 3, "image has 400 rows, text has 399"),
    ],
)
def test_what_is_refused(run, pairs, tmp_path, words, code, message):
    (tmp_path / "short.csv").write_text("caption\na\nb\n")
    np.save(tmp_path / "few.npy", pairs[1][1:])
    before = (tmp_path / "image.npy").read_bytes()
    outcome = run("analyze", *FILES, *QUICK, *words)
    assert (outcome.code, outcome.out) == (code, "")
    assert message in outcome.err
    assert (tmp_path / "image.npy").read_bytes() == before
    assert not (tmp_path / "all.json").exists()


def test_its_own_file_is_replaced(run, pairs, tmp_path):
    for seed in (0, 1):
        words = ("--out", "all.json", "--most-pairs", 50, "--seed", seed)
        assert run("analyze", *FILES, *QUICK, *words).code == 0
        found = cs.Analysis.from_json((tmp_path / "all.json").read_bytes())
        assert found.options.seed == seed
