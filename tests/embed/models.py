"""Tiny models of open_clip's with seeded random weights, and what a set on disk holds."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from PIL import Image

#: Two layers, 16 features, 32 x 32 pixels, CLIP's own tokens.
TINY = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 8},
    "text_cfg": {
        "context_length": 77,
        "vocab_size": 49408,
        "width": 32,
        "heads": 2,
        "layers": 2,
    },
}


def make_model(folder: Path, name: str, config: dict, seed: int = 0) -> tuple[Path, Path]:
    """Write a configuration and a checkpoint; their paths."""
    file = folder / f"{name}.json"
    file.write_text(json.dumps(config))
    open_clip.add_model_config(file)
    torch.manual_seed(seed)
    model = open_clip.create_model(name)
    with torch.no_grad():
        # A centre off the origin, and lengths that differ, as trained models have them.
        model.logit_scale.fill_(4.0)
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.mul_(3)
    checkpoint = folder / f"{name}.pt"
    torch.save(model.state_dict(), checkpoint)
    return file, checkpoint


@dataclass(frozen=True)
class Model:
    """A model as files, and open_clip's own reading of them in float64."""

    config: Path
    checkpoint: Path
    network: Any
    preprocess: Any
    tokenizer: Any

    def images(self, *images: Image.Image) -> np.ndarray:
        pixels = torch.stack([self.preprocess(image) for image in images]).double()
        with torch.no_grad():
            return self.network.encode_image(pixels, normalize=False).numpy()

    def texts(self, *texts: str) -> np.ndarray:
        with torch.no_grad():
            return self.network.encode_text(self.tokenizer(list(texts)), normalize=False).numpy()


def read_model(config: Path, checkpoint: Path) -> Model:
    name = config.stem
    network, preprocess = open_clip.create_model_from_pretrained(name, str(checkpoint))
    # Only a text tower that is not told otherwise casts to float32.
    network = network.eval().double()
    return Model(config, checkpoint, network, preprocess, open_clip.get_tokenizer(name))


def written(image: Image.Image, kind: str, **options: Any) -> bytes:
    """A picture as the bytes of a file."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def rows_of(folder: Path, name: str) -> np.ndarray:
    """The rows of all shards of a set."""
    return np.concatenate([np.load(path) for path in sorted((folder / name).glob("*.npy"))])


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a folder, hidden ones too."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
