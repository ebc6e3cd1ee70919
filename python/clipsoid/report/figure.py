"""A figure: its panels, what is said of them, and the data behind each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from clipsoid.report import theme

if TYPE_CHECKING:
    import altair as alt
    import polars as pl

#: A panel in CSS pixels, where the page does not say. Two and their axes are nearly as wide as the
#: text of a printed page, 6.75 inches; letters are large enough to be printed at half of that.
WIDTH, HEIGHT = 240, 170


@dataclass(frozen=True)
class Measure:
    """A figure that was measured, beside the paper's; empty where the paper gives none."""

    name: str
    measured: str
    paper: str = ""


@dataclass(frozen=True)
class Panel:
    """One chart of a figure.

    Attributes
    ----------
    key : str
        Its name within the figure: of files and of the page's elements.
    chart : altair chart
        A single view or layers of them, without a size: it fills what it is put into.
    data : polars.DataFrame
        What is drawn, a row for each mark.
    description : str
        What a reader who does not see it should know.
    height : int
        In CSS pixels.
    """

    key: str
    chart: alt.Chart | alt.LayerChart
    data: pl.DataFrame
    description: str
    height: int = HEIGHT


@dataclass(frozen=True)
class Figure:
    """Panels that belong together.

    Attributes
    ----------
    key : str
        Its name in files and links: ``"loss-sweep"``.
    paper : str
        The figure or section of the paper that it corresponds to; may be empty.
    title, caption : str
        The caption says what is shown, and how it reads.
    panels : tuple of Panel
    measures : tuple of Measure
        The figures that it is about.
    subtitle : str
        What it was made of.
    drawn : str
        Which rows are drawn, where these are not all of them.
    columns : int
        Most panels beside each other.
    """

    key: str
    paper: str
    title: str
    caption: str
    panels: tuple[Panel, ...]
    measures: tuple[Measure, ...] = ()
    subtitle: str = ""
    drawn: str = ""
    columns: int = 2

    kind: ClassVar[str] = "figure"

    def chart(self) -> alt.ConcatChart:
        """Return one chart of all panels, for notebooks and files."""
        import altair as alt

        panels: list[Any] = [
            panel.chart.properties(width=WIDTH, height=panel.height) for panel in self.panels
        ]
        whole = alt.concat(
            *panels,
            columns=self.columns,
            spacing={"row": 22, "column": 26},
            title=alt.TitleParams(
                self.title,
                subtitle=[part for part in (self.subtitle, self.drawn) if part],
                anchor="start",
                offset=14,
                fontSize=16,
                subtitleFontSize=13,
            ),
        )
        independent = whole.resolve_scale(
            color="independent",
            shape="independent",
            strokeDash="independent",
            x="independent",
            y="independent",
        )
        made: alt.ConcatChart = independent.properties(config=theme.config())
        return made
