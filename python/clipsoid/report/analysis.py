"""The page of an analysis: its first screen, and the sections below it."""

# ruff: noqa: RUF001 (Greek letters are meant)

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clipsoid.report.blocks import Block, Page, Pair, Section, Verdict
from clipsoid.report.charts.conformity import conformity_figure
from clipsoid.report.charts.sweep import sweep_figure
from clipsoid.report.figure import Figure
from clipsoid.report.galleries import Shown, between, differing, ends, explorer
from clipsoid.report.marks import number

if TYPE_CHECKING:
    from clipsoid.analysis import Analysis

#: The format of what can be taken out of the page.
FORMAT = "clipsoid.analysis"

#: Features in the table of the most separable ones.
MOST_FEATURES = 50


def analysis_page(found: Analysis, *, title: str | None = None, root: Path | None = None) -> Page:
    """Return all that a report of an analysis says.

    Parameters
    ----------
    found : Analysis
    title : str, optional
    root : Path, optional
        Where image paths begin that are not absolute.
    """
    shown = Shown(found, root)
    sections = tuple(section for section in _sections(found, shown) if section.blocks)
    pictures = shown.pictures
    return Page(
        title or "Two ellipsoids: images and texts",
        _summary(found),
        tuple(_verdict(one) for one in found.verdicts),
        tuple(_key_figures(found)),
        (*found.warnings, *([pictures.missing_words] if pictures.missing else ())),
        sections,
        tuple(_made(found)),
        tuple(pictures.made),
        {"format": FORMAT, "text": found.to_json()},
    )


def analysis_figures(found: Analysis) -> tuple[Figure, ...]:
    """Return the figures of an analysis, in the order of the page."""
    blocks = (block for section in _sections(found, None) for block in section.blocks)
    return tuple(block for block in blocks if isinstance(block, Figure))


def _sections(found: Analysis, shown: Shown | None) -> Iterator[Section]:
    """Yield the sections; without rows to be shown, their figures alone."""

    def section(key: str, title: str, intro: str, blocks: Iterator[Block | None]) -> Section:
        return Section(key, title, intro, tuple(block for block in blocks if block is not None))

    yield section(
        "centre",
        "The loss, and where the centre lies",
        "What the contrastive loss gains and pays as the centre of a modality moves.",
        _of_centre(found),
    )
    yield section(
        "common",
        "Common and rare",
        "Conformity is the mean cosine of an item to all others: high for what is common.",
        _of_conformity(found, shown),
    )


def _of_centre(found: Analysis) -> Iterator[Block | None]:
    if found.loss_sweep is not None:
        yield sweep_figure(found.loss_sweep)


def _of_conformity(found: Analysis, shown: Shown | None) -> Iterator[Block | None]:
    figure = conformity_figure(found)
    yield figure
    if shown is not None:
        both = zip((found.image, found.text), figure.panels, strict=True)
        explorers = (explorer(m, shown, f"{figure.key}-{panel.key}") for m, panel in both)
        yield Pair("rows", tuple(explorers))
        if shown.has_items:
            yield ends(found.image, shown, "Figure 8")
            yield ends(found.text, shown, "Figure 8")
    part = found.conformity_difference
    if part is not None and shown is not None and shown.has_items:
        yield differing(part, shown)


def _of_interpolation(found: Analysis, shown: Shown | None) -> Iterator[Block | None]:
    if found.vslerp is not None and shown is not None and shown.has_items:
        yield between(found.vslerp, shown)


def _summary(found: Analysis) -> str:
    image, text = found.image, found.text
    kind = "normalised" if image.is_normalized or text.is_normalized else "raw"
    types = " and ".join(sorted({*image.dtypes, *text.dtypes}))
    return (
        f"{image.count:,} pairs of {image.dim} features, {types}, {kind}; "
        f"temperature {found.options.temperature:g}"
    )


def _verdict(one: Any) -> Verdict:
    detail = one.reason or f"{one.figure}; wanted {one.rule}"
    return Verdict(one.name, one.holds, detail)


def _key_figures(found: Analysis) -> Iterator[tuple[str, str]]:
    """Yield the figures of the first screen."""

    def both(name: str, measure: str, decimals: int) -> tuple[str, str]:
        image, text = (getattr(m, measure) for m in (found.image, found.text))
        return f"{name}, image · text", f"{number(image, decimals)} · {number(text, decimals)}"

    yield both("mean conformity", "mean_conformity", 3)
    yield both("centre ratio", "center_ratio", 3)
    yield both("tilt over untilted", "dominance_ratio", 2)
    if found.gap is not None:
        yield "gap between the means", number(found.gap.raw_distance, 3)
    if found.loss_sweep is not None:
        yield "α of the least loss", number(found.loss_sweep.best_alpha, 2)
    if found.match_sweep is not None:
        table = found.match_sweep.table
        at = int(table["alpha"].abs().arg_min() or 0)
        yield "KL of the conformities", number(float(table["kl_image_text"][at]))
        yield "α of the least KL", number(found.match_sweep.best_alpha, 2)
    part = found.retrieval
    if part is not None:
        ways = (part.image_to_text.recall_at_1, part.text_to_image.recall_at_1)
        yield "recall at 1, image → text · back", " · ".join(f"{way:.1%}" for way in ways)
        links = (part.image_link.spearman.conformity, part.text_link.spearman.conformity)
        yield "false negatives and conformity", " · ".join(number(link, 2) for link in links)


def _made(found: Analysis) -> Iterator[tuple[str, str]]:
    o = found.options
    yield "version of clipsoid", found.version
    yield "pairs", f"{found.image.count:,}"
    yield "features", f"{found.image.dim:,}"
    for m in (found.image, found.text):
        kind = "normalised" if m.is_normalized else "raw"
        low, high = number(m.norms.min, 3), number(m.norms.max, 3)
        yield f"{m.name} rows", f"{', '.join(m.dtypes)}, {kind}, norms {low} to {high}"
    yield "temperature", f"{o.temperature:g}"
    yield "centre that moves", o.shift
    yield "alphas", f"{len(o.alphas)}, {number(min(o.alphas), 2)} to {number(max(o.alphas), 2)}"
    yield "bins", str(o.bins)
    yield "rows drawn, at most", f"{o.sample_rows:,}"
    yield "pairs compared with all, at most", f"{o.most_pairs:,}"
    yield "seed", str(o.seed)
    yield "left out", ", ".join(o.left_out) or "nothing"
