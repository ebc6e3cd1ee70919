"""``clipsoid select`` as a user runs it: what it prints, what it writes, how it fails."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from selection.makers import ok, scores, write


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write(scores(), tmp_path / "scores")


def test_scores_of_embeddings_to_a_uid_file(run, rows, tmp_path):
    ids = [f"{i * 7919:032x}" for i in range(300)]
    frame = pl.DataFrame({"uid": ids, "e": pl.Series(rows.tolist(), dtype=pl.List(pl.Float32))})
    frame.write_parquet(tmp_path / "set.parquet")
    assert run("score", "set.parquet", "--out", "s", "--id-column", "uid").code == 0
    outcome = run("select", "s", "--top", "10%", "--out", "a.npy", "--out", "a.txt", "--json")
    assert outcome.code == 0, outcome.err
    conformity = pl.read_parquet(tmp_path / "s" / "set.parquet")["conformity"].to_numpy()
    best = sorted(np.argsort(-conformity, kind="stable")[:30])
    assert np.load(tmp_path / "a.npy").tolist() == sorted((0, i * 7919) for i in best)
    assert (tmp_path / "a.txt").read_text().split() == [ids[i] for i in best]
    assert outcome.json["rows_kept"] == 30 and outcome.json["rules"]["top"] == "10%"
    assert sum(outcome.json["after"]["counts"]) == 30


def test_what_a_terminal_shows(run, folder, tmp_path):
    outcome = run(
        *("select", "scores", "--where", "norm > 9", "--quantiles", "0.1:0.9"),
        *("--balance", "--rows", "60", "--bins", "8", "--out", "x.parquet"),
    )
    assert outcome.code == 0, outcome.err
    lines = outcome.out.splitlines()
    assert max(map(len, lines)) <= 80 and all(line == line.rstrip() for line in lines)
    assert lines[0] == "kept         60 of 300 rows (20 %)"
    removed = {line.split()[1]: int(line.split()[2]) for line in lines if line.startswith("- ")}
    assert list(removed) == ["status", "where", "quantiles", "balance"]
    assert 300 - sum(removed.values()) == 60
    frame = scores()
    assert removed["status"] == 300 - len(ok(frame))
    words = dict(frame["status"].cast(pl.String).value_counts().iter_rows())
    assert f"{words['missing']} missing" in next(x for x in lines if x.startswith("- status"))
    (head,) = (line for line in lines if "median" in line)
    before = next(line for line in lines if line.startswith("before ")).split()[1:]
    own = frame["conformity"].drop_nulls()
    want = np.quantile(own, [0, 0.05, 0.25, 0.5, 0.75, 0.95, 1], method="inverted_cdf")
    assert before == [f"{value:.4f}" for value in want]
    assert head.split() == ["min", "5", "%", "25", "%", "median", "75", "%", "95", "%", "max"]
    first = next(i for i, line in enumerate(lines) if line.lstrip().startswith("from"))
    table = lines[first + 1 : first + 21]
    counts = np.histogram(own, np.linspace(own.min(), own.max(), 21))[0]
    assert [int(line.split()[2]) if "█" in line[:30] else 0 for line in table] == counts.tolist()
    assert lines[-1] == "written  x.parquet"
    assert "select: balance" in outcome.err and "writing x.parquet" in outcome.err


def test_a_quiet_run_and_a_recipe(run, folder, tmp_path):
    made = ("select", "scores", "--fraction", "0.3", "--random", "--seed", "4", "--quiet")
    outcome = run(*made, "--out", "a.txt", "--id-column", "norm", "--out", "a.parquet")
    assert (outcome.code, outcome.out, outcome.err) == (0, "", "")
    for name, again in (("a.txt", "b.txt"), ("a.parquet", "b.parquet")):
        outcome = run("select", "scores", "--recipe", f"{name}.json", "--out", again, "--quiet")
        assert outcome.code == 0, outcome.err
        assert (tmp_path / name).read_bytes() == (tmp_path / again).read_bytes()
    both = run("select", "scores", "--recipe", "a.txt.json", "--top", "3")
    assert both.code == 2 and "--top cannot be added" in both.err


def test_scores_of_one_value_are_one_line(run, tmp_path):
    for count in (1, 7):
        frame = pl.DataFrame({"conformity": [0.25] * count})
        frame.write_parquet(tmp_path / "s.parquet")
        lines = run("select", "s.parquet").out.split("\n\n")[2].splitlines()
        assert len(lines) == 2 and lines[1].split()[0] == "0.2500"
        assert [word for word in lines[1].split() if word.isdigit()] == [str(count)] * 2


def test_rules_of_metadata_and_target(run, folder, tmp_path):
    frame = scores()
    known = frame.select("uid", length=pl.int_range(pl.len()))
    known.write_parquet(tmp_path / "meta.parquet")
    (tmp_path / "t.json").write_text(json.dumps({"edges": [-1, 0.3, 1], "weights": [1, 1]}))
    outcome = run(
        *("select", "scores", "--metadata", "meta.parquet", "--on", "uid", "--where", "length>=50"),
        *("--target", "t.json", "--rows", "40", "--columns", "uid,length", "--out", "a.parquet"),
    )
    assert outcome.code == 0, outcome.err
    found = pl.read_parquet(tmp_path / "a.parquet")
    assert found.columns == ["uid", "length"] and len(found) == 40
    assert found["length"].min() >= 50
    sides = [frame["conformity"][i] >= np.float32(0.3) for i in found["length"]]
    assert sum(sides) == 20


def test_what_is_wrong_with_the_options(run, folder):
    for arguments, message in (
        (["--where", "norm >"], "--where: unable to parse 'norm >'"),
        (["--top", "0"], "'0' is not a number of rows, 1 or more"),
        (["--quantiles", "0.5"], "'0.5' is not LO:HI"),
        (["--quantiles", "0.9:0.1"], "wanted two numbers, 0 <= LO < HI <= 1"),
        (["--above", "x"], "argument --above"),
        (["--balance"], "error: --balance needs --rows: how many to choose\n"),
        (["--per", "shard"], "error: --per needs --fraction\n"),
        (["--random"], "error: --random needs --fraction\n"),
        (["--fraction", "2"], "error: --fraction 2.0; wanted a number above 0, up to 1\n"),
        (["--rows", "3"], "error: --rows needs --balance or --target\n"),
        (["--seed", "0", "--top", "3"], "error: --seed has no effect: nothing is chosen at random"),
        (["--bins", "50", "--top", "3"], "error: --bins needs --balance, or a --target of other"),
        (["--bins", "9", "--target", "t.json", "--rows", "3"], "error: --bins needs --balance, or"),
        (["--id-column", "uid", "--out", "a.parquet"], "--id-column needs a file of ids, .npy or"),
        (["--id-column", "uid"], "error: --id-column needs a file of ids, .npy or .txt\n"),
        (["--columns", "uid", "--out", "a.txt"], "error: --columns needs a .parquet file\n"),
        (["--recipe", "r.json", "--seed", "0"], "--recipe has all rules; --seed cannot be added"),
        (["--top", "1", "--bottom", "1"], "not allowed with argument"),
        (["--on", "uid"], "--on needs --metadata"),
    ):
        outcome = run("select", "scores", *arguments)
        assert outcome.code == 2 and message in outcome.err, (arguments, outcome.err)


def test_what_is_wrong_with_the_input(run, folder, tmp_path):
    for arguments, message in (
        (["scores", "--where", "nowhere = 1"], "has no column 'nowhere' (where); found shard, row"),
        (["scores", "--where", "norm > 99"], "where: leaves none of"),
        (["scores", "--top", "301"], "top: wanted 301 rows, but only"),
        (["nowhere"], "nowhere: found no such file or folder"),
        (["scores", "--out", "a.npy", "--id-column", "key"], "has no column 'key'"),
        (["scores", "--recipe", "scores/img_0.parquet"], "img_0.parquet: cannot be read"),
    ):
        outcome = run("select", *arguments)
        assert outcome.code == 3 and message in outcome.err, (arguments, outcome.err)
    assert [path.name for path in tmp_path.iterdir()] == ["scores"]


def test_a_file_of_another_kind_is_said_before_options_that_depend_on_kinds(run, folder, tmp_path):
    for option in (["--id-column", "norm"], ["--columns", "norm"], ["--on", "uid"], []):
        outcome = run("select", "scores", "--out", "ids.csv", *option)
        assert outcome.code == 4, outcome.err
        assert "ids.csv: the suffix is '.csv'; wanted .npy for uids" in outcome.err
    assert run("select", "nowhere", "--out", "ids.csv").code == 4
    assert [path.name for path in tmp_path.iterdir()] == ["scores"]


def test_columns_of_the_output_are_looked_for_before_any_pass(run, folder, tmp_path):
    for arguments, message in (
        (["--columns", "row,nowhere", "--out", "a.parquet"], "has no column 'nowhere' (columns)"),
        (["--columns", "", "--out", "a.parquet"], "has no column '' (columns)"),
        (["--id-column", "key", "--out", "a.txt"], "has no column 'key' (id column)"),
        (["--id-column", "norm", "--out", "a.npy"], "'norm' is Float32; wanted uids of 32 hexa"),
        (["--where", "norm", "--out", "a.txt"], "where: gives Float32; wanted true or false"),
    ):
        outcome = run("select", "scores", *arguments)
        assert outcome.code == 3 and message in outcome.err, (arguments, outcome.err)
        assert "reading scores" not in outcome.err
    assert "reading scores" in run("select", "scores", "--out", "a.txt").err


def test_a_recipe_names_columns_only_where_they_are_used(run, folder, tmp_path):
    made = ("select", "scores", "--top", "9", "--quiet", "--id-column", "norm", "--columns", "row")
    assert run(*made, "--out", "a.txt", "--out", "a.parquet").code == 0
    for recipe, out in (("a.txt.json", "b.parquet"), ("a.parquet.json", "b.npy")):
        outcome = run("select", "scores", "--recipe", recipe, "--out", out, "--quiet")
        assert outcome.code == 0, outcome.err
    assert pl.read_parquet(tmp_path / "b.parquet").columns == scores().columns
    assert len(np.load(tmp_path / "b.npy")) == 9


def test_foreign_files_stay(run, folder, tmp_path):
    (tmp_path / "a.npy").write_text("mine")
    outcome = run("select", "scores", "--top", "3", "--out", "b.txt", "--out", "a.npy")
    assert outcome.code == 4 and "a.npy: is there already" in outcome.err
    assert (tmp_path / "a.npy").read_text() == "mine" and not (tmp_path / "b.txt").exists()
    outcome = run("select", "scores", "--top", "3", "--out", "scores/a.parquet")
    assert outcome.code == 4 and "lies among the scores" in outcome.err
