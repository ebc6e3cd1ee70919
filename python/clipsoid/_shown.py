"""How results look in a notebook: a table of what they hold, and a picture where there is one."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from clipsoid.errors import ClipsoidError

if TYPE_CHECKING:
    import altair as alt

#: Lines of a table; more are counted.
MOST_LINES = 48

#: Items of a list, and figures of a part, that are written in one line.
MOST_ITEMS = 8

#: Letters of a text that are shown; the rest is cut.
LONGEST = 200

#: What a property has to return to be shown: a figure, a word, or a few of them. Others may take
#: long to make.
SHOWN = frozenset(
    (
        "bool",
        "int",
        "float",
        "str",
        "tuple[str, ...]",
        "frozenset[str]",
        "Calibration | None",
        "Directions",
        "Invalid",
        "Norms",
    )
)

#: What a property returns that is shown below the table.
FRAME = "pl.DataFrame"

LEFT = "style='text-align:left'"


class Shown:
    """A result that a notebook shows as a table."""

    __slots__ = ()

    def _repr_html_(self) -> str:
        frames = [
            f"<p><code>{html.escape(name)}</code></p><div style='overflow-x:auto'>"
            f"{frame._repr_html_()}</div>"
            for name, frame in _frames(self)
        ]
        rows = [(name, [text]) for name, text in lines(self)]
        name, short = type(self).__name__, ""
        if _says_itself(self):
            short = html.escape(text_of(repr(self).removeprefix(name)))
        return f"<b>{html.escape(name)}</b>{short}{table(rows)}{''.join(frames)}"


class Drawn(Shown):
    """A result of which there is a figure, too."""

    __slots__ = ()

    def plot(self) -> alt.ConcatChart:
        """Draw it, as the report does.

        Returns
        -------
        altair.ConcatChart
            To be shown in a notebook, changed or saved.

        Raises
        ------
        UnavailableError
            If the extra ``report`` is not installed, or the result lacks what would be drawn.
        """
        from clipsoid.report.plots import figure_of

        return figure_of(self).chart()


def table(rows: Iterable[tuple[str, Iterable[str]]], heads: Iterable[str] = ()) -> str:
    """Return names and what belongs to each as an HTML table; everything is escaped."""
    written = [
        f"<tr><th {LEFT}>{html.escape(name)}</th>"
        + "".join(f"<td {LEFT}>{html.escape(text)}</td>" for text in texts)
        + "</tr>"
        for name, texts in rows
    ]
    if len(written) > MOST_LINES:
        more = f"<tr><td colspan=2 {LEFT}>{len(written) - MOST_LINES} more</td></tr>"
        written[MOST_LINES:] = [more]
    head = "".join(f"<th {LEFT}>{html.escape(text)}</th>" for text in heads)
    return f"<table>{f'<thead><tr>{head}</tr></thead>' if head else ''}{''.join(written)}</table>"


def lines(result: Any) -> Iterator[tuple[str, str]]:
    """Yield names and values of all but frames: figures, arrays, then parts.

    A part of many figures has a line for each of them.
    """
    known = dict(_attributes(result))
    figures = {name: value for name, value in known.items() if not _is_large(value)}
    arrays = {name: value for name, value in known.items() if isinstance(value, np.ndarray)}
    parts = {name: known[name] for name in known if name not in {**figures, **arrays}}
    for name, value in {**figures, **arrays}.items():
        words = getattr(result, "STATUS", None) if name == "status" else None
        yield name, text_of(value) if words is None else _counted(value, words)
    for name, value in parts.items():
        inner = _items(value)
        if inner is None or len(inner) <= MOST_ITEMS // 2:
            yield name, text_of(value)
            continue
        for part, one in inner.items():
            # What the result says itself, as its temperature, is not said again.
            if figures.get(part, inner) is not one and not _is_frame(one):
                yield f"{name}.{part}", text_of(one)


def _attributes(result: Any) -> Iterator[tuple[str, Any]]:
    """Yield public fields and properties by name, but for frames."""
    for name, value in _fields(result).items():
        if not _is_frame(value):
            yield name, value
    for name, kind in _properties(type(result)).items():
        if kind in SHOWN:
            try:
                yield name, getattr(result, name)
            except ClipsoidError:
                # Of no rows, or of one, little is known.
                yield name, None


def _frames(result: Any) -> Iterator[tuple[str, Any]]:
    """Yield fields and properties that are frames."""
    yield from ((name, value) for name, value in _fields(result).items() if _is_frame(value))
    for name, kind in _properties(type(result)).items():
        if kind == FRAME:
            yield name, getattr(result, name)


def _fields(result: Any) -> dict[str, Any]:
    names = [one.name for one in fields(result)] if is_dataclass(result) else []
    return {name: getattr(result, name) for name in names if not name.startswith("_")}


def _properties(kind: type) -> dict[str, str]:
    """Return the public properties of a class, and what each is said to return."""
    found = {}
    for one in reversed(kind.__mro__):
        for name, value in vars(one).items():
            if isinstance(value, property) and not name.startswith("_"):
                found[name] = value.fget.__annotations__.get("return", "")
    return found


def _is_frame(value: Any) -> bool:
    return hasattr(value, "columns") and hasattr(value, "_repr_html_")


def _is_large(value: Any) -> bool:
    return isinstance(value, (np.ndarray, Mapping)) or is_dataclass(value)


def _items(value: Any) -> dict[str, Any] | None:
    """Return what a part is made of; None for one that has a short text of its own."""
    if isinstance(value, Mapping):
        return dict(value)
    return None if _says_itself(value) else _fields(value)


def _says_itself(value: Any) -> bool:
    """Whether its class writes its own short text, not Python for all of its fields."""
    made = getattr(value, "__dataclass_params__", None)
    return "__repr__" in vars(type(value)) and not (made is not None and made.repr)


def text_of(value: Any) -> str:
    """Return a value in one short line."""
    text = _text(value)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"


def _text(value: Any) -> str:
    match value:
        case bool() | np.bool_() | None:
            return str(value)
        case int() | np.integer():
            return f"{value:,}"
        case float() | np.floating():
            return f"{float(value):.6g}"
        case str():
            return value
        case np.ndarray():
            return _array(value)
        case tuple() if hasattr(value, "_asdict"):
            return _joined(value._asdict())
        case frozenset() | set():
            return _sequence(sorted(value))
        case list() | tuple():
            return _sequence(value)
        case Mapping() if any(map(is_dataclass, value.values())):
            return ", ".join(map(str, value))
        case Mapping():
            return _joined(value)
    inner = _items(value) if is_dataclass(value) else None
    return repr(value) if inner is None else _joined(inner)


def _joined(parts: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {text_of(one)}" for name, one in parts.items()) or "none"


def _sequence(value: list[Any] | tuple[Any, ...]) -> str:
    if value and all(isinstance(one, (int, float)) for one in value) and len(value) > MOST_ITEMS:
        return f"{len(value):,} numbers from {text_of(min(value))} to {text_of(max(value))}"
    if value and (is_dataclass(value[0]) or hasattr(value[0], "_asdict")):
        return f"{len(value):,} of {type(value[0]).__name__}"
    if len(value) > MOST_ITEMS:
        return f"{len(value):,} items"
    return (", ", "; ")[any(" " in str(one) for one in value)].join(map(text_of, value)) or "none"


def _counted(status: Any, words: tuple[str, ...]) -> str:
    """Return how many rows have each status, in words."""
    counts = np.bincount(status, minlength=len(words)).tolist()
    return _joined({word: count for word, count in zip(words, counts, strict=True) if count})


def _array(x: Any) -> str:
    """Return type, shape and range: never the numbers."""
    shape = f"{x.dtype} {x.shape}"
    if not x.size or x.dtype.kind not in "iuf":
        return shape
    # One pass, and none of it copied unless some of it is not finite.
    low, high = x.min(), x.max()
    odd = 0
    if not (math.isfinite(low) and math.isfinite(high)):
        finite = x[np.isfinite(x)]
        odd = x.size - finite.size
        if not finite.size:
            return f"{shape}: none is finite"
        low, high = finite.min(), finite.max()
    more = f"; {odd:,} not finite" if odd else ""
    return f"{shape}: {text_of(low)} to {text_of(high)}{more}"
