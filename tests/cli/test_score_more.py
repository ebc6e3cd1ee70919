"""What score adds on request: cosines to partners, likelihoods, groups; and whiten, fit --by."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import clipsoid as cs
from clipsoid.report import page_payload
from oracle import reference

#: A score file rounds to float32, half a unit in the last place of figures up to 1; the figures
#: themselves are good to 1e-12.
SCORE_FILE = 2.0**-24 + 1e-12

LABELS = np.random.default_rng(3).choice(["cat", "dog", "eel"], 300, p=[0.6, 0.3, 0.1])


def scores(folder: Path) -> pl.DataFrame:
    return pl.read_parquet(sorted(folder.rglob("*.parquet")))


def made(file: Path) -> dict[str, object]:
    return json.loads(pl.read_parquet_metadata(file)["clipsoid"])


@pytest.fixture
def texts(tmp_path, rows) -> np.ndarray:
    """The other modality, in as many shards, of another element type."""
    rng = np.random.default_rng(8)
    texts = (rows + rng.normal(size=rows.shape)).astype(np.float16)
    folder = tmp_path / "text_emb"
    folder.mkdir()
    for i, part in enumerate(np.split(texts, [50, 200])):
        np.save(folder / f"text_emb_{i}.npy", part)
    return texts


@pytest.fixture
def labelled(tmp_path, rows) -> Path:
    """The rows in two parquet shards with a label beside each."""
    folder = tmp_path / "labelled"
    folder.mkdir()
    for i, part in enumerate(np.split(np.arange(300), [120])):
        emb = pl.Series(rows[part], dtype=pl.Array(pl.Float32, 24))
        frame = pl.DataFrame({"label": LABELS[part], "n": part, "emb": emb})
        frame.write_parquet(folder / f"{i}.parquet")
    return folder


def cosines(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    x, y = x.astype(np.float64), y.astype(np.float64)
    return (x * y).sum(1) / np.linalg.norm(x, axis=1) / np.linalg.norm(y, axis=1)


def test_cosine_to_the_partner(run, shards, rows, texts, tmp_path):
    outcome = run("score", shards, "--partner", "text_emb", "--out", "s")
    assert outcome.code == 0 and "partners  text_emb" in outcome.out
    table = scores(tmp_path / "s")
    assert table.columns == [
        *("shard", "row", "conformity", "cosine_to_mean", "norm", "cosine_to_partner", "status")
    ]
    got = table["cosine_to_partner"]
    assert got.dtype == pl.Float32
    assert np.abs(got.to_numpy() - cosines(rows, texts)).max() <= SCORE_FILE
    assert np.abs(table["conformity"].to_numpy() - reference.conformity(rows)).max() <= SCORE_FILE


def test_parts_of_a_set_have_their_own_partners(run, shards, rows, texts, tmp_path):
    run("fit", shards, "--out", "e.ellipsoid", "--no-covariance")
    for i in range(2):
        arguments = ("--shards", f"{i}/2", "--partner", "text_emb", "--ellipsoid", "e.ellipsoid")
        assert run("score", shards, *arguments, "--out", "s").code == 0
    got = scores(tmp_path / "s")["cosine_to_partner"].to_numpy()
    assert np.abs(got - cosines(rows, texts)).max() <= SCORE_FILE
    # A part that was scored without them does not belong into the folder.
    plain = run("score", shards, "--shards", "1/2", "--ellipsoid", "e.ellipsoid", "--out", "s")
    assert plain.code == 4 and "was begun with partner" in plain.err
    says = {made(file)["partner"] for file in (tmp_path / "s").rglob("*.parquet")}
    assert len(says) == 1 and None not in says


def test_threads_do_not_show_in_the_bytes(run, shards, texts, labelled, tmp_path):
    run("fit", labelled, "--out", "e.ellipsoid")
    for out, threads in (("a", 1), ("b", 2)):
        arguments = ("--partner", "flat.npy", "--whitening", "e.ellipsoid", "--by", "label")
        np.save(tmp_path / "flat.npy", texts)
        split = run("score", labelled, *arguments, "--out", out, "--threads", threads)
        assert split.code == 3 and "found 1 shards with rows, wanted 2" in split.err
        for i, part in enumerate(np.split(texts, [120])):
            np.save(tmp_path / f"flat_{i}.npy", part)
        arguments = ("--partner", "flat_{0..1}.npy", *arguments[2:])
        outcome = run("score", labelled, *arguments, "--out", out, "--threads", threads)
        assert outcome.code == 0, outcome.err
    for name in ("0.parquet", "1.parquet"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    assert scores(tmp_path / "a").columns[6:] == [
        *("cosine_to_partner", "log_likelihood", "group_conformity", "group_rows", "status")
    ]


def test_an_invalid_partner(run, shards, texts, tmp_path):
    part = texts[50:200].copy()
    part[7] = np.nan
    np.save(tmp_path / "text_emb" / "text_emb_1.npy", part)
    refused = run("score", shards, "--partner", "text_emb", "--out", "s")
    assert refused.code == 3 and "text_emb_1.npy: row 7" in refused.err
    assert "have it as a partner" in refused.err
    # What was finished before it stays.
    assert [path.name for path in (tmp_path / "s").rglob("*.parquet")] == ["img_emb_0.parquet"]
    for policy in ("skip", "null"):
        arguments = ("--partner", "text_emb", "--on-invalid", policy, "--out", policy)
        assert run("score", shards, *arguments).code == 0
        table = scores(tmp_path / policy)
        assert len(table) == 300 and set(table["status"].cast(pl.String)) == {"ok"}
        assert [*table["cosine_to_partner"].is_null().arg_true()] == [57]
        assert table["conformity"].null_count() == 0


def test_partners_that_do_not_fit(run, shards, texts, tmp_path):
    np.save(tmp_path / "text_emb" / "text_emb_2.npy", texts[200:299])
    refused = run("score", shards, "--partner", "text_emb", "--out", "s")
    assert refused.code == 3 and "text_emb_2.npy: found 99 rows, wanted the 100" in refused.err
    assert "img_emb_2.npy" in refused.err and "rows/s" not in refused.err
    np.save(tmp_path / "wide.npy", np.ones((300, 7), np.float32))
    refused = run("score", shards, "--partner", "wide.npy", "--out", "s")
    assert refused.code == 3 and "7 features" in refused.err and "24" in refused.err
    assert run("score", shards, "--partner-key", "x", "--out", "s").code == 2
    assert not (tmp_path / "s").exists()


def likelihoods(x: np.ndarray) -> np.ndarray:
    x = x.astype(np.float64)
    c, centred = np.cov(x.T), x - x.mean(0)
    squares = np.einsum("ij,ij->i", centred @ np.linalg.inv(c), centred)
    return -0.5 * (squares + x.shape[1] * np.log(2 * np.pi) + np.linalg.slogdet(c)[1])


def test_log_likelihood_of_a_whitening_and_of_an_ellipsoid(run, shards, rows, tmp_path):
    run("fit", shards, "--out", "e.ellipsoid", "--precision", "float64")
    outcome = run("whiten", "e.ellipsoid", "--out", "w.whitening", "--kind", "pca")
    assert outcome.code == 0 and "24 of 24" in outcome.out
    for i, file in enumerate(("w.whitening", "e.ellipsoid")):
        outcome = run("score", shards, "--whitening", file, "--out", f"s{i}")
        assert outcome.code == 0 and f"24 directions of {file}" in outcome.out
        got = scores(tmp_path / f"s{i}")["log_likelihood"]
        assert got.dtype == pl.Float32
        # float32 products of whitened entries of a few units, and figures of about 30 in float32.
        assert np.abs(got.to_numpy() - likelihoods(rows)).max() < 1e-3
    assert made(tmp_path / "s0/img_emb_0.parquet")["whitening"] is not None


def test_whitenings_that_do_not_fit(run, shards, rows, tmp_path):
    run("fit", shards, "--out", "means.ellipsoid", "--no-covariance")
    run("fit", shards, "--out", "b.ellipsoid", "--encoder", "B")
    np.save(tmp_path / "wide.npy", np.random.default_rng(1).normal(size=(40, 7)))
    run("fit", "wide.npy", "--out", "wide.ellipsoid")
    unit = rows / np.linalg.norm(rows, axis=1)[:, None]
    np.save(tmp_path / "unit.npy", unit)
    run("fit", "unit.npy", "--out", "unit.ellipsoid")
    for arguments, words in (
        (("--whitening", "means.ellipsoid"), ("means.ellipsoid", "covariance")),
        (("--whitening", "b.ellipsoid", "--encoder", "C"), ("'B'", "'C'")),
        (("--whitening", "wide.ellipsoid"), ("7 features", "24")),
        (("--whitening", "unit.ellipsoid"), ("normalised", "raw")),
        (("--whitening", "wide.npy"), ("not a whitening file",)),
    ):
        outcome = run("score", shards, *arguments, "--out", "s")
        assert outcome.code == 3, outcome
        assert all(word in outcome.err for word in words), outcome.err
    assert not (tmp_path / "s").exists()
    refused = run("whiten", "means.ellipsoid", "--out", "w")
    assert refused.code == 3 and "means.ellipsoid" in refused.err and "covariance" in refused.err
    assert run("whiten", "b.ellipsoid", "--out", "w", "--floor", "2").code == 2


def test_whiten_and_info_tell_the_same(run, shards, tmp_path):
    run("fit", shards, "--out", "e.ellipsoid", "--encoder", "B")
    arguments = ("--kind", "cholesky", "--shrinkage", "0.1", "--json")
    told = run("whiten", "e.ellipsoid", "--out", "w.whitening", *arguments).json
    info = run("info", "w.whitening", "--json").json
    assert told == {"out": "w.whitening", **info}
    w = cs.Whitening.load(tmp_path / "w.whitening")
    assert (info["kind"], info["map"]) == ("whitening", "cholesky")
    assert info["encoder"] == "B" and info["shrinkage"] == 0.1 and info["condition"] == w.condition


def group_conformity(rows: np.ndarray) -> np.ndarray:
    want = np.empty(len(rows))
    for label in set(LABELS):
        want[label == LABELS] = reference.conformity(rows[label == LABELS])
    return want


def test_partners_are_found_by_id(run, rows, texts, tmp_path):
    ids = [f"{i:032x}" for i in range(len(rows))]
    for side, part, order in (
        ("images", rows, np.arange(300)),
        ("texts", texts, np.random.default_rng(0).permutation(300)),
    ):
        frame = pl.DataFrame(
            {"uid": [ids[i] for i in order], "embedding": part[order].astype(np.float32)}
        )
        (tmp_path / "set" / side).mkdir(parents=True)
        frame.write_parquet(tmp_path / "set" / side / "0.parquet")
    outcome = run("score", "set", "--modality", "image", "--partner", "--out", "s")
    assert outcome.code == 0 and outcome.err.count("warning") == 0, outcome.err
    x, y = rows.astype(np.float64), texts.astype(np.float64)
    want = (x * y).sum(1) / np.linalg.norm(x, axis=1) / np.linalg.norm(y, axis=1)
    got = scores(tmp_path / "s")["cosine_to_partner"].to_numpy()
    assert np.abs(got - want).max() < SCORE_FILE
    np.save(tmp_path / "in_order.npy", texts.astype(np.float32))
    sides = ("--images", "set/images", "--texts")
    pairs = (("set",), (*sides, "set/texts"), (*sides, "in_order.npy"))
    swept = [run("sweep", *pair, "--temperature", "0.1", "--json").json for pair in pairs]
    assert swept[0] == swept[1] == swept[2]


def test_groups_of_the_set_itself(run, labelled, rows, tmp_path):
    outcome = run("score", labelled, "--by", "label", "--out", "s")
    assert outcome.code == 0 and "3 values of column 'label'" in outcome.out
    table = scores(tmp_path / "s")
    # Carried over, so that a selection can be made per value; where it is named, once.
    assert (table["label"] == LABELS).all() and table.columns.index("label") == 2
    assert run("score", labelled, "--by", "label", "--id-column", "label", "--out", "t").code == 0
    assert scores(tmp_path / "t").equals(table)
    assert np.abs(table["group_conformity"].to_numpy() - group_conformity(rows)).max() < SCORE_FILE
    assert np.abs(table["conformity"].to_numpy() - reference.conformity(rows)).max() < SCORE_FILE
    assert table["group_rows"].dtype == pl.UInt64
    counts = dict(table.group_by("label").len().iter_rows())
    assert all(row["group_rows"] == counts[row["label"]] for row in table.iter_rows(named=True))
    assert made(tmp_path / "s" / "0.parquet")["by"] == "label"


def test_groups_of_a_file(run, labelled, rows, tmp_path):
    for i in range(2):
        arguments = ("--by", "label", "--shards", f"{i}/2", "--out", f"{i}.groups")
        assert run("fit", labelled, *arguments).code == 0
    merged = run("merge", "0.groups", "1.groups", "--out", "all.groups", "--json")
    assert merged.json["labels"] == ["cat", "dog", "eel"] and merged.json["count"] == 300
    assert "twice" not in merged.err
    again = run("merge", "all.groups", "0.groups", "--out", "x.groups")
    assert again.code == 3 and "fitted on 1 of the 2 shards of all.groups" in again.err
    info = run("info", "all.groups")
    assert "3 values of column 'label'" in info.out and "300 rows x 24 features" in info.out
    arguments = ("--by", "label", "--ellipsoid", "all.groups")
    outcome = run("score", labelled, *arguments, "--out", "s", "--json")
    # Known by the fingerprints of its files.
    assert outcome.json["member"] is True
    got = scores(tmp_path / "s")["group_conformity"].to_numpy()
    assert np.abs(got - group_conformity(rows)).max() < SCORE_FILE
    new = tmp_path / "new.parquet"
    emb = pl.Series(rows[:6] + 1, dtype=pl.Array(pl.Float32, 24))
    labels = ["cat", "gnu", None, "eel", "cat", "dog"]
    pl.DataFrame({"label": labels, "emb": emb}).write_parquet(new)
    outcome = run("score", new, *arguments, "--out", "t", "--json")
    assert outcome.code == 0 and outcome.json["member"] is False
    table = scores(tmp_path / "t")
    assert [*table["group_conformity"].is_null()] == [False, True, True, False, False, False]
    assert table["group_rows"][1] == 0
    want = reference.conformity_of_outsiders(rows[:1] + 1, rows[LABELS == "cat"])
    assert abs(table["group_conformity"][0] - want[0]) < SCORE_FILE


def test_groups_that_do_not_fit(run, labelled, shards, tmp_path):
    run("fit", labelled, "--out", "e.ellipsoid", "--no-covariance")
    for arguments, code, words in (
        (("score", labelled, "--by", "colour", "--out", "s"), 3, "has no column 'colour'"),
        (("score", shards, "--by", "label", "--out", "s"), 3, "img_emb_0.npy"),
        (
            ("score", labelled, "--by", "label", "--ellipsoid", "e.ellipsoid", "--out", "s"),
            3,
            "is no file of groups",
        ),
        (("score", labelled, "--by", "label", "--against", shards, "--out", "s"), 2, "--by"),
        (("fit", labelled, "--by", "label", "--precision", "float64", "--out", "g"), 2, "groups"),
        (("fit", labelled, "--by", "emb", "--out", "g"), 3, "wanted text, whole numbers"),
    ):
        outcome = run(*arguments)
        assert outcome.code == code and words in outcome.err, outcome
        assert "rows/s" not in outcome.err
    assert not (tmp_path / "s").exists() and not (tmp_path / "g").exists()


def test_against_another_set(run, shards, rows, texts, tmp_path):
    assert run("score", shards, "--against", "text_emb", "--out", "s").code == 0
    got = scores(tmp_path / "s")["conformity"].to_numpy()
    want = reference.conformity_of_outsiders(rows, texts.astype(np.float64))
    assert np.abs(got - want).max() < SCORE_FILE
    # As by an ellipsoid of that set, to the bit.
    run("fit", "text_emb", "--out", "t.ellipsoid", "--no-covariance")
    assert run("score", shards, "--ellipsoid", "t.ellipsoid", "--out", "t").code == 0
    assert scores(tmp_path / "t").equals(scores(tmp_path / "s"))
    # A set against itself is that set: its rows are known by their files.
    own = run("score", shards, "--against", shards, "--out", "own", "--json")
    assert own.json["member"] is True
    both = run("score", shards, "--against", "text_emb", "--ellipsoid", "t.ellipsoid", "--out", "x")
    assert both.code == 2


def test_the_page_has_what_is_beside_the_scores(run, labelled, rows, texts, tmp_path):
    for i, part in enumerate(np.split(texts, [120])):
        np.save(tmp_path / f"flat_{i}.npy", part)
    arguments = ("--partner", "flat_{0..1}.npy", "--by", "label", "--report", "page.html")
    assert run("score", labelled, *arguments, "--out", "s").code == 0
    payload = json.loads(page_payload(tmp_path / "page.html")[1])
    want = cosines(rows, texts)
    assert payload["figures"]["cosine_to_partner_mean"] == pytest.approx(want.mean(), abs=1e-6)
    assert payload["figures"]["cosine_to_partner_std"] == pytest.approx(want.std(), abs=1e-6)
    assert payload["figures"]["group_conformity_max"] <= 1 and payload["by"] == "label"
    page = (tmp_path / "page.html").read_text()
    assert "cosine to partner, mean" in page and "log likelihood" not in page


def test_help_fits_a_terminal(run):
    for command in ("score", "fit", "whiten", "merge"):
        outcome = run(command, "--help")
        assert outcome.code == 0 and max(map(len, outcome.out.splitlines())) <= 80
