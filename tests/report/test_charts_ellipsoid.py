"""Figures 4 and 5, and the normality of whitened rows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import clipsoid as cs
from clipsoid.report.charts.ellipsoid import ellipsoid_figure
from clipsoid.report.charts.normality import normality_figure
from clipsoid.report.charts.shell import shell_figure
from clipsoid.report.marks import PLENTY
from report.specs import (
    alike,
    beside_paper,
    channel,
    check,
    drawn,
    panel_of,
    small,
    tiny,
    with_constants,
)

QUICK = {"leave_out": [*(set(cs.analysis.PARTS) - {"normality"})]}


@pytest.fixture(scope="module")
def rows() -> tuple[np.ndarray, np.ndarray, cs.Analysis]:
    return small(**QUICK)


def of(rows, name: str) -> np.ndarray:
    return rows[0] if name == "image" else rows[1]


@pytest.mark.parametrize("name", ["image", "text"])
def test_radii_and_norms(rows, name: str) -> None:
    x, figure = of(rows, name), shell_figure(rows[2])
    check(figure)
    lengths = {
        "radii": np.linalg.norm(x - x.mean(axis=0), axis=1),
        "norms": np.linalg.norm(x, axis=1),
    }
    for key, values in lengths.items():
        panel = panel_of(figure, key)
        bins = panel.data.filter(panel.data["series"] == name)
        edges = np.append(bins["low"], bins["high"][-1])
        assert edges[0] == pytest.approx(values.min()) and edges[-1] == pytest.approx(values.max())
        # Rounding may carry the two rows at the ends out of edges that are recomputed.
        inner = np.histogram(values, [-np.inf, *edges[1:-1], np.inf])[0]
        assert bins["count"].to_list() == inner.tolist()
        (at,) = [row["at"] for row in drawn(panel, "at") if row["label"] == f"mean, {name}"]
        assert at == pytest.approx(values.mean())
        assert {one["scale"]["domain"][0] for one in channel(panel, "x") if "scale" in one} == {0}
    radii, got = lengths["radii"], beside_paper(figure)
    paper = {"image": ("7.5873", "0.1914", "7.6007"), "text": ("", "", "")}[name]
    rms = np.sqrt((radii**2).mean())
    assert got[f"mean radius, {name}"] == (f"{radii.mean():.4f}", paper[0])
    assert got[f"variance of the radii, {name}"] == (f"{radii.var():.4f}", paper[1])
    assert got[f"root mean square of the radii, |σ|, {name}"] == (f"{rms:.4f}", paper[2])  # noqa: RUF001
    error = f"{100 * (rms - radii.mean()) / rms:.2f}%"
    assert got[f"error of the mean radius, {name}"][0] == error
    ratio = np.linalg.norm(x.mean(axis=0)) / np.linalg.norm(x.std(axis=0))
    wanted = (f"{ratio:.2f}", {"image": "0.94", "text": "1.03"}[name])
    assert got[f"centre ratio |m| / |σ|, {name}"] == wanted  # noqa: RUF001


@pytest.mark.parametrize("name", ["image", "text"])
def test_deviations_are_densities_of_ten_features(rows, name: str) -> None:
    x = of(rows, name)
    panel = panel_of(shell_figure(rows[2]), f"deviations-{name}")
    assert panel.data["feature"].unique().sort().to_list() == list(range(10))
    for feature in range(10):
        bins = panel.data.filter(panel.data["feature"] == feature)
        values = x[:, feature] - x[:, feature].mean()
        density, edges = np.histogram(values, 20, density=True)
        np.testing.assert_allclose(bins["low"], edges[:-1], rtol=1e-9, atol=1e-12)
        # A row on an edge may fall to either side.
        np.testing.assert_allclose(bins["density"], density, atol=1.5 / np.ptp(values) * 20 / 300)
        width = (bins["high"] - bins["low"]).to_numpy()
        np.testing.assert_allclose((bins["density"].to_numpy() * width).sum(), 1, rtol=1e-9)
        line = [row for row in drawn(panel, "std") if row["feature"] == feature]
        # It rises from 0 and falls back to it.
        assert len(line) == 22 and line[0]["density"] == line[-1]["density"] == 0
        assert line[0]["std"] == pytest.approx(values.std())


@pytest.mark.parametrize("name", ["image", "text"])
def test_variances_axes_and_dominance(rows, name: str) -> None:
    x, figure = of(rows, name), ellipsoid_figure(rows[2])
    check(figure)
    variances = panel_of(figure, "variances").data
    assert variances.filter(variances["series"] == name)["count"].sum() == 32
    covariance = np.cov(x.T)
    radii = np.sqrt(np.linalg.eigvalsh(covariance)[::-1])
    axes = panel_of(figure, "axes").data
    axes = axes.filter(axes["series"] == name)
    assert axes["rank"].to_list() == list(range(1, 33))
    np.testing.assert_allclose(axes["radius"], radii, rtol=1e-9)
    own = np.diag(covariance)
    sums = (np.abs(covariance).sum(axis=1) - own) / own
    sigma = np.sqrt(own)
    null = np.sqrt(2 / (np.pi * len(x))) * (sigma.sum() - sigma) / sigma
    dominance = panel_of(figure, f"dominance-{name}").data
    for series, wanted in (("measured", sums), ("untilted, by chance", null)):
        line = dominance.filter(dominance["series"] == series)
        np.testing.assert_allclose(line["dominance"], np.sort(wanted)[::-1], rtol=1e-9)
    got = beside_paper(figure)
    assert got[f"median off-diagonal dominance, {name}"] == (
        f"{np.median(sums):.2f}",
        "well above 1",
    )
    over = f"{np.median(sums / null):.2f}"
    assert got[f"median off-diagonal dominance over chance, {name}"][0] == over
    greatest = f"{x.var(axis=0).max() / np.median(x.var(axis=0)):.1f}"
    assert got[f"greatest variance over the median, {name}"][0] == greatest
    assert got[f"longest axis over the median, {name}"][0] == f"{radii[0] / np.median(radii):.1f}"


def test_normality_shows_what_passes_and_the_p_values(rows) -> None:
    part = rows[2].normality
    figure = normality_figure(part)
    check(figure)
    for field, test in (
        ("anderson_darling", "Anderson–Darling"),  # noqa: RUF001
        ("dagostino_pearson", "D'Agostino–Pearson"),  # noqa: RUF001
    ):
        for name in ("image", "text"):
            p = getattr(getattr(part, name), f"{field}_p")
            share = (p >= 0.05).mean()
            passing = panel_of(figure, "passing").data
            line = passing.filter((passing["test"] == test) & (passing["modality"] == name))
            assert line["share"].item() == pytest.approx(share)
            assert line["coordinates"].item() == 32
            said = beside_paper(figure)[f"share of coordinates that pass {test}, {name}"]
            assert said == (f"{100 * share:.1f}%", "")
            bins = panel_of(figure, field.replace("_", "-")).data
            bins = bins.filter(bins["series"] == name)
            wanted = np.histogram(p, 20, (0, 1))[0]
            assert bins["count"].to_list() == wanted.tolist()
    assert [row["level"] for row in drawn(panel_of(figure, "passing"), "level")] == [0.95]
    for key in ("anderson-darling", "dagostino-pearson"):
        assert [row["level"] for row in drawn(panel_of(figure, key), "level")] == [0.05]
    assert figure.drawn == ""
    some = replace(part, image=replace(part.image, count=300, total=90_000))
    assert normality_figure(some).drawn == "300 of 90,000 rows are drawn."


def test_features_that_never_vary_leave_gaps() -> None:
    found = with_constants(**QUICK)
    shell, ellipsoid = shell_figure(found), ellipsoid_figure(found)
    for figure in (shell, ellipsoid, normality_figure(found.normality)):
        check(figure)
    features = panel_of(shell, "deviations-image").data["feature"].unique().to_list()
    assert sorted(features) == [0, 1, 2, 6, 7, 8, 9]
    assert panel_of(ellipsoid, "dominance-image").data.height == 2 * 29
    axes = panel_of(ellipsoid, "axes").data
    assert axes.filter(axes["series"] == "image")["radius"].null_count() == 3
    p = found.normality.image.anderson_darling_p.copy()
    p[:5] = np.nan
    some = replace(found.normality, image=replace(found.normality.image, anderson_darling_p=p))
    figure = normality_figure(some)
    check(figure)
    bins = panel_of(figure, "anderson-darling").data
    assert bins.filter(bins["series"] == "image")["count"].sum() == np.isfinite(p).sum()


def test_fewer_rows_than_features_span_fewer_axes() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 20, 48))
    figure = ellipsoid_figure(cs.analyze(x, y, leave_out=cs.analysis.PARTS))
    check(figure)
    axes = panel_of(figure, "axes").data
    assert axes["rank"].max() == 19 and axes["radius"].null_count() == 0


def test_many_features_are_thinned(rows) -> None:
    found, d = rows[2], 4_000
    wide = np.linspace(9, 1, d)
    many = {
        m.name: replace(
            m, dim=d, distinct=d + 1, radii_of_axes=wide, dominance=wide, dominance_null=wide
        )
        for m in (found.image, found.text)
    }
    figure = ellipsoid_figure(replace(found, **many))
    check(figure)
    for panel in figure.panels[1:]:
        assert panel.data.height == 2 * PLENTY and panel.data["rank"].max() == d


def test_few_rows_of_two_features() -> None:
    found = tiny(**QUICK)
    for figure in (shell_figure(found), ellipsoid_figure(found), normality_figure(found.normality)):
        check(figure)


def test_rows_that_are_all_the_same_and_normalised() -> None:
    found = alike()
    shell, ellipsoid = shell_figure(found), ellipsoid_figure(found)
    check(shell)
    check(ellipsoid)
    assert "normalised: this is the unit sphere" in shell.caption
    keys = [panel.key for panel in (*shell.panels, *ellipsoid.panels)]
    assert "deviations-text" in keys and "deviations-image" not in keys
    assert "dominance-text" in keys and "dominance-image" not in keys


def test_a_sample_is_said_to_be_one(rows) -> None:
    found = rows[2]
    assert shell_figure(found).drawn == ""
    image = replace(found.image, count=70_000)
    wanted = "300 of 70,000 rows in the deviations are drawn."
    assert shell_figure(replace(found, image=image)).drawn == wanted
