"""Colours, letters and axes of every chart, on light and on dark pages."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

#: Okabe and Ito's colours, which colour-blind readers tell apart.
BLACK, BLUE, VERMILION = "#000000", "#0072B2", "#D55E00"
GREEN, PURPLE, SKY, ORANGE = "#009E73", "#CC79A7", "#56B4E9", "#E69F00"

#: Of what is drawn behind: axes, grids, halos of letters.
GREY, PALE, PAPER = "#767676", "#E6E6E6", "#FFFFFF"

#: Each modality has its colour in every chart.
MODALITY = {"image": BLUE, "text": VERMILION}

#: On a dark page, what stands for each: as far from its background as the first is from white.
DARK = {
    BLACK: "#F2F2F2",
    BLUE: "#58AEEA",
    VERMILION: "#FF8A47",
    GREEN: "#35C997",
    PURPLE: "#E59CC6",
    SKY: "#9AD8FF",
    ORANGE: "#F5BC4B",
    GREY: "#9AA0A8",
    PALE: "#333941",
    PAPER: "#15181D",
}

#: Dashes serve print without any colour.
SOLID, DASHED, DOTTED = (1, 0), (7, 3), (2, 2)

#: Each modality has its dash, too.
DASH = {"image": SOLID, "text": DASHED}

#: Colour and dash of each.
STYLE = {name: (colour, DASH[name]) for name, colour in MODALITY.items()}

FONT = "Helvetica, Arial, sans-serif"


def styles(names: Iterable[str]) -> dict[str, tuple[str, tuple[int, int]]]:
    """Return colour and dash of each set of rows; those of no modality are solid, in blue."""
    return {name: STYLE.get(name, (BLUE, SOLID)) for name in names}


def config() -> dict[str, Any]:
    """Return the Vega-Lite configuration that all charts share; every colour of it is in `DARK`."""
    return {
        "font": FONT,
        "padding": 4,
        "background": PAPER,
        "view": {"stroke": None},
        "title": {
            "anchor": "start",
            "fontSize": 14,
            "subtitleFontSize": 12,
            "offset": 6,
            "color": BLACK,
            "subtitleColor": BLACK,
        },
        "legend": {
            "title": None,
            "orient": "top",
            "direction": "horizontal",
            "labelFontSize": 12,
            "columnPadding": 9,
            "symbolOpacity": 1,
            "offset": 4,
            "labelColor": BLACK,
            "titleColor": BLACK,
        },
        "axis": {
            "labelFontSize": 12,
            "titleFontSize": 12,
            "titleFontWeight": "normal",
            "labelFlush": False,
            "tickCount": 5,
            "labelColor": BLACK,
            "titleColor": BLACK,
            "gridColor": PALE,
            "domainColor": GREY,
            "tickColor": GREY,
        },
        # Not of words, nor of times.
        "axisQuantitative": {"format": ".6~g"},
        # Axes of one width, so that panels begin below each other.
        "axisY": {"minExtent": 36},
        "text": {"color": BLACK, "fontSize": 12},
        "rule": {"color": GREY},
        "range": {"category": [BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY, BLACK]},
    }
