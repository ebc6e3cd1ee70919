"""``clipsoid info`` of scores, recipes and files of uids."""

from __future__ import annotations

import json

import numpy as np
import pytest

from clipsoid.selection import inputs
from selection.makers import scores, write


def lines(text: str) -> dict[str, str]:
    """Return what is said by its name, broken lines joined."""
    found: dict[str, str] = {}
    name = ""
    for line in text.splitlines():
        assert len(line) <= 80 and line == line.rstrip()
        name = line[:14].strip() or name
        found[name] = f"{found[name]} {line[14:].strip()}" if name in found else line[14:]
    return found


def test_scores_of_a_part_and_of_all(run, shards):
    bad = np.load(shards / "img_emb" / "img_emb_2.npy")
    bad[:7] = 0
    np.save(shards / "img_emb" / "img_emb_2.npy", bad)
    score = ("score", "shards", "--out", "s", "--on-invalid", "null", "--encoder", "ViT-X")
    assert run(*score, "--shards", "1/2").code == 0
    text = lines(run("info", "s").out)
    assert text["scores"] == "1 of 3 shards finished, 150 rows"
    assert text["not finished"] == "img_emb_0.npy, img_emb_2.npy"
    assert text["part"] == "1/2: 1 of 1 shard"
    assert run(*score, "--shards", "0/2").code == 0
    text = lines(run("info", "s").out)
    assert text["scores"] == "3 of 3 shards finished, 300 rows" and "not finished" not in text
    assert text["invalid"] == "7 zero_norm"
    assert text["columns"] == "shard, row, conformity, cosine_to_mean, norm, status"
    assert "encoder ViT-X" in text["how made"] and "on_invalid null" in text["how made"]
    found = run("info", "s", "--json").json
    assert found["kind"] == "scores" and found["missing"] == [] and found["status"]["ok"] == 293
    journal = (shards.parent / "s" / ".scores-0-of-2.journal").read_text()
    assert json.dumps({"reference": found["made"]["reference"]}, separators=(",", ":")) in journal


def test_scores_of_which_a_file_is_damaged(run, shards):
    assert run("score", "shards", "--out", "s").code == 0
    path = shards.parent / "s" / "img_emb_1.parquet"
    path.write_bytes(path.read_bytes()[:-1])
    done = run("info", "s")
    assert done.code == 3 and "s/img_emb_1.parquet: has " in done.err
    assert "img_emb_1.parquet" in lines(done.out)["looks wrong"]
    path.unlink()
    done = run("info", "s", "--json")
    assert done.code == 3 and "img_emb_1.parquet: is gone" in done.json["faults"][0]


def test_score_files_without_their_journal(run, shards, tmp_path, monkeypatch):
    header = inputs.read_header
    assert run("score", "shards", "--out", "s", "--encoder", "ViT-X").code == 0
    one = lines(run("info", "s/img_emb_1.parquet").out)
    assert one["scores"] == "1 file, 150 rows, without a journal"
    assert one["shard"] == "img_emb_1.npy, 150 rows" and "encoder ViT-X" in one["how made"]
    (tmp_path / "s" / ".scores-0-of-1.journal").unlink()
    opened = []
    monkeypatch.setattr(inputs, "read_header", lambda path: opened.append(path) or header(path))
    folder = lines(run("info", "s").out)
    assert [path.name for path in opened] == [f"img_emb_{i}.parquet" for i in range(3)]
    assert folder["scores"] == "3 files, 300 rows, without a journal" and "shard" not in folder
    assert folder["columns"] == "shard, row, conformity, cosine_to_mean, norm, status"
    assert run("select", "s", "--top", "10%", "--out", "top.parquet").code == 0
    found = run("info", "top.parquet", "--json").json
    assert (found["kind"], found["rows"]) == ("selection", 30)
    assert found["bytes"] == (tmp_path / "top.parquet").stat().st_size


def test_recipes(run, tmp_path):
    write(scores(), tmp_path / "scores")
    made = ("select", "scores", "--where", "norm > 9", "--balance", "--rows", "60", "--bins", "8")
    assert run(*made, "--out", "a.parquet", "--columns", "shard,row").code == 0
    text = lines(run("info", "a.parquet.json").out)
    assert text["recipe"] == "of a.parquet, which is as it was written"
    assert text["rules"] == (
        "where norm > 9; column conformity; balance True; rows 60; bins 8; seed 0"
    )
    assert text["columns"] == "columns shard, row"
    assert text["scores"] == "3 files, 300 rows" and "metadata" not in text
    assert text["kept"] == "60 of 300 rows (20 %)" and text["reference"] == "r"
    (tmp_path / "a.parquet").write_text("other")
    assert "which has changed since" in run("info", "a.parquet.json").out
    (tmp_path / "a.parquet").unlink()
    assert "which is not beside it" in run("info", "a.parquet.json").out
    recipe = json.loads((tmp_path / "a.parquet.json").read_text())
    assert run("info", "a.parquet.json", "--json").json == {"kind": "recipe", **recipe}
    (tmp_path / "b.json").write_text("{}")
    done = run("info", "b.json")
    assert done.code == 3 and "b.json: is not the JSON that select writes" in done.err


def test_files_of_uids(run, tmp_path):
    write(scores(), tmp_path / "scores")
    assert run("select", "scores", "--top", "77", "--out", "a.npy").code == 0
    text = lines(run("info", "a.npy").out)
    assert text["uids"] == "77 of 128 bits, ascending, each once"
    assert text["how made"] == "clipsoid info a.npy.json"
    for uids in ([(2, 0), (1, 9)], [(1, 2), (1, 1)], [(1, 1), (1, 1)]):
        np.save(tmp_path / "b.npy", np.array(uids, "u8,u8"))
        found = run("info", "b.npy", "--json").json
        assert (found["kind"], found["rows"], found["is_ascending"]) == ("uids", 2, False)
        assert found["recipe"] is None
    np.save(tmp_path / "c.npy", np.array([(1, 9), (2, 0), (2, 1)], "u8,u8"))
    assert run("info", "c.npy", "--json").json["is_ascending"]


def test_lists_of_ids(run, tmp_path):
    write(scores(), tmp_path / "scores")
    assert run("select", "scores", "--top", "77", "--out", "a.txt").code == 0
    text = lines(run("info", "a.txt").out)
    assert text["ids"] == "77 of column 'uid', one per line"
    assert text["how made"] == "clipsoid info a.txt.json"
    with (tmp_path / "a.txt").open("a") as file:
        file.write("more\n")
    text = lines(run("info", "a.txt").out)
    assert text["ids"].startswith("78 of") and "how made" not in text
    assert text["looks wrong"] == "has changed since select wrote it, says a.txt.json"
    (tmp_path / "a.txt.json").write_text("{}")
    done = run("info", "a.txt")
    assert done.code == 3 and "a.txt: the suffix is '.txt'" in done.err


@pytest.mark.parametrize("contents", ["", '{"format":'])
def test_a_journal_that_says_nothing(run, shards, tmp_path, contents):
    assert run("score", "shards", "--out", "s").code == 0
    (tmp_path / "s/.scores-0-of-1.journal").write_text(contents)
    said = "clipsoid: s: its journal is empty; remove the folder, and score the set again\n"
    for command in (("info", "s"), ("select", "s", "--top", "1"), ("merge", "s", "--out", "m")):
        done = run(*command)
        assert done.code == 3 and done.err.endswith(said)


def test_uids_are_compared_across_blocks(run, tmp_path, monkeypatch):
    monkeypatch.setattr("clipsoid.cli.products.UIDS", 2)
    for last, ascends in ((4, True), (0, False)):
        np.save(tmp_path / "a.npy", np.array([(0, 1), (0, 2), (last, 0)], "u8,u8"))
        assert run("info", "a.npy", "--json").json["is_ascending"] is ascends


@pytest.mark.parametrize("contents", [b"", b"\x93NUMPY\x01\x00", b"no array"])
def test_arrays_that_are_damaged_are_still_embeddings(run, tmp_path, contents):
    (tmp_path / "a.npy").write_bytes(contents)
    done = run("info", "a.npy")
    assert done.code == 3 and "a.npy: " in done.err
