"""Results on standard output: aligned text for people, JSON for machines."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Mapping
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


def save(options: argparse.Namespace, e: Ellipsoid, **more: Any) -> None:
    """Write an ellipsoid to ``--out`` and print what it holds, and `more` in the JSON."""
    from clipsoid.cli.info import describe, report

    e.save(options.out)
    result = {"out": options.out, **more, **report(e)}
    show(options, result, f"{describe(e)}\n{'written':<21}  {options.out}")


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


def number(value: float) -> str:
    """Return a figure at the precision that people compare."""
    return f"{value:.4f}" if abs(value) < 1000 else f"{value:.4g}"
