"""Figures and pages, and the files they are written to; needs the extra ``report``.

``import clipsoid`` does not load this room, and this room loads altair only when it draws.
"""

from __future__ import annotations

from clipsoid._extras import check_report
from clipsoid.report.figure import Figure, Measure, Panel
from clipsoid.report.files import (
    FIGURE_SUFFIXES,
    figure_bytes,
    is_figure,
    is_page,
    page_payload,
    write_figures,
    write_page,
)

__all__ = [
    "FIGURE_SUFFIXES",
    "Figure",
    "Measure",
    "Panel",
    "check_report",
    "figure_bytes",
    "is_figure",
    "is_page",
    "page_payload",
    "write_figures",
    "write_page",
]
