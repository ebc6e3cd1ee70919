"""Commands on a bucket: what they write is what they write of the same files on disk."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import clipsoid as cs
from store.remote import Bucket, Server

#: Of buckets: the server is one for all tests.
NUMBERS = itertools.count()


@pytest.fixture
def bucket(s3: Server) -> Bucket:
    made = Bucket(s3, f"embeddings-{next(NUMBERS)}")
    made.create()
    return made


@pytest.fixture
def uploaded(bucket: Bucket, shards: Path) -> str:
    for path in sorted(shards.rglob("*.npy")):
        bucket.put(path.relative_to(shards).as_posix(), path.read_bytes())
    return bucket.url()


def test_fit_score_and_info(run, shards, bucket, uploaded, tmp_path, rows):
    env = bucket.server.environment()
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
    env = bucket.server.environment()
    outcome = run("score", url, "--id-column", "uid", "--out", "scores", "--quiet", **env)
    assert outcome.code == 0, outcome.err
    scores = pl.read_parquet(tmp_path / "scores" / "a.parquet")
    assert scores["uid"].equals(frame["uid"])
    assert np.allclose(scores["norm"], np.linalg.norm(rows, axis=1))


def test_errors_name_the_url(run, bucket):
    env = bucket.server.environment()
    outcome = run("fit", bucket.url("none.npy"), "--out", "e.ellipsoid", **env)
    message = f"clipsoid: {bucket.url()}/none.npy: found no such file (404 Not Found)\n"
    assert (outcome.code, outcome.err) == (3, message)


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
    env = bucket.server.environment()
    assert run("fit", uploaded, "--out", "e.ellipsoid", "--quiet", **env).code == 0
    assert cs.Ellipsoid.load(tmp_path / "e.ellipsoid").encoder == "ViT x (01234567)"


@pytest.mark.parametrize("command", ["fit", "score"])
def test_outputs_are_local(run, shards, command, tmp_path):
    outcome = run(command, shards, "--out", "s3://bucket/scores")
    message = (
        "clipsoid: s3://bucket/scores: outputs are local files; wanted a local path, to be copied "
        "there afterwards\n"
    )
    assert (outcome.code, outcome.err) == (4, message)
    assert not (tmp_path / "s3:").exists()
