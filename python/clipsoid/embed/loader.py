"""Decoding and tokenising in worker processes, ahead of the device."""

from __future__ import annotations

import os
import signal
import stat
import warnings
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import forkserver, get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from clipsoid.embed.pictures import PictureError, check_shape, decode

if TYPE_CHECKING:
    import torch

Kind = Literal["image", "text"]

#: Bytes of the pixels that travel together from a worker: few enough to wait little for, enough
#: to cost little each.
CHUNK_BYTES = 4 << 20

#: Captions that travel together.
CHUNK_CAPTIONS = 256

#: Chunks that each worker is ahead.
AHEAD = 4

#: Why a caption is missing, if nothing more is known.
NO_CAPTION = "the caption is missing"


class Place(NamedTuple):
    """Where the bytes of an image are: a file, or `length` bytes at `offset` of a tar.

    A sample of a tar may have no picture.
    """

    file: str | None
    offset: int | None = None
    length: int | None = None
    has_picture: bool = True

    @property
    def is_own_file(self) -> bool:
        """Whether it is a file by itself: if it is broken, another can be put in its place."""
        return bool(self.file) and self.offset is None and self.has_picture


class Missing(NamedTuple):
    """A caption that is not there, and why."""

    reason: str


class Work(NamedTuple):
    """What a worker is asked for: pictures to decode, or captions to tokenise."""

    kind: Kind
    items: list[Any]


#: What a worker returns: pixels or tokens of what was in order, and for the others their number in
#: the work and the reason.
Done = tuple["torch.Tensor", list[tuple[int, str]]]


class Decoder:
    """Turns places into pixels and captions into tokens; what the workers hold.

    Pixels stay 8-bit until they are on the device: a quarter of the bytes to move, and the
    arithmetic that follows is the same there.

    Parameters
    ----------
    resize : callable
        From a picture to one of `height` x `width` pixels: the model's preprocessing up to there.
    height, width : int
        Of the model's input.
    tokenizer : callable
        From a list of captions to their tokens.
    """

    def __init__(self, resize: Any, height: int, width: int, tokenizer: Any) -> None:
        self.resize, self.height, self.width, self.tokenizer = resize, height, width, tokenizer

    def __getitems__(self, work: Work) -> Done:
        """Do a piece of work; the name is what a DataLoader calls for a whole batch."""
        return self.do(work, map)

    def __getitem__(self, index: int) -> None:
        """Not called: there is `__getitems__`."""
        raise NotImplementedError

    def do(self, work: Work, each: Callable[..., Iterable[Any]]) -> Done:
        """Do a piece of work; `each` maps over its pictures."""
        return self.pixels(work.items, each) if work.kind == "image" else self.tokens(work.items)

    def pixels(self, places: list[Place], each: Callable[..., Iterable[Any]] = map) -> Done:
        """Decode pictures: (n, height, width, 3) uint8 of those that are in order."""
        import torch

        rows = np.empty((len(places), self.height, self.width, 3), np.uint8)
        failures = []
        for i, found in enumerate(each(self._picture, places)):
            if isinstance(found, str):
                failures.append((i, found))
            else:
                rows[i - len(failures)] = found
        return torch.from_numpy(rows[: len(places) - len(failures)]), failures

    def _picture(self, place: Place) -> np.ndarray[Any, Any] | str:
        """Decode a picture, or say why it cannot be."""
        try:
            image = decode(read(place))
            check_shape(image, max(self.height, self.width))
        except PictureError as error:
            return str(error)
        return np.asarray(self.resize(image))

    def tokens(self, captions: list[str | Missing]) -> Done:
        """Tokenise captions: (n, context) int64 of those that are there."""
        missing = [(i, it.reason) for i, it in enumerate(captions) if isinstance(it, Missing)]
        return self.tokenizer([it for it in captions if isinstance(it, str)]), missing


def read(place: Place) -> bytes:
    """Read the bytes of an image; a reason why not is a PictureError."""
    if not place.file:
        raise PictureError("the path is missing")
    if not place.has_picture:
        raise PictureError("the sample has no picture")
    try:
        if not stat.S_ISREG(Path(place.file).stat().st_mode):
            # A named pipe would be waited for.
            raise PictureError("is no regular file")
        if place.offset is None:
            return Path(place.file).read_bytes()
        with Path(place.file).open("rb") as file:
            file.seek(place.offset)
            data = file.read(place.length)
    except OSError as error:
        raise PictureError(error.strerror or str(error)) from None
    except PictureError:
        raise
    except ValueError as error:
        # Such as a zero byte.
        raise PictureError(f"the path cannot be opened: {error}") from None
    if len(data) != place.length:
        raise PictureError(f"found {len(data)} bytes of {place.length}")
    return data


def decoded(
    decoder: Decoder, work: Iterable[Work], *, workers: int, pinned: bool
) -> Iterator[Done]:
    """Do all work in order, ahead of the consumer.

    Workers come from a fork server, which has the model's library loaded but neither threads nor a
    device. Without workers, the work is done when it is asked for, by as many threads as there are
    processors. That suits a model on the same processors: it waits for all of its threads all the
    time, and would wait while a worker has the processor of one.
    """
    from torch.utils.data import DataLoader

    if not workers:
        with ThreadPoolExecutor(processors(), "clipsoid-decode") as pool:
            for piece in work:
                with warnings.catch_warnings():
                    _ignore_oddities()
                    done = decoder.do(piece, pool.map)
                yield done
        return
    start_server()
    loader: Any = DataLoader(
        decoder,  # type: ignore[arg-type]
        batch_sampler=work,  # type: ignore[arg-type]
        num_workers=workers,
        collate_fn=_as_it_is,
        pin_memory=pinned,
        multiprocessing_context=get_context("forkserver"),
        prefetch_factor=AHEAD,
        worker_init_fn=_begin,
    )
    yield from loader


def start_server() -> None:
    """Start the fork server, if it does not run yet; it loads its libraries by itself."""
    forkserver.set_forkserver_preload(["clipsoid.embed.loader", "torch", "open_clip"])
    forkserver.ensure_running()


def _as_it_is(done: Any) -> Any:
    return done


def _begin(number: int) -> None:
    """Begin a worker: Ctrl-C is the parent's to handle."""
    import torch

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _ignore_oddities()
    torch.set_num_threads(1)


def _ignore_oddities() -> None:
    """Warn of nothing: what Pillow finds odd in a picture, such as its size, is no news."""
    warnings.simplefilter("ignore")


def processors() -> int:
    """Count the processors that this process may use."""
    return len(os.sched_getaffinity(0))


def default_workers(devices: int, *, on_cpu: bool) -> int:
    """Worker processes of each GPU: all processors but its own. None beside a model on a CPU."""
    return 0 if on_cpu else max(1, processors() // devices - 1)
