"""Figures 2 and 3: features that tell the modalities apart, and those that dominate them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import clipsoid as cs
from clipsoid.report.charts.features import features_figure, plane_figure
from clipsoid.report.charts.strongest import STRONGEST, strongest_figure
from clipsoid.report.marks import PLENTY, evenly, ranks
from report.specs import (
    alike,
    beside_paper,
    channel,
    check,
    drawn,
    marks,
    panel_of,
    small,
    spec_of,
    tiny,
    with_constants,
)

QUICK = {"leave_out": ["normality", "loss_sweep", "match_sweep", "retrieval", "vslerp", "blur"]}


@pytest.fixture(scope="module")
def rows() -> tuple[np.ndarray, np.ndarray, cs.Analysis]:
    return small(**QUICK)


@pytest.fixture(scope="module")
def found(rows: tuple[np.ndarray, np.ndarray, cs.Analysis]) -> cs.Analysis:
    return rows[2]


def separations(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.abs(x.mean(axis=0) - y.mean(axis=0)) / np.sqrt(x.var(axis=0) + y.var(axis=0))


def test_each_feature_is_drawn_in_both_modalities(rows) -> None:
    x, y, found = rows
    figure = features_figure(found)
    assert figure is not None
    check(figure)
    order = np.argsort(-separations(x, y), kind="stable")[:9]
    assert [panel.key for panel in figure.panels] == [f"feature-{k}" for k in order]
    for panel, k in zip(figure.panels, order, strict=True):
        edges = np.linspace(
            min(x[:, k].min(), y[:, k].min()), max(x[:, k].max(), y[:, k].max()), 21
        )
        for name, column in (("image", x[:, k]), ("text", y[:, k])):
            bins = [row for row in drawn(panel, "count") if row["series"] == name]
            assert [row["count"] for row in bins] == np.histogram(column, edges)[0].tolist()
            np.testing.assert_allclose([row["low"] for row in bins], edges[:-1], rtol=1e-12)
            np.testing.assert_allclose(sum(row["share"] for row in bins), 1, rtol=1e-12)


def test_best_feature_is_measured(rows) -> None:
    x, y, found = rows
    got = beside_paper(features_figure(found))
    apart = separations(x, y)
    best = int(apart.argmax())
    assert got[f"separability of feature {best}"][0] == f"{apart[best]:.2f}"
    (m, s), (n, t) = ((z[:, best].mean(), z[:, best].std()) for z in (x, y))
    kl = np.log(t / s) + (s**2 + (m - n) ** 2) / (2 * t**2) - 0.5
    assert got["its KL of normal laws, image to text (nats)"] == (f"{kl:.1f}", "")


def test_rows_in_the_plane_and_the_boundary(rows) -> None:
    x, y, found = rows
    panel = panel_of(plane_figure(found), "plane")
    first, second = np.argsort(-separations(x, y), kind="stable")[:2]
    names = f"feature_{first}", f"feature_{second}"
    sides = {}
    a, b = drawn(panel, *names)[-2:]
    (ax, ay), (bx, by) = ([end[name] for name in names] for end in (a, b))
    for modality, z in (("image", x), ("text", y)):
        some = panel.data.filter(panel.data["modality"] == modality)
        points = some.select(names).to_numpy()
        np.testing.assert_array_equal(points, z[some["row"].to_numpy()][:, [first, second]])
        sides[modality] = (bx - ax) * (points[:, 1] - ay) - (by - ay) * (points[:, 0] - ax) > 0
    assert panel.data.height == 600
    right = np.concatenate([sides["image"], ~sides["text"]]).mean()
    svm = found.linear_separability
    # Either side may be that of the images.
    assert max(right, 1 - right) == pytest.approx(svm.accuracy_two, abs=1e-12)


def test_a_boundary_in_another_order_or_on_other_features(found: cs.Analysis) -> None:
    figure, svm = plane_figure(found), found.linear_separability
    turned = replace(svm, features=svm.features[::-1], weights=svm.weights[::-1])
    again = plane_figure(replace(found, linear_separability=turned))
    assert spec_of(panel_of(again, "plane")) == spec_of(panel_of(figure, "plane"))
    assert "boundary" in figure.caption and "line" in marks(panel_of(figure, "plane"))
    for other in (None, replace(svm, features=(svm.features[0], 31 - svm.features[1]))):
        without = plane_figure(replace(found, linear_separability=other))
        check(without)
        assert "boundary" not in without.caption
        assert "line" not in marks(panel_of(without, "plane"))


@pytest.mark.parametrize("weights", [(1.0, 0.0), (0.0, 1.0), (1.0, -1.0)])
def test_a_boundary_in_any_direction(found: cs.Analysis, weights: tuple[float, float]) -> None:
    points = np.concatenate([found.plane.image, found.plane.text])
    intercept = float(-(points.mean(axis=0) @ weights))
    svm = replace(
        found.linear_separability,
        features=found.plane.features,
        weights=weights,
        intercept=intercept,
    )
    panel = panel_of(plane_figure(replace(found, linear_separability=svm)), "plane")
    names = [f"feature_{k}" for k in found.plane.features]
    ends = np.array([[end[name] for name in names] for end in drawn(panel, *names)[-2:]])
    np.testing.assert_allclose(ends @ weights + intercept, 0, atol=1e-12)
    # It spans the panel one way or the other.
    assert (np.ptp(ends, axis=0) >= np.ptp(points, axis=0)).any()


def test_separability_of_all_features(rows) -> None:
    x, y, found = rows
    figure = plane_figure(found)
    check(figure)
    panel = panel_of(figure, "separability")
    apart = separations(x, y)
    np.testing.assert_allclose(panel.data["separability"], np.sort(apart)[::-1], rtol=1e-10)
    higher = np.where(x.mean(axis=0) > y.mean(axis=0), "image", "text")
    assert panel.data["higher"].to_list() == higher[panel.data["feature"].to_numpy()].tolist()
    tags = int((apart >= 3).sum())
    assert tags > 0
    assert beside_paper(figure)["features of separability above 3"] == (str(tags), "9")
    assert [row["text"] for row in drawn(panel, "text")] == [f"{tags} above"]
    assert [row["level"] for row in drawn(panel, "label")] == [3.0]
    svm = found.linear_separability
    held_out = beside_paper(figure)["accuracy of a linear SVM on all features, held-out rows"]
    assert held_out == (f"{100 * svm.cross_validated_all:.2f}%", "")


def test_many_rows_are_thinned_evenly_and_said_to_be(found: cs.Analysis) -> None:
    rng = np.random.default_rng(0)
    many = replace(found.plane, image=rng.normal(size=(5000, 2)), text=rng.normal(size=(5000, 2)))
    at = np.arange(0, 50_000, 10)
    modalities = {
        m.name: replace(m, count=50_000, sample=replace(m.sample, row=at))
        for m in (found.image, found.text)
    }
    figure = plane_figure(replace(found, plane=many, **modalities))
    panel = panel_of(figure, "plane")
    assert figure.drawn == "1,000 of 50,000 rows of each modality are drawn."
    assert panel.data.height == PLENTY
    gaps = np.diff(panel.data["row"].unique().sort())
    assert set(gaps.tolist()) <= {50, 60}


@pytest.mark.parametrize("count", [0, 1, 1999, 2000, 2001, 2500, 100_000])
def test_thinning_keeps_both_ends(count: int) -> None:
    for thinned in (ranks(count), evenly(count, PLENTY)):
        assert len(thinned) == min(count, PLENTY)
        assert (np.diff(thinned) > 0).all()
        assert count == 0 or (thinned[0] == 0 and thinned[-1] == count - 1)
    assert ranks(count)[:200].tolist() == list(range(min(count, 200)))


def test_strongest_features_by_both_measures(rows) -> None:
    x, y, found = rows
    figure = strongest_figure(found)
    check(figure)
    domains = {}
    for name, z in (("image", x), ("text", y)):
        mean = z.mean(axis=0)
        for column, by in (("ratio", mean / z.std(axis=0)), ("mean", mean)):
            panel = panel_of(figure, f"{column}-{name}")
            order = np.argsort(-np.abs(by), kind="stable")[:STRONGEST]
            assert panel.data["feature"].to_list() == order.tolist()
            np.testing.assert_allclose(panel.data[column], by[order], rtol=1e-10)
            (bars,) = (one for one in channel(panel, "y") if "sort" in one)
            assert bars["sort"] == order.tolist()
            domains[name, column] = channel(panel, "x")[0]["scale"]["domain"]
            what = {"ratio": "|m| / σ", "mean": "|m|"}[column]  # noqa: RUF001
            said = f"{abs(by[order[0]]):.3f} (feature {order[0]})"
            assert beside_paper(figure)[f"greatest {what}, {name}"] == (said, "")
        squares = np.sort(mean**2)[::-1]
        share = f"{100 * squares[:10].sum() / squares.sum():.2f}%"
        assert beside_paper(figure)[f"share of |m|² in the ten greatest, {name}"] == (share, "")
    # The two modalities compare.
    for column in ("ratio", "mean"):
        assert domains["image", column] == domains["text", column]


def test_features_that_never_vary() -> None:
    found = with_constants(**QUICK)
    figures = features_figure(found), plane_figure(found), strongest_figure(found)
    for figure in figures:
        check(figure)
    features, plane, strongest = figures
    assert features.panels[0].key == "feature-4"
    assert beside_paper(features)["separability of feature 4"] == ("∞", "")
    assert beside_paper(features)["its KL of normal laws, image to text (nats)"][0] == "—"
    assert "KL" not in spec_of(features.panels[0])["title"]["subtitle"]
    apart = panel_of(plane, "separability")
    # Feature 4 is infinite, feature 3 undefined.
    assert apart.data.height == 30 and apart.data["rank"][0] == 2
    assert "1 of them infinite and not drawn" in apart.description
    ratios = panel_of(strongest, "ratio-image").data
    assert not {3, 4, 5} & set(ratios["feature"].to_list())


def test_few_rows_of_two_features() -> None:
    found = tiny(**QUICK)
    for figure in (features_figure(found), plane_figure(found), strongest_figure(found)):
        check(figure)
    assert features_figure(found).columns == 2
    assert panel_of(plane_figure(found), "plane").data.height == 40


def test_rows_that_are_all_the_same() -> None:
    found = alike()
    for figure in (features_figure(found), plane_figure(found), strongest_figure(found)):
        check(figure)
    assert "ratio-image" not in [panel.key for panel in strongest_figure(found).panels]


def test_what_was_left_out_is_not_drawn(found: cs.Analysis) -> None:
    without = replace(found, separability=None, features=None, plane=None)
    assert features_figure(without) is None and plane_figure(without) is None
    alone = plane_figure(replace(found, plane=None))
    check(alone)
    assert [panel.key for panel in alone.panels] == ["separability"]
    assert "boundary" not in alone.caption
