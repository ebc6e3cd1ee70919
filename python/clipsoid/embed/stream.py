"""Batches on their way through a device: one is filled while another is encoded."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from clipsoid.embed.loader import Kind
from clipsoid.errors import EmbedError

if TYPE_CHECKING:
    import torch

    from clipsoid.embed.model import Encoder

#: Batches on a CPU: larger ones are no faster.
CPU_BATCH = 32

#: Batches that are tried on a GPU; the largest that leaves half of the free memory is taken.
GPU_BATCHES = (1024, 512, 256, 128, 64, 32, 16, 8, 4, 2, 1)


@dataclass(slots=True)
class _Slot:
    """Room for one batch on the device, and the events that guard it."""

    rows: dict[Kind, torch.Tensor]
    filled: Any
    free: Any


@dataclass(slots=True)
class _Launched:
    """A batch whose features are on their way to the host."""

    key: Any
    host: torch.Tensor
    begun: Any
    ended: Any


@contextmanager
def enough_memory(batch_size: int) -> Iterator[None]:
    """Raise an EmbedError in place of what torch and numpy say of memory that ran out."""
    import torch

    try:
        yield
    except (RuntimeError, MemoryError) as error:
        # On a CPU, torch says it by words alone.
        if isinstance(error, RuntimeError) and not (
            isinstance(error, torch.OutOfMemoryError) or "DefaultCPUAllocator" in str(error)
        ):
            raise
        raise EmbedError(
            f"memory is too small for a batch of {batch_size} rows; wanted a smaller --batch-size"
        ) from None


class Stream:
    """Encodes batches; on a GPU, copies and kernels of neighbouring batches run at one time.

    A batch is filled by `add`, sent off by `launch`, and comes back from `results`, in order.

    Parameters
    ----------
    encoder : Encoder
        The model on its device.
    batch_size : int
        Most rows of a batch.

    Attributes
    ----------
    busy : float
        Seconds in which the device encoded.
    """

    def __init__(self, encoder: Encoder, batch_size: int) -> None:
        import torch

        self.encoder, self.batch_size = encoder, batch_size
        self.busy = 0.0
        self._cuda = encoder.device.type == "cuda"
        self._copies = torch.cuda.Stream(encoder.device) if self._cuda else None  # type: ignore[no-untyped-call]
        event = torch.cuda.Event if self._cuda else lambda: None
        self._slots = [_Slot({}, event(), event()) for _ in range(2)]
        self._launched: deque[_Launched] = deque()
        self._kind: Kind | None = None
        self._rows = 0
        self._batches = 0

    def add(self, kind: Kind, rows: torch.Tensor) -> None:
        """Append rows, pixels or tokens, to the batch that is being filled."""
        import torch

        slot = self._slots[self._batches % 2]
        if kind not in slot.rows:
            slot.rows[kind] = self.encoder.input_of(kind, self.batch_size)
            if self._cuda:
                # The zeros are written in the stream of the kernels.
                torch.cuda.current_stream().synchronize()
        self._kind = kind
        with torch.cuda.stream(self._copies) if self._cuda else nullcontext():
            if self._copies is not None and not self._rows:
                self._copies.wait_event(slot.free)
            slot.rows[kind][self._rows : self._rows + len(rows)].copy_(rows, non_blocking=True)
        self._rows += len(rows)

    def launch(self, key: Any) -> None:
        """Encode the batch that was filled; `results` gives its features by this key."""
        import torch

        slot, kind, count = self._slots[self._batches % 2], self._kind, self._rows
        self._kind, self._rows = None, 0
        if kind is None or not count:
            # Nothing of the batch was in order.
            empty = torch.empty((0, self.encoder.dim), dtype=self.encoder.dtype)
            self._launched.append(_Launched(key, empty, None, None))
            return
        self._batches += 1
        # A compiled model knows one size; what fills it up is of no effect on the other rows.
        rows = slot.rows[kind] if self.encoder.compiled else slot.rows[kind][:count]
        if not self._cuda:
            start = time.perf_counter()
            found = self.encoder.features(kind, rows)[:count]
            self.busy += time.perf_counter() - start
            self._launched.append(_Launched(key, found, None, None))
            return
        assert self._copies is not None
        slot.filled.record(self._copies)
        torch.cuda.current_stream().wait_event(slot.filled)
        begun, ended = (
            torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
            for _ in range(2)
        )
        begun.record()
        found = self.encoder.features(kind, rows)[:count]
        slot.free.record()
        host = torch.empty(found.shape, dtype=found.dtype, pin_memory=True)
        host.copy_(found, non_blocking=True)
        ended.record()
        self._launched.append(_Launched(key, host, begun, ended))

    def results(self, *, wait: bool = False) -> Iterator[tuple[Any, np.ndarray[Any, Any]]]:
        """Yield keys and features of batches that came back: all, or all but the last launched."""
        while len(self._launched) > (0 if wait else self._cuda):
            launched = self._launched.popleft()
            if launched.ended is not None:
                launched.ended.synchronize()
                self.busy += launched.begun.elapsed_time(launched.ended) / 1000
            yield launched.key, launched.host.numpy()


def find_batch_size(encoder: Encoder, kinds: tuple[Kind, ...]) -> int:
    """Find the largest power of two, up to 1,024, that leaves half of the free memory.

    The same on the same device, so that a job that is taken up again has the same batches.
    """
    import torch

    if encoder.device.type != "cuda":
        return CPU_BATCH
    torch.cuda.empty_cache()
    limit = torch.cuda.mem_get_info()[0] // 2
    for size in GPU_BATCHES:
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        try:
            for kind in kinds:
                encoder.features(kind, encoder.input_of(kind, size))
        except torch.OutOfMemoryError:
            continue
        finally:
            torch.cuda.empty_cache()
        # What is left is for a second batch, which waits on the device, and for others.
        if torch.cuda.max_memory_allocated() - before <= limit:
            return size
    raise EmbedError(f"{encoder.device}: has too little memory for one row; wanted another device")
