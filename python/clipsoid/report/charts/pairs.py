"""What is known of pairs: losses, ranks, false negatives, and how a plane tells two sets apart."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from clipsoid.errors import UnavailableError
from clipsoid.report import theme
from clipsoid.report.charts.ranked import over_rank
from clipsoid.report.figure import Figure, Measure, Panel
from clipsoid.report.marks import (
    LINE_SYMBOLS,
    PLENTY,
    distributions,
    histogram_frame,
    number,
    percent,
    ranks,
    rule,
    titled,
    values,
)

if TYPE_CHECKING:
    from clipsoid.contrast import ContrastiveLoss
    from clipsoid.retrieval import RetrievalRanks
    from clipsoid.rivals import FalseNegatives, Rivals

Array = NDArray[np.float64]

#: Both directions: colour and dash.
WAYS = {
    "image to text": (theme.BLUE, theme.SOLID),
    "text to image": (theme.VERMILION, theme.DASHED),
}

BINS = 50

#: Of the greatest loss: nothing less is on the logarithmic axis.
LEAST_LOSS = 1e-6


def loss_figure(found: ContrastiveLoss) -> Figure:
    """Return the losses of the pairs: their distribution, and from the greatest to the least.

    Raises
    ------
    UnavailableError
        If they were not kept.
    """
    losses = (found.per_pair_image_to_text, found.per_pair_text_to_image)
    if losses[0] is None or losses[1] is None:
        raise UnavailableError(
            "a plot of a contrastive loss: the losses of the pairs were not kept; ask for them by "
            "contrastive_loss(image, text, per_pair=True)"
        )
    sets = dict(zip(WAYS, (losses[0], losses[1]), strict=True))
    return Figure(
        "losses",
        "",
        "The contrastive loss, pair by pair",
        "Each pair's own loss in both directions; vertical lines are the means, whose mean is the "
        "loss. A pair loses log 2 or more where some other candidate is as near as the partner.",
        (_loss_distribution(sets), _loss_ranked(sets)),
        (
            Measure("loss (nats)", number(found.loss)),
            *(Measure(f"loss, {way} (nats)", number(float(x.mean()))) for way, x in sets.items()),
        ),
        f"{found.count:,} pairs, temperature {found.temperature:g}, loss {number(found.loss)} nats",
    )


def _loss_distribution(sets: Mapping[str, Array]) -> Panel:
    from clipsoid.analysis.figures import Histogram

    histograms = Histogram.together(BINS, *sets.values())
    frame = histogram_frame(dict(zip(sets, histograms, strict=True)))
    rules = [
        rule(float(x.mean()), f"mean, {way}", colour=WAYS[way][0], dash=WAYS[way][1])
        for way, x in sets.items()
    ]
    chart = distributions(
        frame,
        "loss of a pair (nats)",
        WAYS,
        y="share of pairs (root scale)",
        of="pairs",
        root=True,
        rules=rules,
    )
    words = "; ".join(f"{way}: mean {number(float(x.mean()))}" for way, x in sets.items())
    return Panel(
        "distribution",
        titled(chart, "Distribution"),
        frame,
        f"Histograms of the losses of {len(next(iter(sets.values()))):,} pairs. "
        f"{words.capitalize()}.",
    )


def _loss_ranked(sets: Mapping[str, Array]) -> Panel:
    import polars as pl

    at = ranks(len(next(iter(sets.values()))))
    frame = pl.concat(
        pl.DataFrame({"series": [way] * len(at), "rank": at + 1, "loss": np.sort(x)[::-1][at]})
        for way, x in sets.items()
    )
    least = LEAST_LOSS * max(float(x.max()) for x in sets.values())
    frame = frame.with_columns(pl.when(pl.col("loss") > least).then(pl.col("loss")))
    ends = "; ".join(f"{way}: from {x.max():.3g} to {x.min():.3g}" for way, x in sets.items())
    return Panel(
        "ranked",
        titled(
            over_rank(frame, "loss", "loss (nats, log scale)", "rank of the pair", WAYS),
            "From the greatest to the least",
        ),
        frame,
        f"Losses of pairs in descending order. {ends.capitalize()}.",
    )


def ranks_figure(found: RetrievalRanks) -> Figure:
    """Return the recall at every number of candidates looked at, in both directions."""
    import altair as alt
    import polars as pl

    sets = dict(zip(WAYS, (found.image_to_text, found.text_to_image), strict=True))
    candidates = (len(found.text_to_image), len(found.image_to_text))
    last = max(candidates)
    at = _counts(last)
    frame = pl.concat(
        pl.DataFrame(
            {
                "series": [way] * len(at),
                "k": at,
                "recall": np.searchsorted(np.sort(x), at, side="right") / len(x),
            }
        )
        for way, x in sets.items()
    )
    style: dict[str, Any] = dict(WAYS)
    # Where an image has several texts, the best of them counts: chance is no simple share.
    if candidates[0] == candidates[1]:
        style["by chance"] = (theme.GREY, theme.DOTTED)
        chance = {"series": ["by chance"] * len(at), "k": at, "recall": at / last}
        frame = pl.concat([frame, pl.DataFrame(chance)])
    colours, dashes = zip(*style.values(), strict=True)
    legend = alt.Legend(**LINE_SYMBOLS)
    chart = (
        alt.Chart(values(frame))
        .mark_line(
            strokeWidth=2,
            interpolate="step-after",
            aria=False,
            point={"opacity": 0, "size": 60},
        )
        .encode(
            x=alt.X(
                "k:Q",
                title="k, candidates looked at (logarithmic)",
                scale=alt.Scale(type="log", domain=[1, max(2, last)], nice=False),
                axis=alt.Axis(values=[f * 10**e for e in range(10) for f in (1, 3)]),
            ),
            y=alt.Y(
                "recall:Q",
                title="recall at k",
                scale=alt.Scale(domain=[0, 1], nice=False),
                axis=alt.Axis(format="~%"),
            ),
            color=alt.Color(
                "series:N",
                scale=alt.Scale(domain=list(style), range=list(colours)),
                legend=legend,
            ),
            strokeDash=alt.StrokeDash(
                "series:N",
                scale=alt.Scale(domain=list(style), range=[list(dash) for dash in dashes]),
                legend=legend,
            ),
            tooltip=[
                alt.Tooltip("series:N", title="direction"),
                alt.Tooltip("k:Q", title="k", format=","),
                alt.Tooltip("recall:Q", title="recall", format=".2%"),
            ],
        )
    )
    first = found.recall(1)
    words = f"image to text {percent(first[0], 1)}, text to image {percent(first[1], 1)}"
    measures = [
        Measure(f"recall at {k}, {way}", percent(share, 1))
        for k in (1, 5, 10)
        for way, share in zip(WAYS, found.recall(k), strict=True)
    ]
    measures += [
        Measure(f"median rank, {way}", number(rank, 1))
        for way, rank in zip(WAYS, found.median_rank, strict=True)
    ]
    return Figure(
        "recall",
        "",
        "Recall at k",
        "The share of rows whose partner is among the k nearest candidates of the other modality.",
        (
            Panel(
                "recall",
                titled(chart, "Recall over k", f"at 1: {words}"),
                frame,
                f"Recall over k from 1 to {last:,}. At 1: {words}.",
                220,
            ),
        ),
        tuple(measures),
        f"{len(found.image_to_text):,} images, {len(found.text_to_image):,} texts",
    )


def _counts(last: int) -> NDArray[np.int64]:
    """Return the first numbers up to the last, and of the rest some by their logarithm."""
    if last <= PLENTY // 2:
        return np.arange(1, last + 1)
    spread = np.geomspace(1, last, PLENTY // 4).round().astype(np.int64)
    return np.unique(np.concatenate([np.arange(1, PLENTY // 4), spread, [last]]))


def rivals_figure(found: FalseNegatives | Rivals) -> Figure:
    """Return how many rows have how many false negatives."""
    from clipsoid.rivals import FalseNegatives

    if not isinstance(found, FalseNegatives):
        counts = {"rows": found.count}
        what, made = "rivals", f"{len(found):,} rows"
        links: list[Measure] = []
    else:
        counts = {"image": found.image_to_text.count, "text": found.text_to_image.count}
        what, made = "false negatives", f"{len(found.image_to_text):,} pairs"
        links = [
            Measure(f"Spearman, {what} and conformity, {name}", number(one.conformity, 3))
            for name, one in (("image", found.image_spearman), ("text", found.text_spearman))
        ]
    panel = _rivals(counts, what)
    shares = [
        Measure(f"{figure}, {name}", value)
        for name, x in counts.items()
        for figure, value in (
            ("rows with one or more", percent(float((x > 0).mean()), 1)),
            ("mean number", number(float(x.mean()), 2)),
        )
    ]
    return Figure(
        "rivals",
        "Section 6",
        f"How many {what} rows have",
        "A false negative of an item is a candidate that scores above its partner.",
        (panel,),
        (*shares, *links),
        made,
    )


def _rivals(counts: Mapping[str, NDArray[np.int64]], what: str) -> Panel:
    """Return the share of rows with none, with one, and with more by powers of two."""
    import altair as alt
    import polars as pl

    most = max(int(x.max(initial=0)) for x in counts.values())
    starts = [0, *(2**i for i in range(most.bit_length()))]
    ends = [0, *(2 * start - 1 for start in starts[1:])]
    labels = [
        f"{low:,}" if low == high else f"{low:,} to {high:,}"
        for low, high in zip(starts, ends, strict=True)
    ]
    edges = [*starts, ends[-1] + 1]
    frame = pl.concat(
        pl.DataFrame(
            {
                "series": [name] * len(labels),
                "number": labels,
                "low": starts,
                "high": ends,
                "rows": in_bins,
                "share": in_bins / max(1, len(x)),
            }
        )
        for name, x in counts.items()
        for in_bins in [np.histogram(x, edges)[0]]
    )
    colours = {name: colour for name, (colour, _) in theme.styles(counts).items()}
    chart = (
        alt.Chart(values(frame))
        .mark_bar(aria=False, opacity=0.85)
        .encode(
            x=alt.X(
                "number:N",
                title=what,
                sort=labels,
                # The format of numbers is not for names.
                axis=alt.Axis(labelAngle=-40, format="", ticks=False),
            ),
            xOffset=alt.XOffset("series:N", sort=list(colours)),
            y=alt.Y("share:Q", title="share of rows", axis=alt.Axis(format="~%")),
            color=alt.Color(
                "series:N",
                scale=alt.Scale(domain=list(colours), range=list(colours.values())),
                legend=alt.Legend(symbolType="square") if len(colours) > 1 else None,
            ),
            tooltip=[
                alt.Tooltip("series:N", title="rows of"),
                alt.Tooltip("number:N", title=what),
                alt.Tooltip("rows:Q", title="rows", format=","),
                alt.Tooltip("share:Q", title="share", format=".2%"),
            ],
        )
    )
    words = "; ".join(
        f"{name}: {percent(float((x > 0).mean()), 1)} of the rows have one or more, one has "
        f"{int(x.max(initial=0)):,}"
        for name, x in counts.items()
    )
    some = ", ".join(
        f"{name} {percent(float((x > 0).mean()), 1)}"
        if len(counts) > 1
        else percent(float((x > 0).mean()), 1)
        for name, x in counts.items()
    )
    return Panel(
        "counts",
        titled(chart, "Rows by their number", f"with one or more: {some}"),
        frame,
        f"Share of rows by the number of {what}. {words.capitalize()}.",
        200,
    )
