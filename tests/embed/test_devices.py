"""Several devices share the shards; here two processes, each with the CPU as its device."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from clipsoid.embed.stream import GPU_BATCHES, find_batch_size
from clipsoid.errors import EmbedError
from embed.models import contents


def test_two_processes_write_what_one_does(run, folder: Path, tmp_path: Path) -> None:
    one = run(folder, shard_rows=2, out=tmp_path / "one")
    ticks = []
    two = run(folder, shard_rows=2, device=["cpu", "cpu"], progress=lambda n, _: ticks.append(n))
    assert contents(two.folder) == contents(one.folder)
    assert sum(ticks) == two.encoded == one.encoded == 11


def test_an_error_in_a_process_is_the_runs(run, folder: Path) -> None:
    (folder / "03.png").write_bytes(b"no picture")
    with pytest.raises(EmbedError, match=r"row 3: .*03\.png: is no picture that Pillow knows"):
        run(folder, shard_rows=2, device="cpu,cpu", on_error="fail")


@pytest.mark.parametrize(
    ("device", "message"),
    [
        ("gpu", "device is 'gpu'; wanted 'cpu', 'cuda' or 'cuda:0,cuda:1'"),
        ("cuda:99", r"device is 'cuda:99'; this machine has \d+ GPUs for torch"),
        ("cpu,mps", "device is 'mps'"),
    ],
)
def test_devices_that_are_not_there(run, folder: Path, device: str, message: str) -> None:
    with pytest.raises(EmbedError, match=message):
        run(folder, device=device)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU at hand")
def test_a_batch_leaves_half_of_the_memory(model) -> None:
    from clipsoid.embed.model import Encoder, ModelName, load

    network, facts, _ = load(ModelName(model.config.stem, str(model.checkpoint), str(model.config)))
    encoder = Encoder(
        network, facts, "cuda:0", precision="fp16", dtype="float16", normalize=False, compile=False
    )
    assert find_batch_size(encoder, ("image", "text")) in GPU_BATCHES


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU at hand")
def test_a_gpu_gives_the_same_bytes_again(run, folder: Path, tmp_path: Path) -> None:
    first = run(folder, device="cuda", workers=2, batch_size=None, shard_rows=4)
    again = run(folder, device="cuda", workers=1, batch_size=None, shard_rows=4, out=tmp_path / "b")
    assert contents(first.folder) == contents(again.folder)
