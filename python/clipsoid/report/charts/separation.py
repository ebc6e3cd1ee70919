"""How well a plane tells two modalities apart: the accuracy of each fold."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clipsoid.report import theme
from clipsoid.report.figure import Figure, Measure, Panel
from clipsoid.report.marks import percent, titled, values

if TYPE_CHECKING:
    import polars as pl

    from clipsoid.separation import LinearSeparability

#: What an accuracy is of: its colour and its shape.
OF = {
    "held-out rows of a fold": (theme.SKY, "circle"),
    "mean over the folds": (theme.BLUE, "diamond"),
    "fitted rows": (theme.ORANGE, "square"),
}

#: The axis reaches down to this at least.
LEAST = 0.95


def separability_figure(found: LinearSeparability) -> Figure:
    """Return the accuracy of each fold beside that of the fitted rows (Property 1)."""
    import altair as alt

    frame = _frame(found)
    low = min(LEAST, float(min(frame["accuracy"])))
    colours, shapes = zip(*OF.values(), strict=True)
    legend = alt.Legend(direction="vertical", columns=1, symbolSize=60, labelLimit=0)
    chart = (
        alt.Chart(values(frame))
        .mark_point(filled=True, size=70, opacity=0.9, aria=False)
        .encode(
            x=alt.X(
                "features:N",
                title="features of the plane",
                sort=None,
                # The format of numbers is not for names.
                axis=alt.Axis(format="", labelAngle=0, ticks=False),
            ),
            xOffset=alt.XOffset("place:Q", scale=alt.Scale(domain=[-1, 1])),
            y=alt.Y(
                "accuracy:Q",
                title="rows on their side of the plane",
                scale=alt.Scale(domain=[low - 0.1 * (1 - low), 1 + 0.05 * (1 - low)], nice=False),
                axis=alt.Axis(format=".4~%"),
            ),
            color=alt.Color(
                "of:N", scale=alt.Scale(domain=list(OF), range=list(colours)), legend=legend
            ),
            shape=alt.Shape(
                "of:N", scale=alt.Scale(domain=list(OF), range=list(shapes)), legend=legend
            ),
            tooltip=[
                alt.Tooltip("features:N", title="features"),
                alt.Tooltip("of:N", title="accuracy of"),
                alt.Tooltip("fold:Q", title="fold"),
                alt.Tooltip("accuracy:Q", title="accuracy", format=".4%"),
            ],
        )
    )
    both = f"{found.features[0]:,} and {found.features[1]:,}"
    accuracies = (
        ("two features", "held-out rows", found.cross_validated_two),
        ("two features", "fitted rows", found.accuracy_two),
        ("all features", "held-out rows", found.cross_validated_all),
        ("all features", "fitted rows", found.accuracy_all),
    )
    words = "; ".join(f"{what}, {rows}: {percent(x)}" for what, rows, x in accuracies)
    used, given = found.rows_image + found.rows_text, found.count_image + found.count_text
    return Figure(
        "linear-separability",
        "Property 1",
        "How well a plane tells images from texts",
        "A linear support vector machine on the best two features and on all of them. Accuracy on "
        "the rows that it was fitted to shows little; what counts is that on rows held out.",
        (
            Panel(
                "accuracy",
                titled(chart, "Accuracy", f"two features: {both}"),
                frame,
                f"Accuracy of a linear support vector machine over {found.folds} folds. "
                f"{words.capitalize()}.",
                200,
            ),
        ),
        tuple(Measure(f"accuracy on {what}, {rows}", percent(x)) for what, rows, x in accuracies),
        f"{found.rows_image:,} images and {found.rows_text:,} texts, {found.folds} folds",
        f"A sample of {used:,} of {given:,} rows was used." if used < given else "",
    )


def _frame(found: LinearSeparability) -> pl.DataFrame:
    """Return a row for each accuracy; `place` is where it stands beside the others."""
    import polars as pl

    rows: list[tuple[str, str, int | None, float, float]] = []
    for features, folds, mean, fitted in (
        ("best two", found.folds_two, found.cross_validated_two, found.accuracy_two),
        ("all", found.folds_all, found.cross_validated_all, found.accuracy_all),
    ):
        step = 0.8 / max(1, len(folds) - 1)
        of_folds, of_mean, of_fitted = OF
        rows += [
            (features, of_folds, fold, -0.75 + step * fold, accuracy)
            for fold, accuracy in enumerate(folds)
        ]
        rows += [(features, of_mean, None, 0.4, mean), (features, of_fitted, None, 0.75, fitted)]
    columns = {
        "features": pl.String,
        "of": pl.String,
        "fold": pl.Int64,
        "place": pl.Float64,
        "accuracy": pl.Float64,
    }
    return pl.DataFrame(rows, columns, orient="row")
