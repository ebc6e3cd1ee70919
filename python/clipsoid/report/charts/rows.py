"""What is known of single rows: scores, nearest rows, two samples of numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from clipsoid.errors import UnavailableError
from clipsoid.report import theme
from clipsoid.report.figure import Figure, Measure, Panel
from clipsoid.report.marks import (
    bars,
    coarser,
    distributions,
    histogram_frame,
    number,
    ranks,
    rule,
    titled,
    values,
)

if TYPE_CHECKING:
    import altair as alt

    from clipsoid.analysis.figures import Histogram
    from clipsoid.divergences import Divergence
    from clipsoid.nearest import NearestRows
    from clipsoid.results import Scores

Array = NDArray[np.float64]

#: Bins of a distribution; of more that a result has, neighbours are drawn as one.
BINS, MOST_BINS = 50, 200

#: Of the queries, what lies within the band.
MIDDLE = (0.05, 0.95)

#: What is drawn of each score that there is: its name, the title of its axis, and a colour.
SCORES = {
    "conformity": ("Conformity", "conformity (mean cosine to all others)", theme.BLUE),
    "cosine_to_mean": ("Cosine to the mean", "cosine to the mean", theme.BLUE),
    "norm": ("Norm", "norm (units of the embeddings)", theme.GREEN),
    "cosine_to_partner": ("Cosine to the partner", "cosine to the partner", theme.BLUE),
    "log_likelihood": ("Log-likelihood", "log-likelihood (nats)", theme.GREEN),
    "group_conformity": (
        "Conformity in the group",
        "conformity (mean cosine to others of the group)",
        theme.BLUE,
    ),
}


def score_panel(name: str, histogram: Histogram, mean: float) -> Panel:
    """Return the distribution of a score, with a line at its mean."""
    _, axis, colour = SCORES[name]
    frame = histogram_frame({name: histogram})
    low, high = (number(float(end)) for end in histogram.edges[[0, -1]])
    chart: Any = bars(frame, axis, {name: colour}) + rule(mean, "mean")
    return Panel(
        name.replace("_", "-"),
        chart,
        frame,
        f"Histogram of {axis} of {histogram.counts.sum():,} rows, from {low} to {high}, mean "
        f"{number(mean)}.",
    )


def scores_figure(scores: Scores) -> Figure:
    """Return the distributions of the scores of valid rows.

    Raises
    ------
    UnavailableError
        If no row is valid.
    """
    from clipsoid.analysis.figures import Histogram

    panels, measures = [], []
    for name, (title, _, _) in SCORES.items():
        found = getattr(scores, name)
        if found is None:
            continue
        # Of a mean of zero no cosine is known.
        known = found[(scores.status == 0) & np.isfinite(found)]
        if len(known):
            panel = score_panel(name, Histogram.of(known, BINS), float(known.mean()))
            panels.append(replace(panel, chart=titled(panel.chart, title)))
            spread = f"{number(float(known.mean()))} ± {number(float(known.std()))}"
            measures.append(Measure(f"{title.lower()}, mean and standard deviation", spread))
    if not panels:
        raise UnavailableError("a plot of scores: no row has one")
    invalid = int(np.count_nonzero(scores.status))
    return Figure(
        "scores",
        "Figure 8",
        "Conformity, direction and length",
        "The line marks the mean. What is rare often has a larger norm.",
        tuple(panels),
        tuple(measures),
        f"{len(scores) - invalid:,} rows",
        f"{invalid:,} rows without a score are not drawn." if invalid else "",
        columns=3,
    )


def nearest_figure(found: NearestRows) -> Figure:
    """Return the cosines of the nearest rows over their place, and those of the nearest alone."""
    from clipsoid.analysis.figures import Histogram

    k = found.similarity.shape[-1]
    cosines = found.similarity.reshape(-1, k)
    queries = len(cosines)
    panels = [_places(cosines)]
    if queries > 1:
        nearest = Histogram.of(cosines[:, 0], BINS)
        frame = histogram_frame({"nearest": nearest})
        mean = float(cosines[:, 0].mean())
        chart = bars(frame, "cosine", {"nearest": theme.BLUE}, what="queries") + rule(mean, "mean")
        panels.append(
            Panel(
                "nearest",
                titled(chart, "To the nearest row", f"mean {number(mean, 3)}"),
                frame,
                f"Histogram of the cosine of {queries:,} queries to the row nearest to each, mean "
                f"{number(mean)}.",
            )
        )
    many = "1 query" if queries == 1 else f"{queries:,} queries"
    return Figure(
        "nearest",
        "",
        "How near the nearest rows are",
        "The cosine of a query to the row nearest to it, to the next, and so on. Where it falls "
        "soon, few rows are like the query.",
        tuple(panels),
        (Measure("greatest cosine", number(float(cosines.max()))),) if cosines.size else (),
        f"the nearest {k:,} to {many}" if k > 1 else f"the nearest to {many}",
    )


def _places(cosines: Array) -> Panel:
    """Return the cosine over the place: that of the one query, or median and middle 90 %."""
    import altair as alt
    import polars as pl

    at = ranks(cosines.shape[1])
    lower, median, upper = np.quantile(cosines[:, at], (MIDDLE[0], 0.5, MIDDLE[1]), axis=0)
    columns = {"place": at + 1, "cosine": median, "lower": lower, "upper": upper}
    frame = pl.DataFrame(columns)
    many = len(cosines) > 1
    scale = alt.Scale(domain=[1, max(2, cosines.shape[1])], nice=False)
    base = alt.Chart(values(frame)).encode(
        x=alt.X(
            "place:Q", title="place, the nearest first", scale=scale, axis=alt.Axis(tickMinStep=1)
        ),
        tooltip=[
            alt.Tooltip("place:Q", title="place", format=","),
            alt.Tooltip("cosine:Q", title="median cosine" if many else "cosine", format=".5f"),
            *(
                [
                    alt.Tooltip("lower:Q", title="5 % are below", format=".5f"),
                    alt.Tooltip("upper:Q", title="5 % are above", format=".5f"),
                ]
                if many
                else []
            ),
        ],
    )
    y = alt.Y("cosine:Q", title="cosine", scale=alt.Scale(zero=False))
    line = base.mark_line(
        color=theme.BLUE, aria=False, point={"size": 30, "color": theme.BLUE}
    ).encode(y=y)
    layers = [line]
    if many:
        band = base.mark_area(opacity=0.22, color=theme.BLUE, aria=False)
        layers.insert(0, band.encode(y=alt.Y("lower:Q", title="cosine"), y2="upper:Q"))
    what = "median, and the middle 90 % of the queries" if many else "one query"
    return Panel(
        "places",
        titled(alt.LayerChart(layer=layers), "By place", what),
        frame if many else frame.drop("lower", "upper"),
        f"Cosine of the nearest rows by place, {what}: from {number(float(median[0]))} at the "
        f"first place to {number(float(median[-1]))} at place {cosines.shape[1]:,}.",
    )


def divergence_figure(found: Divergence) -> Figure:
    """Return the histograms of both samples, which are what is kept of them."""
    sets: Mapping[str, NDArray[np.int64]] = {"p": found.counts_p, "q": found.counts_q}
    style = {"p": (theme.BLUE, theme.SOLID), "q": (theme.VERMILION, theme.DASHED)}
    frame = histogram_frame(
        {name: coarser(found.edges, counts, MOST_BINS) for name, counts in sets.items()}
    )
    chart: alt.LayerChart = distributions(
        frame, "value", style, y="share of the sample", of="numbers"
    )
    names = {
        "KL of p from q (nats)": found.kl_pq,
        "KL of q from p (nats)": found.kl_qp,
        "Jensen-Shannon (nats)": found.js,
        "Wasserstein": found.wasserstein,
    }
    sizes = " and ".join(f"{counts.sum():,} numbers ({name})" for name, counts in sets.items())
    return Figure(
        "divergence",
        "",
        "Two samples of numbers",
        "Both histograms have the same bins. A divergence is 0 where they are the same.",
        (
            Panel(
                "histograms",
                titled(
                    chart,
                    "Histograms",
                    f"KL {number(found.kl_pq, 3)} nats, JS {number(found.js, 3)} nats, "
                    f"Wasserstein {found.wasserstein:.3g}",
                ),
                frame,
                f"Histograms of {sizes}: KL of p from q {number(found.kl_pq)} nats.",
            ),
        ),
        tuple(Measure(name, number(value)) for name, value in names.items()),
        sizes,
    )
