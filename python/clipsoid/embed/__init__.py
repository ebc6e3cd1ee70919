"""Raw features of images and captions, by open_clip, into shards.

The only room that imports torch, and only when something is embedded.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from clipsoid._extras import check_embed
from clipsoid.errors import EmbedError, OutputError

if TYPE_CHECKING:
    from clipsoid.embed.inputs import Inputs
    from clipsoid.embed.job import Spent
    from clipsoid.embed.manifest import Manifest
    from clipsoid.embed.model import ModelFacts
    from clipsoid.embed.shards import Record
    from clipsoid.store.paths import AnyPath

__all__ = ["Embedded", "embed"]

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
        What was left out: ``row`` of the input, ``image_path`` if there is one, ``reason``.
    passed_over : dict of str to int
        Files in folders of pictures that are no pictures, by their suffix.
    temperature : float
        Of the model's loss: 1 over the exponential of its ``logit_scale``.
    logit_bias : float or None
        Of a sigmoid loss; None for a softmax loss.
    encoded : int
        Images, or captions where there are no images, that this run encoded.
    seconds : float
        That it took, the model's loading and the search for a batch size left out.
    device_busy : float
        Fraction of that time in which the device encoded.
    """

    folder: Path
    rows: int
    dim: int
    broken: tuple[dict[str, Any], ...]
    passed_over: Mapping[str, int]
    temperature: float
    logit_bias: float | None
    encoded: int
    seconds: float
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
    progress: Callable[[int], object] | None = None,
    prepared: Callable[[int, str], object] | None = None,
) -> Embedded:
    """Embed images and captions with a model of open_clip's; the norms are kept.

    A run that was killed or interrupted is taken up by the same call: finished shards are kept,
    and the files are those of a run that was never stopped. Ctrl-C finishes the shard in hand; a
    second one stops at once.

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
        and is encoded once.
    out : path
        Folder of the set: new, empty, or begun by the same call.
    model : str
        A name that open_clip knows, ``"hf-hub:..."`` or ``"local-dir:..."``.
    pretrained : str or path
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
        Called with the number of images (without images, of captions) of each batch that is done.
    prepared : callable, optional
        Called with the number of images (captions) to come and ``"images"`` (``"captions"``),
        when all is checked and the model is loaded.

    Returns
    -------
    Embedded

    Raises
    ------
    EmbedError
        If the inputs, the model or an option cannot be used, or nothing is in order.
    MismatchError
        If `out` was begun with other inputs or options; the message says which.
    OutputError
        If `out` holds something else, is in use, or cannot be written.
    UnavailableError
        If a package is missing.
    KeyboardInterrupt
        After Ctrl-C.

    Notes
    -----
    Workers are processes: a script that calls this with workers, or with several devices, must
    guard its own start by ``if __name__ == "__main__":``.

    Bytes are the same for the same rows, model, options, library versions and kind of device.
    """
    check_embed("embed")
    from clipsoid.embed import job, loader, settings
    from clipsoid.embed.inputs import find_inputs
    from clipsoid.embed.model import load

    if model is None:
        if model_config is None:
            raise EmbedError("model is not given; wanted a name such as 'ViT-B-32'")
        model = Path(model_config).stem
    folder = Path(out)
    settings.check(batch_size, workers, shard_rows, dtype, precision, on_error)
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
    which = settings.model_name(model, pretrained, model_config)
    with _locked(folder):
        network, facts, decoder = load(which)
        options, manifest, encoder = settings.prepare(
            folder,
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
        if prepared is not None:
            what = "images" if inputs.has_images else "captions"
            prepared(settings.items_in(inputs, options, todo), what)
        with _Listener(manifest, progress) as listener:
            if not todo:
                spent = job.Spent(0.0, 0.0, 0.0)
            elif len(devices) > 1:
                del network, encoder
                spent = job.run_on_several(inputs.frame, todo, devices, options, listener)
            else:
                spent = job.run(inputs.frame, todo, encoder, decoder, options, listener)
        if listener.stop:
            raise KeyboardInterrupt
    return _result(manifest, facts, inputs, listener, spent)


def _result(
    manifest: Manifest, facts: ModelFacts, inputs: Inputs, listener: _Listener, spent: Spent
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
        temperature=facts.temperature,
        logit_bias=facts.logit_bias,
        encoded=listener.items,
        seconds=spent.total,
        device_busy=spent.busy / spent.total if spent.total else 0.0,
    )


class _Listener:
    """Keeps the manifest, passes progress on, and turns Ctrl-C into a wish to stop."""

    def __init__(self, manifest: Manifest, progress: Callable[[int], object] | None) -> None:
        self.manifest, self.progress = manifest, progress
        self.items = 0
        self.stop = False
        self._before: Any = None

    def encoded(self, items: int, broken: int) -> None:
        self.items += items
        if self.progress is not None:
            self.progress(items + broken)

    def finished(self, record: Record) -> None:
        self.manifest.add(record)

    def stopping(self) -> bool:
        return self.stop

    def __enter__(self) -> _Listener:
        # Only the main thread may handle signals; in another, Ctrl-C is the program's own affair.
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, self._interrupted)
        return self

    def __exit__(self, *error: object) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)

    def _interrupted(self, *_: object) -> None:
        if self.stop:
            raise KeyboardInterrupt
        self.stop = True


def _check_place(folder: Path, images: AnyPath | None) -> None:
    """Refuse an output folder within a folder of pictures: it would be read the next time."""
    entries = [images] if isinstance(images, (str, os.PathLike)) else images or []
    for entry in entries:
        path = Path(entry).expanduser()
        if path.is_dir() and folder.resolve().is_relative_to(path.resolve()):
            raise OutputError(f"{folder}: lies among the images of {entry}; wanted another place")


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold a folder: two runs never write into one."""
    from clipsoid._output import as_output_errors, lock_or_refuse, new_folders

    with new_folders(folder):
        with as_output_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
            handle = os.open(folder, os.O_RDONLY)
        try:
            lock_or_refuse(handle, folder)
            yield
        finally:
            os.close(handle)
