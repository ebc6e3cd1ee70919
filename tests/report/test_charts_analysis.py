"""Figures 9, 10 and 12 and the false negatives: what is drawn is what the analysis says."""

# ruff: noqa: RUF001 (the minus sign is meant)

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

import clipsoid as cs
from clipsoid.report import theme
from clipsoid.report.charts import calibration, interpolation, retrieval
from clipsoid.report.charts.calibration import calibration_figure
from clipsoid.report.charts.difference import difference_figure
from clipsoid.report.charts.interpolation import interpolation_figure
from clipsoid.report.charts.retrieval import retrieval_figure
from report.specs import analysed, check, measured, rows, svg


@pytest.fixture(scope="module")
def found() -> cs.Analysis:
    return analysed()


@pytest.fixture(scope="module")
def few() -> cs.Analysis:
    return analysed(20, 32, alphas=[0.0])


def flat(n: int = 40) -> cs.Analysis:
    """Rows that are all the same, in both modalities."""
    row = np.array([1.0, 2.0])
    return cs.analyze(
        np.tile(row, (n, 1)),
        np.tile(row[::-1], (n, 1)),
        leave_out=("linear_separability", "normality", "loss_sweep", "match_sweep", "vslerp"),
        alphas=[0.0],
    )


def text(number: float, decimals: int = 4) -> str:
    return f"{number:.{decimals}f}".replace("-", "−")


# ---- Figure 9


def test_calibration_draws_the_sample_and_both_lines(found: cs.Analysis) -> None:
    figure = calibration_figure(found)
    made = check(figure)
    for modality in (found.image, found.text):
        line = modality.calibration
        assert line is not None
        drawn = rows(made[modality.name], "row", "conformity")
        assert [row["row"] for row in drawn] == modality.sample.row.tolist()
        for name in ("conformity", "cosine_to_mean"):
            wanted = getattr(modality.sample, name)
            # A page holds six digits.
            np.testing.assert_allclose([row[name] for row in drawn], wanted, rtol=1e-5)
        ends = next(p for p in figure.panels if p.key == modality.name).data.filter(
            pl.col("mark") != "row"
        )
        x, y = ends["cosine_to_mean"].to_numpy(), ends["conformity"].to_numpy()
        # A regression goes through the means, and has its slope.
        slopes = np.diff(y)[[0, 2]] / np.diff(x)[[0, 2]]
        np.testing.assert_allclose(slopes, [line.slope, 1 / line.inverse_slope], rtol=1e-9)
        np.testing.assert_allclose(y[:2], line.estimate(x[:2]), rtol=1e-12)
        back = line.inverse_slope * y[2:] + line.inverse_intercept
        np.testing.assert_allclose(x[2:], back, rtol=1e-12)
        figures = measured(figure)
        assert figures[f"slope, cosine on conformity, {modality.name}"] == text(line.inverse_slope)
        assert figures[f"Pearson correlation, {modality.name}"] == text(line.pearson)
        labels = {row["mark"] for row in rows(made[modality.name], "mark")}
        assert f"conformity on cosine: slope {text(line.slope, 3)}" in labels
        assert len(labels) == 2
    papers = {m.name: m.paper for m in figure.measures if m.paper}
    assert papers["slope, cosine on conformity, image"] == "1.461"
    assert papers["slope, cosine on conformity, text"] == "1.411"
    assert not figure.drawn


def test_calibration_thins_evenly(found: cs.Analysis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibration, "PLENTY", 50)
    figure = calibration_figure(found)
    assert figure.drawn == "50 of 300 rows are drawn."
    for panel in figure.panels:
        drawn = panel.data.filter(pl.col("mark") == "row")["row"].to_numpy()
        assert len(drawn) == 50 and drawn[0] == 0 and drawn[-1] == 299
        assert set(np.diff(drawn)) <= {6, 7}


def test_calibration_without_lines() -> None:
    figure = calibration_figure(flat())
    made = check(figure)
    assert set(measured(figure).values()) == {"—"}
    for key, panel in made.items():
        assert not rows(panel, "mark")
        assert len(rows(panel, "row")) == 40, key
    svg(figure)


def test_calibration_leaves_gaps_for_what_is_not_known(found: cs.Analysis) -> None:
    sample = replace(found.image.sample, cosine_to_mean=np.full(300, np.nan))
    image = replace(found.image, sample=sample, calibration=None)
    figure = calibration_figure(replace(found, image=image))
    drawn = rows(check(figure)["image"], "row")
    assert {row["cosine_to_mean"] for row in drawn} == {None}
    svg(figure)


# ---- Figure 10


def test_differences_are_the_histograms(found: cs.Analysis) -> None:
    part = found.conformity_difference
    assert part is not None
    figure = difference_figure(found)
    assert figure is not None
    check(figure)
    for panel, histogram in zip(figure.panels, (part.percentiles, part.raw), strict=True):
        assert panel.data["count"].to_list() == histogram.counts.tolist()
        assert panel.data["low"].to_list() == histogram.edges[:-1].tolist()
        np.testing.assert_allclose(panel.data["share"].sum(), 1)
        sides = {
            "text higher": panel.data["high"] <= 0,
            "image higher": panel.data["low"] >= 0,
        }
        for name, on_side in sides.items():
            assert (panel.data["series"] == name).to_list() == on_side.to_list()
    figures = measured(figure)
    row, value = part.image_higher.row[0], part.image_higher.value[0]
    assert figures["image higher, by most (percentiles)"] == f"{text(value, 3)}, pair {row}"
    image, texts = (m.sample.conformity for m in (found.image, found.text))
    assert figures["mean difference of conformities"] == text((image - texts).mean())
    assert figure.subtitle == "300 pairs"


def test_differences_by_chance_are_a_triangle(found: cs.Analysis) -> None:
    figure = difference_figure(found)
    assert figure is not None
    data = figure.panels[0].data
    rng = np.random.default_rng(0)
    drawn = rng.random(400_000) - rng.random(400_000)
    edges = [*data["low"], data["high"][-1]]
    shares = np.histogram(drawn, edges)[0] / len(drawn)
    # Five standard deviations of the counts.
    assert np.abs(shares - data["share_if_independent"]).max() < 5 * np.sqrt(0.05 / 400_000)


def test_differences_at_the_edges(found: cs.Analysis, few: cs.Analysis) -> None:
    assert difference_figure(replace(found, conformity_difference=None)) is None
    for one in (few, flat()):
        figure = difference_figure(one)
        assert figure is not None
        check(figure)
        svg(figure)


# ---- Figure 12


def test_the_grid_holds_the_nearest_rows(found: cs.Analysis) -> None:
    grid = found.vslerp
    assert grid is not None and grid.nearest is not None
    figure = interpolation_figure(grid, ends=("the most common image", "the rarest"))
    assert figure is not None
    (made,) = check(figure).values()
    cells = rows(made, "theta", "alpha", "nearest_row")
    assert len(cells) == 25
    for row in cells:
        i = grid.theta.tolist().index(row["theta"])
        j = grid.alpha.tolist().index(row["alpha"])
        assert row["nearest_row"] == grid.nearest.index[i, j, 0]
        assert row["cosine"] == pytest.approx(grid.nearest.similarity[i, j, 0], rel=1e-5)
    assert "from the most common image to the rarest" in str(made)
    inner = grid.nearest.similarity[1:-1]
    assert measured(figure)["least cosine to the nearest row"] == text(inner.min())
    drawn = svg(figure)
    assert f">{grid.nearest.index[0, 0, 0]}<" in drawn


def test_grids_of_every_shape() -> None:
    x = cs.double_ellipsoid(60, dim=32, seed=0).image
    e = cs.Ellipsoid.fit(x, covariance=False)
    assert interpolation_figure(cs.vslerp_grid(x[0], x[1], [0.5], [0.0], e)) is None
    single = cs.vslerp_grid(x[0], x[1], [0.5], [0.0], e, rows=x)
    figure = interpolation_figure(single)
    assert figure is not None
    check(figure)
    svg(figure)
    many = cs.vslerp_grid(x[:8], x[8:16], [0, 1], [0.0, 1.0], e, rows=x, k=3)
    figure = interpolation_figure(many)
    assert figure is not None and many.nearest is not None
    check(figure)
    assert len(figure.panels) == interpolation.MOST_PAIRS
    assert figure.drawn == "6 of 8 pairs are drawn."
    for i, panel in enumerate(figure.panels):
        assert (
            panel.data["nearest_row"].to_list() == many.nearest.index[:, :, i, 0].ravel().tolist()
        )
    assert not measured(figure)


def test_numbers_that_do_not_fit_are_left_to_the_tooltip(found: cs.Analysis) -> None:
    grid = found.vslerp
    assert grid is not None and grid.nearest is not None
    wide = replace(grid, nearest=replace(grid.nearest, index=grid.nearest.index + 10**12))
    figure = interpolation_figure(wide)
    assert figure is not None
    (made,) = check(figure).values()
    assert "layer" not in made and made["mark"]["type"] == "rect"


# ---- section 6


def test_false_negatives_are_binned_by_conformity(found: cs.Analysis) -> None:
    part = found.retrieval
    assert part is not None
    figure = retrieval_figure(part)
    made = check(figure)
    for name, link in (("image", part.image_link), ("text", part.text_link)):
        data = next(panel for panel in figure.panels if panel.key == name).data
        assert data["rows"].to_list() == [15] * 20
        ranked = pl.DataFrame({"c": link.conformity, "n": link.count}).sort("c")
        for i in (0, 7, 19):
            own = ranked[15 * i : 15 * (i + 1)]
            row = data.row(i, named=True)
            assert row["mean_count"] == pytest.approx(own["n"].mean())
            assert row["conformity"] == pytest.approx(own["c"].mean())
            assert row["low"] == own["c"].min() and row["high"] == own["c"].max()
            assert row["median"] == own["n"].median()
        assert theme.MODALITY[name] in str(made[name])
        figures = measured(figure)
        spearman = link.spearman.conformity
        assert spearman is not None
        assert figures[f"Spearman, false negatives and conformity, {name}"] == text(spearman, 3)
    ways = {"image to text": part.image_to_text, "text to image": part.text_to_image}
    for way, direction in ways.items():
        for k in (1, 5, 10):
            share = getattr(direction, f"recall_at_{k}")
            assert figures[f"recall at {k}, {way}"] == f"{100 * share:.1f}%"


def test_false_negatives_at_the_edges(few: cs.Analysis) -> None:
    for one in (few, flat()):
        assert one.retrieval is not None
        figure = retrieval_figure(one.retrieval)
        check(figure)
        svg(figure)
        rows_drawn = [panel.data["rows"].sum() for panel in figure.panels]
        assert rows_drawn == [one.image.count] * 2
        assert all(panel.data["rows"].min() >= retrieval.LEAST_ROWS for panel in figure.panels)
    assert one.retrieval.image_link.spearman.conformity is None
    assert measured(figure)["Spearman, false negatives and conformity, image"] == "—"


def test_bins_say_of_how_many_rows_they_are(found: cs.Analysis) -> None:
    part = found.retrieval
    assert part is not None
    assert not retrieval_figure(part).drawn
    drawn = retrieval_figure(replace(part, pairs=20_000)).drawn
    assert drawn == "300 of 20,000 rows are averaged."


def test_every_colour_has_its_dark_counterpart(found: cs.Analysis) -> None:
    figures = [calibration_figure(found), difference_figure(found)]
    if found.vslerp is not None and found.retrieval is not None:
        figures += [interpolation_figure(found.vslerp), retrieval_figure(found.retrieval)]
    for figure in figures:
        assert figure is not None
        for made in check(figure).values():
            assert colours(made) <= theme.DARK.keys()


def colours(spec: object) -> set[str]:
    if isinstance(spec, dict):
        return set().union(*(colours(part) for part in spec.values()))
    if isinstance(spec, list):
        return set().union(*map(colours, spec))
    return {spec} if isinstance(spec, str) and spec.startswith("#") else set()
