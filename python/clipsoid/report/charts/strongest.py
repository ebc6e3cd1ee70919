"""The features that dominate each modality, or one set: Figure 3."""

# ruff: noqa: RUF001 (the sigma is meant)

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from clipsoid.report import theme
from clipsoid.report.figure import Figure, Measure, Panel
from clipsoid.report.marks import number, padded, percent, titled, values

if TYPE_CHECKING:
    import altair as alt
    import polars as pl

    from clipsoid.analysis import Analysis
    from clipsoid.analysis.parts import Modality
    from clipsoid.pair import StrongestFeatures

#: Features of each panel, and CSS pixels for each.
STRONGEST, BAR = 20, 14

#: Of the tables of a set, by the measure that each is sorted by: what is drawn, and its axis.
MEASURES = {"ratio": ("|m| / σ", "m / σ"), "mean": ("|m|", "m (units of the embedding)")}


def strongest_figure(found: Analysis | StrongestFeatures) -> Figure:
    """Return the features that dominate each modality, or a set, by two measures (Figure 3)."""
    from clipsoid.pair import StrongestFeatures

    if isinstance(found, StrongestFeatures):
        return _figure({"rows": {"ratio": found.by_ratio, "mean": found.by_mean}}, [])
    modalities = (found.image, found.text)
    tables = {m.name: dict.fromkeys(MEASURES, _strength(m)) for m in modalities}
    shares = []
    for modality in modalities:
        squares = np.sort(modality.mean**2)[::-1]
        share = squares[:10].sum() / squares.sum() if squares.any() else math.nan
        shares.append(
            Measure(f"share of |m|² in the ten greatest, {modality.name}", percent(share))
        )
    return _figure(tables, shares)


def _figure(sets: Mapping[str, Mapping[str, pl.DataFrame]], shares: list[Measure]) -> Figure:
    """Draw the table of each set by each measure."""
    import altair as alt

    measures, panels = [], []
    for column, (what, axis) in MEASURES.items():
        chosen = {name: _greatest(tables[column], column) for name, tables in sets.items()}
        together = [frame[column].to_numpy() for frame in chosen.values()]
        scale = alt.Scale(domain=padded(np.concatenate([[0.0], *together])), nice=False)
        for name, frame in chosen.items():
            if not frame.height:
                continue
            panels.append(_bars(name, frame, column, what, axis, scale))
            first = frame.row(0, named=True)
            measures.append(
                Measure(
                    f"greatest {what}, {name}",
                    f"{number(abs(first[column]), 3)} (feature {first['feature']:,})",
                )
            )
    each = "each modality" if len(sets) > 1 else "the rows"
    return Figure(
        "strongest-features",
        "Figure 3",
        f"The features that dominate {each}",
        f"The features, {STRONGEST} at most, whose mean lies farthest from zero: first in standard "
        "deviations of the feature, then in the units of the embedding. A bar to the left is a "
        "negative mean. The numbers beside the bars are those of the features, counted from 0.",
        tuple(panels),
        (*measures, *shares),
    )


def _strength(modality: Modality) -> pl.DataFrame:
    """Return mean, deviation and ratio of each feature; no ratio where it does not vary."""
    import polars as pl

    mean, std = modality.mean, modality.std
    ratio = np.divide(mean, std, out=np.full_like(mean, np.nan), where=std > 0)
    return pl.DataFrame(
        {"feature": np.arange(modality.dim), "mean": mean, "std": std, "ratio": ratio}
    )


def _greatest(table: pl.DataFrame, column: str) -> pl.DataFrame:
    """Return the features of the greatest magnitude, ties by the number."""
    import polars as pl

    known = table.filter(pl.col(column).is_finite())
    return known.sort(pl.col(column).abs(), "feature", descending=[True, False]).head(STRONGEST)


def _bars(
    name: str, frame: pl.DataFrame, column: str, what: str, axis: str, scale: alt.Scale
) -> Panel:
    """Return a bar for each feature, the strongest above."""
    import altair as alt

    bars = (
        alt.Chart(values(frame))
        .mark_bar(color=theme.MODALITY.get(name, theme.BLUE), height={"band": 0.7}, aria=False)
        .encode(
            x=alt.X(f"{column}:Q", title=axis, scale=scale),
            y=alt.Y(
                "feature:N",
                title="feature",
                sort=frame["feature"].to_list(),
                axis=alt.Axis(labelFontSize=11, ticks=False, domain=False, format="d"),
            ),
            tooltip=[
                alt.Tooltip("feature:N", title="feature"),
                alt.Tooltip("mean:Q", title="mean", format=".4~g"),
                alt.Tooltip("std:Q", title="standard deviation", format=".4~g"),
                alt.Tooltip("ratio:Q", title="m / σ", format=".4~g"),
            ],
        )
    )
    zero = alt.Chart({"values": [{"at": 0}]}).mark_rule(color=theme.GREY).encode(x="at:Q")
    named = f"{name.capitalize()}: {what}" if name in theme.MODALITY else what
    first = frame.row(0, named=True)
    return Panel(
        f"{column}-{name}",
        titled(alt.LayerChart(layer=[bars, zero]), named),
        frame,
        f"{named} of its {frame.height} strongest features, from feature {first['feature']} "
        f"({number(first[column], 3)}) to {number(frame[column][-1], 3)}.",
        max(60, BAR * frame.height),
    )
