"""Parquet files of scores, written by a thread of their own while the next are computed."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from clipsoid._output import sync
from clipsoid.errors import OutputError
from clipsoid.results import Scores

if TYPE_CHECKING:
    import polars as pl

#: Key of the JSON text in a score file's metadata that says how it was made.
METADATA_KEY = "clipsoid"

#: Rows handed to the writer at a time: frames of a few thousand rows cost more than they hold.
FRAME_ROWS = 1 << 17

#: Rows of a row group.
GROUP_ROWS = 1 << 20

#: Scores that every file has; and counts, which float32 does not hold.
SCORES = ("conformity", "cosine_to_mean", "norm")
_COUNTS = frozenset({"group_rows"})


class Writer:
    """The thread that writes score files, one after the other, while the next scores are computed.

    A file that is not finished comes to a regular end all the same when it is closed: polars, when
    it is interrupted, may still be writing when it returns.
    """

    def __init__(self) -> None:
        self._files: queue.SimpleQueue[ScoreFile | None] = queue.SimpleQueue()
        # A daemon: a process that is told twice to end does not wait for it.
        self._thread = threading.Thread(target=self._run, name="clipsoid-scores", daemon=True)
        self._thread.start()

    def begin(self, file: ScoreFile) -> ScoreFile:
        """Take up a file; it is written when those before it are."""
        self._files.put(file)
        return file

    def close(self) -> None:
        """Wait for the files that were begun; each has come to its end."""
        self._files.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (file := self._files.get()) is not None:
            file.run()


class ScoreFile:
    """A parquet file that grows by the scores of some rows at a time.

    At most two parts wait for the writer. An error of the writer is raised by the next `write`, or
    by `finish`.
    """

    def __init__(
        self, path: Path, shard: str, ids: pl.DataFrame | None, made: str, names: Sequence[str]
    ) -> None:
        self.path, self.shard, self.ids, self.made = path, shard, ids, made
        self.scores = (*SCORES, *names)
        self._parts: list[Scores] = []
        self._waiting = 0
        self._handed: queue.Queue[list[Scores] | None] = queue.Queue(maxsize=2)
        self._error: BaseException | None = None
        self._written = threading.Event()

    def write(self, part: Scores) -> int:
        """Append scores; the number of rows is returned."""
        self._raise_error()
        self._parts.append(part)
        self._waiting += len(part.row)
        if self._waiting >= FRAME_ROWS:
            self._flush()
        return len(part.row)

    def end(self) -> None:
        """Hand over what is left; the writer goes on by itself."""
        self._flush()
        self._put(None)

    def finish(self) -> None:
        """Wait until the file is complete and on its disk."""
        self._written.wait()
        self._raise_error()

    def close(self) -> None:
        """Let go of the writer, finished or not. Whoever made the file removes it."""
        self._put(None)
        self._written.wait()

    def _flush(self) -> None:
        if self._waiting:
            self._put(self._parts)
        self._parts, self._waiting = [], 0

    def _put(self, parts: list[Scores] | None) -> None:
        while not self._written.is_set():
            try:
                return self._handed.put(parts, timeout=0.2)
            except queue.Full:
                continue

    def run(self) -> None:
        """Write the file: the work of the writer's thread."""
        try:
            self._write()
            sync(self.path)
        except BaseException as error:  # raised again, as an OutputError, by the caller's thread
            self._error = error
        finally:
            self._written.set()

    def _write(self) -> None:
        from polars.io.plugins import register_io_source

        def frames(*_: Any) -> Iterator[pl.DataFrame]:
            while (parts := self._handed.get()) is not None:
                yield self._frame(parts)

        register_io_source(frames, schema=self._schema()).sink_parquet(
            self.path,
            # Scores are noise to a compressor; shard names and row numbers are not.
            compression="lz4",
            row_group_size=GROUP_ROWS,
            metadata={METADATA_KEY: self.made},
        )

    def _frame(self, parts: list[Scores]) -> pl.DataFrame:
        import polars as pl

        def joined(name: str, dtype: npt.DTypeLike) -> Any:
            arrays = [getattr(part, name) for part in parts]
            return np.concatenate(arrays, dtype=dtype, casting="unsafe")

        row = joined("row", np.uint32)
        columns: dict[str, Any] = {
            "shard": pl.Series([self.shard], dtype=pl.String).new_from_index(0, len(row)),
            "row": row,
        }
        if self.ids is not None:
            columns |= self.ids[row].to_dict()
        for name in self.scores:
            if name in _COUNTS:
                columns[name] = joined(name, np.uint64)
                continue
            with np.errstate(over="ignore"):
                values = joined(name, np.float32)
            columns[name] = pl.Series(values)
            finite = np.isfinite(values)
            if not finite.all():
                # A null, and never a number, where there is no score, or none that float32 holds.
                columns[name] = columns[name].set(pl.Series(~finite), None)
        columns["status"] = pl.Series(joined("status", np.uint8)).cat.to(pl.Enum(Scores.STATUS))
        return pl.DataFrame(columns, schema=self._schema())

    def _schema(self) -> dict[str, Any]:
        import polars as pl

        ids = {} if self.ids is None else dict(self.ids.schema)
        scores = {name: pl.UInt64 if name in _COUNTS else pl.Float32 for name in self.scores}
        places = {"shard": pl.String, "row": pl.UInt32}
        return {**places, **ids, **scores, "status": pl.Enum(Scores.STATUS)}

    def _raise_error(self) -> None:
        if self._error is not None:
            number = getattr(self._error, "errno", None)
            # What polars says of the system's error begins with what it was doing.
            said = str(self._error).strip().strip("'").rpartition("IO error: ")[2]
            reason = getattr(self._error, "strerror", None) or said or repr(self._error)
            raise OutputError(number, f"{self.path.parent}: cannot be written: {reason}") from None
