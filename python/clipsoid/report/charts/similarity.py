"""All cosines: within the images, within the texts, and between the two; or of any sets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from clipsoid.report import theme
from clipsoid.report.figure import Figure, Measure, Panel
from clipsoid.report.marks import coarser, distributions, histogram_frame, number, rule, titled

if TYPE_CHECKING:
    from clipsoid.analysis import Analysis
    from clipsoid.analysis.figures import Histogram
    from clipsoid.histogram import SimilarityHistogram

#: What is compared, its colour and its dash.
STYLE = {**theme.STYLE, "between": (theme.GREEN, theme.SOLID)}

#: Bins of a histogram; of more, neighbours are drawn as one.
MOST_BINS = 200


def similarity_figure(found: Analysis) -> Figure | None:
    """Return the distributions of all cosines, and the gap between the modalities.

    None where the cosines were left out; without the gap where that was.
    """
    if found.similarities is None:
        return None
    parts = {name: getattr(found.similarities, name) for name in STYLE}
    ends = _ends(*parts.values())
    gap = found.gap
    paired = None if gap is None else gap.paired_cosine_mean
    within = {name: parts[name] for name in ("image", "text")}
    panels = (
        _panel("within", "Within each modality", within, ends, None),
        _panel("between", "Between images and texts", {"between": parts["between"]}, ends, paired),
    )
    measures = [
        Measure("mean cosine within the images", number(parts["image"].mean)),
        Measure("mean cosine within the texts", number(parts["text"].mean)),
        Measure("mean cosine between images and texts", number(parts["between"].mean)),
    ]
    if gap is not None:
        measures += [
            Measure("mean cosine of true pairs", number(gap.paired_cosine_mean)),
            Measure("cosine of the two means", number(gap.cosine_of_means)),
            Measure("distance of the two means (units of the embedding)", number(gap.raw_distance)),
            Measure("distance of the two unit means", number(gap.unit_distance)),
        ]
    pairs = "; the black one is the mean cosine of true pairs" if paired is not None else ""
    most, count = found.options.most_pairs, found.image.count
    return Figure(
        "similarity",
        "",
        "All cosines, and the modality gap",
        "The cosines of every row with every other row of its modality, and of every image with "
        f"every text. A vertical line in the colour of a histogram is its mean{pairs}. Where "
        "images and texts are less alike than rows of one modality, there is a gap between them.",
        panels,
        tuple(measures),
        drawn=f"{most:,} of {count:,} pairs of rows" if most < count else "",
    )


def histogram_figure(found: SimilarityHistogram) -> Figure:
    """Return one histogram of cosines, however it came about."""
    panel = _panel("cosines", "Distribution", {"all": found}, _ends(found), None)
    outside = f"{found.below:,} cosines below the first edge and {found.above:,} above the last"
    return Figure(
        "cosines",
        "",
        "Cosines of rows with rows",
        "How often each cosine is found. The vertical line is the mean of all of them.",
        (panel,),
        (Measure("mean cosine", number(found.mean)), Measure("cosines", f"{found.total:,}")),
        f"{found.total:,} cosines",
        f"{outside} are not drawn." if found.below or found.above else "",
    )


def _ends(*histograms: SimilarityHistogram) -> tuple[float, float]:
    """Return the ends of the bins that hold anything; of all bins if none does."""
    held = [np.flatnonzero(one.counts) for one in histograms]
    if not any(map(len, held)):
        return float(histograms[0].edges[0]), float(histograms[0].edges[-1])
    low = min(float(one.edges[at[0]]) for one, at in zip(histograms, held, strict=True))
    high = max(float(one.edges[at[-1] + 1]) for one, at in zip(histograms, held, strict=True))
    return low, high


def _within(ends: tuple[float, float], histogram: SimilarityHistogram) -> Histogram:
    """Return the bins between two edges: others would be marks outside the axis."""
    first, last = np.searchsorted(histogram.edges, ends)
    return coarser(histogram.edges[first : last + 1], histogram.counts[first:last], MOST_BINS)


def _panel(
    key: str,
    title: str,
    parts: dict[str, SimilarityHistogram],
    ends: tuple[float, float],
    paired: float | None,
) -> Panel:
    """Return histograms with their means, and the mean of the true pairs if there is one."""
    import polars as pl

    frame = histogram_frame({name: _within(ends, h) for name, h in parts.items()})
    # Of all cosines, those outside the edges included.
    totals = {name: max(1, h.total) for name, h in parts.items()}
    share = pl.col("count") / pl.col("series").replace_strict(totals)
    frame = frame.with_columns(share=share)
    style = {name: STYLE.get(name, (theme.BLUE, theme.SOLID)) for name in parts}
    rules = [
        rule(histogram.mean, f"mean, {name}", colour=style[name][0], dash=style[name][1])
        for name, histogram in parts.items()
        if ends[0] <= histogram.mean <= ends[1]
    ]
    words = "; ".join(
        f"{name}: {h.total:,} cosines, mean {number(h.mean)}" for name, h in parts.items()
    )
    subtitle = ", ".join(
        f"{name if len(parts) > 1 else 'mean'} {number(h.mean, 3)}" for name, h in parts.items()
    )
    if paired is not None:
        rules.append(rule(paired, "mean of true pairs", dash=theme.DASHED))
        words += f"; mean of true pairs {number(paired)}"
        subtitle += f"; true pairs {number(paired, 3)}"
    chart = distributions(
        frame, "cosine", style, y="share of cosines", of="cosines", ends=ends, rules=rules
    )
    return Panel(key, titled(chart, title, subtitle), frame, f"Histograms of cosines. {words}.")
