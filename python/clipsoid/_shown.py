"""How results look in a notebook: a table of what they hold, and a picture where there is one."""

from __future__ import annotations

import html
import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import altair as alt

#: Lines of a table; more are counted.
MOST_LINES = 40

#: Items of a list that are written out.
MOST_ITEMS = 8


class Shown:
    """A result that a notebook shows as a table."""

    __slots__ = ()

    def _repr_html_(self) -> str:
        lines = [
            f"<tr><th style='text-align:left'>{html.escape(name)}</th>"
            f"<td style='text-align:left'>{html.escape(text)}</td></tr>"
            for name, text in _lines(self)
        ]
        if len(lines) > MOST_LINES:
            more = f"<tr><td colspan=2>{len(lines) - MOST_LINES} more</td></tr>"
            lines[MOST_LINES:] = [more]
        frame: Any = getattr(self, "table", None)
        below = "" if frame is None else frame._repr_html_()
        name = html.escape(type(self).__name__)
        return f"<b>{name}</b><table>{''.join(lines)}</table>{below}"


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
            If the extra ``report`` is not installed.
        """
        from clipsoid.report.plots import figure_of

        return figure_of(self).chart()


def _lines(result: Any) -> Iterator[tuple[str, str]]:
    """Yield names and values; those of a part that is a mapping after its own name."""
    fields = getattr(result, "__dataclass_fields__", {})
    known = {name: getattr(result, name) for name in fields if not name.startswith("_")}
    for name, value in known.items():
        if name == "table":
            continue
        if hasattr(value, "to_dict") and hasattr(value, "__dataclass_fields__"):
            value = value.to_dict()
        if isinstance(value, Mapping):
            for part, inner in value.items():
                yield f"{name}.{part}", _text(inner)
        else:
            yield name, _text(value)


def _text(value: Any) -> str:
    """Return a value in one short line."""
    match value:
        case float() | np.floating():
            return f"{float(value):.6g}" if math.isfinite(value) else str(float(value))
        case np.ndarray():
            return f"{value.dtype} array of shape {value.shape}"
        case list() | tuple() if len(value) > MOST_ITEMS:
            return f"{len(value):,} items"
        case list() | tuple():
            return ", ".join(_text(item) for item in value)
    if hasattr(value, "shape") and hasattr(value, "columns"):
        return f"frame of shape {value.shape}"
    return str(value) if isinstance(value, (str, int, bool, type(None))) else repr(value)
