"""Figure 11 of the paper: how the two conformities match as the centre of a modality moves."""

# ruff: noqa: RUF001 (the alpha is meant)

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from clipsoid._sweeping import SAME_ALPHA
from clipsoid.report import theme
from clipsoid.report.charts.distributions import chosen, places_panel, slider_panel
from clipsoid.report.charts.lines import (
    AXES,
    MOVED,
    MOVES,
    Line,
    Lines,
    alpha_words,
    drawn,
    with_least,
)
from clipsoid.report.figure import Figure, Measure, Panel
from clipsoid.report.marks import number, paper

if TYPE_CHECKING:
    import altair as alt
    import polars as pl

    from clipsoid.matching import MatchSweep

#: Divergences that span more than this factor are drawn on a logarithmic axis.
WIDE = 30

#: Both directions of a divergence: label, colour and dash.
DIRECTIONS = {
    "image_text": ("images from texts", theme.PURPLE, theme.SOLID),
    "text_image": ("texts from images", theme.GREEN, theme.DASHED),
}


def match_figure(sweep: MatchSweep) -> Figure:
    """Return a sweep of the match of conformity in six panels (Figure 11).

    The divergence of the histograms, with the least marked; both distributions at one alpha, which
    a slider moves; that of the kernel densities; where both distributions lie at every alpha;
    Jensen-Shannon; and the Wasserstein distance. Intervals are drawn where the sweep has them.
    """
    table = sweep.table.sort("alpha")
    alphas: list[float] = table["alpha"].to_list()
    axis = AXES[sweep.options.shift]
    kl = _divergence(table, "kl", "KL divergence of the histograms", f"{sweep.options.bins} bins")
    least = float(table[sweep.best_by][int(table[sweep.best_by].arg_min() or 0)])
    kde = _divergence(table, "kde_kl", "KL divergence of smooth densities", "Gaussian kernels")
    others = (
        _single(table, "js", "Jensen-Shannon divergence", "of the histograms", "nats"),
        _single(table, "wasserstein", "Wasserstein distance", "of the samples", "conformity"),
    )
    shown = chosen(sweep.histograms)
    of_kl = dict(zip(table["alpha"], table[sweep.best_by], strict=True))
    panels = (
        _panel(kl, with_least(kl, alphas, axis, sweep.best_alpha, least), table),
        slider_panel(shown, of_kl),
        _panel(kde, drawn(kde, alphas, axis), table),
        places_panel(sweep.histograms, axis),
        *(_panel(one, drawn(one, alphas, axis), table) for one in others),
    )
    many = len(set(alphas))
    return Figure(
        "matching",
        "Figure 11",
        f"Match of the conformities as the {MOVED[sweep.options.shift]}",
        "How far the conformities of the images are from those of the texts, by four measures; 0 "
        "is a perfect match. If they match best near α = 0, both modalities lie where common "
        "images meet common texts. Values depend on the estimator, the place of the least much "
        "less. The slider moves α.",
        panels,
        tuple(_measures(sweep)),
        _made(sweep),
        "" if len(shown) == many else f"The slider has {len(shown)} of {many:,} alphas.",
    )


def _measures(sweep: MatchSweep) -> Iterator[Measure]:
    table = sweep.table
    at = int(table["alpha"].abs().arg_min() or 0)
    near = alpha_words(table["alpha"][at])
    yield Measure("α of the least KL, images from texts", number(sweep.best_alpha, 2), "0")
    given = abs(table["alpha"][at]) <= SAME_ALPHA
    for name, label in (
        ("kl_image_text", "KL, images from texts"),
        ("kl_text_image", "KL, texts from images"),
        ("kde_kl_image_text", "KL of smooth densities, images from texts"),
        ("js", "Jensen-Shannon"),
        ("wasserstein", "Wasserstein"),
    ):
        # The paper's is that of the rows as they are.
        printed = paper(name) if given else ""
        yield Measure(f"{label}, at α = {near}", number(table[name][at]), printed)


def _made(sweep: MatchSweep) -> str:
    o = sweep.options
    rows = "normalised" if o.is_normalized else "raw"
    many = f"{o.image_count:,} images and {o.text_count:,} texts"
    if o.image_count == o.text_count:
        many = f"{o.image_count:,} images and as many texts"
    covered = "" if o.interval is None else f"; bands: {100 * o.interval:g} % intervals"
    return f"{many}, {rows} rows; {MOVES[sweep.options.shift]}{covered}"


def _divergence(table: pl.DataFrame, kind: str, title: str, subtitle: str) -> Lines:
    """Return a divergence in both directions."""
    lines = tuple(
        _line(table, f"{kind}_{way}", label, colour, dash)
        for way, (label, colour, dash) in DIRECTIONS.items()
    )
    known = [value for line in lines for value in line.known]
    is_log = min(known) > 0 and max(known) > WIDE * min(known)
    unit = "divergence (nats, log scale)" if is_log else "divergence (nats)"
    return Lines(kind, title, subtitle, unit, lines, is_log)


def _single(table: pl.DataFrame, column: str, title: str, subtitle: str, unit: str) -> Lines:
    """Return a divergence that has one direction."""
    kind = "distance" if column == "wasserstein" else "divergence"
    return Lines(
        column,
        title,
        subtitle,
        f"{kind} ({unit})",
        (_line(table, column, title, theme.BLACK, theme.SOLID),),
    )


def _line(table: pl.DataFrame, column: str, label: str, colour: str, dash: tuple[int, int]) -> Line:
    """Return a column as a line, with its interval where the table has one."""
    band = None
    if f"{column}_lower" in table.columns:
        band = (table[f"{column}_lower"].to_list(), table[f"{column}_upper"].to_list())
    return Line(label, table[column].to_list(), colour, dash, band)


def _panel(lines: Lines, chart: alt.LayerChart, table: pl.DataFrame) -> Panel:
    """Return the panel of some columns of the table."""
    columns = [
        name
        for name in table.columns
        if name == lines.key
        or name.startswith((f"{lines.key}_image", f"{lines.key}_text"))
        or name in (f"{lines.key}_lower", f"{lines.key}_upper")
    ]
    start, stop = table["alpha"][0], table["alpha"][-1]
    return Panel(
        lines.key,
        chart,
        table.select("alpha", *columns),
        f"{lines.title} over alpha from {alpha_words(start)} to {alpha_words(stop)}: "
        f"{lines.subtitle}.",
    )
