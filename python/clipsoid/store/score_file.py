"""One parquet file of scores, written in a thread of its own while the next are computed."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

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


#: Scores that every file has, and the element types of those that float32 does not hold.
SCORES = ("conformity", "cosine_to_mean", "norm")
_WIDE = {"group_rows": "UInt64"}


class ScoreFile:
    """A parquet file that grows by frames, written by polars in a thread of its own.

    The caller computes the next scores meanwhile; at most two frames wait. An error of the writer
    is raised by the next `write`, or by `finish`.
    """

    def __init__(
        self,
        path: Path,
        shard: str,
        ids: pl.DataFrame | None,
        made: str,
        beside: Sequence[str] = (),
    ) -> None:
        self.path, self.shard, self.ids, self.made = path, shard, ids, made
        self.scores = (*SCORES, *beside)
        self._parts: list[Scores] = []
        self._waiting = 0
        self._frames: queue.Queue[pl.DataFrame | None] = queue.Queue(maxsize=2)
        self._error: BaseException | None = None
        self._finished = False
        self._thread = threading.Thread(target=self._write, name="clipsoid-scores", daemon=True)
        self._thread.start()

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
        self._thread.join()
        self._raise_error()
        if not self._finished:
            raise OutputError(f"{self.path.parent}: cannot be written: the writer ended early")

    def close(self) -> None:
        """Let go of the writer, finished or not. Whoever made the file removes it."""
        # Not finished, it comes to a regular end all the same: polars, when it is interrupted, may
        # still be writing when it returns.
        self._put(None)
        self._thread.join()

    def _flush(self) -> None:
        if self._waiting:
            self._put(self._frame())
        self._parts, self._waiting = [], 0

    def _put(self, frame: pl.DataFrame | None) -> None:
        while self._thread.is_alive():
            try:
                return self._frames.put(frame, timeout=0.2)
            except queue.Full:
                continue

    def _frame(self) -> pl.DataFrame:
        import polars as pl

        def joined(name: str) -> Any:
            arrays = [getattr(part, name) for part in self._parts]
            return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)

        row, status = joined("row"), joined("status")
        columns: dict[str, Any] = {
            "shard": pl.repeat(self.shard, len(row), dtype=pl.String, eager=True),
            "row": row.astype(np.uint32),
        }
        if self.ids is not None:
            columns |= self.ids[row].to_dict()
        for name in self.scores:
            if name in _WIDE:
                columns[name] = pl.Series(joined(name), dtype=getattr(pl, _WIDE[name]))
                continue
            with np.errstate(over="ignore"):
                values = joined(name).astype(np.float32)
            columns[name] = pl.Series(values)
            finite = np.isfinite(values)
            if not finite.all():
                # A null, and never a number, where there is no score, or none that float32 holds.
                columns[name] = columns[name].set(pl.Series(~finite), None)
        columns["status"] = pl.Series(status).cat.to(pl.Enum(Scores.STATUS))
        return pl.DataFrame(columns)

    def _schema(self) -> dict[str, Any]:
        import polars as pl

        ids = {} if self.ids is None else dict(self.ids.schema)
        scores = {
            name: getattr(pl, _WIDE[name]) if name in _WIDE else pl.Float32 for name in self.scores
        }
        places = {"shard": pl.String, "row": pl.UInt32}
        return {**places, **ids, **scores, "status": pl.Enum(Scores.STATUS)}

    def _write(self) -> None:
        from polars.io.plugins import register_io_source

        def frames(*_: Any) -> Iterator[pl.DataFrame]:
            while (frame := self._frames.get()) is not None:
                yield frame

        try:
            register_io_source(frames, schema=self._schema()).sink_parquet(
                self.path,
                # Scores are noise to a compressor; shard names and row numbers are not.
                compression="lz4",
                row_group_size=GROUP_ROWS,
                metadata={METADATA_KEY: self.made},
            )
            sync(self.path)
            self._finished = True
        except BaseException as error:  # raised again, as an OutputError, by the caller's thread
            self._error = error

    def _raise_error(self) -> None:
        if self._error is not None:
            number = getattr(self._error, "errno", None)
            reason = getattr(self._error, "strerror", None) or str(self._error).strip()
            raise OutputError(
                number, f"{self.path.parent}: cannot be written: {reason or self._error!r}"
            ) from None
