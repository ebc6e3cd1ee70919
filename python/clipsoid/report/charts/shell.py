"""How far rows lie from their mean: Figure 4."""

# ruff: noqa: RUF001 (the sigma and the minus sign are meant)

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from clipsoid.report import theme
from clipsoid.report.figure import Figure, Measure, Panel
from clipsoid.report.marks import (
    distributions,
    histogram_frame,
    number,
    paper,
    percent,
    rows_drawn,
    rule,
    titled,
)

if TYPE_CHECKING:
    import polars as pl

    from clipsoid.analysis import Analysis
    from clipsoid.analysis.parts import Modality


def _two_decimals(value: float) -> str:
    return number(value, 2)


#: What is measured, how, and by which name the paper's figure is known.
MEASURES: tuple[tuple[str, Callable[[Modality], float], str, Callable[[float], str]], ...] = (
    ("mean radius", lambda m: m.shell.mean, "shell_mean", number),
    ("variance of the radii", lambda m: m.shell.variance, "shell_variance", number),
    ("root mean square of the radii, |σ|", lambda m: m.shell.rms, "shell_rms", number),
    ("error of the mean radius", lambda m: m.shell.relative_error, "shell_relative_error", percent),
    ("mean norm", lambda m: m.norms.mean, "", number),
    ("centre ratio |m| / |σ|", lambda m: m.center_ratio, "center_ratio", _two_decimals),
)


def shell_figure(found: Analysis) -> Figure:
    """Return radii, norms, and deviations of the first features (Figure 4)."""
    modalities = (found.image, found.text)
    furthest = max(
        float(part.edges[-1]) for m in modalities for part in (m.radii, m.norm_histogram)
    )
    radii = histogram_frame({m.name: m.radii for m in modalities})
    norms = histogram_frame({m.name: m.norm_histogram for m in modalities})
    panels = [
        _from_zero(
            "radii",
            "Radii: distance from the mean",
            "|x − m| (units of the embedding)",
            radii,
            {m.name: m.shell.mean for m in modalities},
            furthest,
        ),
        _from_zero(
            "norms",
            "Norms: distance from the origin",
            "|x| (units of the embedding)",
            norms,
            {m.name: m.norms.mean for m in modalities},
            furthest,
        ),
        *_deviations(modalities),
    ]
    measures = [
        Measure(f"{what}, {m.name}", write(value(m)), paper(name, m.name, write))
        for what, value, name, write in MEASURES
        for m in modalities
    ]
    unit = [m.name for m in modalities if m.is_normalized]
    note = (
        f" The {' and '.join(unit)} rows are normalised: this is the unit sphere." if unit else ""
    )
    return Figure(
        "shell",
        "Figure 4",
        "The shell: distances from the mean",
        "In a thin shell all rows lie at nearly the same distance from their mean, and none near "
        "it, although each feature by itself is densest near its own mean. First the distances, "
        "from the mean and from the origin; vertical lines mark their means. Then the deviations "
        f"of the first features, one line for each.{note}",
        tuple(panels),
        tuple(measures),
        drawn=rows_drawn(len(found.image.sample.row), found.image.count, "rows in the deviations"),
    )


def _from_zero(
    key: str, title: str, axis: str, frame: pl.DataFrame, means: dict[str, float], furthest: float
) -> Panel:
    """Return lengths of both modalities, on an axis that begins at 0."""
    rules = [
        rule(mean, f"mean, {name}", colour=theme.MODALITY[name], dash=theme.DASH[name])
        for name, mean in means.items()
    ]
    chart = distributions(frame, axis, theme.STYLE, ends=(0, 1.02 * furthest), rules=rules)
    words = "; ".join(f"{name}: mean {number(mean)}" for name, mean in means.items())
    return Panel(key, titled(chart, title), frame, f"Histograms of both modalities. {words}.")


def _deviations(modalities: tuple[Modality, ...]) -> list[Panel]:
    """Return step lines of the first features that vary, for each modality."""
    frames = [_density(modality) for modality in modalities]
    reach = max(
        (abs(end) for frame in frames for end in (*frame["low"], *frame["high"])), default=1.0
    )
    return [
        _steps(modality, frame, reach)
        for modality, frame in zip(modalities, frames, strict=True)
        if frame.height
    ]


def _density(modality: Modality) -> pl.DataFrame:
    """Return the deviations as densities: bins of different widths compare."""
    import polars as pl

    histograms = {
        str(k): histogram
        for k, histogram in enumerate(modality.centred_features)
        if modality.std[k] > 0 and np.count_nonzero(histogram.counts) > 1
    }
    if not histograms:
        return pl.DataFrame(schema=["feature", "low", "high", "count", "density"])
    width = pl.col("high") - pl.col("low")
    return histogram_frame(histograms).select(
        pl.col("series").cast(pl.Int64).alias("feature"),
        "low",
        "high",
        "count",
        (pl.col("share") / width).alias("density"),
    )


def _steps(modality: Modality, frame: pl.DataFrame, reach: float) -> Panel:
    """Return a step line for each feature."""
    import altair as alt

    corners: list[dict[str, Any]] = []
    for bins in frame.partition_by("feature", maintain_order=True):
        rows = bins.select("feature", "low", "density").rows(named=True)
        up, down = rows[0] | {"density": 0.0}, rows[-1] | {"low": bins["high"][-1], "density": 0.0}
        std = float(modality.std[rows[0]["feature"]])
        corners += [row | {"std": std} for row in (up, *rows, down)]
    lines = (
        alt.Chart({"values": corners})
        .mark_line(
            interpolate="step-after",
            color=theme.MODALITY[modality.name],
            strokeWidth=1.1,
            opacity=0.55,
            aria=False,
        )
        .encode(
            x=alt.X(
                "low:Q",
                title="deviation from the feature's mean",
                scale=alt.Scale(domain=[-reach, reach], nice=False),
            ),
            y=alt.Y("density:Q", title="density"),
            detail="feature:N",
            tooltip=[
                alt.Tooltip("feature:N", title="feature"),
                alt.Tooltip("std:Q", title="standard deviation", format=".4~g"),
            ],
        )
    )
    count = frame["feature"].n_unique()
    return Panel(
        f"deviations-{modality.name}",
        titled(lines, f"{modality.name.capitalize()}: deviations of {count} features"),
        frame,
        f"Densities of the deviations of {count} features from their means, {modality.name}: a "
        "line for each, all around 0.",
    )
