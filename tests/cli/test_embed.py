"""`clipsoid embed` as a user runs it."""

from __future__ import annotations

import json
import re
import shlex
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import open_clip
import pytest
from PIL import Image

import clipsoid as cs
from clipsoid.cli import parser
from clipsoid.cli.embed import _report
from clipsoid.cli.output import lines
from clipsoid.embed import Embedded, embed
from clipsoid.embed.listener import ManifestListener
from clipsoid.embed.model import ModelName
from clipsoid.embed.settings import DEFAULT_MODEL
from clipsoid.errors import EmbedError
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
    # Images and captions; all lines fit a terminal.
    assert re.search(r"16 of 16 items, [\d,]+ items/s, device busy \d+%, 0 s left\n", done.err)
    assert re.search(r"\nspeed +[\d,.]+ images/s, [\d,.]+ captions/s\n", done.out)
    assert re.search(r"\ntime +[\d,.]+ s, device busy \d+%\n", done.out)
    assert "model        tiny-cli tiny-cli.pt\n" in done.out
    assert max(map(len, (done.out + done.err).splitlines())) <= 80
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
    said = "was trained with a sigmoid loss; a softmax loss is not what it made small"
    assert [swept.err.count(said), run("sweep", "set", "--quiet").err.count(said)] == [1, 1]
    with pytest.warns(cs.LossWarning, match=said):
        cs.analyze(tmp_path / "set", leave_out=[*cs.analysis.PARTS])


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


def test_an_unfinished_set_is_warned_of(
    run, photos: Path, model: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(self: object, batch: object) -> None:
        encoded(self, batch)
        signal.raise_signal(signal.SIGINT)

    encoded = ManifestListener.encoded
    command = ["embed", photos, "--out", "set", "--shard-rows", 3, "--workers", 0, *model]
    with monkeypatch.context() as here:
        here.setattr(ManifestListener, "encoded", interrupted)
        stopped = run(*command, "--quiet")
    assert stopped.code == 130
    assert stopped.err == (
        "clipsoid: interrupted: 1 of 3 shards are finished; the same command goes on\n"
    )
    fitted = run("fit", "set", "--out", "image.ellipsoid", "--quiet")
    assert fitted.code == 0
    assert fitted.err == (
        "clipsoid: warning: set: its manifest says that it is not finished: rows are missing; "
        "clipsoid embed goes on with it\n"
    )
    assert "is not finished, its manifest says" in run("info", "set").out
    assert run(*command, "--quiet").code == 0
    assert run("fit", "set", "--out", "image.ellipsoid", "--quiet").err == ""


def test_broken_pictures_are_mended_by_the_same_command(
    run, photos: Path, model: list[object]
) -> None:
    command = ["embed", photos, "--out", "set", "--workers", 0, *model]
    assert "to mend    put other files in their place, and run the same" in run(*command).out
    (photos / "broken.jpg").write_bytes((photos / "0.jpg").read_bytes())
    again = run(*command).out
    assert "8 rows" in again
    assert "mend" not in again


def test_the_line_from_pictures_to_a_report(monkeypatch: pytest.MonkeyPatch, photos: Path) -> None:
    line = (
        "clipsoid embed photos/ --captions captions.csv --out set/ && clipsoid analyze set/ "
        "--report report.html"
    )
    root = Path(__file__).parents[2]
    for page in ("README.md", "docs/embed.md"):
        assert line in (root / page).read_text().splitlines(), page
    for command in line.split(" && "):
        assert parser().parse_args(shlex.split(command)[1:]).command == command.split()[1]
    # Without a name, the weights are those that open_clip knows by the default's.
    assert DEFAULT_MODEL in open_clip.list_pretrained()
    wanted = []

    def load(which: ModelName) -> None:
        wanted.append(which)
        raise EmbedError("no weights are at hand")

    monkeypatch.setattr("clipsoid.embed.model.load", load)
    with pytest.raises(EmbedError, match="no weights"):
        embed(photos, out=photos.parent / "set", device="cpu")
    assert wanted == [ModelName("ViT-B-32", "laion2b_s34b_b79k", None)]


def test_broken_rows_fit_a_terminal(tmp_path: Path) -> None:
    long = "a" * 90 + " " + "b" * 500
    broken = (
        {"row": 0, "image_path": "x\x1b[2J\n.jpg", "reason": "is no picture", "bytes": 3},
        {"row": 123456789012, "image_path": long, "reason": "is no picture"},
        {"row": 2, "reason": "the caption is missing"},
        {"row": 3, "image_path": None, "reason": "the path is missing"},
    )
    made = Embedded(
        folder=tmp_path,
        rows=8,
        dim=16,
        broken=broken,
        passed_over={},
        model="tiny",
        temperature=0.01,
        logit_bias=None,
        encoded=8,
        seconds=9.0,
        speeds={},
        device_busy=0.97,
    )
    report = dict(_report(replace(made, folder=Path("set"))))
    text = lines(report)
    assert max(map(len, text.splitlines())) <= 80
    assert report["  row 0"] == r"'x\x1b[2J\n.jpg': is no picture"
    assert report["  row 2"] == "caption: the caption is missing"
    assert report["  row 3"] == "the path is missing"
    cut = report["  row 123456789012"]
    assert cut.startswith("a" * 50)
    assert (len(cut.splitlines()), cut.endswith(" ...")) == (3, True)
    # As far as the column of the others.
    assert {len(line) - len(line.lstrip()) for line in cut.splitlines()[1:]} == {20}


def test_limits_are_named_after_long_runs_only(tmp_path: Path) -> None:
    made = Embedded(
        folder=tmp_path,
        rows=8,
        dim=16,
        broken=(),
        passed_over={".heic": 2, "": 1},
        model="tiny",
        temperature=0.01,
        logit_bias=None,
        encoded=8,
        seconds=9.0,
        speeds={"images": 1234.5, "captions": 9e3},
        device_busy=0.97,
    )
    assert dict(_report(made))["passed over"] == "2 .heic, 1 without suffix: no pictures"
    assert dict(_report(made))["speed"] == "1,234.5 images/s, 9,000.0 captions/s"
    assert dict(_report(made))["time"] == "9.0 s, device busy 97%"
    for busy, speeds, limit in (
        (0.97, {"images": 1.0}, "the device"),
        (0.4, {"images": 1.0, "captions": 1.0}, "decoding"),
        (0.4, {"captions": 1.0}, "tokenising"),
    ):
        long = replace(made, seconds=60.0, device_busy=busy, speeds=speeds)
        assert dict(_report(long))["time"].endswith(f"busy {busy:.0%}: the limit was {limit}")
