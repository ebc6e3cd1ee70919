"""Raw features of images and captions, by open_clip, into shards.

The only room that imports torch, and only when something is embedded.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from clipsoid._extras import check_embed
from clipsoid.errors import EmbedError, OutputError

if TYPE_CHECKING:
    from clipsoid.embed.inputs import Inputs
    from clipsoid.embed.listener import ManifestListener
    from clipsoid.embed.manifest import Manifest
    from clipsoid.embed.model import ModelFacts
    from clipsoid.store.paths import AnyPath

__all__ = ["Embedded", "embed"]

# Torch reads this when it first allocates: large tensors come on pages of 2 MB. On pages of 4 KB, a
# tenth of the time of a model on a CPU goes into page faults. What the user has set stays.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")

#: Rows of a shard: how much work Ctrl-C waits for, and how much a killed run has to do again.
SHARD_ROWS = 10_000


@dataclass(frozen=True, slots=True)
class Embedded:
    """A finished set of embeddings.

    Attributes
    ----------
    folder : Path
        With ``img_emb/``, ``text_emb/``, ``metadata/`` and ``manifest.json``.
    rows : int
        Rows of all shards.
    dim : int
        Features of a row.
    broken : tuple of dict
        What was left out: ``row`` of the input, ``image_path`` if there is one, ``reason``, and
        where it is the picture's and that is a file of its own, its ``bytes``; None if they
        cannot be read.
    passed_over : dict of str to int
        Files in folders of pictures that are no pictures, by their suffix.
    model : str
        Name of the model and its weights.
    temperature : float
        Of the model's loss: 1 over the exponential of its ``logit_scale``.
    logit_bias : float or None
        Of a sigmoid loss; None for a softmax loss.
    encoded : int
        Images, or captions where there are no images, that this run encoded.
    seconds : float
        That it took, the model's loading and the search for a batch size left out.
    speeds : dict of str to float
        ``"images"`` and ``"captions"`` a second, each of the time that was spent on them.
    device_busy : float
        Fraction of the seconds in which the device encoded.
    """

    folder: Path
    rows: int
    dim: int
    broken: tuple[dict[str, Any], ...]
    passed_over: Mapping[str, int]
    model: str
    temperature: float
    logit_bias: float | None
    encoded: int
    seconds: float
    speeds: dict[str, float]
    device_busy: float

    def __repr__(self) -> str:
        """Where it is, its shape, and what was left out."""
        broken = f", {len(self.broken)} broken" if self.broken else ""
        return f"Embedded({str(self.folder)!r}, {self.rows} x {self.dim}{broken})"

    def to_dict(self) -> dict[str, Any]:
        """Everything, as JSON can hold it."""
        return {**asdict(self), "folder": str(self.folder), "broken": list(self.broken)}


def embed(
    images: AnyPath | None = None,
    captions: str | os.PathLike[str] | None = None,
    *,
    out: str | os.PathLike[str],
    model: str | None = None,
    pretrained: str | os.PathLike[str] | None = None,
    model_config: str | os.PathLike[str] | None = None,
    dtype: Literal["float16", "float32"] | None = None,
    precision: Literal["fp32", "fp16", "bf16"] | None = None,
    batch_size: int | None = None,
    workers: int | None = None,
    device: str | Sequence[str] | None = None,
    shard_rows: int = SHARD_ROWS,
    compile: bool = False,
    normalize: bool = False,
    on_error: Literal["skip", "fail"] = "skip",
    image_column: str | None = None,
    caption_column: str | None = None,
    captions_per_image: int | None = None,
    progress: Callable[[int, float], object] | None = None,
    prepared: Callable[[int], object] | None = None,
) -> Embedded:
    """Embed images and captions with a model of open_clip's; the norms are kept.

    A run that was killed or interrupted is taken up by the same call: finished shards are kept,
    and the files are those of a run that was never stopped. Ctrl-C finishes the shard in hand; a
    second one stops at once. Shards that have lost a file, and those with a picture that was
    broken and has another size now, are made again.

    Parameters
    ----------
    images : path, or list of paths, optional
        Folders of pictures; a ``.csv``, ``.tsv`` or ``.parquet`` table with their paths (and
        captions); webdataset tars (one, a folder or a pattern of them). Relative paths begin at
        the folder of the table. Pictures and tars are not mixed.
    captions : path, optional
        A table or COCO's ``.json`` with captions and the paths of their images, which begin at the
        folder `images`. Without `images`, only captions are embedded; a ``.txt`` has one on each
        line, then. An image with several captions has a row for each, with the same ``image_id``,
        and is encoded once in each shard: rows that are sorted by their image take least.
    out : path
        Folder of the set: new, empty, or begun by the same call.
    model : str, optional
        A name that open_clip knows, ``"hf-hub:..."`` or ``"local-dir:..."``. By default that of
        `model_config` or, without one, ``"ViT-B-32"`` with the weights ``"laion2b_s34b_b79k"``.
    pretrained : str or path, optional
        A tag of that model, or a checkpoint; not for models that bring their own weights.
    model_config : path, optional
        JSON file with the architecture of a model that has the file's name.
    dtype : {"float16", "float32"}, optional
        Of the features on disk. By default float32 after ``"fp32"``, else float16.
    precision : {"fp32", "fp16", "bf16"}, optional
        What products are computed in; by default fp32 on a CPU and fp16 on a GPU.
    batch_size : int, optional
        By default 32 on a CPU; on a GPU the largest power of two, up to 1,024, that leaves half of
        its memory.
    workers : int, optional
        Processes for each device that decode pictures and tokenise captions; 0 to do that with
        threads between batches, the default on a CPU. On GPUs, by default the processors divided
        among them, less one each.
    device : str or list of str, optional
        ``"cpu"``, ``"cuda"`` (all GPUs) or some of them, ``"cuda:0,cuda:1"``. By default all GPUs
        or, where there is none, the CPU.
    shard_rows : int, default=10000
        Rows of the input in each shard.
    compile : bool, default=False
        Whether the model goes through ``torch.compile``.
    normalize : bool, default=False
        Whether rows are scaled to length 1. Norms, shell and tilt are lost then.
    on_error : {"skip", "fail"}, default="skip"
        For pictures and captions that are broken or missing: leave the row out and record it with
        its reason, or stop.
    image_column, caption_column : str, optional
        Of tables, and refused for other inputs; by default the usual names.
    captions_per_image : int, optional
        Most captions that are taken of an image: the first ones.
    progress : callable, optional
        Called with the number of images or captions of each batch that is done, and with the
        fraction of the time until then in which the device encoded.
    prepared : callable, optional
        Called with the number of images and captions to come, when all is checked and the model
        is loaded.

    Returns
    -------
    Embedded

    Raises
    ------
    EmbedError
        If the inputs, the model or an option cannot be used, or nothing is in order.
    MismatchError
        If `out` was begun with other inputs or options, or pictures of its finished shards have
        changed since; the message says which.
    OutputError
        If `out` holds something else, is in use, or cannot be written.
    UnavailableError
        If a package is missing.
    KeyboardInterrupt
        After Ctrl-C; the message says how much is finished.

    Warns
    -----
    EmbedWarning
        If captions of one image are in so many shards that a fifth more images are encoded than
        there are.

    Notes
    -----
    Workers are processes: a script that calls this with workers, or with several devices, must
    guard its own start by ``if __name__ == "__main__":``.

    Bytes are the same for the same rows, model, options, library versions and kind of device.
    """
    check_embed("embed")
    from clipsoid.embed import job, loader, settings
    from clipsoid.embed.inputs import find_inputs
    from clipsoid.embed.listener import ManifestListener
    from clipsoid.embed.manifest import held
    from clipsoid.embed.model import load

    settings.check(
        images=images,
        out=out,
        captions=captions,
        model=model,
        pretrained=pretrained,
        model_config=model_config,
        dtype=dtype,
        precision=precision,
        batch_size=batch_size,
        workers=workers,
        shard_rows=shard_rows,
        compile=compile,
        normalize=normalize,
        on_error=on_error,
        image_column=image_column,
        caption_column=caption_column,
        captions_per_image=captions_per_image,
        progress=progress,
        prepared=prepared,
    )
    folder = Path(out)
    which = settings.model_name(model, pretrained, model_config)
    devices = settings.devices(device)
    precision = precision or ("fp32" if devices[0] == "cpu" else "fp16")
    dtype = dtype or ("float32" if precision == "fp32" else "float16")
    workers = settings.workers(workers, devices)
    if workers:
        # It loads its libraries while the model is loaded here.
        loader.start_server()
    inputs = find_inputs(
        images,
        captions,
        image_column=image_column,
        caption_column=caption_column,
        captions_per_image=captions_per_image,
        workers=workers,
    )
    _check_place(folder, images)
    with held(folder) as journal:
        network, facts, decoder = load(which)
        options, manifest, encoder = settings.prepare(
            journal,
            inputs,
            which,
            network,
            facts,
            devices,
            precision=precision,
            dtype=dtype,
            normalize=normalize,
            compile=compile,
            batch_size=batch_size,
            workers=workers,
            shard_rows=shard_rows,
            on_error=on_error,
        )
        todo = [i for i in range(options.layout.count) if i not in manifest.records]
        items = settings.items_in(inputs, options, todo)
        if prepared is not None:
            prepared(items)
        with ManifestListener(manifest, progress, len(devices)) as listener:
            try:
                if todo and len(devices) > 1:
                    del network, encoder
                    job.run_on_several(inputs.frame, todo, devices, options, listener)
                elif todo:
                    job.run(inputs.frame, todo, encoder, decoder, options, listener)
            except KeyboardInterrupt:
                raise _interrupted(manifest) from None
            finally:
                manifest.end()
        if listener.stop:
            raise _interrupted(manifest)
    return _result(manifest, facts, inputs, listener)


def _interrupted(manifest: Manifest) -> KeyboardInterrupt:
    return KeyboardInterrupt(
        f"{len(manifest.records):,} of {manifest.shards:,} shards are finished; the same command "
        "goes on"
    )


def _result(
    manifest: Manifest, facts: ModelFacts, inputs: Inputs, listener: ManifestListener
) -> Embedded:
    whole = manifest.to_dict()
    if not whole["counts"]["rows"]:
        first = whole["broken"][0]
        raise EmbedError(
            f"none of {len(whole['broken'])} rows is in order; the first, "
            f"{first.get('image_path', 'a caption')}: {first['reason']}"
        )
    return Embedded(
        folder=manifest.folder,
        rows=whole["counts"]["rows"],
        dim=facts.dim,
        broken=tuple(whole["broken"]),
        passed_over=inputs.passed_over,
        model=" ".join(filter(None, map(manifest.made["model"].get, ("name", "pretrained")))),
        temperature=facts.temperature,
        logit_bias=facts.logit_bias,
        encoded=listener.items.get(manifest.made["output"]["embeddings"][0], 0),
        seconds=sum(listener.seconds.values()),
        speeds={
            {"image": "images", "text": "captions"}[kind]: items / listener.seconds[kind]
            for kind, items in listener.items.items()
        },
        device_busy=listener.busy,
    )


def _check_place(folder: Path, images: AnyPath | None) -> None:
    """Refuse an output folder within a folder of pictures: it would be read the next time."""
    entries = [images] if isinstance(images, (str, os.PathLike)) else images or []
    for entry in entries:
        path = Path(entry).expanduser()
        if path.is_dir() and folder.resolve().is_relative_to(path.resolve()):
            raise OutputError(f"{folder}: lies among the images of {entry}; wanted another place")
