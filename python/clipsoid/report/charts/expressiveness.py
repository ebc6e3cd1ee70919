"""Figure 13 of the paper: how generic generated images or captions are beside real ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from clipsoid.analysis.figures import Histogram
from clipsoid.report import theme
from clipsoid.report.figure import Figure, Measure, Panel
from clipsoid.report.marks import evenly, number, rows_drawn, titled, values

if TYPE_CHECKING:
    import altair as alt
    import polars as pl

    from clipsoid.comparison import CandidateConformity, Comparison

#: Candidates that are drawn as distributions, and as dots; of more, some evenly over the order.
MOST_RIDGES, MOST_DOTS = 8, 30

#: Bins of a distribution.
BINS = 50

#: Height of a ridge and of a dot in CSS pixels, and of what is around them.
RIDGE, DOT, AROUND = 44, 24, 30

#: How far a ridge reaches, in distances between two.
REACH = 0.88

REFERENCE = "reference"

#: Longest name of a candidate that is written, in CSS pixels.
LONGEST = 96


def expressiveness_figure(found: Comparison) -> Figure:
    """Return how the conformities of candidates lie to those of a reference (Figure 13).

    Their distributions below that of the reference, and the shift of each mean with its interval;
    the most generic candidate comes first in both. Of an ellipsoid only the mean is known: then it
    is a line.
    """
    everyone = list(found.candidates.values())
    ridges = [everyone[i] for i in evenly(len(everyone), MOST_RIDGES)]
    dots = [everyone[i] for i in evenly(len(everyone), MOST_DOTS)]
    drawn = (
        rows_drawn(len(ridges), len(everyone), "distributions"),
        rows_drawn(len(dots), len(everyone), "shifts"),
    )
    known = "" if found.reference.conformity is not None else " (known by its mean alone)"
    return Figure(
        "expressiveness",
        "Figure 13",
        "How generic each candidate is",
        "The mean cosine of each row to all rows of the reference: high is generic, low is rare, "
        "and neither is better. On the right, the mean of each candidate minus that of the "
        f"reference; lines are {100 * found.interval:.4g} % intervals.",
        (_ridges(found, ridges), _shifts(found, dots)),
        tuple(_measures(found, dots)),
        f"{found.reference.count:,} rows of the reference{known}",
        " ".join(part for part in drawn if part),
    )


def _measures(found: Comparison, candidates: list[CandidateConformity]) -> list[Measure]:
    real = Measure("mean conformity of the reference", number(found.reference.mean))
    shifts = [Measure(f"shift, {one.name}", _interval(one)) for one in candidates]
    return [real, *shifts]


def _interval(one: CandidateConformity) -> str:
    shift = number(one.shift)
    return shift if one.shift_upper is None else f"{shift} ± {number(one.shift_upper - one.shift)}"


def _distributions(found: Comparison, candidates: list[CandidateConformity]) -> pl.DataFrame:
    """Return a row for each bin that is not empty; `place` 0 is the reference."""
    import polars as pl

    sets = {one.name: one.conformity for one in candidates}
    if found.reference.conformity is not None:
        sets = {REFERENCE: found.reference.conformity, **sets}
    first = int(found.reference.conformity is None)
    histograms = Histogram.together(BINS, *sets.values())
    frames = [
        pl.DataFrame(
            {
                "series": [name] * BINS,
                "place": [place] * BINS,
                "low": histogram.edges[:-1],
                "high": histogram.edges[1:],
                "count": histogram.counts,
                "share": histogram.counts / histogram.counts.sum(),
            }
        )
        for place, (name, histogram) in enumerate(zip(sets, histograms, strict=True), first)
    ]
    return pl.concat(frames)


def _ridges(found: Comparison, candidates: list[CandidateConformity]) -> Panel:
    import altair as alt
    import polars as pl

    frame = _distributions(found, candidates)
    greatest = max(frame["share"])
    raised = frame.with_columns(
        base=-pl.col("place"), top=REACH * pl.col("share") / greatest - pl.col("place")
    )
    own = pl.col("place") == 0
    first = min(frame["place"])
    places = range(first, 1 + len(candidates))
    names = dict(zip(places, frame["series"].unique(maintain_order=True), strict=True))
    x = alt.X("low:Q", title="conformity to the reference", scale=_scale(frame, found))
    y = alt.Y(
        "base:Q",
        title=None,
        scale=alt.Scale(domain=[-len(candidates), 1 - first], nice=False),
        axis=alt.Axis(
            values=[-place for place in places],
            # Of more than it counts, every other one is dropped.
            tickCount=len(places),
            labelExpr=_lookup(names),
            labelLimit=LONGEST,
            labelBaseline="bottom",
            labelOverlap=False,
            grid=False,
            ticks=False,
            domain=False,
        ),
    )
    bars = (
        alt.Chart(values(raised.filter(pl.col("count") > 0)))
        .mark_bar(binSpacing=0, opacity=0.75, aria=False)
        .encode(
            x=x,
            x2="high:Q",
            y=y,
            y2="top:Q",
            color=alt.condition("datum.place === 0", alt.value(theme.GREY), alt.value(theme.GREEN)),
            tooltip=[
                alt.Tooltip("series:N", title="rows of"),
                alt.Tooltip("low:Q", title="conformity from", format=".4f"),
                alt.Tooltip("high:Q", title="to", format=".4f"),
                alt.Tooltip("count:Q", title="rows", format=","),
                alt.Tooltip("share:Q", title="share", format=".2%"),
            ],
        )
    )
    floors = alt.Chart({"values": [{"base": -place} for place in places]})
    layers = [floors.mark_rule(color=theme.PALE, aria=False).encode(y=y), bars]
    if first == 0:
        layers.append(_outlines(raised.filter(own), places, x))
    layers.append(_mean(found))
    what = "dashed: the reference; line: its mean" if first == 0 else "line: mean of the reference"
    means = ", ".join(f"{one.name} {number(one.mean)}" for one in candidates)
    return Panel(
        "distributions",
        titled(alt.LayerChart(layer=layers), "Distributions", what),
        frame,
        f"Distributions of conformity of {len(candidates)} candidates, the most generic first, "
        f"beside a reference of mean {number(found.reference.mean)}. Means: {means}.",
        height=AROUND + RIDGE * len(places),
    )


def _outlines(own: pl.DataFrame, places: range, x: alt.X) -> alt.Chart:
    """Draw the outline of the reference behind every candidate, to compare with."""
    import altair as alt
    import polars as pl

    # A step ends at its right edge, and both ends of the outline are on the floor.
    low = pl.concat([own["low"].head(1), own["low"], own["high"].tail(1)])
    height = pl.concat([pl.Series("top", [0.0]), own["top"], pl.Series("top", [0.0])])
    steps = [
        {"place": place, "at": i, "low": at, "top": above - place}
        for place in places[1:]
        for i, (at, above) in enumerate(zip(low, height, strict=True))
    ]
    made: alt.Chart = (
        alt.Chart({"values": steps})
        .mark_line(
            interpolate="step-after",
            color=theme.BLACK,
            strokeWidth=1,
            strokeDash=[3, 2],
            aria=False,
        )
        .encode(x=x, y="top:Q", detail="place:N", order="at:O")
    )
    return made


def _mean(found: Comparison) -> alt.Chart:
    import altair as alt

    mean = {"low": found.reference.mean, "label": "mean of the reference"}
    made: alt.Chart = (
        alt.Chart({"values": [mean]})
        .mark_rule(color=theme.BLACK, strokeWidth=1.5)
        .encode(
            x="low:Q",
            tooltip=[
                alt.Tooltip("label:N", title="line"),
                alt.Tooltip("low:Q", title="at", format=".5~g"),
            ],
        )
    )
    return made


def _scale(frame: pl.DataFrame, found: Comparison) -> alt.Scale:
    """Return an axis that holds every bin, and the mean of the reference."""
    import altair as alt

    edges = np.array([*frame["low"], *frame["high"], found.reference.mean])
    return alt.Scale(domain=[float(edges.min()), float(edges.max())], nice=False)


def _lookup(names: dict[int, str]) -> str:
    """Return the expression of the name that belongs to a place on the axis."""
    import json

    texts = [names.get(place, "") for place in range(max(names) + 1)]
    return f"{json.dumps(texts)}[round(-datum.value)]"


def _shifts(found: Comparison, candidates: list[CandidateConformity]) -> Panel:
    import altair as alt
    import polars as pl

    columns = ("name", "count", "mean", "shift", "shift_lower", "shift_upper", "p_corrected")
    rows = [[getattr(one, name) for name in columns] for one in candidates]
    schema: Any = dict.fromkeys(columns, pl.Float64) | {"name": pl.String, "count": pl.Int64}
    frame = pl.DataFrame(rows, schema, orient="row")
    base = alt.Chart(values(frame)).encode(
        y=alt.Y(
            "name:N",
            title=None,
            sort=frame["name"].to_list(),
            # The format of numbers is not for names.
            axis=alt.Axis(
                format="",
                labelLimit=LONGEST,
                labelOverlap=False,
                grid=False,
                ticks=False,
                domain=False,
            ),
        ),
        tooltip=[
            alt.Tooltip("name:N", title="candidate"),
            alt.Tooltip("count:Q", title="rows", format=","),
            alt.Tooltip("mean:Q", title="mean conformity", format=".5f"),
            alt.Tooltip("shift:Q", title="shift", format="+.5f"),
            alt.Tooltip("shift_lower:Q", title="interval from", format="+.5f"),
            alt.Tooltip("shift_upper:Q", title="to", format="+.5f"),
            alt.Tooltip("p_corrected:Q", title="p (Holm)", format=".2g"),
        ],
    )
    title = "rarer  ←  shift of the mean  →  more generic"
    x = alt.X("shift:Q", title=title)
    reference = alt.Chart({"values": [{"shift": 0}]})
    known = base.transform_filter("isValid(datum.shift_lower)")
    layers = [
        reference.mark_rule(color=theme.GREY, aria=False).encode(x=x),
        known.mark_rule(color=theme.GREEN, strokeWidth=2.5, aria=False).encode(
            x=alt.X("shift_lower:Q", title=title), x2="shift_upper:Q"
        ),
        base.mark_point(color=theme.GREEN, fill=theme.GREEN, size=60, opacity=1, aria=False).encode(
            x=x
        ),
    ]
    words = "; ".join(f"{one.name} {_interval(one)}" for one in candidates)
    return Panel(
        "shifts",
        titled(
            alt.LayerChart(layer=layers),
            "Shift against the reference",
            f"mean and {100 * found.interval:.4g} % interval",
        ),
        frame,
        f"Shift of the mean conformity against the reference: {words}.",
        height=max(AROUND + DOT * len(candidates), 90),
    )
