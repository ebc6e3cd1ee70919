"""The figure that each kind of result is drawn as."""

from __future__ import annotations

from typing import Any

from clipsoid._extras import check_report
from clipsoid.report.charts.sweep import sweep_figure
from clipsoid.report.figure import Figure
from clipsoid.sweep import LossSweep


def figure_of(result: Any) -> Figure:
    """Return the figure of a result, as its ``plot`` draws it.

    Raises
    ------
    UnavailableError
        If the extra ``report`` is not installed.
    TypeError
        If nothing is drawn of such a result.
    """
    check_report()
    match result:
        case LossSweep():
            return sweep_figure(result)
    raise TypeError(f"no figure is drawn of {type(result).__name__}")
