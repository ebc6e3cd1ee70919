"""The work: shards through a device, one process for each GPU, stopped and taken up again."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from clipsoid.embed.files import printable
from clipsoid.embed.loader import CHUNK_BYTES, CHUNK_CAPTIONS, Decoder, Kind, Work, decoded
from clipsoid.embed.looks import Looks
from clipsoid.embed.model import Encoder, ModelName, Precision, load
from clipsoid.embed.shards import Layout, Record, Shard, cut, write
from clipsoid.embed.stream import Stream, enough_memory
from clipsoid.errors import ClipsoidError, EmbedError

if TYPE_CHECKING:
    import polars as pl

    from clipsoid.embed.model import ModelFacts

#: Bytes of a pixel.
PIXEL_BYTES = 3


@dataclass(frozen=True, slots=True)
class Options:
    """What every process of a job is told.

    Attributes
    ----------
    model : ModelName
        Which model.
    layout : Layout
        Where the shards go.
    kinds : tuple of {"image", "text"}
        What is embedded.
    precision, dtype, normalize, compile
        As for `Encoder`.
    batch_size, workers : int
        Rows of a batch; worker processes of each device.
    on_error : {"skip", "fail"}
        What a broken input does.
    made : dict
        How the set is made; goes into the metadata of every parquet file.
    """

    model: ModelName
    layout: Layout
    kinds: tuple[Kind, ...]
    precision: Precision
    dtype: str
    normalize: bool
    compile: bool
    batch_size: int
    workers: int
    on_error: str
    made: Mapping[str, Any]

    def encoder(self, model: Any, facts: ModelFacts, device: str) -> Encoder:
        """Put the model on a device."""
        return Encoder(
            model,
            facts,
            device,
            precision=self.precision,
            dtype=self.dtype,
            normalize=self.normalize,
            compile=self.compile,
        )


@dataclass(frozen=True, slots=True)
class Batch:
    """What became of a batch, and the time that it took.

    Attributes
    ----------
    kind : {"image", "text"}
        Images or captions.
    items, broken : int
        How many were encoded, and how many were broken.
    seconds, busy : float
        Since the batch before it; and of these, in which its device encoded.
    """

    kind: Kind
    items: int
    broken: int
    seconds: float
    busy: float


class Listener(Protocol):
    """Who is told of the work while it goes on."""

    def encoded(self, batch: Batch) -> None:
        """Count what was encoded."""

    def finished(self, record: Record) -> None:
        """Keep that the files of a shard are complete."""

    def stopping(self) -> bool:
        """Tell whether no shard is to be begun any more."""


@dataclass(slots=True)
class _Step:
    """A piece of work, and where it belongs."""

    shard: Shard
    kind: Kind
    first: int
    count: int
    ends_batch: bool
    ends_shard: bool


def run(
    frame: pl.DataFrame,
    numbers: Sequence[int],
    encoder: Encoder,
    decoder: Decoder,
    options: Options,
    listener: Listener,
) -> None:
    """Embed the shards with these numbers on one device.

    Each shard is cut into batches by itself, so its bytes depend on no other shard. Its files are
    written while the next is encoded.
    """
    steps: deque[_Step] = deque()
    # No batch is longer than a shard, whatever was asked for.
    stream = Stream(encoder, min(options.batch_size, options.layout.longest))
    last, busy = time.perf_counter(), 0.0

    with (
        enough_memory(options.batch_size),
        ThreadPoolExecutor(1, "clipsoid-looks") as looker,
        ThreadPoolExecutor(1, "clipsoid-shards") as writer,
    ):
        written: deque[Future[Record]] = deque()

        def planned() -> Iterator[Work]:
            for shard in looked_at(frame, numbers, options.layout, looker):
                if listener.stopping():
                    return
                for step, work in plan(shard, decoder, options):
                    steps.append(step)
                    yield work

        def take(*, wait: bool) -> None:
            nonlocal last, busy
            for (step, order, broken), found in stream.results(wait=wait):
                shard = step.shard
                shard.put(step.kind, order, found)
                now = time.perf_counter()
                spent = now - last, stream.busy - busy
                last, busy = now, stream.busy
                listener.encoded(Batch(step.kind, len(order), broken, *spent))
                if step.ends_shard:
                    while len(written) > 1 or (written and written[0].done()):
                        listener.finished(written.popleft().result())
                    written.append(
                        writer.submit(write, shard, options.layout, options.kinds, options.made)
                    )

        in_order: list[int] = []
        broken = 0
        done = decoded(
            decoder,
            planned(),
            workers=options.workers,
            pinned=encoder.device.type == "cuda",
        )
        for rows, failures in done:
            step = steps.popleft()
            failed = {step.first + i: reason for i, reason in failures}
            for number, reason in failed.items():
                _fail(step, number, reason, options)
            broken += len(failed)
            in_order += [i for i in range(step.first, step.first + step.count) if i not in failed]
            if len(rows):
                stream.add(step.kind, rows)
            if step.ends_batch:
                stream.launch((step, np.array(in_order, np.int64), broken))
                in_order, broken = [], 0
                take(wait=False)
        take(wait=True)
        for future in written:
            listener.finished(future.result())


def looked_at(
    frame: pl.DataFrame, numbers: Iterable[int], layout: Layout, looker: ThreadPoolExecutor
) -> Iterator[Shard]:
    """Cut shards one ahead; the files of each are looked at before any of them is read.

    A change from then on is noticed by the next run.
    """

    def begin(number: int) -> Shard:
        shard = cut(frame, number, layout)
        if shard.image_of is not None:
            shard.files = Looks(shard.places)
        return shard

    coming: deque[Future[Shard]] = deque()
    for number in numbers:
        coming.append(looker.submit(begin, number))
        if len(coming) > 1:
            yield coming.popleft().result()
    for future in coming:
        yield future.result()


def plan(shard: Shard, decoder: Decoder, options: Options) -> Iterator[tuple[_Step, Work]]:
    """Cut a shard into batches and these into pieces of work: its images, then its captions."""
    pixels = decoder.height * decoder.width * PIXEL_BYTES
    for kind in options.kinds:
        items = shard.items(kind)
        size = max(1, CHUNK_BYTES // pixels) if kind == "image" else CHUNK_CAPTIONS
        if not options.workers:
            # Nothing travels.
            size = options.batch_size
        for batch in range(0, len(items), options.batch_size):
            end = min(batch + options.batch_size, len(items))
            for first in range(batch, end, size):
                stop = min(first + size, end)
                last = stop == len(items) and kind == options.kinds[-1]
                step = _Step(shard, kind, first, stop - first, stop == end, last)
                yield step, Work(kind, items[first:stop])


def _fail(step: _Step, number: int, reason: str, options: Options) -> None:
    """Keep why an item is broken; fatal by choice."""
    shard = step.shard
    if options.on_error == "fail":
        what = "caption" if step.kind == "text" else shard.places[number].file
        row = number
        if step.kind == "image" and shard.image_of is not None:
            row = int(np.argmax(shard.image_of == number))
        raise EmbedError(f"row {shard.first + row}: {printable(what or 'image')}: {reason}")
    shard.fail(step.kind, number, reason)


class _Reporter:
    """Tells the parent of the work of a process."""

    def __init__(self, messages: Any, stop: Any) -> None:
        self.messages, self.stop = messages, stop

    def encoded(self, batch: Batch) -> None:
        self.messages.put(("encoded", batch))

    def finished(self, record: Record) -> None:
        self.messages.put(("finished", record))

    def stopping(self) -> bool:
        return bool(self.stop.is_set())


def _device_process(
    frame: pl.DataFrame,
    numbers: list[int],
    device: str,
    options: Options,
    messages: Any,
    stop: Any,
) -> None:
    """Work of one process: Ctrl-C reaches it through the parent."""
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        model, facts, decoder = load(options.model)
        encoder = options.encoder(model, facts, device)
        run(frame, numbers, encoder, decoder, options, _Reporter(messages, stop))
        messages.put(("done", None))
    except ClipsoidError as error:
        messages.put(("error", error))


def run_on_several(
    frame: pl.DataFrame,
    numbers: Sequence[int],
    devices: Sequence[str],
    options: Options,
    listener: Listener,
) -> None:
    """Embed shards on several devices, each with a spawned process and every n-th shard."""
    from multiprocessing import get_context
    from queue import Empty

    context = get_context("spawn")
    messages, stop = context.Queue(), context.Event()
    processes = [
        context.Process(
            target=_device_process,
            args=(frame, list(numbers[i :: len(devices)]), device, options, messages, stop),
        )
        for i, device in enumerate(devices)
    ]
    working = len(processes)
    try:
        for process in processes:
            process.start()
        while working:
            if listener.stopping():
                stop.set()
            try:
                kind, value = messages.get(timeout=0.2)
            except Empty:
                _check_alive(processes, devices)
                continue
            if kind == "encoded":
                listener.encoded(value)
            elif kind == "finished":
                listener.finished(value)
            elif kind == "done":
                working -= 1
            else:
                raise value
        for process in processes:
            process.join()
    finally:
        for process in processes:
            if process.is_alive():
                process.terminate()
                process.join()


def _check_alive(processes: Sequence[Any], devices: Sequence[str]) -> None:
    for process, device in zip(processes, devices, strict=True):
        if process.exitcode not in (None, 0):
            raise EmbedError(
                f"{device}: its process ended with exit code {process.exitcode}; what it said is "
                "above"
            )
