"""The temperature of a loss comes from the manifest beside the files, where there is one."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import clipsoid as cs

ROWS = [np.random.default_rng(i).standard_normal((60, 8)).astype("float32") for i in (0, 1)]
SIGMOID = r"^ViT x \(01234567\) was trained with a sigmoid loss; "

#: Each way to a loss, as a temperature that it was taken at.
WAYS: dict[str, Callable[..., float]] = {
    "contrastive_loss": lambda *pair, **known: cs.contrastive_loss(*pair, **known).temperature,
    "loss_sweep": lambda *pair, **known: cs.loss_sweep(*pair, **known).options.temperature,
    "loss_sweep_part": lambda *pair, **known: (
        cs.loss_sweep_part(*pair, 0, 2, **known).options.temperature
    ),
    "analyze": lambda *pair, **known: (
        cs.analyze(*pair, leave_out=list(cs.analysis.PARTS), **known).options.temperature
    ),
}
every_way = pytest.mark.parametrize("loss", WAYS.values(), ids=list(WAYS))


def made(folder: Path, **model: Any) -> tuple[Path, Path]:
    """Images and texts under a folder, with the manifest of a model."""
    known = {"name": "ViT", "pretrained": "x", "weights": "0123456789", "logit_bias": None}
    written = {"format": "clipsoid.embed", "format_version": 1, "made": {"model": known | model}}
    sides = folder / "img_emb", folder / "text_emb"
    for side, rows in zip(sides, ROWS, strict=True):
        side.mkdir(parents=True)
        np.save(side / f"{side.name}_0.npy", rows)
    (folder / "manifest.json").write_text(json.dumps(written))
    return sides


@every_way
def test_it_is_the_model_s(loss: Callable[..., float], tmp_path: Path) -> None:
    image, text = made(tmp_path / "set", temperature=0.02)
    assert loss(image, text) == 0.02
    # Of one side it is known, of an array it is not.
    assert loss(image, ROWS[1]) == 0.02
    assert loss(*ROWS) == 0.01
    assert loss(image, text, temperature=0.5) == 0.5


def test_the_loss_is_taken_at_it(tmp_path: Path) -> None:
    pair = made(tmp_path / "set", temperature=0.07)
    want = cs.contrastive_loss(*ROWS, temperature=0.07).loss
    assert cs.contrastive_loss(*pair).loss == want != cs.contrastive_loss(*ROWS).loss
    assert cs.loss_sweep(*pair, alphas=[0.0]).table["loss"].item() == pytest.approx(want, rel=1e-12)


@every_way
def test_a_sigmoid_loss_is_no_softmax(loss: Callable[..., float], tmp_path: Path) -> None:
    pair = made(tmp_path / "set", temperature=0.02, logit_bias=-10.0)
    with pytest.warns(cs.LossWarning, match=SIGMOID) as caught:
        assert loss(*pair) == 0.02
    assert len(caught) == 1
    with pytest.warns(cs.LossWarning, match=SIGMOID):
        assert loss(*pair, temperature=0.5) == 0.5


@every_way
def test_two_models_have_no_loss(loss: Callable[..., float], tmp_path: Path) -> None:
    image, _ = made(tmp_path / "one", temperature=0.02)
    _, text = made(tmp_path / "other", temperature=0.02, name="RN")
    said = r"^images and texts are of 'ViT x \(01234567\)' and of 'RN x \(01234567\)'; wanted one "
    with pytest.raises(cs.MismatchError, match=said):
        loss(image, text)
