"""What results draw of themselves: the figures are those of the result, at every edge."""

# ruff: noqa: RUF001 (the minus sign and the sigma are meant)

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any, get_type_hints

import numpy as np
import pytest

import clipsoid as cs
from clipsoid._shown import Drawn
from clipsoid.report.analysis import FIGURES, analysis_figure
from clipsoid.report.charts.pairs import PLENTY
from clipsoid.report.plots import FIGURES as DRAWN
from clipsoid.report.plots import figure_of
from report.specs import check, drawn, measured, panel_of, svg

Rows = tuple[np.ndarray, np.ndarray]


@pytest.fixture(scope="module")
def rows() -> Rows:
    image, text, _ = cs.double_ellipsoid(300, dim=32, seed=1)
    return image.astype(np.float64), text.astype(np.float64)


@pytest.fixture(scope="module")
def analysis(rows: Rows) -> cs.Analysis:
    left_out = ("linear_separability", "normality", "match_sweep")
    return cs.analyze(*rows, bins=20, alphas=[-0.1, 0.0, 0.1], leave_out=left_out)


def number(value: float, decimals: int = 4) -> str:
    return f"{value:,.{decimals}f}".replace("-", "−")


def counted(panel: Any, values: np.ndarray) -> None:
    """The bins of a panel hold the values, all of them."""
    edges = np.append(panel.data["low"], panel.data["high"][-1])
    assert edges[0] == pytest.approx(values.min()) and edges[-1] == pytest.approx(values.max())
    # Rounding may carry the two at the ends out of edges that are made again.
    inner = np.histogram(values, [-np.inf, *edges[1:-1], np.inf])[0]
    assert panel.data["count"].to_list() == inner.tolist()


# ---- which results, and how


def test_all_that_says_so_is_drawn() -> None:
    names = [getattr(cs, name) for name in cs.__all__]
    names += [getattr(cs.analysis, name) for name in cs.analysis.__all__]
    says_so = {one for one in names if isinstance(one, type) and issubclass(one, Drawn)}
    assert says_so == set(DRAWN)


def test_what_is_not_drawn_is_refused(rows: Rows) -> None:
    for result in (cs.modality_gap(*rows), 3):
        with pytest.raises(TypeError, match=f"no figure is drawn of {type(result).__name__}"):
            figure_of(result)
    assert get_type_hints(figure_of)["result"] is Any


def test_a_class_of_ones_own_is_drawn_as_that_it_is_made_of(rows: Rows) -> None:
    class Mine(cs.Ellipsoid):
        pass

    assert figure_of(Mine.fit(rows[0])).key == "ellipsoid"


def test_a_plot_is_the_chart_of_its_figure(rows: Rows) -> None:
    for result in (cs.Ellipsoid.fit(rows[0]), cs.retrieval_ranks(*rows)):
        assert result.plot().to_dict() == figure_of(result).chart().to_dict()


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch, rows: Rows) -> None:
    monkeypatch.setitem(sys.modules, "vl_convert", None)
    found = cs.retrieval_ranks(*rows)
    with pytest.raises(cs.UnavailableError, match=r'vl-convert-python.*"clipsoid\[report\]"'):
        found.plot()


# ---- an analysis


def test_every_figure_of_an_analysis_has_its_key(analysis: cs.Analysis) -> None:
    assert [figure.key for figure in analysis.figures()] == [
        key for key in FIGURES if key not in ("normality", "matching")
    ]
    for key in ("loss-sweep", "conformity", "blur"):
        assert analysis_figure(analysis, key).key == key
        assert analysis.plot(key).to_dict() == analysis_figure(analysis, key).chart().to_dict()
    assert analysis.plot().to_dict() == analysis.plot(figure="loss-sweep").to_dict()


def test_every_key_is_documented() -> None:
    for key in FIGURES:
        assert f'``"{key}"``' in (cs.Analysis.plot.__doc__ or "")


def test_unknown_keys_are_refused(analysis: cs.Analysis) -> None:
    with pytest.raises(ValueError, match=r"figure='loss'; wanted one of features, .*interpolation"):
        analysis.plot("loss")
    match = r"figure='normality': its part is not in this analysis; wanted one of features, .*shell"
    with pytest.raises(ValueError, match=match) as raised:
        analysis.plot("normality")
    assert "matching" not in str(raised.value)


# ---- rows


def test_scores(rows: Rows) -> None:
    scores = cs.Ellipsoid.fit(rows[0]).score(rows[0], member=True)
    figure = figure_of(scores)
    check(figure)
    assert [panel.key for panel in figure.panels] == ["conformity", "cosine-to-mean", "norm"]
    for panel in figure.panels:
        values = getattr(scores, panel.key.replace("-", "_"))
        counted(panel, values)
        assert drawn(panel, "at") == [{"at": pytest.approx(values.mean()), "label": "mean"}]
    got = measured(figure)["norm, mean and standard deviation"]
    norms = np.linalg.norm(rows[0], axis=1)
    assert got == f"{norms.mean():.4f} ± {norms.std():.4f}"
    assert (figure.subtitle, figure.drawn) == ("300 rows", "")


def test_scores_of_rows_that_cannot_be_used() -> None:
    x = np.array([[1.0, 0.0], [0.0, 0.0], [np.nan, 1.0], [0.0, 2.0]])
    e = cs.Ellipsoid.fit(np.array([[1.0, 0.0], [-1.0, 0.0]]))
    figure = figure_of(e.score(x, on_invalid="null"))
    check(figure)
    # The mean is zero: no cosine to it is known.
    assert [panel.key for panel in figure.panels] == ["conformity", "norm"]
    assert panel_of(figure, "norm").data["count"].sum() == 2
    assert figure.drawn == "2 rows without a score are not drawn."
    one = figure_of(e.score(x[:1]))
    check(one)
    assert panel_of(one, "norm").data["count"].sum() == 1
    with pytest.raises(cs.UnavailableError, match="a plot of scores: no row has one"):
        e.score(x[1:3], on_invalid="null").plot()


def test_the_lines_of_a_calibration(rows: Rows) -> None:
    line = cs.Ellipsoid.fit(rows[0]).calibrate(rows[0])
    figure = figure_of(line)
    check(figure)
    (panel,) = figure.panels
    x, y = panel.data["cosine_to_mean"].to_numpy(), panel.data["conformity"].to_numpy()
    assert max(np.abs(x).max(), np.abs(y).max()) <= 1 + 1e-12
    np.testing.assert_allclose(y[:2], line.estimate(x[:2]), rtol=1e-12)
    back = line.inverse_slope * y[2:] + line.inverse_intercept
    np.testing.assert_allclose(x[2:], back, rtol=1e-12)
    # Each goes from side to side.
    np.testing.assert_allclose(np.maximum(np.abs(x), np.abs(y)), 1)
    flat = replace(line, slope=0.0, intercept=0.2, inverse_slope=0.0, inverse_intercept=0.1)
    check(figure_of(flat))
    steep = replace(line, slope=-8.0, intercept=4.0)
    ends = figure_of(steep).panels[0].data.rows()[:2]
    assert [end[1:] for end in ends] == [(pytest.approx(0.375), 1.0), (pytest.approx(0.625), -1.0)]


def test_nearest_rows(rows: Rows) -> None:
    found = cs.nearest_rows(rows[1][:50], rows[0], k=7)
    figure = figure_of(found)
    check(figure)
    places, nearest = figure.panels
    assert places.data["place"].to_list() == list(range(1, 8))
    ordered = np.sort(found.similarity, axis=0)
    np.testing.assert_allclose(places.data["cosine"], (ordered[24] + ordered[25]) / 2)
    assert (places.data["lower"] <= places.data["cosine"]).all()
    share_below = (found.similarity < places.data["lower"].to_numpy()).mean(axis=0)
    assert np.abs(share_below - 0.05).max() <= 1 / 50
    counted(nearest, found.similarity[:, 0])
    assert figure.subtitle == "the nearest 7 to 50 queries"


def test_nearest_rows_of_one_query_and_of_many_places(rows: Rows) -> None:
    one = figure_of(cs.nearest_rows(rows[1][0], rows[0], k=3))
    check(one)
    assert [panel.key for panel in one.panels] == ["places"]
    assert one.panels[0].data.columns == ["place", "cosine"]
    check(figure_of(cs.nearest_rows(rows[1][0], rows[0])))
    k = 100_000
    many = cs.NearestRows(
        np.zeros((2, k), np.int64),
        np.tile(np.linspace(1, 0, k), (2, 1)),
        count=k,
        dim=2,
        dtype="float32",
    )
    figure = figure_of(many)
    check(figure)
    data = figure.panels[0].data
    assert data.height == PLENTY and data["place"][-1] == k
    np.testing.assert_allclose(data["cosine"], 1 - (data["place"] - 1) / (k - 1))


def test_a_divergence_draws_its_histograms() -> None:
    rng = np.random.default_rng(0)
    p, q = rng.normal(size=400), rng.normal(1, 2, size=300)
    found = cs.divergence(p, q)
    figure = figure_of(found)
    check(figure)
    (panel,) = figure.panels
    for name, counts in (("p", found.counts_p), ("q", found.counts_q)):
        own = panel.data.filter(panel.data["series"] == name)
        assert own["count"].to_list() == counts.tolist()
    assert measured(figure)["Wasserstein"] == number(found.wasserstein)
    assert figure.subtitle == "400 numbers (p) and 300 numbers (q)"
    fine = figure_of(cs.divergence(p, q, bins=5_000))
    check(fine)
    assert fine.panels[0].data["count"].sum() == 700 and fine.panels[0].data.height == 400
    check(figure_of(cs.divergence([1.0], [1.0])))


# ---- sets


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_an_ellipsoid(rows: Rows, dtype: str) -> None:
    x = rows[0].astype(dtype)
    figure = figure_of(cs.Ellipsoid.fit(x))
    check(figure)
    assert [panel.key for panel in figure.panels] == ["variances", "axes", "dominance"]
    x = x.astype(np.float64)
    covariance = np.cov(x.T)
    counted(panel_of(figure, "variances"), x.var(axis=0))
    radii = np.sqrt(np.linalg.eigvalsh(covariance)[::-1])
    # Entries of the covariance are within 1e-6 of sqrt(C_ii C_jj): eigenvalues within d times that.
    bound = 32 * 1e-6 * np.diag(covariance).max() / (2 * radii)
    assert (np.abs(panel_of(figure, "axes").data["radius"] - radii) <= bound).all()
    dominance = np.abs(covariance).sum(axis=1) / np.diag(covariance) - 1
    lines = panel_of(figure, "dominance").data
    of_rows = lines.filter(lines["series"] == "measured")["dominance"]
    np.testing.assert_allclose(of_rows, np.sort(dominance)[::-1], rtol=1e-4)
    got = measured(figure)
    median = number(float(np.median(dominance)), 2)
    assert got["median off-diagonal dominance, rows"] == median
    assert figure.subtitle == "300 raw rows of 32 features"


def test_an_ellipsoid_with_less() -> None:
    rng = np.random.default_rng(0)
    means = figure_of(cs.Ellipsoid.fit(rng.normal(size=(40, 8)), covariance=False))
    check(means)
    assert [panel.key for panel in means.panels] == ["variances"]
    # One row, rows that are all the same, one feature, fewer rows than features.
    for x, keys in (
        (np.ones((1, 3)), ["variances"]),
        (np.ones((5, 3)), ["variances", "axes"]),
        (rng.normal(size=(9, 1)), ["variances", "axes", "dominance"]),
        (rng.normal(size=(5, 9)), ["variances", "axes", "dominance"]),
    ):
        figure = figure_of(cs.Ellipsoid.fit(x))
        check(figure)
        assert [panel.key for panel in figure.panels] == keys
    assert panel_of(figure, "axes").data.height == 4
    with pytest.raises(cs.ShapeError, match="found 0 valid rows, wanted 1 or more"):
        cs.Ellipsoid(4).plot()


def test_strongest_features(rows: Rows) -> None:
    found = cs.strongest_features(rows[0], k=5)
    figure = figure_of(found)
    check(figure)
    mean, std = rows[0].mean(axis=0), rows[0].std(axis=0)
    by_ratio, by_mean = (panel.data for panel in figure.panels)
    assert by_ratio["feature"].to_list() == np.argsort(-np.abs(mean / std))[:5].tolist()
    np.testing.assert_allclose(by_mean["mean"], mean[np.argsort(-np.abs(mean))[:5]])
    # Features that never vary have no ratio that an axis has room for.
    constant = figure_of(cs.strongest_features(np.tile([1.0, -2.0], (4, 1))))
    check(constant)
    assert [panel.key for panel in constant.panels] == ["mean-rows"]


@pytest.fixture(scope="module")
def whitening(rows: Rows) -> cs.Whitening:
    return cs.Whitening.from_ellipsoid(cs.Ellipsoid.fit(rows[0]))


def test_normality(rows: Rows, whitening: cs.Whitening) -> None:
    found = whitening.normality(rows[0], sample=200)
    figure = figure_of(found)
    check(figure)
    passing = panel_of(figure, "passing").data
    assert passing["share"].to_list() == [
        found.anderson_darling_fraction,
        found.dagostino_pearson_fraction,
    ]
    bins = panel_of(figure, "anderson-darling").data
    wanted = np.histogram(found.anderson_darling_p, np.linspace(0, 1, 21))[0]
    assert bins["count"].to_list() == wanted.tolist()
    assert figure.drawn == "200 of 300 rows are drawn."
    some = found.anderson_darling_p.copy()
    some[:3] = np.nan
    check(figure_of(replace(found, anderson_darling_p=some)))


def test_a_spectrum(rows: Rows, whitening: cs.Whitening) -> None:
    e = cs.Ellipsoid.fit(rows[0])
    for one, used in (
        (whitening, whitening.eigenvalues),
        (cs.Whitening.from_ellipsoid(e, rank=10), whitening.eigenvalues[:10]),
        (cs.Whitening.from_ellipsoid(e, floor=0.1), None),
        (cs.Whitening.from_ellipsoid(e, shrinkage=0.3), None),
    ):
        figure = figure_of(one)
        check(figure)
        (panel,) = figure.panels
        found, kept = panel.data.partition_by("series", maintain_order=True)
        np.testing.assert_array_equal(found["variance"], one.eigenvalues)
        np.testing.assert_array_equal(kept["variance"].drop_nulls(), one.variances)
        if used is not None:
            np.testing.assert_array_equal(kept["variance"].drop_nulls(), used)
        assert measured(figure)["directions that are dropped"] == str(32 - one.rank)


def test_a_spectrum_with_axes_that_are_rounding() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 6)) @ np.diag([3.0, 2.0, 1.0, 1.0, 0.5, 0.0]) @ rng.normal(size=(6, 6))
    found = cs.Whitening.from_ellipsoid(cs.Ellipsoid.fit(x))
    figure = figure_of(found)
    check(figure)
    kept = figure.panels[0].data.partition_by("series", maintain_order=True)[1]
    assert found.rank == 5 and kept["variance"].is_null().to_list() == [False] * 5 + [True]
    assert figure.drawn == "1 of 6 directions are dropped."


def test_all_cosines(rows: Rows) -> None:
    found = cs.similarity_histogram(rows[0], bins=50)
    figure = figure_of(found)
    check(figure)
    u = rows[0] / np.linalg.norm(rows[0], axis=1, keepdims=True)
    cosines = (u @ u.T)[np.triu_indices(300, 1)]
    (panel,) = figure.panels
    edges = np.append(panel.data["low"], panel.data["high"][-1])
    assert panel.data["count"].to_list() == np.histogram(cosines, edges)[0].tolist()
    assert panel.data["share"].sum() == pytest.approx(1)
    assert drawn(panel, "at")[0]["at"] == pytest.approx(cosines.mean(), abs=1e-9)


def test_cosines_outside_the_edges_count(rows: Rows) -> None:
    found = cs.similarity_histogram(rows[0], bins=60_000, range=(0.4, 0.5))
    figure = figure_of(found)
    check(figure)
    data = figure.panels[0].data
    assert data.height <= 200 and data["count"].sum() == found.counts.sum()
    inside = found.counts.sum() / found.total
    assert data["share"].sum() == pytest.approx(inside) and inside < 0.9
    assert figure.drawn == (
        f"{found.below:,} cosines below the first edge and {found.above:,} above the last are not "
        "drawn."
    )
    # No cosine within the edges, and a mean outside.
    none = figure_of(cs.similarity_histogram(rows[0], bins=4, range=(-1, -0.9)))
    check(none)
    assert none.panels[0].data["count"].sum() == 0 and not drawn(none.panels[0], "at")


# ---- pairs


def test_the_losses_of_pairs(rows: Rows) -> None:
    found = cs.contrastive_loss(*rows, per_pair=True)
    figure = figure_of(found)
    check(figure)
    distribution, ranked = figure.panels
    sets = {
        "image to text": found.per_pair_image_to_text,
        "text to image": found.per_pair_text_to_image,
    }
    rules = {row["label"]: row["at"] for row in drawn(distribution, "at")}
    for way, losses in sets.items():
        bins = distribution.data.filter(distribution.data["series"] == way)
        assert bins["count"].sum() == 300
        edges = [-np.inf, *bins["high"][:-1], np.inf]
        assert bins["count"].to_list() == np.histogram(losses, edges)[0].tolist()
        assert rules[f"mean, {way}"] == pytest.approx(losses.mean())
        line = ranked.data.filter(ranked.data["series"] == way)["loss"]
        wanted = np.sort(losses)[::-1]
        wanted = wanted[wanted > 1e-6 * max(x.max() for x in sets.values())]
        assert line.drop_nulls().to_list() == wanted.tolist()
    assert measured(figure)["loss (nats)"] == number(found.loss)


def test_losses_that_were_not_kept(rows: Rows) -> None:
    found = cs.contrastive_loss(*rows)
    with pytest.raises(cs.UnavailableError, match=r"contrastive_loss\(image, text, per_pair=True"):
        found.plot()
    zero = np.zeros(5)
    none = replace(found, per_pair_image_to_text=zero, per_pair_text_to_image=zero)
    check(figure_of(none))


def test_recall(rows: Rows) -> None:
    found = cs.retrieval_ranks(*rows)
    figure = figure_of(found)
    check(figure)
    data = figure.panels[0].data
    for k in (1, 2, 17, 300):
        at = {row["series"]: row["recall"] for row in data.filter(data["k"] == k).to_dicts()}
        assert at["image to text"] == pytest.approx((found.image_to_text <= k).mean())
        assert at["text to image"] == pytest.approx((found.text_to_image <= k).mean())
        assert at["by chance"] == pytest.approx(k / 300)
    share = 100 * (found.text_to_image <= 5).mean()
    assert measured(figure)["recall at 5, text to image"] == f"{share:.1f}%"


def test_recall_of_many_and_of_several_texts() -> None:
    many = cs.RetrievalRanks(*(np.arange(1.0, 100_001.0) for _ in range(2)))
    figure = figure_of(many)
    check(figure)
    data = figure.panels[0].data.filter(figure.panels[0].data["series"] == "image to text")
    np.testing.assert_allclose(data["recall"], data["k"] / 100_000)
    assert data["k"].to_list()[:100] == list(range(1, 101)) and data["k"][-1] == 100_000
    several = figure_of(cs.RetrievalRanks(np.array([1.0, 1.5]), np.array([1.0, 2.0, 1.0])))
    check(several)
    assert "by chance" not in several.panels[0].data["series"]
    assert "by chance" not in svg(several)


def test_false_negatives(rows: Rows) -> None:
    found = cs.false_negatives(*rows)
    figure = figure_of(found)
    check(figure)
    data = figure.panels[0].data
    for name, rivals in (("image", found.image_to_text), ("text", found.text_to_image)):
        own = data.filter(data["series"] == name)
        assert own["rows"].sum() == 300
        for bin_ in own.to_dicts():
            inside = (rivals.count >= bin_["low"]) & (rivals.count <= bin_["high"])
            assert bin_["rows"] == inside.sum() and bin_["share"] == inside.mean()
        share = 100 * (rivals.count > 0).mean()
        assert measured(figure)[f"rows with one or more, {name}"] == f"{share:.1f}%"
    spearman = number(found.image_spearman.conformity, 3)
    assert measured(figure)["Spearman, false negatives and conformity, image"] == spearman
    ends = dict(zip(data["low"].to_list(), data["high"].to_list(), strict=True))
    assert [*ends.items()][:4] == [(0, 0), (1, 1), (2, 3), (4, 7)]


def test_rivals_of_one_set_and_none_at_all(rows: Rows) -> None:
    for threshold in (0.5, 1.5):
        found = cs.false_negatives_within(rows[0], threshold=threshold)
        figure = figure_of(found)
        check(figure)
        assert figure.panels[0].data["rows"].sum() == 300
    assert figure.panels[0].data["low"].to_list() == [0]
    huge = replace(found, count=np.array([0, 2**40]))
    figure = figure_of(huge)
    check(figure)
    assert figure.panels[0].data["rows"].to_list() == [1, *[0] * 40, 1]


def test_differences_of_pairs(rows: Rows) -> None:
    found = cs.conformity_difference(*rows)
    figure = figure_of(found)
    check(figure)
    counted(panel_of(figure, "percentiles"), found.percentile_difference)
    counted(panel_of(figure, "raw"), found.difference)
    got = measured(figure)
    assert got["mean difference of conformities"] == number(found.difference.mean())
    (image,), (text,) = found.largest(1)
    value = number(found.percentile_difference[image], 3)
    assert got["image higher, by most (percentiles)"] == f"{value}, pair {image}"
    assert got["text higher, by most (percentiles)"].endswith(f"pair {text}")
    alike = figure_of(cs.conformity_difference(np.ones((4, 2)), np.ones((4, 2))))
    check(alike)


def test_how_well_a_plane_separates(rows: Rows) -> None:
    rng = np.random.default_rng(0)
    noise = cs.linear_separability(rng.normal(size=(40, 3)), rng.normal(size=(40, 3)), folds=4)
    for found in (cs.linear_separability(*rows), noise):
        figure = figure_of(found)
        check(figure)
        data = figure.panels[0].data
        for features, folds, mean, fitted in (
            ("best two", found.folds_two, found.cross_validated_two, found.accuracy_two),
            ("all", found.folds_all, found.cross_validated_all, found.accuracy_all),
        ):
            own = data.filter(data["features"] == features)
            assert own["accuracy"].to_list() == [*folds, mean, fitted]
        assert figure.panels[0].data["accuracy"].min() >= 0
    sampled = replace(found, count_image=4_000)
    assert figure_of(sampled).drawn == "A sample of 80 of 4,040 rows was used."


# ---- what the report draws, too


def test_figures_of_the_report(rows: Rows, analysis: cs.Analysis) -> None:
    e = cs.Ellipsoid.fit(rows[0])
    grid = cs.vslerp_grid(rows[0][0], rows[0][1], [0.0, 1.0], [0.0, 1.0], e, rows=rows[0])
    for result, key in (
        (cs.match_sweep(*rows, alphas=[0.0, 0.5]), "matching"),
        (cs.blur_experiment(), "blur"),
        (cs.compare(rows[0], {"texts": rows[1][:50]}), "expressiveness"),
        (grid, "interpolation"),
        (analysis.retrieval, "false-negatives"),
    ):
        figure = figure_of(result)
        assert figure.key == key
        check(figure)


def test_a_grid_without_rows_to_search(rows: Rows) -> None:
    grid = cs.vslerp_grid(rows[0][0], rows[0][1], [0.5], [0.0], rows[0].mean(axis=0))
    with pytest.raises(cs.UnavailableError, match=r"vslerp_grid\(\.\.\., rows=rows\)"):
        grid.plot()


def test_the_slider_is_in_the_chart(rows: Rows) -> None:
    chart = cs.match_sweep(*rows, alphas=[-0.5, 0.0, 0.5]).plot().to_dict()
    (slider,) = [one for one in chart["params"] if "bind" in one]
    assert slider["bind"]["min"] == -0.5 and slider["bind"]["max"] == 0.5
