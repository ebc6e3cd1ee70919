"""From what `embed` is called with to a job: checks, defaults, the manifest."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from numbers import Integral
from pathlib import Path
from reprlib import repr as shown
from typing import Any

from clipsoid import __version__
from clipsoid.embed.files import printable
from clipsoid.embed.inputs import FILE, OFFSET, Inputs
from clipsoid.embed.job import Options
from clipsoid.embed.kept import kept
from clipsoid.embed.loader import Kind, default_workers
from clipsoid.embed.manifest import Manifest
from clipsoid.embed.model import PRECISIONS, Encoder, ModelFacts, ModelName, Precision
from clipsoid.embed.shards import Layout, Record
from clipsoid.embed.stream import find_batch_size
from clipsoid.errors import EmbedError, EmbedWarning
from clipsoid.store.journal import Journal

DTYPES = ("float16", "float32")

#: The model where none is named, and the tag of its weights.
DEFAULT_MODEL = ("ViT-B-32", "laion2b_s34b_b79k")

#: Images that may be encoded more often than once before that is said: in a fifth more of shards.
OFTEN = 1.2

#: What is asked of options: of a number the least and the most, the choices that there are, what
#: can be called, or types.
COUNTS = {"batch_size": 1, "workers": 0, "shard_rows": 1, "captions_per_image": 1}
MOST = 2**31 - 1
CHOICES = {"dtype": DTYPES, "precision": PRECISIONS, "on_error": ("skip", "fail")}
CALLED = ("progress", "prepared")
KINDS: dict[str, tuple[tuple[type, ...], str]] = {
    **dict.fromkeys(
        ("out", "captions", "pretrained", "model_config"), ((str, os.PathLike), "a path")
    ),
    "images": ((str, os.PathLike), "a path or a list of paths"),
    **dict.fromkeys(("model", "image_column", "caption_column"), ((str,), "a name")),
    **dict.fromkeys(("compile", "normalize"), ((bool,), "True or False")),
}

#: Those that have no default to be found, so that None is no choice.
NEEDED = frozenset(["out", "shard_rows", "compile", "normalize", "on_error"])

#: Whose versions change bits.
LIBRARIES = ("open_clip_torch", "torch", "torchvision", "pillow")


def check(**given: object) -> None:
    """Refuse options that mean nothing, before anything is read; None is for most the default."""
    for name, value in given.items():
        wanted = _wanted(name, value) if value is not None or name in NEEDED else None
        if wanted is not None:
            raise EmbedError(f"{name} is {shown(value)}; wanted {wanted}")


def _wanted(name: str, value: Any) -> str | None:
    """Return what is wanted of an option, if `value` is something else."""
    if name in COUNTS:
        is_whole = isinstance(value, Integral) and not isinstance(value, bool)
        least = COUNTS[name]
        if not is_whole or value < least:
            return f"a whole number of {least} or more"
        return None if value <= MOST else f"{MOST} at most"
    if name in CHOICES:
        return None if value in CHOICES[name] else ", ".join(CHOICES[name])
    if name in CALLED:
        return None if callable(value) else "a function"
    kinds, what = KINDS[name]
    # A list has an order, which a set has not; an empty one is refused where it is read.
    is_list = isinstance(value, Sequence) and not isinstance(value, (str, bytes))
    values = value if name == "images" and is_list else [value]
    # An empty string would be the folder that the process is in.
    return None if all(isinstance(one, kinds) and one != "" for one in values) else what


def devices(device: str | Sequence[str] | None) -> list[str]:
    """Return the devices that are meant, all of one kind."""
    import torch

    count = torch.cuda.device_count()
    if device is None:
        device = "cuda" if count else "cpu"
    names = device.split(",") if isinstance(device, str) else device
    if (
        not isinstance(names, (list, tuple))
        or not names
        or not all(isinstance(n, str) for n in names)
    ):
        raise EmbedError(f"device is {device!r}; wanted 'cpu', 'cuda' or 'cuda:0,cuda:1'")
    names = list(names)
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
    model: str | None,
    pretrained: str | os.PathLike[str] | None,
    model_config: str | os.PathLike[str] | None,
) -> ModelName:
    """Return which model is meant."""
    if model is None and model_config is not None:
        model = Path(model_config).stem
    if model is None and pretrained is None:
        model, pretrained = DEFAULT_MODEL
    if model is None:
        raise EmbedError(f"pretrained is {os.fspath(pretrained or '')!r}; wanted a model beside it")
    return ModelName(
        model,
        None if pretrained is None else os.fspath(pretrained),
        None if model_config is None else os.fspath(Path(model_config).absolute()),
    )


def prepare(
    journal: Journal,
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
    layout = Layout(journal.path.parent, inputs.count, shard_rows)
    encoder = Encoder(
        network,
        facts,
        devices[0],
        precision=precision,
        dtype=dtype,
        normalize=normalize,
        compile=compile,
    )
    begun = Manifest.read(journal)
    if batch_size is None:
        # A set that was begun goes on with its batches, whatever memory is free now.
        batch_size = (
            find_batch_size(encoder, kinds)
            if begun is None
            else begun.made["computation"]["batch_size"]
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
    if begun is None:
        manifest = Manifest(journal, made, layout.count, {})
    else:
        begun.check(made)
        records = kept(inputs.frame, begun.records.values(), layout)
        if on_error == "fail":
            _refuse_broken(records)
        manifest = Manifest(journal, begun.made, layout.count, records)
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


def _refuse_broken(records: Mapping[int, Record]) -> None:
    """Stop at the first row that an earlier run left out of the shards that are kept."""
    broken = (row for _, record in sorted(records.items()) for row in record.broken)
    for row in broken:
        what = printable(row.get("image_path", "caption") or "image")
        raise EmbedError(f"row {row['row']}: {what}: {row['reason']}")


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
    """Count the images and captions that are to be encoded for some shards.

    Warns
    -----
    EmbedWarning
        If captions of one image are in so many shards that images are encoded much more than once.
    """
    import polars as pl

    rows = options.layout.shard_rows
    keys = [name for name in (FILE, OFFSET) if name in inputs.frame.columns]
    number = pl.int_range(pl.len()) // rows
    places = inputs.frame.select(number.alias("_shard"), *keys)
    part = places.filter(pl.col("_shard").is_in(list(shards)))
    captions = part.height * inputs.has_captions
    if not inputs.has_images:
        return captions
    each = places.unique()
    distinct = each.select(keys).n_unique()
    if each.height > OFTEN * distinct:
        warnings.warn(
            f"{distinct:,} images are encoded {each.height:,} times: captions of one image are in "
            "several shards, and it is encoded in each; rows that are sorted by image take less",
            EmbedWarning,
            stacklevel=3,
        )
    return captions + part.n_unique()
