"""`clipsoid embed` as a user runs it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from embed.models import TINY, make_model


@pytest.fixture
def model(tmp_path: Path) -> list[object]:
    config, checkpoint = make_model(tmp_path, "tiny-cli", TINY)
    return ["--model-config", config, "--pretrained", checkpoint, "--device", "cpu"]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i in range(7):
        pixels = rng.integers(0, 256, (40, 50, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{i}.jpg")
    (folder / "broken.jpg").write_text("no picture")
    lines = [f"{path.name},what is in {path.name}" for path in sorted(folder.iterdir())]
    (tmp_path / "captions.csv").write_text("\n".join(["image_path,caption", *lines]))
    return folder


def test_from_pictures_to_a_set_that_the_other_commands_read(
    run, photos: Path, model: list[object], tmp_path: Path
) -> None:
    command = [
        "embed",
        photos,
        "--captions",
        "captions.csv",
        "--out",
        "set",
        "--workers",
        0,
        *model,
    ]
    done = run(*command)
    assert done.code == 0, done.err
    assert "7 rows x 16 features" in done.out
    assert "broken       1 row, left out" in done.out
    assert "broken.jpg: is no picture that Pillow knows" in done.out
    assert "8 of 8 images" in done.err
    assert "images/s" in done.err
    again = run(*command, "--json")
    assert (again.json["encoded"], again.json["rows"], again.json["dim"]) == (0, 7, 16)
    assert again.json["temperature"] == pytest.approx(np.exp(-4))
    assert run("info", "set/img_emb").code == 0
    fitted = run("fit", "set/img_emb", "--out", "image.ellipsoid", "--json").json
    assert (fitted["count"], fitted["is_normalized"]) == (7, False)
    # What the manifest says is carried on: the model's name and its temperature.
    assert fitted["encoder"].startswith("tiny-cli tiny-cli.pt (")
    assert fitted["temperature"] == again.json["temperature"]
    swept = run("sweep", "set", "--json").json
    assert swept["temperature"] == again.json["temperature"]
    assert run("sweep", "set", "--temperature", "0.5", "--json").json["temperature"] == 0.5
    scored = run("score", "set/img_emb", "--ellipsoid", "image.ellipsoid", "--out", "scores")
    assert scored.code == 0, scored.err
    other = run("fit", "set/img_emb", "--encoder", "another", "--out", "other.ellipsoid")
    assert other.code == 0, other.err
    refused = run("score", "set/img_emb", "--ellipsoid", "other.ellipsoid", "--out", "scores2")
    assert refused.code == 3
    assert (
        "was fitted on embeddings of 'another', these are of 'tiny-cli tiny-cli.pt" in refused.err
    )


def test_a_sigmoid_model_is_told_apart(run, photos: Path, tmp_path: Path) -> None:
    config = {**TINY, "custom_text": True, "init_logit_bias": -10.0}
    file, checkpoint = make_model(tmp_path, "tiny-sigmoid-cli", config)
    command = ["embed", photos, "--captions", "captions.csv", "--out", "set", "--workers", 0]
    made = run(*command, "--model-config", file, "--pretrained", checkpoint, "--device", "cpu")
    assert made.code == 0, made.err
    assert "logit bias   -10: trained with a sigmoid loss, not a softmax" in made.out
    swept = run("sweep", "set")
    assert "tiny-sigmoid-cli.pt" in swept.err
    assert "was trained with a sigmoid loss; the softmax loss of this command" in swept.err
    assert "warning" not in run("sweep", "set", "--quiet").err


def test_pairs_are_one_set_or_two_paths(run) -> None:
    assert "wanted SET, or --images and --texts" in run("sweep", "--images", "x").err
    both = run("sweep", "set", "--images", "x", "--texts", "y")
    assert (both.code, "SET is in place of" in both.err) == (2, True)


def test_failures_have_their_exit_codes(run, photos: Path, model: list[object]) -> None:
    assert run("embed", "--out", "set").code == 2
    failed = run("embed", photos, "--out", "set", "--on-error", "fail", "--workers", 0, *model)
    assert failed.code == 3
    assert "broken.jpg: is no picture" in failed.err
    other = run("embed", photos, "--out", "set", "--workers", 0, "--shard-rows", 3, *model)
    assert other.code == 3
    assert "was begun with output.shard_rows 10000, this run has 3" in other.err
    inside = run("embed", photos, "--out", photos / "set", "--workers", 0, *model)
    assert inside.code == 4
    assert json.loads((Path(photos).parent / "set" / "manifest.json").read_text())["shards"] == []
