"""``clipsoid vslerp``: what it writes and prints, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import clipsoid as cs

GRID = ("--theta", "0:1:3", "--alpha", "-1,0,1.5")
THETAS, ALPHAS = [0.0, 0.5, 1.0], [-1.0, 0.0, 1.5]


@pytest.fixture
def want(shards: Path, rows: np.ndarray) -> cs.VslerpGrid:
    """Between a row of the first shard and one of the third, about the mean of all."""
    e = cs.Ellipsoid.fit(shards, covariance=False)
    return cs.vslerp_grid(rows[7], rows[250], THETAS, ALPHAS, e, rows=rows)


def files(folder: Path) -> set[Path]:
    return {path.relative_to(folder) for path in folder.rglob("*")}


def test_files_hold_what_the_library_gives(run, shards, want, tmp_path):
    outcome = run("vslerp", shards, 7, 250, *GRID, "--out", "v.npy", "--out", "v.parquet")
    assert outcome.code == 0 and "300 of 300 rows" in outcome.err
    vectors = np.load(tmp_path / "v.npy")
    assert vectors.shape == (3, 3, 24) and vectors.dtype == np.float64
    np.testing.assert_array_equal(vectors, want.vectors)
    table = pl.read_parquet(tmp_path / "v.parquet")
    assert table.columns == ["theta", "alpha", "row", "similarity", "vector"]
    assert table["theta"].to_list() == np.repeat(THETAS, 3).tolist()
    assert table["alpha"].to_list() == ALPHAS * 3
    assert table["row"].to_list() == want.nearest.index.ravel().tolist()
    assert table["similarity"].to_list() == want.nearest.similarity.ravel().tolist()
    np.testing.assert_array_equal(table["vector"].to_numpy(), want.vectors.reshape(9, 24))
    made = json.loads(pl.read_parquet_metadata(tmp_path / "v.parquet")["clipsoid"])
    assert (made["format"], made["format_version"]) == ("clipsoid.vslerp", 1)
    assert made["clipsoid_version"] == cs.__version__
    assert (made["rows"], made["theta"], made["alpha"]) == ([7, 250], THETAS, ALPHAS)
    assert (made["count"], made["dim"], made["dtypes"]) == (300, 24, ["float32"])
    assert (made["ellipsoid_rows"], made["is_normalized"], made["others"]) == (300, False, False)
    # The vectors are embeddings like any others.
    assert run("score", "v.parquet", "--out", "scores").code == 0


def test_json_holds_every_cell(run, shards, want):
    found = run("vslerp", shards, 7, 250, *GRID, "--json", "--quiet").json
    assert found["out"] == [] and found["rows"] == [7, 250]
    assert found["path"] == [str(shards)] and found["ellipsoid"] is None
    assert found["clipsoid_version"] == cs.__version__
    cells = found["nearest"]
    assert [(cell["theta"], cell["alpha"]) for cell in cells] == [
        (theta, alpha) for theta in THETAS for alpha in ALPHAS
    ]
    assert [cell["row"] for cell in cells] == want.nearest.index.ravel().tolist()
    assert [cell["similarity"] for cell in cells] == want.nearest.similarity.ravel().tolist()


def test_the_mean_of_an_ellipsoid(run, shards, rows, tmp_path):
    assert run("fit", shards, "--shards", "0/2", "--out", "half.ellipsoid").code == 0
    e = cs.Ellipsoid.load(tmp_path / "half.ellipsoid")
    outcome = run(
        "vslerp", shards, 7, 250, *GRID, "--ellipsoid", "half.ellipsoid", "--out", "v.npy"
    )
    assert outcome.code == 0 and f"mean     of {e.count} rows, half.ellipsoid" in outcome.out
    said = run("vslerp", shards, 7, 250, "--ellipsoid", "half.ellipsoid", "--json").json
    assert said["ellipsoid"] == "half.ellipsoid" and said["ellipsoid_rows"] == e.count
    # No pass over the rows to fit their own.
    assert "fit:" not in outcome.err
    want = cs.vslerp(rows[7], rows[250], THETAS, ALPHAS, e)
    np.testing.assert_array_equal(np.load(tmp_path / "v.npy"), want)
    cs.Ellipsoid.fit(rows[:, :9]).save(tmp_path / "narrow.ellipsoid")
    outcome = run("vslerp", shards, 7, 250, "--ellipsoid", "narrow.ellipsoid")
    assert outcome.code == 3 and "narrow.ellipsoid: was fitted on 9 features" in outcome.err


def test_the_two_rows_can_be_left_out(run, shards, rows):
    found = run("vslerp", shards, 7, 250, *GRID, "--others", "--json", "--quiet").json
    assert found["others"] is True
    kept = np.delete(np.arange(300), [7, 250])
    e = cs.Ellipsoid.fit(shards, covariance=False)
    between = cs.vslerp(rows[7], rows[250], THETAS, ALPHAS, e)
    want = cs.nearest_rows(between, rows[kept])
    assert [cell["row"] for cell in found["nearest"]] == kept[want.index.ravel()].tolist()
    similarity = [cell["similarity"] for cell in found["nearest"]]
    assert similarity == want.similarity.ravel().tolist()
    # One row with itself: there are two others among three.
    assert run("vslerp", shards, 7, 7, "--others").code == 0


@pytest.mark.parametrize("threads", [1, 2])
def test_the_same_run_writes_the_same_bytes_over_itself(run, shards, tmp_path, threads):
    first = ("vslerp", shards, 3, 4, "--out", "v.parquet", "--quiet")
    assert run(*first, "--threads", 1).code == 0
    before = (tmp_path / "v.parquet").read_bytes()
    assert run(*first, "--threads", threads).code == 0
    assert (tmp_path / "v.parquet").read_bytes() == before


def test_the_text_fits_a_terminal(run, shards, want):
    outcome = run("vslerp", shards, 7, 250, *GRID)
    lines = outcome.out.splitlines()
    body = lines[3:6]
    for line, theta, index, cosine in zip(
        body, THETAS, want.nearest.index, want.nearest.similarity, strict=True
    ):
        figures = line.split()
        assert float(figures[0]) == theta
        assert [int(row) for row in figures[1::2]] == index.ravel().tolist()
        assert figures[2::2] == [f"{value:.4f}" for value in cosine.ravel()]
    for words in ("rows 7 and 250", "300 x 24 features, float32, raw", "mean     of 300 rows"):
        assert words in outcome.out
    assert "note" not in outcome.out
    many = run("vslerp", shards, 7, 250, "--alpha", "-2:2:23", "--theta", "0:1:2").out
    assert max(map(len, many.splitlines())) <= 80
    shown = [line.split()[1:] for line in many.splitlines() if line.lstrip().startswith("theta")]
    assert len(shown) > 1 and sum(map(len, shown)) == 23


def test_normalised_rows_are_said_to_be(run, rows, tmp_path):
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    np.save(tmp_path / "unit.npy", unit)
    outcome = run("vslerp", "unit.npy", 0, 1)
    assert "300 x 24 features, float32, normalised" in outcome.out
    assert "a sphere about alpha = 0 and no other" in outcome.out
    assert run("vslerp", "unit.npy", 0, 1, "--json").json["is_normalized"] is True


def test_defaults_and_forms_of_lists(run, shards):
    found = run("vslerp", shards, 0, 1, "--json", "--quiet").json
    assert found["theta"] == [0, 0.2, 0.4, 0.6, 0.8, 1] and found["alpha"] == [-2, -1, 0, 1, 2]
    words = ("--theta=-.5,1.25", "--extrapolate", "--alpha", "-3")
    found = run("vslerp", *words, shards, 0, 1, "--json", "--quiet").json
    assert found["theta"] == [-0.5, 1.25] and found["alpha"] == [-3]
    # Several paths, as a shell makes them of a pattern, come before the rows.
    parts = sorted((shards / "img_emb").iterdir())
    found = run("vslerp", *parts, 0, 299, "--theta", "0,1", "--alpha", "1", "--json").json
    assert [cell["row"] for cell in found["nearest"]] == [0, 299]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--theta", "0,1.5"), "--theta: 1.5 lies outside 0 to 1, which takes --extrapolate"),
        (("--theta", "0:1"), "'0:1' is neither START:STOP:COUNT nor numbers"),
        (("--alpha", "nan"), "nan is not a finite number"),
        (("--theta", "0:1:1000", "--alpha", "0:1:1000"), "1,000,000 vectors; wanted 100,000"),
        (("--out", "v.csv"), "v.csv: the suffix is '.csv'; wanted .npy for the vectors"),
        (("--out", "v.npy", "--out", "./v.npy"), "--out: v.npy is named twice"),
    ],
)
def test_a_wrong_command_line_is_refused_before_any_work(run, tmp_path, words, message):
    # The file to be read is not even there.
    outcome = run("vslerp", "nowhere.npy", 0, 1, *words)
    assert outcome.code == 2 and message in outcome.err
    assert files(tmp_path) == set()


def test_rows_that_are_not_there(run, shards):
    outcome = run("vslerp", shards, 0, 300)
    assert outcome.code == 2 and "ROW: there is no row 300; wanted 0 to 299" in outcome.err
    outcome = run("vslerp", shards, 0, "-1")
    assert outcome.code == 2 and "'-1' is not a whole number of 0 or more" in outcome.err
    assert run("vslerp", shards, 0).code == 2


def test_foreign_files_are_not_overwritten(run, shards, tmp_path):
    np.save(tmp_path / "v.npy", np.zeros((3, 3, 24)))
    pl.DataFrame({"theta": [1.0]}).write_parquet(tmp_path / "v.parquet")
    (tmp_path / "folder.npy").mkdir()
    before = {path: path.read_bytes() for path in tmp_path.glob("v.*")}
    for name, message in (
        ("v.npy", "v.npy: is there already; wanted a new name"),
        ("v.parquet", "v.parquet: is there already and was not written by vslerp"),
        ("folder.npy", "folder.npy: is a folder"),
        ("no/v.npy", "there is no folder no"),
    ):
        outcome = run("vslerp", shards, 0, 1, "--out", "first.parquet", "--out", name)
        assert outcome.code == 4 and message in outcome.err, outcome.err
        assert "rows/s" not in outcome.err and not (tmp_path / "first.parquet").exists()
    assert {path: path.read_bytes() for path in tmp_path.glob("v.*")} == before


def test_rows_at_fault_are_named_by_file(run, tmp_path):
    x = np.random.default_rng(0).normal(size=(40, 6)).astype(np.float32)
    (tmp_path / "x").mkdir()
    for i, part in enumerate(np.split(x, 2)):
        np.save(tmp_path / "x" / f"{i}.npy", part)
    cs.Ellipsoid.fit(x).save(tmp_path / "e.ellipsoid")
    given = ("--ellipsoid", "e.ellipsoid", "--out", "v.npy")
    # The second row of the second file: the opposite of the first of the first, a zero, none.
    for value, message in (
        (-x[0], "0.npy: row 0 is opposite to x/1.npy: row 1 at alpha = 0: no arc"),
        (0, "x/1.npy: row 1 has zero norm"),
        (np.nan, "x/1.npy: row 1 holds a value that is not finite"),
    ):
        part = x[20:].copy()
        part[1] = value
        np.save(tmp_path / "x" / "1.npy", part)
        outcome = run("vslerp", "x", 0, 21, *given)
        assert outcome.code == 3 and message in outcome.err, outcome.err
    # And without an ellipsoid.
    outcome = run("vslerp", "x", 0, 1, "--out", "v.npy")
    assert outcome.code == 3 and "x/1.npy: row 1 holds" in outcome.err
    assert not (tmp_path / "v.npy").exists()
    # It has no policy that rows could be left out by.
    assert "policy" not in outcome.err


def test_two_real_images(run, real_data, tmp_path):
    path = real_data("coco500_clip_vitb16.npz")
    expected = json.loads(real_data("coco500_expected.json").read_text())
    want = expected["vslerp_image0_image1_theta0.3_alpha1.5_first5"]
    grid = ("--theta", "0,0.3", "--alpha", "1.5")
    found = run("vslerp", path, 0, 1, "--key", "image", *grid, "--out", "v.npy", "--json").json
    assert np.abs(np.load(tmp_path / "v.npy")[1, 0, :5] - want).max() < 1e-10
    assert found["nearest"][0]["row"] == 0 and found["is_normalized"] is True
