"""The whole paper on two sets: every property, figure and verdict in one result."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from operator import index
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from clipsoid._checks import checked_count, checked_seed
from clipsoid._gather import modalities
from clipsoid._json import decode, encode
from clipsoid._native import __version__
from clipsoid._source import check_threads
from clipsoid._sweeping import Shift, job
from clipsoid.analysis import compute, tables
from clipsoid.analysis.compute import PARTS
from clipsoid.analysis.figures import Gallery, Histogram, Sample
from clipsoid.analysis.notebook import InNotebooks
from clipsoid.analysis.opened import opened
from clipsoid.analysis.parts import (
    AnalysisOptions,
    Differences,
    DirectionFigures,
    FeatureHistograms,
    FeaturePlane,
    Link,
    Modality,
    Normalities,
    Retrieval,
    Similarities,
)
from clipsoid.analysis.verdicts import Verdict, cautions, verdicts
from clipsoid.blur import BlurExperiment
from clipsoid.errors import MismatchError, ShapeError
from clipsoid.gap import ModalityGap
from clipsoid.interpolate import VslerpGrid
from clipsoid.matching import MatchSweep
from clipsoid.separation import LinearSeparability
from clipsoid.sweep import LossSweep

if TYPE_CHECKING:
    import polars as pl

    from clipsoid.report.figure import Figure

__all__ = [
    "PARTS",
    "Analysis",
    "AnalysisOptions",
    "Differences",
    "DirectionFigures",
    "FeatureHistograms",
    "FeaturePlane",
    "Gallery",
    "Histogram",
    "Link",
    "Modality",
    "Normalities",
    "Retrieval",
    "Sample",
    "Similarities",
    "Verdict",
    "analyze",
]

#: Of the JSON; a reader refuses any other.
SCHEMA = 1


@dataclass(frozen=True, eq=False, repr=False)
class Analysis(InNotebooks):
    """What `analyze` found, one part for each property and figure; a part left out is None.

    Attributes
    ----------
    options : AnalysisOptions
        How it was made.
    image, text : Modality
        The geometry of each modality (Figures 3, 4, 5, 8 and 9).
    separability : polars.DataFrame or None
        As `clipsoid.separability` (Eq. 5).
    features : tuple of FeatureHistograms or None
        The features that separate best (Figure 2).
    plane : FeaturePlane or None
        The sample by the two features of `linear_separability`, or else by the best two.
    linear_separability : LinearSeparability or None
        Property 1.
    gap : ModalityGap or None
    similarities : Similarities or None
        Distributions of all cosines.
    loss_sweep : LossSweep or None
        Figure 6. None also where the rows that move are all the same.
    match_sweep : MatchSweep or None
        Figure 11. None also where the rows that move are all the same.
    conformity_difference : Differences or None
        Figure 10.
    retrieval : Retrieval or None
        Ranks, false negatives, and how these go with conformity.
    normality : Normalities or None
        Of the whitened rows, for each modality that varies.
    vslerp : VslerpGrid or None
        Figure 12, from the most to the least conforming image, with the nearest images.
    blur : BlurExperiment or None
        Figure 7; it does not depend on the rows.
    verdicts : tuple of Verdict
        The seven properties.
    warnings : tuple of str
        What a reader should know first.
    items : polars.DataFrame or None
        Captions and image paths of the rows that parts name, where they were given: `row`,
        `caption`, `image_path`.
    version : str
        Version of clipsoid.
    """

    options: AnalysisOptions
    image: Modality
    text: Modality
    separability: pl.DataFrame | None = None
    features: tuple[FeatureHistograms, ...] | None = None
    plane: FeaturePlane | None = None
    linear_separability: LinearSeparability | None = None
    gap: ModalityGap | None = None
    similarities: Similarities | None = None
    loss_sweep: LossSweep | None = None
    match_sweep: MatchSweep | None = None
    conformity_difference: Differences | None = None
    retrieval: Retrieval | None = None
    normality: Normalities | None = None
    vslerp: VslerpGrid | None = None
    blur: BlurExperiment | None = None
    verdicts: tuple[Verdict, ...] = ()
    warnings: tuple[str, ...] = ()
    items: pl.DataFrame | None = None
    version: str = __version__

    def to_json(self) -> str:
        """Return all of it as JSON text, which `from_json` reads.

        A number that is not finite is null or, if infinite, text.
        """
        return json.dumps({"schema": SCHEMA, "format": "clipsoid.analysis", **encode(self)})

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Read what `to_json` wrote.

        Raises
        ------
        MismatchError
            If it is no such JSON, or of another schema.
        """
        try:
            found = json.loads(text)
        except ValueError as error:
            raise MismatchError(f"an analysis: not JSON: {error}") from None
        if not isinstance(found, dict) or found.pop("format", None) != "clipsoid.analysis":
            raise MismatchError("an analysis: the JSON has no format 'clipsoid.analysis'")
        schema = found.pop("schema", None)
        if schema != SCHEMA:
            raise MismatchError(f"an analysis: schema {schema!r}; this version reads {SCHEMA}")
        made: Self = decode(cls, found)
        return made

    def to_frame(self) -> pl.DataFrame:
        """Return the key figures beside the paper's.

        Columns `figure`, `image`, `text`, `paper_image`, `paper_text`; a figure of the pair of
        modalities stands under `image`. Loss and divergence are those at alpha 0, and missing
        where the grid lacks it.
        """
        return tables.key_figures(self)

    def report(
        self,
        path: str | os.PathLike[str],
        *,
        title: str | None = None,
        image_root: str | os.PathLike[str] | None = None,
    ) -> None:
        """Write a page that shows all of it: one HTML file that needs no network.

        Parameters
        ----------
        path : path
            A report that is there is replaced; any other file is not.
        title : str, optional
        image_root : path, optional
            Where image paths begin that are not absolute; by default the working folder. Of images
            that cannot be read, the page shows the path and the reason.

        Raises
        ------
        OutputError
            If it cannot be written.
        UnavailableError
            If the extra ``report`` is not installed.
        """
        from clipsoid._extras import check_report
        from clipsoid.report import write_page
        from clipsoid.report.analysis import analysis_page

        check_report("reports")
        root = None if image_root is None else Path(image_root)
        write_page(analysis_page(self, title=title, root=root), path)

    def figures(self) -> tuple[Figure, ...]:
        """Return the figures of the report, each with its `chart`, its caption and its data.

        Raises
        ------
        UnavailableError
            If the extra ``report`` is not installed.
        """
        from clipsoid._extras import check_report
        from clipsoid.report.analysis import analysis_figures

        check_report()
        return analysis_figures(self)

    def save_figures(self, folder: str | os.PathLike[str]) -> list[Path]:
        """Write each figure as SVG, PNG and PDF, and the data of its panels as parquet.

        Parameters
        ----------
        folder : path
            Made if it is not there.

        Returns
        -------
        list of Path

        Raises
        ------
        OutputError
            If a file cannot be written, or would replace one that is not ours.
        UnavailableError
            If the extra ``report`` is not installed.
        """
        from clipsoid.report import write_figures

        made = {"clipsoid_version": self.version, "count": self.image.count, **encode(self.options)}
        return write_figures(self.figures(), folder, made)

    def __repr__(self) -> str:
        holding = sum(verdict.holds is True for verdict in self.verdicts)
        return (
            f"Analysis(count={self.image.count}, dim={self.image.dim}, "
            f"{holding} of {len(self.verdicts)} properties hold)"
        )


def analyze(
    image: Any,
    text: Any = None,
    *,
    temperature: float | None = None,
    shift: Shift = "image",
    alphas: Iterable[float] | None = None,
    bins: int = 50,
    leave_out: Collection[str] = (),
    captions: Sequence[str] | None = None,
    image_paths: Sequence[str] | None = None,
    sample_rows: int = 5_000,
    most_pairs: int = 20_000,
    seed: int = 0,
    n_threads: int | None = None,
    progress: Callable[[str], None] | None = None,
) -> Analysis:
    """Compute every property, figure and verdict of the paper on two modalities.

    Parameters
    ----------
    image, text : array, tensor, column, path or store of shape (n, d)
        Paired rows, two or more (``"normality"`` wants 20); raw embeddings, if they can be had: of
        normalised ones some figures describe the sphere. Without `text`, `image` is an
        `EmbeddingSet` that holds both, or its path; a sample of its pairs is then looked at.
    temperature : float, optional
        That of the model; by default what the set says, or 0.01.
    shift : {"image", "text", "both"}, default="image"
        The modality whose centre moves in both sweeps.
    alphas : iterable of float, optional
        Of both sweeps; by default 41 from -1 to 1.
    bins : int, default=50
        Of every histogram.
    leave_out : collection of str
        Parts to leave out, of ``clipsoid.analysis.PARTS``. ``"linear_separability"`` and
        ``"normality"`` take longest, and need the extra ``stats``.
    captions, image_paths : sequence of str of length n, optional
        Those of the rows that galleries and samples name travel along; by default those of the
        set, from its metadata.
    sample_rows : int, default=5_000
        Most rows whose own figures are kept, to be drawn.
    most_pairs : int, default=20_000
        Most pairs for what compares all with all: the loss, retrieval, histograms of all cosines.
        Of more, a sample is compared.
    seed : int, default=0
        Of samples and of cross-validation.
    n_threads : int, optional
        Most threads to use; all that the process may use by default. The support vector machines
        of ``"linear_separability"`` take 30 bytes for each of their elements and run together only
        as far as 200 MB go: one by one at 5,000 pairs of 512 features.
    progress : callable, optional
        Called with the name of each part before it is computed; ``"modalities"`` is the first.

    Returns
    -------
    Analysis

    Raises
    ------
    ShapeError, MismatchError
        If the sets do not pair up, or there are not as many captions or paths as rows.
    StoreError
        If a set lacks a modality.
    ValueError
        If an option is out of range, `leave_out` names no part, or `text` is missing.
    InvalidRowError
        If a row is missing, not finite or of zero norm.
    UnavailableError
        If a part needs the extra ``stats``.

    Warns
    -----
    PairingWarning
        If the images and texts of a set are no nearer than by chance.

    Notes
    -----
    Two passes over the rows of each modality, and one or two more for each part that is linear in
    them; for what needs all pairs ``O(p^2 d)`` time with `p` pairs, which are read once. Memory:
    ``O(n + d^2)`` beside ``O(p)`` rows. The verdicts are rules of this library, named in each; the
    paper states its properties in words. Results do not depend on `n_threads`; the axes, and what
    is whitened by them, come from numpy's LAPACK and are the same to the last bit only for the same
    LAPACK and number of its threads (``OPENBLAS_NUM_THREADS`` and the like).

    References
    ----------
    .. [1] Levi & Gilboa, "The Double-Ellipsoid Geometry of CLIP", ICML 2025, arXiv 2411.14517.

    Examples
    --------
    >>> import clipsoid as cs
    >>> image, text, _ = cs.double_ellipsoid(600, seed=0)
    >>> found = cs.analyze(image, text, leave_out=["linear_separability", "normality"])
    >>> found.verdicts[5].name, found.verdicts[5].holds
    ('least loss near the given centre', True)
    >>> cs.Analysis.from_json(found.to_json()).image.count
    600
    """
    check_threads(n_threads)
    left_out = _checked_parts(leave_out)
    image, text, temperature, captions, image_paths = opened(
        image, text, temperature, captions, image_paths
    )
    images, texts = modalities(image, text)
    asked = job(images, texts, alphas, shift, temperature, "fixed")
    if checked_count("most_pairs", most_pairs) < 2:
        raise ValueError(f"most_pairs={most_pairs}; wanted 2 or more")
    seed = checked_seed(seed)
    options = AnalysisOptions(
        temperature=asked.temperature,
        shift=shift,
        alphas=asked.alphas,
        bins=checked_count("bins", bins),
        left_out=left_out,
        sample_rows=checked_count("sample_rows", sample_rows),
        most_pairs=index(most_pairs),
        seed=seed,
    )
    compute.check_parts(options, images.count, images.dim)
    for name, values in (("captions", captions), ("image_paths", image_paths)):
        if values is None:
            continue
        if isinstance(values, (str, bytes)) or not hasattr(values, "__len__"):
            raise ValueError(f"{name}={values!r}; wanted one text for each row")
        if len(values) != images.count:
            raise ShapeError(
                f"{name}: found {len(values)}, wanted one for each of {images.count} rows"
            )
    parts = compute.parts(images, texts, options, n_threads, progress or (lambda name: None))
    found = Analysis(options, **parts)
    return replace(
        found,
        verdicts=verdicts(found),
        warnings=tuple(cautions(found)),
        items=tables.items(found, captions, image_paths),
    )


def _checked_parts(leave_out: Collection[str]) -> tuple[str, ...]:
    """Return the parts to leave out, in the order of `PARTS`."""
    if isinstance(leave_out, str) or not isinstance(leave_out, Iterable):
        raise ValueError(f"leave_out={leave_out!r}; wanted a list of parts: {', '.join(PARTS)}")
    names = set(leave_out)
    unknown = names - set(PARTS)
    if unknown:
        raise ValueError(f"leave_out: {min(unknown)!r} is no part; parts: {', '.join(PARTS)}")
    return tuple(name for name in PARTS if name in names)
