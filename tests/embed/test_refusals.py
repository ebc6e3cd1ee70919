"""Models, options and features that cannot be used are refused with what was wanted."""

from __future__ import annotations

import builtins
import json
from pathlib import Path

import open_clip
import pytest
import torch

import clipsoid
from clipsoid.embed import embed
from clipsoid.embed.model import ModelName, _check_known
from clipsoid.errors import ClipsoidError, EmbedError, UnavailableError
from embed.models import TINY, make_model
from unit.samples import run_python


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "batch_size is 0; wanted a whole number of 1 or more"),
        ({"batch_size": "8"}, "batch_size is '8'; wanted a whole number of 1 or more"),
        ({"batch_size": 2.5}, "batch_size is 2.5; wanted a whole number of 1 or more"),
        ({"workers": -1}, "workers is -1; wanted a whole number of 0 or more"),
        ({"workers": True}, "workers is True; wanted a whole number of 0 or more"),
        ({"shard_rows": 0}, "shard_rows is 0; wanted a whole number of 1 or more"),
        ({"shard_rows": 10**20}, "shard_rows is 100000000000000000000; wanted 2147483647 at most"),
        ({"images": 5}, "images is 5; wanted a path or a list of paths"),
        ({"images": [5]}, r"images is \[5\]; wanted a path or a list of paths"),
        ({"images": b"photos"}, "images is b'photos'; wanted a path or a list of paths"),
        ({"images": {"photos"}}, r"images is \{'photos'\}; wanted a path or a list of paths"),
        ({"images": ""}, "images is ''; wanted a path or a list of paths"),
        ({"images": ["photos", ""]}, r"images is \['photos', ''\]; wanted a path or a list of pa"),
        ({"captions": ""}, "captions is ''; wanted a path"),
        ({"out": ""}, "out is ''; wanted a path"),
        ({"pretrained": ""}, "pretrained is ''; wanted a path"),
        ({"model": ""}, "model is ''; wanted a name"),
        ({"caption_column": ""}, "caption_column is ''; wanted a name"),
        ({"progress": 3}, "progress is 3; wanted a function"),
        ({"prepared": "x"}, "prepared is 'x'; wanted a function"),
        ({"captions_per_image": 1.5}, "captions_per_image is 1.5; wanted a whole number of 1"),
        ({"captions": ["a.csv"]}, r"captions is \['a.csv'\]; wanted a path"),
        ({"out": None}, "out is None; wanted a path"),
        ({"image_column": 3}, "image_column is 3; wanted a name"),
        ({"normalize": "no"}, "normalize is 'no'; wanted True or False"),
        ({"compile": 1}, "compile is 1; wanted True or False"),
        ({"device": []}, r"device is \[\]; wanted 'cpu', 'cuda' or 'cuda:0,cuda:1'"),
        ({"device": 0}, "device is 0; wanted 'cpu', 'cuda' or 'cuda:0,cuda:1'"),
        ({"dtype": "float64"}, "dtype is 'float64'; wanted float16, float32"),
        ({"precision": "half"}, "precision is 'half'; wanted fp32, fp16, bf16"),
        ({"on_error": "null"}, "on_error is 'null'; wanted skip, fail"),
        ({"model_config": None}, r"pretrained is '.*tiny-clip\.pt'; wanted a model beside it"),
        (
            {"model_config": None, "model": "qqq"},
            r"qqq: open_clip knows no such model; it knows \S+, \S+, \S+, \.\.\.$",
        ),
        (
            {"model_config": None, "model": "ViT-B-33"},
            "ViT-B-33: open_clip knows no such model; near it are ViT-B-32",
        ),
        ({"pretrained": "laion"}, "^laion: found no such checkpoint"),
        ({"pretrained": None}, "tiny-clip: wanted --pretrained, the path of a checkpoint$"),
        (
            {"model_config": None, "model": "ViT-B-32", "pretrained": "laion"},
            "the path of a checkpoint, or one of the tags openai, laion400m_e31",
        ),
        (
            {"model_config": None, "model": "local-dir:/nowhere", "pretrained": None},
            "local-dir:/nowhere: cannot be loaded: ",
        ),
        (
            {"model_config": None, "model": "hf-hub:a/b", "pretrained": "openai"},
            "hf-hub:a/b: brings its own weights; wanted no pretrained, found 'openai'",
        ),
        ({"model": "other"}, "tiny-clip.json: defines model 'tiny-clip'; wanted other.json"),
    ],
)
def test_options(run, folder: Path, tmp_path: Path, options: dict, message: str) -> None:
    with pytest.raises(EmbedError, match=message):
        run(**{"images": folder, **options})
    assert not (tmp_path / "set").exists()


def test_checkpoints_and_configurations(run, folder: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.pt"
    bad.write_bytes(b"no checkpoint")
    with pytest.raises(EmbedError, match=r"tiny-clip with .*bad\.pt: cannot be loaded"):
        run(folder, pretrained=bad)
    _, other = make_model(tmp_path, "tiny-wide", {**TINY, "embed_dim": 24})
    with pytest.raises(EmbedError, match=r"(?s)cannot be loaded: .*size mismatch"):
        run(folder, pretrained=other)
    config = tmp_path / "config.json"
    for text, message in (
        ("{", r"config\.json: cannot be read"),
        ("{}", r"config\.json: is no model's configuration; wanted embed_dim, vision_cfg, text"),
    ):
        config.write_text(text)
        with pytest.raises(EmbedError, match=message):
            run(folder, model_config=config)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "EOFError"),
        (b"105", "UnpicklingError: Weights only load failed"),
        (b"\xff\xd8\xff\xe0\0\x10JFIF", "UnpicklingError: Weights only load failed"),
    ],
)
def test_files_that_are_no_checkpoints(
    run, folder: Path, tmp_path: Path, content: bytes, said: str
) -> None:
    bad = tmp_path / "bad.pt"
    bad.write_bytes(content)
    with pytest.raises(EmbedError) as raised:
        run(folder, pretrained=bad)
    assert str(raised.value) == (
        f"tiny-clip with {bad}: cannot be loaded: {said}; wanted a checkpoint of this architecture"
    )


@pytest.mark.parametrize(
    ("part", "change", "message"),
    [
        (
            "vision_cfg",
            {"patch_size": 0},
            r"cannot be loaded: ZeroDivisionError: .*; wanted a chec",
        ),
        ("text_cfg", {"heads": 3}, "cannot be loaded: AssertionError: embed_dim must be divisible"),
        ("text_cfg", None, r"odd\.json: text_cfg is 5; wanted an object"),
        ("vision_cfg", None, r"odd\.json: vision_cfg is 5; wanted an object"),
    ],
)
def test_architectures_that_cannot_be_built(
    run, folder: Path, tmp_path: Path, part: str, change: dict | None, message: str
) -> None:
    config = tmp_path / "odd.json"
    changed = 5 if change is None else {**TINY[part], **change}
    config.write_text(json.dumps({**TINY, part: changed}))
    with pytest.raises(EmbedError, match=message):
        run(folder, model_config=config)


def test_weights_that_do_not_fit_are_named_in_a_few_lines(
    run, model, folder: Path, tmp_path: Path
) -> None:
    state = torch.load(model.checkpoint)
    other = tmp_path / "other.pt"
    torch.save({name: tensor[..., None] for name, tensor in state.items()}, other)
    with pytest.raises(EmbedError) as raised:
        run(folder, pretrained=other)
    first, *lines = str(raised.value).splitlines()
    assert first.endswith(
        "cannot be loaded: RuntimeError: Error(s) in loading state_dict for CLIP:"
    )
    assert 1 < len(lines) <= 4
    assert "size mismatch for" in lines[0]
    assert lines[-1].endswith(" more; wanted a checkpoint of this architecture")
    assert max(map(len, lines)) < 400


def test_weights_that_cannot_be_downloaded_are_told_of_once(
    run, folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def download(*_: object, **__: object) -> None:
        raise OSError("there is no network. Please check your connection")

    monkeypatch.setattr("open_clip.factory.download_pretrained", download)
    chosen = {"model_config": None, "model": "ViT-B-32", "pretrained": "openai"}
    message = (
        r"cannot be loaded: \w+: .*there is no network; wanted a network to download it; without "
        "one, give --pretrained a checkpoint of this machine$"
    )
    with pytest.raises(EmbedError, match=message):
        run(folder, **chosen)
    assert "network" not in caplog.text


def test_features_that_are_not_finite(run, model, folder: Path, tmp_path: Path) -> None:
    state = torch.load(model.checkpoint)
    state["visual.proj"] = state["visual.proj"] * 1e5
    huge = tmp_path / "huge.pt"
    torch.save(state, huge)
    with pytest.raises(EmbedError, match="row 0: features of the image are not finite as float16"):
        run(folder, pretrained=huge, dtype="float16")
    assert not list((tmp_path / "set").rglob("*.npy"))
    known = json.loads((tmp_path / "set" / "manifest.json").read_text())
    assert (known["complete"], known["shards"]) == (False, [])


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(__import__("sys").modules, "open_clip", None)
    with pytest.raises(UnavailableError, match=r'open_clip_torch.*pip install "clipsoid\[embed\]"'):
        embed(tmp_path, out=tmp_path / "set", model="ViT-B-32")


def test_embed_is_there_without_torch() -> None:
    script = """
import sys
import clipsoid, clipsoid.embed, clipsoid.cli
clipsoid.cli.parser()
print(sorted({"torch", "open_clip", "PIL", "torchvision"} & set(sys.modules)))
"""
    assert run_python(script).stdout == "[]\n"
    assert issubclass(clipsoid.EmbedError, ClipsoidError)
    assert issubclass(clipsoid.EmbedError, builtins.ValueError)


@pytest.mark.parametrize(
    ("name", "tag"),
    [("ViT-B-32", "LAION2B-s34B-b79k"), ("ViT-B/32", "laion2b_s34b_b79k"), ("RN50", "OpenAI")],
)
def test_tags_are_spelt_as_open_clip_takes_them(name: str, tag: str) -> None:
    assert open_clip.get_pretrained_cfg(name.replace("/", "-"), tag)
    _check_known(ModelName(name, tag, None))
