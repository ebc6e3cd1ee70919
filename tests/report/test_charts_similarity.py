"""Figure 7, and the distributions of all cosines."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import clipsoid as cs
from clipsoid.report.charts.blur import blur_figure
from clipsoid.report.charts.similarity import similarity_figure
from report.specs import alike, beside_paper, channel, check, drawn, panel_of, small, tiny

QUICK = {"leave_out": [*(set(cs.analysis.PARTS) - {"similarities", "gap"})]}


@pytest.fixture(scope="module")
def rows() -> tuple[np.ndarray, np.ndarray, cs.Analysis]:
    return small(**QUICK)


@pytest.fixture(scope="module")
def blur() -> cs.BlurExperiment:
    return cs.blur_experiment(seed=3, bins=24)


def test_blur_compares_on_one_axis(blur: cs.BlurExperiment) -> None:
    figure = blur_figure(blur)
    check(figure)
    keys = [panel.key for panel in figure.panels]
    assert keys == ["centred-to-mean", "centred-to-far", "shifted-to-mean", "shifted-to-far"]
    domains = {
        (*one["scale"]["domain"],)
        for panel in figure.panels
        for name in ("x", "y")
        for one in channel(panel, name)
        if one.get("scale")
    }
    # One across and one up.
    assert len(domains) == 2
    for key in keys:
        sphere, what = key.split("-", 1)
        sample = blur.centered if sphere == "centred" else blur.shifted
        cosines = sample.to_mean if what == "to-mean" else sample.to_far
        panel = panel_of(figure, key)
        assert panel.data["count"].to_list() == np.histogram(cosines, blur.edges)[0].tolist()
        assert [row["at"] for row in drawn(panel, "at")] == pytest.approx([cosines.mean()])
        row = "the mean" if what == "to-mean" else "the least similar row"
        for name, value in (("mean", cosines.mean()), ("least", cosines.min())):
            said = f"{value:.3f}".replace("-", "\N{MINUS SIGN}")
            assert beside_paper(figure)[f"{name} cosine to {row}, {sphere}"] == (said, "")


def test_blur_says_what_was_simulated(blur: cs.BlurExperiment) -> None:
    figure = blur_figure(blur)
    assert "1,000 random vectors of 512 features" in figure.caption
    assert "(10, 5, 5, 0, ...)" in figure.caption
    assert f"{blur.shifted.to_mean.min():.2f} or more" in figure.caption


def test_all_cosines(rows) -> None:
    x, y, found = rows
    figure = similarity_figure(found)
    check(figure)
    u, v = (z / np.linalg.norm(z, axis=1, keepdims=True) for z in (x, y))
    upper = np.triu_indices(300, 1)
    cosines = {"image": (u @ u.T)[upper], "text": (v @ v.T)[upper], "between": (u @ v.T).ravel()}
    low = min(values.min() for values in cosines.values())
    for name, values in cosines.items():
        panel = panel_of(figure, "between" if name == "between" else "within")
        bins = panel.data.filter(panel.data["series"] == name)
        edges = np.append(bins["low"], bins["high"][-1])
        assert bins["count"].to_list() == np.histogram(values, edges)[0].tolist()
        assert bins["count"].sum() == len(values)
        # Empty bins on both sides are not drawn: 20 bins of 0.1 are from -1 to 1.
        assert low - 0.1 < edges[0] <= low
        rules = {row["label"]: row["at"] for row in drawn(panel, "at")}
        assert rules[f"mean, {name}"] == pytest.approx(values.mean(), abs=1e-9)
    paired = (u * v).sum(axis=1).mean()
    assert rules["mean of true pairs"] == pytest.approx(paired, abs=1e-9)
    got = beside_paper(figure)
    assert got["mean cosine of true pairs"][0] == f"{paired:.4f}"
    assert got["mean cosine within the images"][0] == f"{cosines['image'].mean():.4f}"
    assert got["mean cosine between images and texts"][0] == f"{cosines['between'].mean():.4f}"
    distance = np.linalg.norm(x.mean(axis=0) - y.mean(axis=0))
    assert got["distance of the two means (units of the embedding)"][0] == f"{distance:.4f}"
    unit = np.linalg.norm(u.mean(axis=0) - v.mean(axis=0))
    assert got["distance of the two unit means"][0] == f"{unit:.4f}"


def test_cosines_without_the_gap_or_not_at_all(rows) -> None:
    found = rows[2]
    assert similarity_figure(replace(found, similarities=None)) is None
    unpaired = replace(found.gap, paired_cosine_mean=None, cosine_of_means=None)
    for gap, known in ((None, None), (unpaired, "—")):
        figure = similarity_figure(replace(found, gap=gap))
        check(figure)
        assert "true pairs" not in figure.caption
        labels = [row["label"] for row in drawn(panel_of(figure, "between"), "at")]
        assert labels == ["mean, between"]
        assert beside_paper(figure).get("mean cosine of true pairs", (None,))[0] == known


def test_a_sample_of_pairs_is_said_to_be_one(rows) -> None:
    found = rows[2]
    assert similarity_figure(found).drawn == ""
    image = replace(found.image, count=1_000_000)
    wanted = "20,000 of 1,000,000 pairs of rows"
    assert similarity_figure(replace(found, image=image)).drawn == wanted


def test_few_rows_and_rows_that_are_all_the_same() -> None:
    for found in (tiny(**QUICK), alike()):
        check(similarity_figure(found))
    (at,) = np.flatnonzero(similarity_figure(alike()).panels[0].data["count"].to_numpy() == 190)
    # Of equal rows every cosine is 1, in the last bin.
    assert similarity_figure(alike()).panels[0].data["high"][int(at)] == 1
