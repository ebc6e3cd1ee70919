"""What an analysis is: one part for each property and figure, as JSON, tables, figures, a page."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from clipsoid._json import decode, encode
from clipsoid._native import __version__
from clipsoid.analysis import tables
from clipsoid.analysis.notebook import InNotebooks
from clipsoid.analysis.parts import (
    AnalysisOptions,
    Differences,
    FeatureHistograms,
    FeaturePlane,
    Modality,
    Normalities,
    Retrieval,
    Similarities,
)
from clipsoid.analysis.verdicts import Verdict
from clipsoid.blur import BlurExperiment
from clipsoid.errors import MismatchError
from clipsoid.gap import ModalityGap
from clipsoid.interpolate import VslerpGrid
from clipsoid.matching import MatchSweep
from clipsoid.separation import LinearSeparability
from clipsoid.sweep import LossSweep

if TYPE_CHECKING:
    import polars as pl

    from clipsoid.report.figure import Figure

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
