"""Which features tell the modalities apart: Figure 2, and the tags of Figure 3."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from clipsoid.pair import TAG
from clipsoid.report import theme
from clipsoid.report.figure import Figure, Measure, Panel
from clipsoid.report.marks import (
    PLENTY,
    distributions,
    evenly,
    histogram_frame,
    level,
    number,
    padded,
    percent,
    ranks,
    rows_drawn,
    titled,
    values,
)

if TYPE_CHECKING:
    import polars as pl

    from clipsoid.analysis import Analysis
    from clipsoid.analysis.parts import FeatureHistograms, FeaturePlane

Array = NDArray[np.float64]

#: Shapes of their points.
SHAPE = {"image": "circle", "text": "triangle-up"}

#: Labels of logarithmic ranks.
RANKS = [1, 3, 10, 30, 100, 300, 1_000, 3_000, 10_000]


def features_figure(found: Analysis) -> Figure | None:
    """Return the features that separate best, one in each panel (Figure 2).

    None where separability was left out.
    """
    if found.features is None or found.separability is None:
        return None
    lines = {line["feature"]: line for line in found.separability.rows(named=True)}
    panels = tuple(_feature(one, lines[one.feature]) for one in found.features)
    best = lines[found.features[0].feature]
    measures = [
        Measure(f"separability of feature {best['feature']}", number(best["separability"], 2))
    ]
    for laws, column, decimals in (("normal laws", "gaussian", 1), ("histograms", "histogram", 2)):
        for way in ("image to text", "text to image"):
            value = best[f"kl_{column}_{way.replace(' to ', '_')}"]
            measures.append(Measure(f"its KL of {laws}, {way} (nats)", number(value, decimals)))
    return Figure(
        "features",
        "Figure 2",
        "The most separable features",
        "Each panel is one feature, the most separable first. Where the two histograms do not "
        "overlap, this single number tells an image from a text. Separability is the distance of "
        "the two means over the root of the sum of the variances; KL is that of the normal laws "
        "with these moments, image to text; the paper gives about 301 for feature 93 of ViT-B/32.",
        panels,
        tuple(measures),
        drawn=rows_drawn(int(found.features[0].image.counts.sum()), found.image.count),
        columns=3 if len(panels) > 2 else 2,
    )


def _feature(one: FeatureHistograms, line: dict[str, Any]) -> Panel:
    """Return the histograms of one feature."""
    frame = histogram_frame({"image": one.image, "text": one.text})
    apart, divergence = number(line["separability"], 2), line["kl_gaussian_image_text"]
    # There is no normal law of one number.
    words = "" if divergence is None else f", KL {number(divergence, 1)} nats"
    chart = titled(
        distributions(frame, "value of the feature", theme.STYLE),
        f"Feature {one.feature}",
        f"separability {apart}{words}",
    )
    return Panel(
        f"feature-{one.feature}",
        chart,
        frame,
        f"Histograms of feature {one.feature} in both modalities. Images: mean "
        f"{number(line['mean_image'], 3)}, standard deviation {number(line['std_image'], 3)}; "
        f"texts: mean {number(line['mean_text'], 3)}, standard deviation "
        f"{number(line['std_text'], 3)}. Separability {apart}.",
        150,
    )


def plane_figure(found: Analysis) -> Figure | None:
    """Return the plane of the best two features, and the separability of all (Figures 2 and 3).

    None where separability was left out; without the plane where there is one feature only.
    """
    if found.separability is None:
        return None
    separable, tags = _separable(found.separability)
    panels = [separable]
    drawn, caption = "", ""
    if found.plane is not None:
        panels.insert(0, _plane(found, found.plane))
        drawn = rows_drawn(panels[0].data.height // 2, found.image.count, "rows of each modality")
        caption = "Rows by the two most separable features. "
        if _boundary(found, found.plane) is not None:
            caption = (
                f"{caption}The line is the boundary of a linear support vector machine that was "
                "fitted to these two. "
            )
    measures = [Measure(f"features of separability above {TAG:g}", f"{tags:,}", "9")]
    if found.linear_separability is not None:
        svm = found.linear_separability
        measures += [
            Measure(f"accuracy of a linear SVM on {features}, {rows}", percent(accuracy))
            for features, rows, accuracy in (
                ("two features", "held-out rows", svm.cross_validated_two),
                ("two features", "fitted rows", svm.accuracy_two),
                ("all features", "held-out rows", svm.cross_validated_all),
                ("all features", "fitted rows", svm.accuracy_all),
            )
        ]
    return Figure(
        "feature-plane",
        "Figures 2 and 3",
        "The two most separable features, and the separability of all",
        f"{caption}The separability of every feature, in descending order; those that reach the "
        f"dashed line at {TAG:g} are tags: one of them by itself tells the modality of a row.",
        tuple(panels),
        tuple(measures),
        drawn=drawn,
    )


def _plane(found: Analysis, plane: FeaturePlane) -> Panel:
    """Return the rows by two features, with the boundary if it was fitted to the same two."""
    import altair as alt
    import polars as pl

    names = [f"feature_{feature}" for feature in plane.features]
    frames = []
    for modality, points in ((found.image, plane.image), (found.text, plane.text)):
        at = evenly(len(points), PLENTY // 2)
        columns = {name: points[at, k] for k, name in enumerate(names)}
        row = modality.sample.row[at]
        frames.append(pl.DataFrame({"modality": [modality.name] * len(at), "row": row, **columns}))
    # One row of each in turn: neither modality covers the other.
    frame = pl.concat(frames).sort("row", "modality", maintain_order=True)
    (x, y), domains = names, [padded(frame[name].to_numpy()) for name in names]
    scales = [alt.Scale(domain=list(domain), nice=False) for domain in domains]
    dots = (
        alt.Chart(values(frame))
        .mark_point(filled=True, size=22, opacity=0.5, aria=False)
        .encode(
            x=alt.X(f"{x}:Q", title=_feature_name(x), scale=scales[0]),
            y=alt.Y(f"{y}:Q", title=_feature_name(y), scale=scales[1]),
            color=_by_modality(alt.Color, "modality", theme.MODALITY),
            shape=_by_modality(alt.Shape, "modality", SHAPE),
            tooltip=[
                alt.Tooltip("modality:N", title="modality"),
                alt.Tooltip("row:Q", title="row", format=","),
                *(alt.Tooltip(f"{n}:Q", title=_feature_name(n), format=".4~g") for n in names),
            ],
        )
    )
    layers, words = [dots], "no boundary"
    boundary = _boundary(found, plane)
    if boundary is not None:
        words = "with the boundary of a linear SVM"
        ends = [dict(zip((x, y), end, strict=True)) for end in _line(*boundary, *domains)]
        layers.append(
            alt.Chart({"values": ends})
            .mark_line(color=theme.BLACK, strokeWidth=1.5, clip=True)
            .encode(x=f"{x}:Q", y=f"{y}:Q")
        )
    both = " and ".join(str(feature) for feature in plane.features)
    return Panel(
        "plane",
        titled(alt.LayerChart(layer=layers), f"Rows by features {both}"),
        frame,
        f"Rows of both modalities by features {both}, {words}.",
        280,
    )


def _boundary(found: Analysis, plane: FeaturePlane) -> tuple[float, float, float] | None:
    """Return weights of both axes and intercept; None if the machine chose other features."""
    svm = found.linear_separability
    if svm is None or set(svm.features) != set(plane.features):
        return None
    weights = dict(zip(svm.features, svm.weights, strict=True))
    first, second = (weights[feature] for feature in plane.features)
    return (first, second, svm.intercept) if first or second else None


def _line(
    a: float, b: float, c: float, x: tuple[float, float], y: tuple[float, float]
) -> list[tuple[float, float]]:
    """Return two points of ``a x + b y + c = 0`` that span the box one way; it is cut the other."""
    if abs(a) * (x[1] - x[0]) > abs(b) * (y[1] - y[0]):
        return [(-(b * end + c) / a, end) for end in y]
    return [(end, -(a * end + c) / b) for end in x]


def _separable(table: pl.DataFrame) -> tuple[Panel, int]:
    """Return the separability of all features over their rank, and how many are tags."""
    import altair as alt
    import polars as pl

    known = table.drop_nulls("separability")
    apart = known["separability"].to_numpy()
    tags = int(np.count_nonzero(apart > TAG))
    higher = np.where(
        known["mean_image"].to_numpy() > known["mean_text"].to_numpy(), "image", "text"
    )
    ranked = pl.DataFrame(
        {
            "rank": np.arange(1, len(apart) + 1),
            "feature": known["feature"],
            "separability": apart,
            "higher": higher,
        }
    )
    # Two numbers, one for each modality, are infinitely far apart: no axis has room for that.
    frame = ranked[ranks(len(apart))].filter(pl.col("separability").is_finite())
    domain = [0.9, 1.1 * max(2, table.height)]
    top = 1.12 * max([TAG, *frame["separability"]])
    dots = (
        alt.Chart(values(frame))
        .mark_point(filled=True, size=26, opacity=0.8, aria=False)
        .encode(
            x=alt.X(
                "rank:Q",
                title="rank of the feature (logarithmic)",
                scale=alt.Scale(type="log", domain=domain, nice=False),
                axis=alt.Axis(values=RANKS),
            ),
            y=alt.Y(
                "separability:Q", title="separability", scale=alt.Scale(domain=[0, top], nice=False)
            ),
            color=_by_modality(alt.Color, "higher", theme.MODALITY, "higher in {}s"),
            shape=_by_modality(alt.Shape, "higher", SHAPE, "higher in {}s"),
            tooltip=[
                alt.Tooltip("feature:Q", title="feature"),
                alt.Tooltip("rank:Q", title="rank"),
                alt.Tooltip("separability:Q", title="separability", format=".4~g"),
                alt.Tooltip("higher:N", title="higher mean in"),
            ],
        )
    )
    label = alt.Chart({"values": [{"at": domain[1], "level": TAG, "text": f"{tags:,} above"}]})
    words = label.mark_text(align="right", baseline="bottom", dy=-4)
    endless = int(np.count_nonzero(np.isinf(apart)))
    more = f", {endless:,} of them infinite and not drawn" if endless else ""
    chart = alt.LayerChart(
        layer=[
            level(TAG, "least separability of a tag"),
            dots,
            words.encode(x="at:Q", y="level:Q", text="text:N"),
        ]
    )
    panel = Panel(
        "separability",
        titled(
            chart, "Separability of every feature", f"{tags:,} of {table.height:,} are tags{more}"
        ),
        frame,
        f"Separability of {table.height:,} features in descending order, from "
        f"{number(float(apart[0]) if len(apart) else None, 2)}; {tags:,} above {TAG:g}{more}.",
        280,
    )
    return panel, tags


def _by_modality(channel: Any, field: str, scale: dict[str, str], label: str = "{}") -> Any:
    """Encode a modality, with a legend of large symbols."""
    import altair as alt

    before, after = label.split("{}")
    return channel(
        f"{field}:N",
        scale=alt.Scale(domain=list(scale), range=list(scale.values())),
        legend=alt.Legend(symbolSize=70, labelExpr=f"'{before}' + datum.label + '{after}'"),
    )


def _feature_name(column: str) -> str:
    return column.replace("_", " ")
