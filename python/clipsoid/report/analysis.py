"""The page of an analysis: its first screen, and the sections below it."""

# ruff: noqa: RUF001 (Greek letters are meant)

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clipsoid.report.blocks import Block, Page, Pair, Section, Table, Verdict
from clipsoid.report.charts.blur import blur_figure
from clipsoid.report.charts.calibration import calibration_figure
from clipsoid.report.charts.conformity import conformity_figure
from clipsoid.report.charts.difference import difference_figure
from clipsoid.report.charts.ellipsoid import ellipsoid_figure
from clipsoid.report.charts.features import features_figure, plane_figure
from clipsoid.report.charts.interpolation import interpolation_figure
from clipsoid.report.charts.matching import match_figure
from clipsoid.report.charts.normality import normality_figure
from clipsoid.report.charts.retrieval import retrieval_figure
from clipsoid.report.charts.shell import shell_figure
from clipsoid.report.charts.similarity import similarity_figure
from clipsoid.report.charts.strongest import strongest_figure
from clipsoid.report.charts.sweep import sweep_figure
from clipsoid.report.figure import Figure
from clipsoid.report.galleries import Shown, between, differing, ends, explorer
from clipsoid.report.marks import number

if TYPE_CHECKING:
    from clipsoid.analysis import Analysis

#: The format of what can be taken out of the page.
FORMAT = "clipsoid.analysis"

#: Features in the table of the most separable ones.
MOST_FEATURES = 20


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
    drawn = (draw(found) for draw in FIGURES.values())
    return tuple(figure for figure in drawn if figure is not None)


def analysis_figure(found: Analysis, key: str) -> Figure:
    """Return one figure of an analysis.

    Raises
    ------
    ValueError
        If no figure has the key, or its part was left out.
    """
    if key not in FIGURES:
        raise ValueError(f"figure={key!r}; wanted one of {', '.join(FIGURES)}")
    figure = FIGURES[key](found)
    if figure is None:
        there = ", ".join(one.key for one in analysis_figures(found))
        raise ValueError(f"figure={key!r}: its part is not in this analysis; wanted one of {there}")
    return figure


def _normality(found: Analysis) -> Figure | None:
    return None if found.normality is None else normality_figure(found.normality)


def _loss_sweep(found: Analysis) -> Figure | None:
    return None if found.loss_sweep is None else sweep_figure(found.loss_sweep)


def _matching(found: Analysis) -> Figure | None:
    return None if found.match_sweep is None else match_figure(found.match_sweep)


def _blur(found: Analysis) -> Figure | None:
    return None if found.blur is None else blur_figure(found.blur)


def _false_negatives(found: Analysis) -> Figure | None:
    return None if found.retrieval is None else retrieval_figure(found.retrieval)


def _interpolation(found: Analysis) -> Figure | None:
    if found.vslerp is None:
        return None
    return interpolation_figure(found.vslerp, ends=("the most common image", "the rarest"))


#: What draws each figure, by its key, in the order of the page; None where its part was left out.
FIGURES: dict[str, Callable[[Analysis], Figure | None]] = {
    "features": features_figure,
    "feature-plane": plane_figure,
    "strongest-features": strongest_figure,
    "similarity": similarity_figure,
    "shell": shell_figure,
    "ellipsoid": ellipsoid_figure,
    "normality": _normality,
    "loss-sweep": _loss_sweep,
    "matching": _matching,
    "blur": _blur,
    "conformity": conformity_figure,
    "calibration": calibration_figure,
    "difference": difference_figure,
    "false-negatives": _false_negatives,
    "interpolation": _interpolation,
}


def _sections(found: Analysis, shown: Shown) -> Iterator[Section]:
    """Yield the sections."""

    def section(key: str, title: str, intro: str, blocks: Iterator[Block | None]) -> Section:
        return Section(key, title, intro, tuple(block for block in blocks if block is not None))

    yield section(
        "apart",
        "Two modalities apart",
        "Images and texts lie in different places of one space: a few features tell them apart.",
        _figures(found, "features", "feature-plane", "strongest-features", "similarity"),
    )
    yield section(
        "ellipsoids",
        "Two ellipsoids",
        "Each modality is a thin shell around a centre that is not the origin, longer in some "
        "directions than in others, and tilted.",
        _figures(found, "shell", "ellipsoid", "normality"),
    )
    yield section(
        "centre",
        "The loss, and where the centre lies",
        "What the contrastive loss gains and pays as the centre of a modality moves, and how well "
        "the two distributions of conformity then match.",
        _figures(found, "loss-sweep", "matching", "blur"),
    )
    yield section(
        "common",
        "Common and rare",
        "Conformity is the mean cosine of an item to all others of its modality: high for what is "
        "common, low for what is rare.",
        _of_conformity(found, shown),
    )
    yield section(
        "between",
        "Between two images",
        "",
        _of_interpolation(found, shown),
    )
    yield section("figures", "All figures", "", iter(_tables(found)))


def _figures(found: Analysis, *keys: str) -> Iterator[Block | None]:
    yield from (FIGURES[key](found) for key in keys)


def _of_conformity(found: Analysis, shown: Shown) -> Iterator[Block | None]:
    figure = conformity_figure(found)
    yield figure
    both = zip((found.image, found.text), figure.panels, strict=True)
    yield Pair("rows", tuple(explorer(m, shown, f"{figure.key}-{panel.key}") for m, panel in both))
    if shown.has_items:
        yield ends(found.image, shown, "Figure 8")
        yield ends(found.text, shown, "Figure 8")
    yield from _figures(found, "calibration", "difference")
    part = found.conformity_difference
    if part is not None and shown.has_items:
        yield differing(part, shown)
    yield from _figures(found, "false-negatives")


def _of_interpolation(found: Analysis, shown: Shown) -> Iterator[Block | None]:
    if found.vslerp is not None and shown.has_items:
        yield between(found.vslerp, shown)
    yield from _figures(found, "interpolation")


def _tables(found: Analysis) -> Iterator[Table]:
    """Yield the key figures, and the features that separate best, to be sorted and copied."""
    from clipsoid.analysis.tables import LABELS

    names = ("image", "paper_image", "text", "paper_text")
    yield Table(
        "all-figures",
        "Key figures beside the paper's",
        ("figure", "image", "paper, image", "text", "paper, text"),
        tuple(
            (LABELS[row["figure"]][0], *(row[name] for name in names))
            for row in found.to_frame().iter_rows(named=True)
        ),
        "The paper's are of CLIP ViT-B/32 on the MS-COCO validation set. What is of both "
        "modalities stands under image.",
    )
    if found.separability is not None:
        frame = found.separability.head(MOST_FEATURES)
        yield Table(
            "features",
            "Features that separate best",
            tuple(name.replace("_", " ") for name in frame.columns),
            tuple(frame.rows()),
            f"The first {frame.height} of {found.separability.height:,}, counted from 0.",
        )


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
    from clipsoid.analysis.tables import where_given

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
        for kl in where_given(found.match_sweep.table, "kl_image_text"):
            yield "KL of the conformities", number(kl)
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
