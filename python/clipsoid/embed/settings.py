"""From what `embed` is called with to a job: checks, defaults, the manifest."""

from __future__ import annotations

import os
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from clipsoid import __version__
from clipsoid.embed.inputs import FILE, OFFSET, Inputs
from clipsoid.embed.job import Options
from clipsoid.embed.loader import Kind, default_workers
from clipsoid.embed.manifest import Manifest
from clipsoid.embed.model import PRECISIONS, Encoder, ModelFacts, ModelName, Precision
from clipsoid.embed.shards import Layout
from clipsoid.embed.stream import find_batch_size
from clipsoid.errors import EmbedError
from clipsoid.store.origin import read_manifest

DTYPES = ("float16", "float32")

#: Whose versions change bits.
LIBRARIES = ("open_clip_torch", "torch", "torchvision", "pillow")


def check(
    batch_size: int | None,
    workers: int | None,
    shard_rows: int,
    dtype: str | None,
    precision: str | None,
    on_error: str,
) -> None:
    """Refuse options that mean nothing, before anything is read."""
    for name, value, least in (
        ("batch_size", batch_size, 1),
        ("workers", workers, 0),
        ("shard_rows", shard_rows, 1),
    ):
        if value is not None and value < least:
            raise EmbedError(f"{name} is {value}; wanted {least} or more")
    for name, chosen, choices in (
        ("dtype", dtype, DTYPES),
        ("precision", precision, PRECISIONS),
        ("on_error", on_error, ("skip", "fail")),
    ):
        if chosen is not None and chosen not in choices:
            raise EmbedError(f"{name} is {chosen!r}; wanted {', '.join(choices)}")


def devices(device: str | Sequence[str] | None) -> list[str]:
    """Return the devices that are meant, all of one kind."""
    import torch

    count = torch.cuda.device_count()
    if device is None:
        device = "cuda" if count else "cpu"
    names = device.split(",") if isinstance(device, str) else list(device)
    if names == ["cuda"]:
        names = [f"cuda:{i}" for i in range(count)] or ["cuda:0"]
    for name in names:
        kind, _, number = name.partition(":")
        if name != "cpu" and not (kind == "cuda" and number.isdecimal()):
            raise EmbedError(f"device is {name!r}; wanted 'cpu', 'cuda' or 'cuda:0,cuda:1'")
        if kind == "cuda" and int(number) >= count:
            raise EmbedError(f"device is {name!r}; this machine has {count} GPUs for torch")
    if len({name.partition(":")[0] for name in names}) > 1:
        raise EmbedError(f"devices are {', '.join(names)}; wanted all of one kind")
    return names


def workers(workers: int | None, devices: Sequence[str]) -> int:
    """Return the number of worker processes of each device."""
    if workers is not None:
        return workers
    return default_workers(len(devices), on_cpu=devices[0] == "cpu")


def model_name(
    model: str,
    pretrained: str | os.PathLike[str] | None,
    model_config: str | os.PathLike[str] | None,
) -> ModelName:
    """Return which model is meant."""
    return ModelName(
        model,
        None if pretrained is None else os.fspath(pretrained),
        None if model_config is None else os.fspath(Path(model_config).absolute()),
    )


def prepare(
    folder: Path,
    inputs: Inputs,
    which: ModelName,
    network: Any,
    facts: ModelFacts,
    devices: Sequence[str],
    *,
    precision: Precision,
    dtype: str,
    normalize: bool,
    compile: bool,
    batch_size: int | None,
    workers: int,
    shard_rows: int,
    on_error: str,
) -> tuple[Options, Manifest, Encoder]:
    """Put the model on the first device, find the batch size, and begin or take up the set."""
    there: dict[Kind, bool] = {"image": inputs.has_images, "text": inputs.has_captions}
    kinds = tuple(kind for kind, is_there in there.items() if is_there)
    layout = Layout(folder, inputs.count, shard_rows)
    encoder = Encoder(
        network,
        facts,
        devices[0],
        precision=precision,
        dtype=dtype,
        normalize=normalize,
        compile=compile,
    )
    if batch_size is None:
        # A set that was begun goes on with its batches, whatever memory is free now.
        begun = read_manifest(folder)
        batch_size = (
            find_batch_size(encoder, kinds)
            if begun is None
            else begun["made"]["computation"]["batch_size"]
        )
    made = {
        "clipsoid_version": __version__,
        "model": _model(which, facts),
        "preprocessing": facts.preprocessing,
        "computation": {
            "precision": precision,
            "batch_size": batch_size,
            "compile": compile,
            "device": _hardware(devices[0]),
            "libraries": {name: version(name) for name in LIBRARIES},
        },
        "output": {
            "dtype": dtype,
            "normalized": normalize,
            "dim": facts.dim,
            "embeddings": list(kinds),
            "shard_rows": shard_rows,
        },
        "inputs": {
            "kind": inputs.kind,
            "rows": inputs.count,
            "digest": inputs.digest(),
        },
    }
    manifest = Manifest.begin(folder, made, layout.count)
    options = Options(
        model=which,
        layout=layout,
        kinds=kinds,
        precision=precision,
        dtype=dtype,
        normalize=normalize,
        compile=compile,
        batch_size=batch_size,
        workers=workers,
        on_error=on_error,
        made=manifest.made,
    )
    layout.remove_unfinished()
    manifest.write()
    return options, manifest, encoder


def _model(which: ModelName, facts: ModelFacts) -> dict[str, Any]:
    pretrained = which.pretrained
    if pretrained is not None and Path(pretrained).is_file():
        # No path is written: the digest of the weights says which they are.
        pretrained = Path(pretrained).name
    name = which.name
    if name.startswith("local-dir:"):
        name = f"local-dir:{Path(name.removeprefix('local-dir:')).name}"
    return {
        "name": name,
        "pretrained": pretrained,
        "weights": facts.weights,
        "logit_scale": facts.logit_scale,
        "temperature": facts.temperature,
        "logit_bias": facts.logit_bias,
        "loss": facts.loss,
        "context_length": facts.context_length,
    }


def _hardware(device: str) -> str:
    import torch

    return "cpu" if device == "cpu" else torch.cuda.get_device_name(device)


def items_in(inputs: Inputs, options: Options, shards: Sequence[int]) -> int:
    """Count the images (captions, where there are none) of some shards."""
    import polars as pl

    rows = options.layout.shard_rows
    number = pl.int_range(pl.len()) // rows
    frame = inputs.frame.with_columns(number.alias("_shard"))
    frame = frame.filter(pl.col("_shard").is_in(list(shards)))
    if not inputs.has_images:
        return frame.height
    keys = [name for name in (FILE, OFFSET) if name in frame.columns]
    return frame.select("_shard", *keys).n_unique()
