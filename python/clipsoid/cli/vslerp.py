"""``clipsoid vslerp``: vectors between two rows about moved centres, and the nearest rows."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clipsoid.cli import options as shared
from clipsoid.cli import sets

if TYPE_CHECKING:
    from clipsoid._source import Source
    from clipsoid.ellipsoid import Ellipsoid
    from clipsoid.interpolate import VslerpGrid
    from clipsoid.store import Store

FORMAT = "clipsoid.vslerp"
VERSION = 1

SUFFIXES = (".npy", ".parquet")

#: Vectors of a grid, at most: 410 MB of them at 512 features.
MAX_CELLS = 100_000

#: Columns of a terminal.
WIDTH = 80


def add_parser(commands: Any) -> None:
    """Add the command."""
    parser = shared.command(
        commands, "vslerp", run, "vectors between two rows of a set, and the rows nearest to them"
    )
    shared.add_set(parser)
    parser.add_argument(
        "rows",
        metavar="ROW",
        nargs=2,
        type=shared.natural,
        help="the numbers of two rows, from 0, in the order of the set",
    )
    lists = "START:STOP:COUNT, or numbers with commas between them"
    parser.add_argument(
        "--theta",
        type=shared.numbers,
        default="0:1:6",
        metavar="LIST",
        help=f"places between the two rows, 0 to 1: {lists} (0:1:6)",
    )
    parser.add_argument(
        "--alpha",
        type=shared.numbers,
        default="-2:2:5",
        metavar="LIST",
        help="centres, as multiples of the mean: likewise (-2:2:5)",
    )
    parser.add_argument(
        "--ellipsoid",
        metavar="FILE",
        help="whose mean it is; without it, the mean of the rows of PATH",
    )
    parser.add_argument(
        "--others", action="store_true", help="leave the two rows themselves out of the search"
    )
    parser.add_argument("--extrapolate", action="store_true", help="let theta lie outside 0 to 1")
    parser.add_argument(
        "--out",
        type=_target,
        action="append",
        default=[],
        metavar="FILE",
        help="where the vectors (.npy), or the table with them (.parquet), go; may be repeated",
    )
    shared.add_common(parser)
    shared.take_negative_lists(parser)


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    from clipsoid.cli.output import check_targets, show, write_together
    from clipsoid.cli.progress import progress
    from clipsoid.interpolate import vslerp_grid

    _check_grid(options)
    check_targets(options, _is_ours, "vslerp")
    store = sets.open_rows(options)
    for number in options.rows:
        if number >= store.count:
            options.usage(f"ROW: there is no row {number}; wanted 0 to {store.count - 1}")
    e = _ellipsoid(store, options)
    a, b = (_row(store, number) for number in options.rows)
    with progress("search", store.count, quiet=options.quiet) as tick:
        grid = vslerp_grid(
            a,
            b,
            options.theta,
            options.alpha,
            e,
            rows=store,
            k=3 if options.others else 1,
            extrapolate=options.extrapolate,
            n_threads=options.threads,
            progress=tick,
        )
    if options.others:
        grid = _without(grid, options.rows)
    made = how_made(e, store, options, grid)
    write_together({path: _contents(path, grid, made) for path in options.out})
    named = {"path": options.path, "ellipsoid": options.ellipsoid}
    result = {"out": options.out, **named, **made, "nearest": _cells(grid)}
    show(options, result, f"{_table(grid)}\n\n{_summary(e, store, options)}")


def how_made(
    e: Ellipsoid, store: Store, options: argparse.Namespace, grid: VslerpGrid
) -> dict[str, Any]:
    """Return what the files say of how they were made."""
    from clipsoid import __version__
    from clipsoid._native import simd_level

    return {
        "format": FORMAT,
        "format_version": VERSION,
        "clipsoid_version": __version__,
        "rows": options.rows,
        "others": options.others,
        "theta": grid.theta.tolist(),
        "alpha": grid.alpha.tolist(),
        "count": store.count,
        "dim": store.dim,
        "dtypes": sorted(store.dtypes),
        "ellipsoid_rows": e.count,
        "is_normalized": e.is_normalized,
        "simd": simd_level(),
    }


def _target(text: str) -> Path:
    """Read the name of a file whose format is known by its suffix."""
    path = Path(text)
    if path.suffix.lower() not in SUFFIXES:
        raise argparse.ArgumentTypeError(
            f"{text}: the suffix is {path.suffix or 'missing'!r}; wanted .npy for the vectors, "
            ".parquet for the table"
        )
    return path


def _check_grid(options: argparse.Namespace) -> None:
    outside = [theta for theta in options.theta if not 0 <= theta <= 1]
    if outside and not options.extrapolate:
        options.usage(f"--theta: {outside[0]:g} lies outside 0 to 1, which takes --extrapolate")
    cells = len(options.theta) * len(options.alpha)
    if cells > MAX_CELLS:
        options.usage(f"--theta, --alpha: {cells:,} vectors; wanted {MAX_CELLS:,} at most")


def _is_ours(path: Path) -> bool:
    """Whether a file is a table that this command wrote."""
    from clipsoid.cli.output import is_table_of

    return path.suffix.lower() == ".parquet" and is_table_of(path, FORMAT)


def _ellipsoid(store: Store, options: argparse.Namespace) -> Ellipsoid:
    """Return the ellipsoid whose mean it is."""
    from clipsoid._source import as_source
    from clipsoid.cli.progress import progress
    from clipsoid.ellipsoid import Ellipsoid
    from clipsoid.errors import MismatchError

    if options.ellipsoid is not None:
        e = Ellipsoid.load(options.ellipsoid)
        if e.dim != store.dim:
            raise MismatchError(
                f"{options.ellipsoid}: was fitted on {e.dim} features, {store.shards[0].path} has "
                f"{store.dim}"
            )
        return e
    with progress("fit", store.count, quiet=options.quiet) as tick:
        rows = as_source(store).without_policies()
        return Ellipsoid.fit(rows, covariance=False, n_threads=options.threads, progress=tick)


def _row(store: Store, number: int) -> Source:
    """Return one row of a set, which knows its file; only its shard is read."""
    from clipsoid._batch import Batch
    from clipsoid._source import Located, Source

    shards = iter(store.shards)
    shard = next(shards)
    while number >= shard.count:
        number -= shard.count
        shard = next(shards)
    start = 0
    for batch in shard.batches():
        at = number - start
        if at < len(batch):
            break
        start += len(batch)
    missing = None if batch.missing is None else batch.missing[at : at + 1]
    # A copy: the batch may be a mapping of much more.
    one = Located(
        str(shard.path), number, Batch(batch.rows[at : at + 1].copy(), batch.dtype, missing)
    )
    return Source(one.label, shard.dim, 1, frozenset({shard.dtype}), lambda: iter([one]), tuple)


def _without(grid: VslerpGrid, rows: list[int]) -> VslerpGrid:
    """Return the grid with the nearest that is none of `rows`; of three, two at most are."""
    from dataclasses import replace

    import numpy as np

    assert grid.nearest is not None
    index, similarity = grid.nearest.index, grid.nearest.similarity
    first = np.isin(index, rows, invert=True).argmax(axis=-1)[..., None]
    other = replace(
        grid.nearest,
        index=np.take_along_axis(index, first, -1),
        similarity=np.take_along_axis(similarity, first, -1),
    )
    return replace(grid, nearest=other)


def _cells(grid: VslerpGrid) -> list[dict[str, Any]]:
    """Return the nearest row of each vector, theta by theta."""
    assert grid.nearest is not None
    rows, cosines = grid.nearest.index[:, :, 0, 0], grid.nearest.similarity[:, :, 0, 0]
    return [
        {"theta": theta, "alpha": alpha, "row": int(rows[i, j]), "similarity": float(cosines[i, j])}
        for i, theta in enumerate(grid.theta.tolist())
        for j, alpha in enumerate(grid.alpha.tolist())
    ]


def _contents(path: Path, grid: VslerpGrid, made: Mapping[str, Any]) -> bytes:
    """Return the contents of a file, by its suffix."""
    import io
    import json

    import numpy as np
    import polars as pl

    file = io.BytesIO()
    between = grid.vectors[:, :, 0]
    if path.suffix.lower() == ".npy":
        np.save(file, between)
    else:
        vectors = pl.Series("vector", between.reshape(-1, between.shape[-1]))
        table = pl.DataFrame(_cells(grid)).with_columns(vectors)
        table.write_parquet(file, metadata={"clipsoid": json.dumps(made)})
    return file.getvalue()


def _table(grid: VslerpGrid) -> str:
    """Return a line for each theta, and a column for each alpha, in as many blocks as it takes."""
    cells = _cells(grid)
    digits = len(str(max(cell["row"] for cell in cells)))
    wide = max(digits + 9, 12)
    columns = len(grid.alpha)
    across = (WIDTH - 8) // wide
    blocks = []
    for first in range(0, columns, across):
        shown = range(first, min(first + across, columns))
        width = 8 + wide * len(shown)
        lines = [
            f"{'alpha':>{width}}",
            f"{'theta':>8}" + "".join(f"{grid.alpha[j] + 0.0:>{wide}.4g}" for j in shown),
            "-" * width,
        ]
        for i, theta in enumerate(grid.theta):
            line = [cells[i * columns + j] for j in shown]
            found = (f"{cell['row']} {cell['similarity']:7.4f}" for cell in line)
            lines.append(f"{theta + 0.0:>8.4g}" + "".join(f"{one:>{wide}}" for one in found))
        blocks.append("\n".join([*lines, lines[2]]))
    return "\n\n".join(blocks)


def _summary(e: Ellipsoid, store: Store, options: argparse.Namespace) -> str:
    from clipsoid.cli.output import lines, plural

    kind = "normalised" if e.is_normalized else "raw"
    text = {
        "cells": f"the nearest {'other ' * options.others}row and its cosine",
        "between": "rows {:,} and {:,}".format(*options.rows),
        "of": f"{store.count:,} x {plural(store.dim, 'feature')}, "
        f"{', '.join(sorted(store.dtypes))}, {kind}",
        "mean": f"of {plural(e.count, 'row')}"
        + (f", {options.ellipsoid}" if options.ellipsoid else ""),
    }
    if e.is_normalized:
        text["note"] = "norms are 1: the rows lie on a sphere about alpha = 0 and no other"
    if options.out:
        text["written"] = ", ".join(map(str, options.out))
    return lines(text)
