"""Progress: a bar on a terminal, a line now and then on a pipe, nothing when quiet."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

#: Seconds between two lines on a pipe.
INTERVAL = 10.0


class Tick(Protocol):
    """What is called with the number of rows of a batch, and with what else is to be shown."""

    def __call__(self, rows: int, note: str = "", /) -> None:
        """Show that a batch is done."""


@contextmanager
def progress(task: str, rows: int, *, quiet: bool, unit: str = "rows") -> Iterator[Tick | None]:
    """Give a function to be called with the number of rows of each batch that is done."""
    if quiet:
        yield None
    elif sys.stderr.isatty():
        from tqdm import tqdm

        with tqdm(
            total=rows,
            desc=task,
            unit=f" {unit}",
            unit_scale=True,
            file=sys.stderr,
            dynamic_ncols=True,
            leave=False,
        ) as bar:

            def tick(rows: int, note: str = "", /) -> None:
                bar.set_postfix_str(note, refresh=False)
                bar.update(rows)

            yield tick
    else:
        yield _Lines(task, rows, unit)


class _Lines:
    def __init__(self, task: str, rows: int, unit: str) -> None:
        self.task, self.rows, self.unit, self.done = task, rows, unit, 0
        self.start = self.last = time.monotonic()

    def __call__(self, rows: int, note: str = "", /) -> None:
        self.done += rows
        now = time.monotonic()
        if now - self.last >= INTERVAL or self.done == self.rows:
            self.last = now
            speed = self.done / max(now - self.start, 1e-9)
            left = (self.rows - self.done) / speed
            print(
                f"{self.task}: {self.done:,} of {self.rows:,} {self.unit}, "
                f"{speed:,.0f} {self.unit}/s, "
                f"{note and note + ', '}{left:.0f} s left",
                file=sys.stderr,
                flush=True,
            )


@contextmanager
def announced(task: str, *, quiet: bool) -> Iterator[Callable[[str], None]]:
    """Give a function to be called with the name of each step before it begins."""
    start = time.monotonic()
    on_terminal = sys.stderr.isatty()

    def announce(step: str) -> None:
        seconds = time.monotonic() - start
        if on_terminal:
            # Over the line before it, which is wiped.
            print(f"\r\x1b[K{task}: {step}, {seconds:.0f} s", end="", file=sys.stderr, flush=True)
        else:
            print(f"{task}: {step}, {seconds:.0f} s", file=sys.stderr, flush=True)

    try:
        yield (lambda step: None) if quiet else announce
    finally:
        if on_terminal and not quiet:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
