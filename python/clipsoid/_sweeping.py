"""The work behind the contrastive loss: arguments checked, rows measured, tiles asked for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from clipsoid import _native
from clipsoid._checks import checked_number, checked_numbers
from clipsoid._gather import Gathered, gathered_pair, modalities
from clipsoid._part import BLOCK, share
from clipsoid._source import Progress, check_threads, opened
from clipsoid.errors import InvalidRowError
from clipsoid.store.origin import common_origin, softmax_temperature
from clipsoid.sweep import LossSweepPart, SweepOptions

Shift = Literal["image", "text", "both"]
Partition = Literal["fixed", "each"]

#: Smaller temperatures take logits out of the range of float64.
LEAST_TEMPERATURE = 0.003

#: Alphas of the paper's Figure 6.
DEFAULT_ALPHAS = tuple(round(-1 + step / 20, 2) for step in range(41))

#: Alphas that differ by no more are one: far below the step of any grid, far above its rounding.
SAME_ALPHA = 1e-9

#: Multiply-adds of one call into the core: about a second of work between reports of progress.
CALL_COST = 4e10

#: Blocks of rows of one call at least, so that all threads have work.
CALL_BLOCKS = 16


def check_shift(shift: str) -> None:
    """Raise unless `shift` names what moves."""
    if shift not in ("image", "text", "both"):
        raise ValueError(f"shift={shift!r}; wanted 'image', 'text' or 'both'")


def checked_alphas(alphas: Iterable[float] | None) -> tuple[float, ...]:
    """Finite numbers, one or more; those of Figure 6 where there are none."""
    if alphas is None:
        return DEFAULT_ALPHAS
    # What is no array may be an iterator; text and bytes would be one of characters.
    is_listed = isinstance(alphas, Iterable) and not isinstance(alphas, (str, bytes, bytearray))
    listed = list(alphas) if is_listed and not hasattr(alphas, "__array__") else alphas
    grid = checked_numbers("alphas", listed, "numbers, such as [-0.5, 0, 0.5]")
    if grid.ndim != 1:
        raise ValueError(f"alphas={alphas!r}; wanted numbers, such as [-0.5, 0, 0.5]")
    if not len(grid):
        raise ValueError("alphas is empty; wanted one number or more")
    return tuple(grid.tolist())


@dataclass(frozen=True)
class Job:
    """What is to be computed, checked."""

    image: Any
    text: Any
    alphas: tuple[float, ...]
    shift: Shift
    temperature: float
    partition: Partition


def job(
    image: Any,
    text: Any,
    alphas: Iterable[float] | None,
    shift: Shift,
    temperature: float | None,
    partition: Partition,
) -> Job:
    """Open and check what is asked for; the temperature is the model's, if no other is given."""
    check_shift(shift)
    if partition not in ("fixed", "each"):
        raise ValueError(f"partition={partition!r}; wanted 'fixed' or 'each'")
    if temperature is not None:
        wanted = f"a finite number, {LEAST_TEMPERATURE} or more"
        temperature = checked_number(
            "temperature", temperature, wanted, lambda t: t >= LEAST_TEMPERATURE
        )
    grid = checked_alphas(alphas)
    image, text = opened(image), opened(text)
    known = softmax_temperature(common_origin(image, text, "images and texts"))
    return Job(image, text, grid, shift, known if temperature is None else temperature, partition)


def compute(
    job: Job,
    *,
    part: tuple[int, int] | None = None,
    n_threads: int | None = None,
    progress: Progress | None = None,
) -> LossSweepPart:
    """Do the work of a job, or of one part of several that will be merged."""
    check_threads(n_threads)
    image, text = gathered_pair(*modalities(job.image, job.text))
    images, texts = _measured(image, n_threads), _measured(text, n_threads)
    alphas = job.alphas
    if job.partition == "fixed" and 0.0 not in alphas:
        alphas = (*alphas, 0.0)
    # The right rows are those that move.
    names = ("image", "text") if job.shift == "text" else ("text", "image")
    left, right = (texts, images) if names[0] == "text" else (images, texts)
    try:
        sweep = _native.LossSweep(
            left, right, alphas, job.shift == "both", job.temperature, n_threads
        )
    except InvalidRowError as error:
        mover = text if names[error.side == "right"] == "text" else image
        where, row = mover.place(error.row)
        where.refuse_again(row, error)
    options = SweepOptions.of(
        image,
        text,
        is_part=part is not None,
        alphas=job.alphas,
        computed=tuple(alphas),
        shift=job.shift,
        temperature=job.temperature,
        partition=job.partition,
        image_norms=images.norms,
        text_norms=texts.norms,
    )
    mine = share(options.blocks, part)
    count, dim = image.rows.shape
    cost = BLOCK * count * (sweep.passes * dim + 4 * len(alphas))
    step = max(CALL_BLOCKS, int(CALL_COST / cost))
    for at in mine[::step]:
        end = min(at + step, mine.stop)
        sweep.run(at, end, n_threads)
        if progress is not None:
            progress(min(end * BLOCK, count) - at * BLOCK)
    return LossSweepPart.of(options, names[0], sweep.take(), mine)


def _measured(modality: Gathered, n_threads: int | None) -> _native.Modality:
    try:
        return _native.Modality(modality.rows, modality.dtype, n_threads)
    except InvalidRowError as error:
        modality.refuse_native(error.row, error.status)
