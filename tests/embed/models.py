"""Tiny models of open_clip's, with seeded random weights, as files."""

from __future__ import annotations

import json
from pathlib import Path

import open_clip
import torch

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
