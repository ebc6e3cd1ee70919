"""Commands on a bucket: what they write is what they write of the same files on disk."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import clipsoid as cs
from store import layouts
from store.remote import Bucket, Server

#: Of buckets: the server is one for all tests.
NUMBERS = itertools.count()


@pytest.fixture(params=["s3", "gs"])
def bucket(s3: Server, request: pytest.FixtureRequest) -> Bucket:
    made = Bucket(s3, f"embeddings-{next(NUMBERS)}", request.param)
    made.create()
    return made


@pytest.fixture
def uploaded(bucket: Bucket, shards: Path) -> str:
    for path in sorted(shards.rglob("*.npy")):
        bucket.put(path.relative_to(shards).as_posix(), path.read_bytes())
    return bucket.url()


def test_fit_score_and_info(run, shards, bucket, uploaded, tmp_path, rows):
    env = bucket.environment()
    outcome = run("info", uploaded, **env)
    size = sum(path.stat().st_size for path in shards.rglob("*.npy"))
    assert outcome.code == 0 and "300 rows x 24 features" in outcome.out
    assert "clip-retrieval, image" in outcome.out and "img_emb_2.npy" in outcome.out
    assert run("info", uploaded, "--json", **env).json["bytes"] == size
    assert run("fit", uploaded, "--out", "remote.ellipsoid", "--quiet", **env).code == 0
    fitted = cs.Ellipsoid.load(tmp_path / "remote.ellipsoid")
    assert np.array_equal(fitted.covariance, cs.Ellipsoid.fit(rows).covariance)
    # Rows of files that were fitted are members.
    scored = ("--ellipsoid", "remote.ellipsoid", "--out", "remote", "--json", "--quiet")
    outcome = run("score", uploaded, *scored, **env)
    assert outcome.code == 0 and outcome.json["member"] is True
    assert run("score", shards, "--out", "local", "--quiet").code == 0
    for i in range(3):
        found, wanted = (
            pl.read_parquet(tmp_path / f / f"img_emb_{i}.parquet") for f in ("remote", "local")
        )
        assert found.equals(wanted)


def test_ids_of_remote_parquet(run, bucket, rows, tmp_path):
    frame = pl.DataFrame({"uid": [f"u{i}" for i in range(300)], "emb": rows})
    frame.write_parquet(tmp_path / "a.parquet", row_group_size=70)
    url = bucket.put_file(tmp_path / "a.parquet")
    env = bucket.environment()
    outcome = run("score", url, "--id-column", "uid", "--out", "scores", "--quiet", **env)
    assert outcome.code == 0, outcome.err
    scores = pl.read_parquet(tmp_path / "scores" / "a.parquet")
    assert scores["uid"].equals(frame["uid"])
    assert np.allclose(scores["norm"], np.linalg.norm(rows, axis=1))


def test_errors_name_the_url(run, bucket):
    env = bucket.environment()
    outcome = run("fit", bucket.url("none.npy"), "--out", "e.ellipsoid", **env)
    message = f"clipsoid: {bucket.url()}/none.npy: found no such file (404 Not Found)\n"
    assert (outcome.code, outcome.err) == (3, message)


@pytest.mark.parametrize(
    ("url", "place"), [("s3://", "bucket"), ("gs://", "bucket"), ("hf://", "dataset")]
)
def test_urls_that_name_nothing(run, url, place):
    for text in (url, f"{url}/", f"{url}/x.npy", f"{url}/{{0..3}}.npy"):
        done = run("info", text)
        assert (done.code, done.err) == (3, f"clipsoid: {text}: names no {place}\n")


def test_a_server_that_is_not_there_is_named_once(run, monkeypatch):
    monkeypatch.setattr("clipsoid.store.remote.services.RETRIES", 1)
    done = run("info", "http://127.0.0.1:1/x.npy")
    assert done.code == 3 and done.err.count("cannot be read") == 1
    assert done.err.startswith("clipsoid: http://127.0.0.1:1/x.npy: cannot be read: ")
    assert "manifest" not in done.err


def test_a_hub_that_cannot_be_reached(run, monkeypatch):
    # Its library waits for half a minute between tries.
    monkeypatch.setattr("time.sleep", lambda _: None)
    done = run("info", "hf://datasets/owner/set", HF_ENDPOINT="http://127.0.0.1:1")
    assert done.code == 3 and done.err.count("\n") == 1
    assert done.err.startswith("clipsoid: hf://datasets/owner/set: cannot be listed: ")
    done = run("info", "hf://datasets/owner/no such name")
    assert done.code == 3 and "cannot be listed: Repo id must use" in done.err


def test_a_server_that_answers_everything_with_a_page(run, bucket, uploaded, tmp_path):
    bucket.put("manifest.json", b"<html>clipsoid is a fine name</html>")
    env = bucket.environment()
    assert run("fit", uploaded, "--out", "e.ellipsoid", "--quiet", **env).code == 0


def test_a_manifest_beside_the_shards(run, bucket, uploaded, tmp_path):
    model = {
        "name": "ViT",
        "pretrained": "x",
        "weights": "0123456789",
        "temperature": 0.01,
        "logit_bias": None,
    }
    made = {"format": "clipsoid.embed", "format_version": 1, "made": {"model": model}}
    bucket.put("manifest.json", json.dumps(made).encode())
    env = bucket.environment()
    assert run("fit", uploaded, "--out", "e.ellipsoid", "--quiet", **env).code == 0
    assert cs.Ellipsoid.load(tmp_path / "e.ellipsoid").encoder == "ViT x (01234567)"


def test_a_set_of_both_modalities(run, bucket, tmp_path):
    layouts.datacomp(tmp_path / "set")
    url = bucket.put_folder(tmp_path / "set")
    env = bucket.environment()
    outcome = run("info", url, **env)
    assert (outcome.code, outcome.err) == (0, "")
    assert "DataComp, image and text" in outcome.out and "uid, text, clip_l14" in outcome.out
    assert "looks wrong" not in outcome.out
    assert max(map(len, outcome.out.splitlines())) <= 80
    chosen = ("--modality", "image", "--partner", "--id-column", "uid", "--quiet")
    for place, out in ((url, "remote"), (tmp_path / "set", "local")):
        outcome = run("score", place, *chosen, "--out", out, **env)
        assert (outcome.code, outcome.err) == (0, "")
    remote, local = (pl.read_parquet(tmp_path / out / "*.parquet") for out in ("remote", "local"))
    assert remote.equals(local)
    image, text = (rows.astype(float) for rows in layouts.pairs())
    # Of normalised rows, but in float16.
    cosines = pl.DataFrame({"uid": layouts.UIDS, "cosine": (image * text).sum(axis=1)})
    both = remote.join(cosines, on="uid", validate="1:1")
    assert len(both) == layouts.ROWS
    assert np.allclose(both["cosine_to_partner"], both["cosine"], rtol=0, atol=1e-3)


def test_a_set_fitted_on_disk_and_scored_in_a_bucket(run, bucket, uploaded, shards, tmp_path):
    env = bucket.environment()
    assert run("fit", shards, "--out", "local.ellipsoid", "--no-covariance", "--quiet").code == 0
    score = ("score", uploaded, "--ellipsoid", "local.ellipsoid", "--out", "scores", "--json")
    outcome = run(*score, **env)
    tags = {"s3": "ETags of S3", "gs": "ETags with URLs"}[bucket.scheme]
    assert (outcome.code, outcome.err) == (
        3,
        "clipsoid: local.ellipsoid: 0 of 3 shards are among those it was fitted on, but "
        f"fingerprints by {tags} cannot be compared with its own, by sampled pages, so it is "
        "unclear whether the rows are members of it; say --members (each row is left out of its "
        "own mean) or --outsiders\n",
    )
    assert not (tmp_path / "scores").exists()
    assert run(*score, "--members", **env).json["member"] is True


def test_a_job_is_not_gone_on_with_where_an_object_has_changed(
    run, bucket, uploaded, shards, tmp_path
):
    env = bucket.environment()
    score = ("score", uploaded, "--out", "scores", "--quiet")
    assert run(*score, **env).code == 0
    path = shards / "img_emb" / "img_emb_1.npy"
    # The same content, later: its ETag is the same.
    bucket.put("img_emb/img_emb_1.npy", path.read_bytes())
    assert run(*score, **env).code == 0
    before = (tmp_path / "scores" / "img_emb_1.parquet").read_bytes()
    np.save(path, -np.load(path))
    bucket.put("img_emb/img_emb_1.npy", path.read_bytes())
    outcome = run(*score, **env)
    assert outcome.code == 3
    assert re.fullmatch(
        r'clipsoid: img_emb_1\.npy: has changed since .*: etag was "[0-9a-f]{32}", is '
        r'"[0-9a-f]{32}"; wanted the same files, another --out, or this one removed\n',
        outcome.err,
    )
    assert (tmp_path / "scores" / "img_emb_1.parquet").read_bytes() == before


@pytest.mark.parametrize("command", ["fit", "score"])
def test_outputs_are_local(run, shards, command, tmp_path):
    outcome = run(command, shards, "--out", "s3://bucket/scores")
    message = (
        "clipsoid: s3://bucket/scores: outputs are local files; wanted a local path, to be copied "
        "there afterwards\n"
    )
    assert (outcome.code, outcome.err) == (4, message)
    assert not (tmp_path / "s3:").exists()
