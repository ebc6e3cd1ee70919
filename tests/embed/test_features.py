"""Features are those of open_clip's own model, by any number of workers, in any shards."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import open_clip
import polars as pl
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

import clipsoid as cs
from clipsoid.embed import embed
from embed.models import TINY, contents, make_model, read_model, rows_of

#: Roundings one after another in two layers and their ends, and the longest sum among them.
ROUNDINGS, TERMS = 30, 192

#: Unit roundoff of what products are made of; sums are float32.
UNIT = {"fp32": 2.0**-24, "fp16": 2.0**-11, "bf16": 2.0**-8}


def bound(precision: str) -> float:
    """Of an error, relative to the length of a row: roundings of products, and float32 sums."""
    return ROUNDINGS * (UNIT[precision] + TERMS * 2.0**-24)


def check(found: np.ndarray, want: np.ndarray, precision: str = "fp32") -> None:
    assert found.shape == want.shape
    error = np.linalg.norm(found - want, axis=1) / np.linalg.norm(want, axis=1)
    assert error.max() < bound(precision)
    # Norms are kept, and no row could be taken for another.
    assert np.ptp(np.linalg.norm(want, axis=1)) > 0.05
    assert np.abs(want[1:] - want[:-1]).max(axis=1).min() > 10 * bound("fp32")


CAPTIONS = [
    f"a photo of {thing}" for thing in ["a temple", " a flower", " the sky", " a roof", " red"]
]


@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
def test_features_are_those_of_the_model(
    model, run, folder: Path, photos, device: str, precision: str, tmp_path: Path
) -> None:
    table = tmp_path / "captions.csv"
    lines = [f"{'more/' if i > 7 else ''}{i:02}.png,{CAPTIONS[i % 5]} {i}" for i in range(11)]
    table.write_text("\n".join(["file_name,title", *lines]))
    made = run(folder, table, device=device, precision=precision, dtype="float32", shard_rows=6)
    assert (made.rows, made.dim, made.broken) == (11, 16, ())
    check(rows_of(made.folder, "img_emb"), model.images(*photos), precision)
    texts = model.texts(*(f"{CAPTIONS[i % 5]} {i}" for i in range(11)))
    check(rows_of(made.folder, "text_emb"), texts, precision)


def test_pixels_are_open_clips_to_the_bit(model, photos) -> None:
    from clipsoid.embed.model import Encoder, ModelName, load

    which = ModelName(model.config.stem, str(model.checkpoint), str(model.config))
    network, facts, decoder = load(which)
    seen = []
    network.encode_image = lambda pixels, normalize: seen.append(pixels) or torch.zeros(1, 16)
    encoder = Encoder(
        network, facts, "cpu", precision="fp32", dtype="float32", normalize=False, compile=False
    )
    for photo in photos:
        pixels = torch.from_numpy(np.asarray(decoder.resize(photo))[None].copy())
        encoder.features("image", pixels)
        assert torch.equal(seen.pop()[0], model.preprocess(photo))


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_dtype_on_disk_and_norms_by_wish(run, folder: Path, dtype: str, tmp_path: Path) -> None:
    raw = run(folder, dtype=dtype)
    unit = run(folder, dtype=dtype, normalize=True, out=tmp_path / "unit")
    found, scaled = rows_of(raw.folder, "img_emb"), rows_of(unit.folder, "img_emb")
    assert found.dtype == scaled.dtype == dtype
    want = found / np.linalg.norm(found.astype(np.float64), axis=1, keepdims=True)
    assert np.abs(scaled - want).max() < 4 * np.finfo(dtype).eps
    assert not json.loads((raw.folder / "manifest.json").read_text())["made"]["output"][
        "normalized"
    ]
    assert cs.Ellipsoid.fit(unit.folder / "img_emb").is_normalized
    assert not cs.Ellipsoid.fit(raw.folder / "img_emb").is_normalized


def test_images_alone_and_captions_alone(model, run, folder: Path, photos, tmp_path: Path) -> None:
    images = run(folder)
    assert sorted(path.name for path in images.folder.iterdir()) == [
        "img_emb",
        "manifest.json",
        "metadata",
    ]
    check(rows_of(images.folder, "img_emb"), model.images(*photos))
    lines = tmp_path / "captions.txt"
    lines.write_text("\n".join(CAPTIONS) + "\n")
    texts = run(None, lines, out=tmp_path / "texts")
    check(rows_of(texts.folder, "text_emb"), model.texts(*CAPTIONS))
    assert not (texts.folder / "img_emb").exists()
    table = pl.read_parquet(texts.folder / "metadata" / "*.parquet")
    assert table["caption"].to_list() == CAPTIONS


def test_order_and_ids_survive_workers_shards_and_several_captions(
    model, run, folder: Path, photos, tmp_path: Path
) -> None:
    images = [{"id": 100 - i, "file_name": f"{i:02}.png"} for i in range(8)]
    # Captions in another order than their images; image 3 has none, image 5 has four.
    order = [5, 0, 7, 5, 1, 2, 5, 4, 6, 0, 5]
    notes = [
        {"id": 1000 + j, "image_id": 100 - i, "caption": f"{CAPTIONS[j % 5]} {j}"}
        for j, i in enumerate(order)
    ]
    coco = tmp_path / "captions.json"
    coco.write_text(json.dumps({"images": images, "annotations": notes}))
    made = run(folder, coco, workers=2, shard_rows=4, batch_size=3)
    assert made.rows == 11
    table = pl.read_parquet(made.folder / "metadata" / "*.parquet")
    want = sorted(enumerate(order), key=lambda pair: pair[1])
    assert table["image_id"].to_list() == [100 - i for _, i in want]
    assert table["caption_id"].to_list() == [1000 + j for j, _ in want]
    assert table["image_path"].to_list() == [f"{i:02}.png" for _, i in want]
    assert table["source_row"].to_list() == list(range(11))
    found = rows_of(made.folder, "img_emb")
    each = model.images(*photos[:8])
    assert (
        np.abs(found - each[[i for _, i in want]]).max() < bound("fp32") * np.abs(each).max() * 16
    )
    texts = model.texts(*(f"{CAPTIONS[j % 5]} {j}" for j, _ in want))
    check(rows_of(made.folder, "text_emb"), texts)
    # Encoded once for each shard that it is in: 0 1 2 | 4 5 | 5 6 7.
    assert made.encoded == 4 + 2 + 3 - 1
    threads = run(folder, coco, workers=0, shard_rows=4, batch_size=3, out=tmp_path / "threads")
    assert contents(threads.folder) == contents(made.folder)
    one = run(folder, coco, captions_per_image=1, out=tmp_path / "one")
    assert one.rows == 7


def test_sizes_of_batches_and_shards_do_not_move_rows(run, folder: Path, tmp_path: Path) -> None:
    want = rows_of(run(folder).folder, "img_emb")
    for i, (batch, rows) in enumerate([(1, 1), (3, 5), (11, 11), (64, 100)]):
        made = run(folder, batch_size=batch, shard_rows=rows, out=tmp_path / str(i))
        found = rows_of(made.folder, "img_emb")
        assert len(list((made.folder / "img_emb").iterdir())) == -(-11 // rows)
        check(found, want.astype(np.float64))


def test_a_sigmoid_model_and_its_bias(run, folder: Path, tmp_path: Path) -> None:
    config = {**TINY, "custom_text": True, "init_logit_bias": -10.0}
    other = read_model(*make_model(tmp_path, "tiny-sigmoid", config, seed=1))
    made = run(folder, model_config=other.config, pretrained=other.checkpoint)
    assert (made.temperature, made.logit_bias) == (pytest.approx(np.exp(-4.0)), -10.0)
    known = json.loads((made.folder / "manifest.json").read_text())["made"]["model"]
    assert known["loss"] == "sigmoid"
    assert known["logit_scale"] == pytest.approx(np.exp(4.0))


def test_a_local_folder_with_its_own_preprocessing(folder: Path, photos, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    preprocess = {"mean": [0.5] * 3, "std": [0.25] * 3, "resize_mode": "squash"}
    text = json.dumps({"model_cfg": TINY, "preprocess_cfg": preprocess})
    (home / "open_clip_config.json").write_text(text)
    _, checkpoint = make_model(tmp_path, "tiny-home", TINY, seed=2)
    save_file(torch.load(checkpoint), home / "open_clip_model.safetensors")
    name = f"local-dir:{home}"
    made = embed(folder, out=tmp_path / "set", model=name, workers=0, device="cpu")
    network, transform = open_clip.create_model_from_pretrained(name)
    pixels = torch.stack([transform(photo) for photo in photos]).double()
    with torch.no_grad():
        want = network.eval().double().encode_image(pixels).numpy()
    check(rows_of(made.folder, "img_emb"), want)
    known = json.loads((made.folder / "manifest.json").read_text())
    assert known["made"]["preprocessing"]["resize_mode"] == "squash"
    # The same weights from another file have the same digest; no path is kept.
    assert str(tmp_path) not in json.dumps(known)


def test_the_photographs_as_they_are_shipped(model, run, tmp_path: Path) -> None:
    from sklearn.datasets import load_sample_images

    place = Path(load_sample_images().filenames[0]).parent
    made = run(place)
    names = pl.read_parquet(made.folder / "metadata" / "*.parquet")["image_path"].to_list()
    assert names == ["china.jpg", "flower.jpg"]
    want = model.images(*(Image.open(place / name) for name in names))
    check(rows_of(made.folder, "img_emb"), want)


def test_a_compiled_model_gives_the_same(model, run, folder: Path, photos, device: str) -> None:
    if device == "cpu":
        pytest.skip("compiling takes a minute and a C++ compiler; it is for GPUs")
    made = run(folder, device=device, compile=True, precision="fp32")
    check(rows_of(made.folder, "img_emb"), model.images(*photos))
