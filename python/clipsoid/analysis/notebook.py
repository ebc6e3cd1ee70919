"""How an analysis looks in a notebook: does each property hold, and the key figures."""

from __future__ import annotations

import html
from collections.abc import Iterator
from typing import TYPE_CHECKING, cast

from clipsoid._shown import Shown, table
from clipsoid.analysis.tables import LABELS, key_figures

if TYPE_CHECKING:
    import altair as alt

    from clipsoid.analysis import Analysis
    from clipsoid.analysis.verdicts import Verdict

#: The answers to whether a property holds; none is broken into lines.
ANSWERS = {
    answer: text.replace(" ", "\N{NO-BREAK SPACE}")
    for answer, text in (
        (True, "\N{CHECK MARK} holds"),
        (False, "\N{BALLOT X} does not hold"),
        (None, "? not judged"),
    )
}

#: Key figures that are shown though the paper has none.
WITHOUT_PAPER = (
    "dominance_ratio",
    "mean_conformity",
    "false_negatives_spearman_conformity",
    "recall_at_1",
    "svm_accuracy",
    "gap_of_means",
)


class InNotebooks(Shown):
    """What `Analysis` shows of itself in a notebook: see there."""

    def _repr_html_(self) -> str:
        found = cast("Analysis", self)
        return "".join(
            (
                f"<b>Analysis</b> of {found.image.count:,} pairs of {found.image.dim:,} features",
                *(f"<br>{html.escape(warning)}" for warning in found.warnings),
                table(
                    ((one.name, _words(one)) for one in found.verdicts),
                    ("property", "", "found", "wanted"),
                ),
                table(
                    ((label, texts) for label, *texts in _key_figures(found)),
                    ("", "image", "paper", "text", "paper"),
                ),
                "<small>What is of both modalities stands under image. <code>to_frame()</code> has "
                "all figures, <code>plot(figure)</code> draws one, <code>report(path)</code> "
                "writes all of it.</small>",
            )
        )

    def plot(self, figure: str = "loss-sweep") -> alt.ConcatChart:
        """Draw one figure of the report.

        Parameters
        ----------
        figure : str, default="loss-sweep"
            Its key:

            - ``"features"``, ``"feature-plane"``, ``"strongest-features"``, ``"similarity"``: the
              two modalities apart (Figures 2 and 3, all cosines);
            - ``"shell"``, ``"ellipsoid"``, ``"normality"``: two ellipsoids (Figures 4 and 5);
            - ``"loss-sweep"``, ``"matching"``, ``"blur"``: where the centre lies (Figures 6, 11
              and 7);
            - ``"conformity"``, ``"calibration"``, ``"difference"``, ``"false-negatives"``: common
              and rare (Figures 8, 9 and 10, section 6);
            - ``"interpolation"``: between two images (Figure 12).

        Returns
        -------
        altair.ConcatChart
            To be shown in a notebook, changed or saved.

        Raises
        ------
        ValueError
            If there is no such figure, or its part was left out.
        UnavailableError
            If the extra ``report`` is not installed.
        """
        from clipsoid._extras import check_report
        from clipsoid.report.analysis import analysis_figure

        check_report()
        return analysis_figure(cast("Analysis", self), figure).chart()


def _words(verdict: Verdict) -> tuple[str, str, str]:
    """Return the answer, the figure that decides and what is wanted of it."""
    why = f": {verdict.reason}" if verdict.reason else ""
    return f"{ANSWERS[verdict.holds]}{why}", verdict.figure, verdict.rule


def _key_figures(found: Analysis) -> Iterator[tuple[str, ...]]:
    """Yield those that the paper has, too, and a few more, as they are written."""
    for row in key_figures(found).iter_rows(named=True):
        name = row["figure"]
        label, decimals = LABELS[name]
        figures = [row[n] for n in ("image", "paper_image", "text", "paper_text")]
        if name in WITHOUT_PAPER or figures[1] is not None:
            yield label, *("" if x is None else f"{x:z.{decimals}f}" for x in figures)
