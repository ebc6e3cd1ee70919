"""Who is told of the work of a run: keeps the manifest, measures, and hears Ctrl-C."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from clipsoid.embed.job import Batch
    from clipsoid.embed.loader import Kind
    from clipsoid.embed.manifest import Manifest
    from clipsoid.embed.shards import Record


class ManifestListener:
    """Keeps the manifest, passes progress on, and turns Ctrl-C into a wish to stop."""

    def __init__(
        self, manifest: Manifest, progress: Callable[[int, float], object] | None, devices: int
    ) -> None:
        self.manifest, self.progress, self.devices = manifest, progress, devices
        self.items: dict[Kind, int] = {}
        # Of devices that work side by side.
        self.seconds: dict[Kind, float] = {}
        self.stop = False
        self._busy = 0.0
        self._before: Any = None

    @property
    def busy(self) -> float:
        """Fraction of the time in which the devices encoded."""
        total = sum(self.seconds.values())
        return self._busy / total if total else 0.0

    def encoded(self, batch: Batch) -> None:
        """Count what was encoded, and tell of it."""
        kind = batch.kind
        self.items[kind] = self.items.get(kind, 0) + batch.items
        self.seconds[kind] = self.seconds.get(kind, 0.0) + batch.seconds / self.devices
        self._busy += batch.busy / self.devices
        if self.progress is not None:
            self.progress(batch.items + batch.broken, self.busy)

    def finished(self, record: Record) -> None:
        """Keep that the files of a shard are complete."""
        self.manifest.add(record)

    def stopping(self) -> bool:
        """Whether Ctrl-C was pressed."""
        return self.stop

    def __enter__(self) -> ManifestListener:
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
