"""What each command does with good input."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from oracle import reference

#: A score file rounds to float32, half a unit in the last place of figures up to 1; the figures
#: themselves are good to 1e-12.
SCORE_FILE = 2.0**-24 + 1e-12


def scores(folder: Path) -> pl.DataFrame:
    return pl.read_parquet(sorted(folder.rglob("*.parquet")))


def test_score_without_an_ellipsoid_leaves_each_row_out(shell, shards, rows, tmp_path):
    outcome = shell("score", shards, "--out", "scores", "--json")
    assert outcome.code == 0
    assert outcome.json["status"] == {"ok": 300, "non_finite": 0, "zero_norm": 0, "missing": 0}
    table = scores(tmp_path / "scores")
    assert table.columns == ["shard", "row", "conformity", "cosine_to_mean", "norm", "status"]
    assert [*table["row"]] == [*range(50), *range(150), *range(100)]
    assert [*table["shard"].unique(maintain_order=True)] == [f"img_emb_{i}.npy" for i in range(3)]
    want = {
        "conformity": reference.conformity(rows),
        "cosine_to_mean": reference.cosine_to_mean(rows, reference.mean(rows)),
        "norm": np.linalg.norm(rows.astype(np.float64), axis=1),
    }
    for name, values in want.items():
        got = table[name]
        assert got.dtype == pl.Float32
        assert np.abs(got.to_numpy() - values).max() <= SCORE_FILE * max(1, np.abs(values).max())
    assert set(table["status"].cast(pl.String)) == {"ok"}


def test_score_files_say_how_they_were_made(shell, shards, tmp_path):
    shell("score", shards, "--out", "scores", "--encoder", "ViT-B-32")
    file = tmp_path / "scores" / "img_emb_1.parquet"
    made = json.loads(pl.read_parquet_metadata(file)["clipsoid"])
    assert made["shard"] == "img_emb_1.npy"
    assert made["shard_rows"] == 150 and made["ellipsoid_rows"] == 300
    assert made["member"] is True and made["encoder"] == "ViT-B-32"
    assert made["simd"] in made["ellipsoid_simd"] and made["dtypes"] == ["float32"]


def test_the_same_run_writes_the_same_bytes(shell, shards, tmp_path):
    for out, threads in (("a", 1), ("b", 2)):
        assert shell("score", shards, "--out", out, "--threads", threads).code == 0
    for file in (tmp_path / "a").rglob("*.parquet"):
        twin = tmp_path / "b" / file.relative_to(tmp_path / "a")
        assert file.read_bytes() == twin.read_bytes()


def test_fit_by_parts_and_merge_equals_one_fit(shell, shards):
    shell("fit", shards, "--out", "whole.ellipsoid")
    for i in range(3):
        assert shell("fit", shards, "--shards", f"{i}/3", "--out", f"{i}.ellipsoid").code == 0
    merged = shell("merge", *(f"{i}.ellipsoid" for i in range(3)), "--out", "m.ellipsoid", "--json")
    whole = shell("info", "whole.ellipsoid", "--json")
    assert merged.json["count"] == whole.json["count"] == 300
    for figure in ("center_ratio", "mean_conformity"):
        assert merged.json[figure] == pytest.approx(whole.json[figure], rel=1e-12)
    # Covariances of float32 rows are products in float32.
    figure = "off_diagonal_dominance_median"
    assert merged.json[figure] == pytest.approx(whole.json[figure], rel=1e-6)


def test_members_are_known_by_their_files(shell, shards, rows, tmp_path):
    shell("fit", shards, "--out", "e.ellipsoid")
    # Moved and renamed: the content counts.
    (shards / "img_emb").rename(tmp_path / "elsewhere")
    other = tmp_path / "other.npy"
    np.save(other, rows[:20] + 1)
    arguments = ("--ellipsoid", "e.ellipsoid", "--json", "--out")
    assert shell("score", "elsewhere", *arguments, "s1").json["member"] is True
    assert shell("score", other, *arguments, "s2").json["member"] is False
    mixed = shell("score", "{elsewhere/img_emb_0,other}.npy", *arguments, "s3")
    assert mixed.code == 3 and "1 of 2 shards" in mixed.err and "--members" in mixed.err
    forced = shell("score", "{elsewhere/img_emb_0,other}.npy", "--outsiders", *arguments, "s3")
    assert forced.code == 0 and forced.json["member"] is False
    got = scores(tmp_path / "s2")["conformity"].to_numpy()
    assert np.abs(got - reference.conformity_of_outsiders(rows[:20] + 1, rows)).max() < SCORE_FILE


def test_id_columns_are_carried_over(shell, rows, tmp_path):
    frame = pl.DataFrame(
        {
            "uid": [f"u{i}" for i in range(300)],
            "embeddings": pl.Series(rows.tolist(), dtype=pl.List(pl.Float32)),
            "n": range(300),
        }
    )
    frame.write_parquet(tmp_path / "set.parquet")
    outcome = shell("score", "set.parquet", "--out", "s", "--id-column", "uid", "--id-column", "n")
    assert outcome.code == 0
    table = scores(tmp_path / "s")
    assert table.columns[:4] == ["shard", "row", "uid", "n"]
    assert [*table["uid"]] == [*frame["uid"]] and [*table["n"]] == [*range(300)]


@pytest.mark.parametrize("policy", ["skip", "null"])
def test_invalid_rows_by_policy(shell, rows, tmp_path, policy):
    rows[3], rows[7, 2], rows[299] = 0, np.nan, np.inf
    np.save(tmp_path / "x.npy", rows)
    outcome = shell("score", "x.npy", "--out", "s", "--on-invalid", policy, "--json")
    assert outcome.json["status"] == {"ok": 297, "non_finite": 2, "zero_norm": 1, "missing": 0}
    table = scores(tmp_path / "s")
    valid = np.delete(rows, [3, 7, 299], axis=0)
    ok = table.filter(pl.col("status").cast(pl.String) == "ok")
    assert np.abs(ok["conformity"].to_numpy() - reference.conformity(valid)).max() < SCORE_FILE
    if policy == "skip":
        assert len(table) == 297 and 3 not in table["row"]
    else:
        bad = table.filter(pl.col("conformity").is_null())
        assert [*bad["row"]] == [3, 7, 299]
        assert [*bad["status"].cast(pl.String)] == ["zero_norm", "non_finite", "non_finite"]


def test_missing_embeddings_of_parquet(shell, rows, tmp_path):
    column = pl.Series(rows[:20].tolist(), dtype=pl.List(pl.Float32))
    frame = pl.DataFrame({"e": column}).with_columns(
        pl.when(pl.int_range(20) == 5).then(None).otherwise(pl.col("e")).alias("e")
    )
    frame.write_parquet(tmp_path / "x.parquet")
    refused = shell("score", "x.parquet", "--out", "s")
    assert refused.code == 3 and "row 5 is missing" in refused.err
    assert shell("score", "x.parquet", "--out", "s", "--on-invalid", "null").code == 0
    row = scores(tmp_path / "s").row(5, named=True)
    assert row["status"] == "missing" and row["conformity"] is None and row["norm"] is None


def test_scores_may_be_written_again_over_themselves(shell, shards, tmp_path):
    for _ in range(2):
        assert shell("score", shards, "--out", "s").code == 0
    assert len(scores(tmp_path / "s")) == 300


def test_info_of_embeddings_and_of_ellipsoids(shell, shards):
    shell("fit", shards, "--out", "e.ellipsoid", "--encoder", "B-16", "--temperature", "0.01")
    store = shell("info", shards, "--json").json
    assert (store["rows"], store["dim"], store["shards"]) == (300, 24, 3)
    e = shell("info", "e.ellipsoid", "--json").json
    assert (e["count"], e["encoder"], e["temperature"]) == (300, "B-16", 0.01)
    assert "300 rows x 24 features" in shell("info", "e.ellipsoid").out


def test_a_pipe_gets_lines_and_a_quiet_run_nothing(shell, shards):
    loud = shell("fit", shards, "--out", "e.ellipsoid")
    assert "300 of 300 rows" in loud.err and "rows/s" in loud.err and "\r" not in loud.err
    quiet = shell("fit", shards, "--out", "e.ellipsoid", "--quiet")
    assert (quiet.code, quiet.out, quiet.err) == (0, "", "")


def test_demo_prints_the_paper_beside_the_measured(shell, tmp_path):
    outcome = shell("demo", "--rows", "1500", "--out", "d")
    assert outcome.code == 0
    assert max(map(len, outcome.out.splitlines())) <= 80
    assert "0.9400" in outcome.out and "1.4610" in outcome.out and "Pearson" in outcome.out
    assert len(scores(tmp_path / "d" / "scores")) == 3000
    (tmp_path / "d" / "mine.txt").write_text("keep")
    refused = shell("demo", "--rows", "1500", "--out", "d")
    assert refused.code == 4 and "mine.txt" in refused.err
    assert (tmp_path / "d" / "mine.txt").exists()


def test_demo_in_json_is_what_its_score_files_hold(shell, shards, tmp_path):
    outcome = shell("demo", "--rows", "1500", "--out", "d", "--json")
    assert set(outcome.json) == {"rows", "dim", "seed", "image", "text", "paper"}
    shell("score", shards, "--out", "s")
    for modality in ("image", "text"):
        result = outcome.json[modality]
        conformity = scores(tmp_path / "d" / "scores" / modality)["conformity"].to_numpy()
        assert result["figures"]["mean_conformity"] == pytest.approx(conformity.mean(), rel=1e-6)
        assert sum(result["histogram"]) == len(conformity) == 1500
        assert (result["least"], result["most"]) == (conformity.argmin(), conformity.argmax())
    demo, score = (
        json.loads(pl.read_parquet_metadata(tmp_path / file)["clipsoid"])
        for file in ("d/scores/text/text_emb_0.parquet", "s/img_emb_0.parquet")
    )
    assert demo.keys() == score.keys()
    assert demo["member"] is True and demo["ellipsoid_rows"] == 1500 and demo["dim"] == 512


def test_help_and_version(shell):
    top = shell("--help")
    assert top.code == 0 and "exit codes" in top.out
    for command in ("demo", "info", "fit", "merge", "score"):
        assert f" {command} " in top.out
        text = shell(command, "--help").out
        assert max(map(len, text.splitlines())) <= 80
    assert shell("--version").out.startswith("clipsoid 0.")
