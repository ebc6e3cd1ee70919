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


def test_failures_have_their_exit_codes(run, photos: Path, model: list[object]) -> None:
    assert run("embed", "--out", "set").code == 2
    failed = run("embed", photos, "--out", "set", "--on-error", "fail", "--workers", 0, *model)
    assert failed.code == 3
    assert "broken.jpg: is no picture" in failed.err
    other = run("embed", photos, "--out", "set", "--workers", 0, *model)
    assert other.code == 3
    assert "was begun with on_error 'fail', this run has 'skip'" in other.err
    inside = run("embed", photos, "--out", photos / "set", "--workers", 0, *model)
    assert inside.code == 4
    assert json.loads((Path(photos).parent / "set" / "manifest.json").read_text())["shards"] == []
