"""Figure 12 of the paper: between two rows, about centres along the mean."""

# ruff: noqa: RUF001 (Greek letters are meant)

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from clipsoid.report import theme
from clipsoid.report.figure import WIDTH, Figure, Measure, Panel
from clipsoid.report.marks import number, titled, values

if TYPE_CHECKING:
    import polars as pl

    from clipsoid.interpolate import VslerpGrid

#: Most pairs of rows that have a panel each.
MOST_PAIRS = 6

#: Sizes of letters in a cell; where not even the least fits, the tooltip has the number.
LEAST_LETTERS, MOST_LETTERS = 8, 13

#: Height of a cell in CSS pixels, and of what is around the cells.
CELL, AROUND = 30, 20

#: Where along the colours letters turn from dark to light.
TURN = 0.8


def interpolation_figure(
    grid: VslerpGrid, *, ends: tuple[str, str] = ("the first row", "the second")
) -> Figure | None:
    """Return which row is nearest to each vector of a grid, and its cosine (Figure 12).

    Parameters
    ----------
    grid : VslerpGrid
        Of one pair of rows, or of several: the first six have a panel each.
    ends : (str, str)
        What the two rows of a pair are called.

    Returns
    -------
    Figure or None
        None if the grid was made without a set to search.
    """
    if grid.nearest is None:
        return None
    shape = len(grid.theta), len(grid.alpha), -1
    index = grid.nearest.index[..., 0].reshape(shape)
    similarity = grid.nearest.similarity[..., 0].reshape(shape)
    pairs = index.shape[2]
    drawn = min(pairs, MOST_PAIRS)
    panels = tuple(
        _panel(grid, index[..., i], similarity[..., i], i if pairs > 1 else None, ends)
        for i in range(drawn)
    )
    inner = [i for i, theta in enumerate(grid.theta) if 0 < theta < 1]
    measures = []
    if inner:
        passed = np.unique(index[inner]).size
        measures = [
            Measure("rows that are nearest between the ends", f"{passed:,}"),
            Measure("least cosine to the nearest row", number(float(similarity[inner].min()))),
        ]
    return Figure(
        "interpolation",
        "Figure 12",
        "Between two rows, about a moved centre",
        f"From {ends[0]} (θ = 0) to {ends[1]} (θ = 1) on a sphere about α times the mean; α = 0 is "
        "plain SLERP. A cell holds the number of the row that is nearest to the vector there, and "
        "its colour the cosine of the two: the stronger, the closer to something that exists. The "
        "paper draws the vectors by a decoder, which is not at hand here.",
        panels,
        tuple(measures),
        drawn="" if drawn == pairs else f"{drawn} of {pairs:,} pairs are drawn.",
    )


def _frame(grid: VslerpGrid, index: np.ndarray, similarity: np.ndarray) -> pl.DataFrame:
    import polars as pl

    thetas, alphas = np.meshgrid(grid.theta, grid.alpha, indexing="ij")
    cells = {
        "theta": thetas.ravel(),
        "alpha": alphas.ravel(),
        "nearest_row": index.ravel(),
        "cosine": similarity.ravel(),
    }
    return pl.DataFrame(cells)


def _panel(
    grid: VslerpGrid,
    index: np.ndarray,
    similarity: np.ndarray,
    pair: int | None,
    ends: tuple[str, str],
) -> Panel:
    import altair as alt

    frame = _frame(grid, index, similarity)
    known = similarity[np.isfinite(similarity)]
    low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 1.0)
    # Of cosines that are all the same, the colour is that of the greatest.
    low = min(low, high - 1e-6)
    x = alt.X("theta:O", title=f"θ, from {ends[0]} to {ends[1]}", axis=_axis())
    y = alt.Y("alpha:O", title="α", sort="ascending", axis=_axis())
    base = alt.Chart(values(frame)).encode(
        x=x,
        y=y,
        tooltip=[
            alt.Tooltip("theta:Q", title="θ"),
            alt.Tooltip("alpha:Q", title="α"),
            alt.Tooltip("nearest_row:Q", title="nearest row", format=",d"),
            alt.Tooltip("cosine:Q", title="cosine", format=".5f"),
        ],
    )
    colours = alt.Scale(domain=[low, high], range=[theme.PALE, theme.BLUE], clamp=True)
    cells = base.mark_rect(stroke=theme.PAPER, strokeWidth=1, aria=False).encode(
        color=alt.Color(
            "cosine:Q",
            scale=colours,
            legend=alt.Legend(
                title="cosine to the nearest row",
                titleOrient="left",
                titleFontWeight="normal",
                gradientLength=110,
                gradientThickness=10,
                values=[low, high],
                format=".3f",
            ),
        )
    )
    chart: Any = cells
    letters = _letters(int(index.max()), len(grid.theta))
    if letters is not None:
        light = f"datum.cosine > {low + TURN * (high - low)}"
        chart = cells + base.mark_text(fontSize=letters, aria=False).encode(
            text=alt.Text("nearest_row:Q", format="d"),
            color=alt.condition(light, alt.value(theme.PAPER), alt.value(theme.BLACK)),
        )
    name = "" if pair is None else f"Pair {pair}"
    return Panel(
        "grid" if pair is None else f"pair-{pair}",
        titled(chart, name) if name else chart,
        frame,
        f"Heat map over {len(grid.theta)} values of theta and {len(grid.alpha)} of alpha: the "
        f"number of the nearest row, and its cosine, from {number(low)} to "
        f"{number(high)}.",
        height=AROUND + CELL * len(grid.alpha),
    )


def _axis() -> Any:
    import altair as alt

    return alt.Axis(format=".3~g", labelAngle=0, grid=False, ticks=False, domain=False)


def _letters(greatest: int, columns: int) -> int | None:
    """Return how large letters may be for a number to fit into a cell of the narrowest panel."""
    cell = (WIDTH - 10) / columns
    # A digit is about 0.56 of its height wide.
    size = int(cell / (0.56 * len(str(greatest))))
    return None if size < LEAST_LETTERS else min(size, MOST_LETTERS)
