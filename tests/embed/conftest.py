"""Tiny models, pictures, and the devices that there are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from sklearn.datasets import load_sample_images

from clipsoid.embed import Embedded, embed
from embed.models import TINY, Model, make_model, read_model


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return read_model(*make_model(tmp_path_factory.mktemp("model"), "tiny-clip", TINY))


@pytest.fixture(
    params=[
        "cpu",
        pytest.param(
            "cuda",
            marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU at hand"),
        ),
    ]
)
def device(request: pytest.FixtureRequest) -> str:
    return request.param


Run = Callable[..., Embedded]


@pytest.fixture
def run(model: Model, tmp_path: Path) -> Run:
    """Embed with the tiny model, by default into ``set`` and without workers."""

    def call(images: Any = None, captions: Any = None, **options: Any) -> Embedded:
        chosen = {
            "out": tmp_path / "set",
            "pretrained": model.checkpoint,
            "model_config": model.config,
            "workers": 0,
            "device": "cpu",
            "batch_size": 4,
            **options,
        }
        return embed(images, captions, **chosen)

    return call


@pytest.fixture(scope="session")
def photos() -> list[Image.Image]:
    """Cuts of two photographs, each of another shape."""
    whole = [Image.fromarray(array) for array in load_sample_images().images]
    return [
        whole[i % 2].crop((20 * i, 10 * i, 20 * i + 100 + 13 * i, 10 * i + 170 - 11 * i))
        for i in range(11)
    ]


@pytest.fixture
def folder(tmp_path: Path, photos: list[Image.Image]) -> Path:
    """The cuts as PNG files, so that what is read is what was cut."""
    found = tmp_path / "photos"
    (found / "more").mkdir(parents=True)
    for i, photo in enumerate(photos):
        photo.save(found / ("more" if i > 7 else ".") / f"{i:02}.png")
    return found
