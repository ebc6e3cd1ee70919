"""Sets as producers lay them out, on the command line: info, ids, modalities, pairs."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from store import layouts as made


@pytest.fixture
def retrieval(tmp_path: Path) -> Path:
    made.clip_retrieval(tmp_path / "set")
    return tmp_path / "set"


@pytest.fixture
def datacomp(tmp_path: Path) -> Path:
    made.datacomp(tmp_path / "set")
    return tmp_path / "set"


def test_info_says_what_a_set_is(run, retrieval):
    done = run("info", "set")
    assert (done.code, done.err) == (0, "")
    assert max(map(len, done.out.splitlines())) <= 80
    text = " ".join(done.out.split())
    for said in (
        "layout clip-retrieval, image and text",
        "image 104 rows x 16 features, float16 11 shards: img_emb_0.npy to "
        "img_emb_10.npy normalised: norms 0.99",
        "in a sample of 104 rows",
        "of shuffled pairs",
        "columns image_path, caption",
    ):
        assert said in text
    assert "looks wrong" not in text
    found = run("info", "set", "--json").json
    assert (found["layout"], found["rows"], found["dim"], found["notes"]) == (
        "clip-retrieval",
        208,
        16,
        [],
    )
    image, text = (rows.astype(np.float64) for rows in made.pairs())
    assert found["modalities"]["text"]["files"][10] == {
        "name": "text_emb_10.npy",
        "rows": 12,
        "dtype": "float16",
        "metadata": "set/metadata/metadata_10.parquet",
    }
    norms = np.linalg.norm(image, axis=1)
    sample = found["modalities"]["image"]["sample"]
    assert sample["is_normalized"] is True and sample["rows"] == 104
    assert sample["least_norm"] == pytest.approx(norms.min(), abs=1e-12)
    assert sample["greatest_norm"] == pytest.approx(norms.max(), abs=1e-12)
    cosines = (image * text).sum(axis=1) / norms / np.linalg.norm(text, axis=1)
    assert found["pairs"]["cosine"] == pytest.approx(cosines.mean(), abs=1e-12)


def test_info_says_what_looks_wrong(run, datacomp):
    files = sorted(datacomp.glob("*.npz"))
    # The first of all is damaged, too.
    files[0].write_bytes(files[0].read_bytes()[:300])
    files[4].write_bytes(b"")
    done = run("info", "set")
    assert done.code == 3
    assert "2 of the files cannot be read: set/" in done.err
    text = " ".join(done.out.split())
    assert "layout DataComp, image and text" in text
    assert "9 shards, array 'l14_img'" in text
    assert "other arrays b32_img, b32_txt (--key)" in text
    assert "encoder ViT-L-14 openai, temperature 0.01" in text
    assert text.count("is damaged or truncated, or no .npz (zip) file") == 2
    assert max(map(len, done.out.splitlines())) <= 90
    small = run("info", "set", "--key", "b32", "--json")
    assert (small.code, small.json["dim"], len(small.json["notes"])) == (3, 8, 2)


def test_info_of_repeated_ids_and_of_invalid_rows(run, tmp_path):
    made.npy_and_parquet(tmp_path / "set")
    first = tmp_path / "set/vectors/x00.npy"
    rows = np.load(first)
    rows[2], rows[3] = np.nan, 0
    np.save(first, rows)
    table = next((tmp_path / "set/tables").glob("part-00-*"))
    pl.DataFrame({"uid": [*made.UIDS[:5], made.UIDS[0], made.UIDS[0]]}).write_parquet(table)
    notes = run("info", "set", "--json").json["notes"]
    assert notes == [
        "uid: 2 ids are repeated in the 4 shards looked at",
        "rows: 2 of 104 sampled rows are missing, not finite or zero",
    ]


def test_unrelated_pairs_look_wrong(run, tmp_path):
    image, text = made.pairs()
    np.savez(tmp_path / "set.npz", image=image, text=text[::-1])
    assert run("info", "set.npz", "--json").json["notes"] == [
        "the images and texts of the sample are no nearer than shuffled ones"
    ]
    done = run("sweep", "set.npz")
    assert done.code == 0
    assert "clipsoid: warning: set.npz: in a sample of 104 rows, the mean cosine" in done.err
    # It is the only sign of a figure that means nothing.
    assert "warning" in run("sweep", "set.npz", "--quiet").err


def test_a_set_of_two_modalities_wants_one(run, retrieval, tmp_path):
    for command in (("fit", "--out", "e.ellipsoid"), ("score", "--out", "scores")):
        refused = run(command[0], "set", *command[1:])
        assert refused.code == 3
        assert (
            "set: holds 104 image rows and 104 text rows; wanted one modality (--modality image "
            "or text" in refused.err
        )
        assert not (tmp_path / command[2]).exists()
    fitted = run("fit", "set", "--modality", "text", "--out", "e.ellipsoid", "--json").json
    assert fitted["count"] == 104
    mean = made.pairs()[1].astype(np.float64).mean(axis=0)
    assert fitted["mean_norm"] == pytest.approx(np.linalg.norm(mean), rel=1e-12)
    refused = run("fit", "set/text_emb", "--modality", "image", "--out", "f.ellipsoid")
    assert (refused.code, "found text, no image embeddings" in refused.err) == (3, True)


def test_missing_shards_are_said_where_one_side_is_taken(run, retrieval):
    (retrieval / "img_emb/img_emb_2.npy").unlink()
    said = "clipsoid: warning: set/text_emb/text_emb_2.npy: there are no images of this number"
    fit = ("fit", "set", "--modality", "image", "--out", "e.ellipsoid")
    done = run(*fit)
    assert done.code == 0 and done.err.count("warning") == 1 and said in done.err
    assert run(*fit, "--quiet").err == ""
    assert said in run("score", "set", "--modality", "image", "--out", "s").err
    # By itself, one side shows a gap; files that are named do not.
    alone = run("fit", "set/img_emb", "--out", "e.ellipsoid").err
    assert "clipsoid: warning: image: no shard of number 2 (an empty partition" in alone
    one = run("fit", "set/img_emb/img_emb_3.npy", "--out", "e.ellipsoid")
    assert one.code == 0 and "warning" not in one.err


def test_small_sets_are_said_in_good_english(run, tmp_path):
    np.save(tmp_path / "one.npy", np.ones((1, 2)))
    text = run("info", "one.npy").out
    assert "in a sample of 1 row\n" in text and "size          144 bytes\n" in text
    np.save(tmp_path / "two.npy", np.ones((2000, 2)))
    assert "size          32.1 kB\n" in run("info", "two.npy").out
    rows = pl.DataFrame({"uid": ["a", "a"], "x": [[1.0, 2.0]] * 2})
    rows.write_parquet(tmp_path / "ids.parquet")
    assert "uid: 1 id is repeated in the one shard looked at" in run("info", "ids.parquet").out


def test_ids_come_from_the_metadata(run, retrieval, tmp_path):
    done = run("score", "set", "--modality", "image", "--id-column", "image_path", "--out", "s")
    assert done.code == 0, done.err
    for i, paths in enumerate(made.parts(made.PATHS)):
        table = pl.read_parquet(tmp_path / f"s/img_emb_{i}.parquet")
        assert table["image_path"].to_list() == paths
    pl.DataFrame({"image_path": ["x"]}).write_parquet(retrieval / "metadata/metadata_3.parquet")
    refused = run("score", "set/img_emb", "--id-column", "image_path", "--out", "t")
    assert refused.code == 3
    assert "metadata_3.parquet: has 1 rows, but set/img_emb/img_emb_3.npy has 5" in refused.err
    refused = run("score", "set/img_emb", "--id-column", "uid", "--out", "t")
    assert "has no column 'uid'; found image_path, caption" in refused.err


def test_ids_of_datacomp(run, datacomp, tmp_path):
    done = run("score", "set", "--modality", "text", "--id-column", "uid", "--out", "s")
    assert done.code == 0, done.err
    files = sorted((tmp_path / "s").glob("*.parquet"))
    assert len(files) == len(made.SIZES)
    for file in files:
        table, theirs = pl.read_parquet(file), pl.read_parquet(datacomp / file.name)
        assert table["uid"].equals(theirs["uid"])
        written = json.loads(pl.read_parquet_metadata(file)["clipsoid"])
        # Which of DataComp's models was scored is on record.
        assert written["encoder"] == "ViT-L-14 openai"


def test_an_analysis_shows_the_captions_of_the_set(run, retrieval):
    quick = [
        word
        for part in (
            "linear_separability",
            "normality",
            "vslerp",
            "blur",
            "retrieval",
            "match_sweep",
            "loss_sweep",
        )
        for word in ("--leave-out", part)
    ]
    items = run("analyze", "set", *quick, "--json").json["items"]["columns"]
    assert items["caption"] == [made.CAPTIONS[row] for row in items["row"]]
    assert items["image_path"] == [made.PATHS[row] for row in items["row"]]
    refused = run("analyze", "set", *quick, "--caption-column", "alt")
    assert (refused.code, "has no column 'alt'; found image_path" in refused.err) == (3, True)


def test_shards_of_other_numbers_are_no_partners(run, tmp_path):
    rng = np.random.default_rng(5)
    for kind, numbers in (("img_emb", (0, 1, 2)), ("text_emb", (0, 2, 3))):
        (tmp_path / "set" / kind).mkdir(parents=True)
        for number in numbers:
            rows = rng.normal(size=(30, 8)).astype(np.float32)
            np.save(tmp_path / "set" / kind / f"{kind}_{number}.npy", rows)
    said = "img_emb_1.npy: there are no texts of this number"
    for arguments in (
        ("score", "set", "--modality", "image", "--partner", "--out", "s"),
        ("score", "set/img_emb", "--partner", "set/text_emb", "--out", "s"),
        ("analyze", "--images", "set/img_emb", "--texts", "set/text_emb", "--out", "a.json"),
    ):
        refused = run(*arguments)
        assert refused.code == 3 and said in refused.err, arguments
    assert not (tmp_path / "s").exists()


def test_scores_inside_a_set_are_no_metadata_of_it(run, tmp_path):
    made.clip_retrieval(tmp_path / "set")
    assert run("score", "set/img_emb", "--out", "set/scores", "--quiet").code == 0
    before = run("info", "set", "--json").json
    assert before["notes"] == []
    done = run("score", "set", "--modality", "image", "--id-column", "caption", "--out", "s")
    assert done.code == 0, done.err


def test_info_pairs_as_scores_do(run, tmp_path):
    image, text = made.pairs("float32")
    (tmp_path / "set" / "image").mkdir(parents=True)
    (tmp_path / "set" / "text").mkdir()
    ids = [f"{row:04}" for row in range(len(image))]
    for side, rows, names in (("image", image, ids), ("text", text[::-1], ids[::-1])):
        frame = pl.DataFrame({"uid": names, "embedding": rows.tolist()})
        frame.write_parquet(tmp_path / "set" / side / "0.parquet")
    done = run("info", "set")
    assert "looks wrong" not in done.out and "pairs         by uid: cosine 0." in done.out
    # Half of the ids are on one side only.
    frame.with_columns(uid=pl.Series([*ids[:52], *(f"x{one}" for one in ids[52:])])).write_parquet(
        tmp_path / "set" / "text" / "0.parquet"
    )
    found = run("info", "set", "--json").json
    assert found["pairs"] is None and "which no row of" in found["notes"][0]


@pytest.mark.parametrize("shape", [(2**70, 512), (-1, 512), (2**62, 512), ()])
def test_headers_of_no_array(run, tmp_path, shape):
    header = {"descr": "<f4", "fortran_order": False, "shape": shape}
    with (tmp_path / "x.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
    done = run("info", "x.npy")
    assert done.code == 3 and done.err.startswith("clipsoid: x.npy: ")
    halves = np.zeros(3, "u8,u8")
    np.save(tmp_path / "uids.npy", halves)
    contents = (tmp_path / "uids.npy").read_bytes().replace(b"(3,)", b"(-1,)")
    (tmp_path / "uids.npy").write_bytes(contents)
    done = run("info", "uids.npy")
    assert done.code == 3 and "uids.npy: is damaged" in done.err


@pytest.mark.parametrize("suffix", ["npy", "npz", "parquet", "safetensors", "pt"])
def test_a_pipe_is_no_file(run, tmp_path, suffix):
    (tmp_path / "set").mkdir()
    os.mkfifo(tmp_path / "set" / f"x.{suffix}")
    for path in ("set", f"set/x.{suffix}"):
        done = run("fit", path, "--out", "e")
        assert done.code == 3 and f"x.{suffix}: is no regular file" in done.err
        assert run("info", path).code == 3
