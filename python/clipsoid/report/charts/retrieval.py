"""Retrieval, and how false negatives go with conformity (section 6 of the paper)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from clipsoid.report import theme
from clipsoid.report.figure import Figure, Measure, Panel
from clipsoid.report.marks import number, rows_drawn, titled, values

if TYPE_CHECKING:
    import polars as pl

    from clipsoid.analysis.parts import Link, Retrieval

#: Bins, and rows in a bin at least.
BINS, LEAST_ROWS = 20, 5

#: What a row of either modality searches.
SEARCHED = {"image": "texts", "text": "images"}


def retrieval_figure(found: Retrieval) -> Figure:
    """Return how many false negatives rows have, from the rare to the common ones.

    Parameters
    ----------
    found : Retrieval
        `Analysis.retrieval`, where it is not None.
    """
    links = {"image": found.image_link, "text": found.text_link}
    panels = tuple(_panel(name, link) for name, link in links.items())
    sampled = len(found.image_link.row)
    return Figure(
        "false-negatives",
        "Section 6",
        "Common items have more false negatives",
        "A false negative of an item is a candidate that scores above its partner. Rows are put "
        "into bins of equal counts by their conformity: the line is the mean number of false "
        "negatives, the band holds the middle half of the rows. The paper predicts that it rises. "
        "Few rows have very many, so that the mean can lie above the band.",
        panels,
        (*_correlations(links), *_recalls(found)),
        f"{found.pairs:,} pairs, each compared with all others",
        rows_drawn(sampled, found.pairs).replace("are drawn", "are averaged"),
    )


def _correlations(links: dict[str, Link]) -> tuple[Measure, ...]:
    return tuple(
        Measure(f"Spearman, false negatives and {what}, {name}", number(value, 3))
        for what in ("conformity", "cosine to the mean")
        for name, link in links.items()
        for value in (getattr(link.spearman, what.replace(" the", "").replace(" ", "_")),)
    )


def _recalls(found: Retrieval) -> tuple[Measure, ...]:
    ways = {"image to text": found.image_to_text, "text to image": found.text_to_image}
    recalls = tuple(
        Measure(f"recall at {k}, {way}", f"{getattr(figures, f'recall_at_{k}'):.1%}")
        for way, figures in ways.items()
        for k in (1, 5, 10)
    )
    ranks = tuple(
        Measure(f"median rank, {way}", number(figures.median_rank, 1))
        for way, figures in ways.items()
    )
    return (*recalls, *ranks)


def _frame(link: Link) -> pl.DataFrame:
    """Return a row for each bin, of equal counts to one row; rows of one conformity may be cut."""
    import polars as pl

    order = np.lexsort((link.row, link.conformity))
    bins = max(1, min(BINS, len(order) // LEAST_ROWS))
    rows = []
    for chosen in np.array_split(order, bins):
        conformity, count = link.conformity[chosen], link.count[chosen]
        lower, median, upper = np.quantile(count, (0.25, 0.5, 0.75))
        rows.append(
            {
                "conformity": float(conformity.mean()),
                "low": float(conformity.min()),
                "high": float(conformity.max()),
                "rows": len(chosen),
                "mean_count": float(count.mean()),
                "lower_quartile": float(lower),
                "median": float(median),
                "upper_quartile": float(upper),
            }
        )
    return pl.DataFrame(rows)


def _panel(name: str, link: Link) -> Panel:
    import altair as alt

    frame = _frame(link)
    colour = theme.MODALITY[name]
    searched = SEARCHED[name]
    unit = "false negatives of a row"
    x = alt.X("conformity:Q", title="conformity (mean of the bin)", scale=alt.Scale(zero=False))
    base = alt.Chart(values(frame)).encode(
        x=x,
        tooltip=[
            alt.Tooltip("low:Q", title="conformity from", format=".4f"),
            alt.Tooltip("high:Q", title="to", format=".4f"),
            alt.Tooltip("rows:Q", title="rows", format=","),
            alt.Tooltip("mean_count:Q", title="mean number", format=",.4~g"),
            alt.Tooltip("lower_quartile:Q", title="lower quartile", format=",.4~g"),
            alt.Tooltip("median:Q", title="median", format=",.4~g"),
            alt.Tooltip("upper_quartile:Q", title="upper quartile", format=",.4~g"),
        ],
    )
    y = alt.Y(
        "mean_count:Q",
        title=unit,
        scale=alt.Scale(zero=True, nice=5),
        axis=alt.Axis(format=",.6~g"),
    )
    band = base.mark_area(opacity=0.22, color=colour, aria=False).encode(
        y=alt.Y("lower_quartile:Q", title=unit), y2="upper_quartile:Q"
    )
    line = base.mark_line(color=colour, strokeWidth=2, aria=False).encode(y=y)
    dots = base.mark_circle(color=colour, size=30, opacity=1, aria=False).encode(y=y)
    spearman = link.spearman.conformity
    first, last = frame["mean_count"][0], frame["mean_count"][-1]
    return Panel(
        name,
        titled(
            band + line + dots,
            f"False negatives of {name}s",
            f"{searched} above the partner; Spearman {number(spearman, 2)}",
        ),
        frame,
        f"Mean number of false negatives of {len(link.row):,} rows ({name}) over {frame.height} "
        f"bins of conformity: {number(first, 2)} in the rarest, {number(last, 2)} in the most "
        f"common; Spearman correlation {number(spearman, 3)}.",
    )
