"""An analysis as tables: its key figures, and the captions of the rows that it names."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from clipsoid._paper import NEITHER, PAPER
from clipsoid._sweeping import SAME_ALPHA

if TYPE_CHECKING:
    import polars as pl

    from clipsoid.analysis import Analysis
    from clipsoid.analysis.parts import Modality

#: A figure, of images and of texts, and both of the paper (ViT-B/32 on MS-COCO val).
Line = tuple[str, float | None, float | None, float | None, float | None]


#: What key figures are called where people read them, and how many decimals they have.
LABELS = {
    "center_ratio": ("centre ratio |m| / |sigma|", 4),
    "shell_mean": ("shell: mean |x - m|", 4),
    "shell_variance": ("shell: variance", 4),
    "shell_rms": ("shell: rms", 4),
    "shell_relative_error": ("shell: error of the mean", 4),
    "dominance_ratio": ("tilt: ODD over untilted, median", 4),
    "mean_conformity": ("conformity: mean", 4),
    "std_conformity": ("conformity: standard deviation", 4),
    "pearson": ("Pearson, conformity and cosine", 4),
    "slope": ("slope, conformity on cosine", 4),
    "inverse_slope": ("slope, cosine on conformity", 4),
    "false_negatives_spearman_conformity": ("Spearman, false negatives", 4),
    "recall_at_1": ("recall at 1", 4),
    "recall_at_5": ("recall at 5", 4),
    "recall_at_10": ("recall at 10", 4),
    "median_rank": ("median rank", 1),
    "anderson_darling_pass": ("normal when whitened, A-D", 4),
    "dagostino_pearson_pass": ("normal when whitened, K2", 4),
    "greatest_separability": ("greatest separability", 4),
    "svm_accuracy_two_features": ("SVM, best two features", 4),
    "svm_accuracy": ("SVM, all features", 4),
    "gap_of_means": ("gap between the means", 4),
    "gap_of_unit_means": ("gap between the unit means", 4),
    "loss": ("contrastive loss at alpha 0", 4),
    "best_alpha_of_loss": ("alpha of the least loss", 4),
    "kl_image_text": ("KL of the conformities", 4),
    "best_alpha_of_match": ("alpha of the least KL", 4),
}


def key_figures(found: Analysis) -> pl.DataFrame:
    """Return the key figures beside the paper's."""
    import polars as pl

    names = ("figure", "image", "text", "paper_image", "paper_text")
    types = [pl.String, *[pl.Float64] * 4]
    lines = [*_of_modalities(found), *_of_both(found)]
    return pl.DataFrame(lines, dict(zip(names, types, strict=True)), orient="row")


def _of_modalities(found: Analysis) -> Iterator[Line]:
    image, text = found.image, found.text

    def line(name: str, figures: tuple[float, float]) -> Line:
        return (name, *figures, *PAPER.get(name, NEITHER))

    def both(name: str) -> tuple[float, float]:
        return getattr(image, name), getattr(text, name)

    yield line("center_ratio", both("center_ratio"))
    for name in ("mean", "variance", "rms", "relative_error"):
        figures = getattr(image.shell, name), getattr(text.shell, name)
        yield line(f"shell_{name}", figures)
    yield line("dominance_ratio", both("dominance_ratio"))
    yield line("mean_conformity", both("mean_conformity"))
    yield line("std_conformity", both("std_conformity"))
    if image.calibration is not None and text.calibration is not None:
        for name in ("pearson", "slope", "inverse_slope"):
            figures = getattr(image.calibration, name), getattr(text.calibration, name)
            yield line(name, figures)
    if found.retrieval is not None:
        links = found.retrieval.image_link.spearman, found.retrieval.text_link.spearman
        name = "false_negatives_spearman_conformity"
        yield (name, links[0].conformity, links[1].conformity, None, None)
        ways = found.retrieval.image_to_text, found.retrieval.text_to_image
        for name in ("recall_at_1", "recall_at_5", "recall_at_10", "median_rank"):
            yield line(name, (getattr(ways[0], name), getattr(ways[1], name)))
    if found.normality is not None:
        tested = found.normality.image, found.normality.text
        for test in ("anderson_darling", "dagostino_pearson"):
            image_share, text_share = (
                None if one is None else getattr(one, f"{test}_fraction") for one in tested
            )
            yield (f"{test}_pass", image_share, text_share, None, None)


def _of_both(found: Analysis) -> Iterator[Line]:
    def line(name: str, figure: float | None) -> Line:
        return (name, figure, None, *PAPER.get(name, NEITHER))

    if found.separability is not None:
        largest = found.separability["separability"].to_numpy()
        yield line("greatest_separability", float(np.nanmax(largest)))
    if found.linear_separability is not None:
        part = found.linear_separability
        yield line("svm_accuracy_two_features", part.cross_validated_two)
        yield line("svm_accuracy", part.cross_validated_all)
    if found.gap is not None:
        yield line("gap_of_means", found.gap.raw_distance)
        yield line("gap_of_unit_means", found.gap.unit_distance)
    if found.loss_sweep is not None:
        sweep = found.loss_sweep
        for loss in where_given(sweep.table, "loss"):
            yield line("loss", loss)
        yield line("best_alpha_of_loss", sweep.best_alpha)
    if found.match_sweep is not None:
        for kl in where_given(found.match_sweep.table, "kl_image_text"):
            yield line("kl_image_text", kl)
        yield line("best_alpha_of_match", found.match_sweep.best_alpha)


def where_given(table: pl.DataFrame, column: str) -> list[float]:
    """Return a column at alpha 0, if the grid has it: no other stands beside the paper's."""
    at = np.flatnonzero(np.abs(table["alpha"].to_numpy()) <= SAME_ALPHA)[:1]
    return [float(figure) for figure in table[column].to_numpy()[at]]


def items(
    found: Analysis, captions: Sequence[str] | None, image_paths: Sequence[str] | None
) -> pl.DataFrame | None:
    """Return captions and paths of the rows that galleries and samples name."""
    if captions is None and image_paths is None:
        return None
    import polars as pl

    rows = np.unique(np.concatenate(list(_named_rows(found)))).tolist()
    columns: dict[str, list[str | None]] = {
        name: [None if values is None or values[row] is None else str(values[row]) for row in rows]
        for name, values in (("caption", captions), ("image_path", image_paths))
    }
    types = {"row": pl.Int64, "caption": pl.String, "image_path": pl.String}
    return pl.DataFrame({"row": rows, **columns}, types)


def _named_rows(found: Analysis) -> Iterator[np.ndarray]:
    def of(modality: Modality) -> Iterator[np.ndarray]:
        yield from (part.row for part in (modality.highest, modality.lowest, modality.sample))

    yield from of(found.image)
    yield from of(found.text)
    if found.conformity_difference is not None:
        yield found.conformity_difference.image_higher.row
        yield found.conformity_difference.text_higher.row
    if found.vslerp is not None and found.vslerp.nearest is not None:
        yield found.vslerp.nearest.index.ravel()
    if found.retrieval is not None:
        yield from (found.retrieval.image_link.row, found.retrieval.text_link.row)
