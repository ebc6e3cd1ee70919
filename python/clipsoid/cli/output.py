"""Results on standard output: aligned text for people, JSON for machines."""

from __future__ import annotations

import argparse
import json
import math
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from clipsoid.ellipsoid import Ellipsoid


def show(options: argparse.Namespace, result: Mapping[str, Any], text: str) -> None:
    """Print `result` as JSON if that is asked for, else `text` unless quiet."""
    if options.json:
        print(json.dumps(_plain(result), indent=2, allow_nan=False))
    elif not options.quiet:
        print(text)


@contextmanager
def warnings_told(*kinds: type[Warning]) -> Iterator[None]:
    """Print warnings of some kinds as the command line's own, each once, even where it is quiet."""
    told: set[str] = set()
    with warnings.catch_warnings():
        for kind in kinds:
            warnings.simplefilter("always", kind)
        others = warnings.showwarning

        def show(message: Warning | str, category: type[Warning], *where: Any) -> None:
            if not issubclass(category, kinds):
                others(message, category, *where)
            elif str(message) not in told:
                told.add(str(message))
                print(f"clipsoid: warning: {message}", file=sys.stderr)

        warnings.showwarning = show  # type: ignore[assignment]
        yield


def save(options: argparse.Namespace, e: Ellipsoid, **more: Any) -> None:
    """Write an ellipsoid to ``--out`` and print what it holds, and `more` in the JSON."""
    e.save(options.out)
    show_saved(options, e, **more)


def show_saved(options: argparse.Namespace, e: Ellipsoid, **more: Any) -> None:
    """Print what the ellipsoid in ``--out`` holds, and `more` in the JSON."""
    from clipsoid.cli.info import describe, report

    result = {"out": options.out, **more, **report(e)}
    show(options, result, f"{describe(e)}\n{'written':<21}  {options.out}")


def check_targets(
    options: argparse.Namespace, is_ours: Callable[[Path], bool], writer: str
) -> None:
    """Refuse, before any work is done, files that could not or must not be written after it."""
    from clipsoid._output import check_writable
    from clipsoid.errors import OutputError

    seen = set()
    for path in options.out:
        if path.resolve() in seen:
            options.usage(f"--out: {path} is named twice")
        seen.add(path.resolve())
        if path.is_file() and not is_ours(path):
            # An array cannot say what wrote it.
            known = "" if path.suffix.lower() == ".npy" else f" and was not written by {writer}"
            raise OutputError(f"{path}: is there already{known}; wanted a new name")
        check_writable(path, lambda _: True)


def is_table_of(path: Path, made_by: str) -> bool:
    """Whether a parquet file says that it is of the format `made_by`."""
    import polars as pl

    try:
        return f'"{made_by}"' in pl.read_parquet_metadata(path).get("clipsoid", "")
    except (OSError, pl.exceptions.PolarsError):
        return False


def write_together(contents: Mapping[Path, bytes]) -> None:
    """Write files that get their names when all of them are complete."""
    from clipsoid._output import as_output_errors, written_beside

    with ExitStack() as stack:
        for path, content in contents.items():
            temporary = stack.enter_context(written_beside(path))
            with as_output_errors(path):
                temporary.write_bytes(content)


def _plain(value: Any) -> Any:
    """Return what JSON can hold: paths as text, and null for a number that is not finite."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return str(value) if isinstance(value, Path) else value


def lines(pairs: Mapping[str, str]) -> str:
    """Return names and values in two columns."""
    width = max(map(len, pairs))
    return "\n".join(f"{name:<{width}}  {value}" for name, value in pairs.items())


def plural(count: int, noun: str) -> str:
    """Return a count and its noun."""
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


def size_of(count: int) -> str:
    """Return a number of bytes as people write it."""
    if count < 1000:
        return plural(count, "byte")
    return f"{count / 1e3:,.1f} kB" if count < 1e5 else f"{count / 1e6:,.1f} MB"


def number(value: float) -> str:
    """Return a figure at the precision that people compare."""
    return f"{value:.4f}" if abs(value) < 1000 else f"{value:.4g}"
