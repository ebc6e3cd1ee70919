"""Figure 11: lines of divergences, and both distributions at the alpha of a slider."""

# ruff: noqa: RUF001 (the alpha is meant)

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import pytest

import clipsoid as cs
from clipsoid.report import theme
from clipsoid.report.charts.distributions import STEP, chosen, slider_panel
from clipsoid.report.charts.lines import Line, Lines, drawn
from clipsoid.report.charts.matching import match_figure
from clipsoid.report.marks import MOST_MARKS
from report.specs import check, measured, nodes, rows, svg
from unit.pair_samples import pairs

KEYS = ["kl", "distributions", "kde_kl", "places", "js", "wasserstein"]


@pytest.fixture(scope="module")
def sweep() -> cs.MatchSweep:
    return cs.match_sweep(*pairs(300, 16), alphas=np.linspace(-1, 1, 21), bins=20)


@pytest.fixture(scope="module")
def made(sweep: cs.MatchSweep) -> dict[str, dict[str, Any]]:
    return check(match_figure(sweep))


def line(spec: Any, label: str) -> dict[float, float]:
    return {row["alpha"]: row["value"] for row in rows(spec, "line") if row["line"] == label}


def seen(spec: Any, step: float) -> tuple[list[dict[str, Any]], list[str]]:
    """The bars and the words that pass the filter at a place of the slider."""
    at = [row for row in rows(spec, "from", "to") if row["from"] <= step < row["to"]]
    return [row for row in at if "low" in row], [row["words"] for row in at if "words" in row]


def test_panels_hold_the_table(sweep: cs.MatchSweep, made: dict[str, Any]) -> None:
    figure = match_figure(sweep)
    assert list(made) == KEYS
    table = sweep.table
    for key, label, column in (
        ("kl", "images from texts", "kl_image_text"),
        ("kl", "texts from images", "kl_text_image"),
        ("kde_kl", "images from texts", "kde_kl_image_text"),
        ("kde_kl", "texts from images", "kde_kl_text_image"),
        ("js", "Jensen-Shannon divergence", "js"),
        ("wasserstein", "Wasserstein distance", "wasserstein"),
    ):
        found = line(made[key], label)
        np.testing.assert_allclose(list(found), table["alpha"], atol=1e-9)
        np.testing.assert_allclose(list(found.values()), table[column], rtol=1e-5)
        data = next(panel.data for panel in figure.panels if panel.key == key)
        assert data[column].to_list() == table[column].to_list()
        assert data.columns[0] == "alpha" and len(data.columns) <= 3
    figures, papers = measured(figure), {m.name: m.paper for m in figure.measures}
    at_zero = table.filter(pl.col("alpha").abs() < 1e-12)
    assert figures["KL, images from texts, at α = 0"] == f"{at_zero['kl_image_text'].item():.4f}"
    assert papers["KL, images from texts, at α = 0"] == "0.14"
    assert "300 images and as many texts, raw rows" in figure.subtitle


def test_the_least_is_marked(sweep: cs.MatchSweep, made: dict[str, Any]) -> None:
    (mark,) = rows(made["kl"], "below", "kl")
    least = min(sweep.table["kl_image_text"])
    assert mark["alpha"] == pytest.approx(sweep.best_alpha)
    assert mark["kl"] == pytest.approx(least, rel=1e-5)
    words = f"{least:.4g} at α = {sweep.best_alpha + 0.0:.4g}".replace("-", "\N{MINUS SIGN}")
    assert words in {
        part.get("text") for part in nodes(made["kl"]) if isinstance(part.get("text"), str)
    }


def test_the_slider_moves_through_every_alpha(sweep: cs.MatchSweep, made: dict[str, Any]) -> None:
    panel = made["distributions"]
    (param,) = [one for one in panel["params"] if one["name"] == STEP]
    bind = param["bind"]
    assert bind["input"] == "range" and (bind["min"], bind["max"]) == (-1, 1)
    assert bind["step"] == pytest.approx(0.1) and "α" in bind["name"]
    assert param["value"] == 0
    kl = dict(zip(sweep.table["alpha"], sweep.table["kl_image_text"], strict=True))
    for histogram in sweep.histograms:
        bars, words = seen(panel, histogram.alpha)
        for series in ("image", "text"):
            counts = getattr(histogram, series)
            own = [row for row in bars if row["series"] == series]
            assert [row["count"] for row in own] == counts[counts > 0].tolist()
            edges = histogram.edges[:-1][counts > 0]
            np.testing.assert_allclose([row["low"] for row in own], edges, rtol=1e-5, atol=1e-12)
            assert sum(row["share"] for row in own) == pytest.approx(1, abs=1e-4)
        alpha = f"{histogram.alpha + 0.0:.4g}".replace("-", "\N{MINUS SIGN}")
        assert words == [f"α = {alpha}: KL {kl[histogram.alpha]:.3f} nats"]


def test_the_axis_of_conformity_stays(sweep: cs.MatchSweep, made: dict[str, Any]) -> None:
    (bars, _) = made["distributions"]["layer"]
    edges = np.concatenate([one.edges for one in sweep.histograms])
    domain = bars["encoding"]["x"]["scale"]["domain"]
    filled = rows(made["distributions"], "low")
    assert domain[0] == min(row["low"] for row in filled) >= edges.min() - 1e-5
    assert domain[1] == max(row["high"] for row in filled) <= edges.max() + 1e-5
    colour = bars["encoding"]["color"]["scale"]
    assert dict(zip(colour["domain"], colour["range"], strict=True)) == theme.MODALITY


def test_any_place_of_the_slider_shows_one_alpha() -> None:
    """Alphas in any order, unevenly spaced, one of them twice."""
    sweep = cs.match_sweep(*pairs(60, 8), alphas=[0.7, -0.25, 0.3, 0.3, -2])
    made = check(match_figure(sweep))["distributions"]
    (param,) = [one for one in made["params"] if one["name"] == STEP]
    assert param["value"] == -0.25
    assert (param["bind"]["min"], param["bind"]["max"]) == (-2, 0.7)
    for step in np.linspace(-3, 3, 61):
        bars, words = seen(made, step)
        assert len(words) == 1
        assert sum(row["count"] for row in bars) == 120
    assert seen(made, 0.29)[1][0].startswith("α = 0.3:")


def test_places_are_quantiles(sweep: cs.MatchSweep) -> None:
    figure = match_figure(sweep)
    data = next(panel.data for panel in figure.panels if panel.key == "places")
    image, text = pairs(300, 16)
    for alpha in (-1.0, 0.0, 0.5):
        at = data.row(int((data["alpha"] - alpha).abs().arg_min() or 0), named=True)
        histogram = min(sweep.histograms, key=lambda one: abs(one.alpha - alpha))
        width = histogram.edges[1] - histogram.edges[0]
        values = {
            "image": cs.conformity(image - alpha * image.mean(axis=0, dtype=np.float64)),
            "text": cs.conformity(text),
        }
        for series, own in values.items():
            for name, q in (("lower", 0.05), ("median", 0.5), ("upper", 0.95)):
                # A row that is counted in a bin lies anywhere in it.
                low, high = np.quantile(own, [q - 0.01, q + 0.01])
                found = at[f"{series}_{name}"]
                assert low - 1.01 * width <= found <= high + 1.01 * width


@pytest.mark.parametrize("shift", ["text", "both"])
def test_what_moves_is_said(shift: Any) -> None:
    figure = match_figure(cs.match_sweep(*pairs(60, 8), alphas=[-0.5, 0, 0.5], shift=shift))
    check(figure)
    words = {"text": "as the text centre moves", "both": "as the centres move"}
    assert words[shift] in figure.title


def test_intervals_are_bands() -> None:
    sweep = cs.match_sweep(
        *pairs(60, 8), alphas=[-0.5, 0, 0.5], interval=0.9, resamples=20, shift="both"
    )
    figure = match_figure(sweep)
    made = check(figure)
    assert "bands: 90 % intervals" in figure.subtitle
    for key, column in (("js", "js"), ("kde_kl", "kde_kl_text_image")):
        bands = rows(made[key], "lower", "upper")
        for name in ("lower", "upper"):
            wanted = sweep.table[f"{column}_{name}"]
            assert [row[name] for row in bands][-3:] == pytest.approx(wanted.to_list(), rel=1e-5)
            data = next(panel.data for panel in figure.panels if panel.key == key)
            assert data[f"{column}_{name}"].to_list() == wanted.to_list()
    assert not rows(made["kl"], "lower", "upper")


def test_one_alpha_has_no_slider() -> None:
    sweep = cs.match_sweep(*pairs(20, 2), alphas=[0.3])
    figure = match_figure(sweep)
    made = check(figure)["distributions"]
    (param,) = [one for one in made["params"] if one["name"] == STEP]
    assert param == {"name": STEP, "value": 0.3}
    assert len(seen(made, 0.3)[1]) == 1
    svg(figure)


def test_equal_distributions_have_a_linear_axis() -> None:
    rows_, _ = pairs(40, 8)
    figure = match_figure(cs.match_sweep(rows_, rows_, shift="both", alphas=[-0.5, 0, 0.5]))
    made = check(figure)
    assert "log" not in json.dumps(made["kl"])
    svg(figure)


def test_a_wide_range_has_a_logarithmic_axis(sweep: cs.MatchSweep) -> None:
    table = sweep.table.with_columns(kl_image_text=pl.col("kl_image_text") * 1e-3)
    made = check(match_figure(replace(sweep, table=table)))["kl"]
    assert "divergence (nats, log scale)" in json.dumps(made)
    svg(match_figure(sweep))


def test_many_alphas_and_bins_are_thinned(sweep: cs.MatchSweep) -> None:
    one = sweep.histograms[10]
    rng = np.random.default_rng(0)
    counts = rng.integers(1, 9, 250)
    edges = np.linspace(0, 1, 251)
    fine = [
        one._replace(alpha=a, edges=edges, image=counts, text=counts)
        for a in np.arange(-70.0, 80.0)
    ]
    kept = chosen(fine)
    assert kept[0].alpha == -70 and kept[-1].alpha == 79 and 0 in [each.alpha for each in kept]
    panel = slider_panel(kept, dict.fromkeys((each.alpha for each in kept), 0.5))
    assert panel.data.height <= MOST_MARKS
    first = panel.data.filter(pl.col("alpha") == 0, pl.col("series") == "image")
    assert first["count"].to_list() == [counts[i : i + 3].sum() for i in range(0, 250, 3)]
    assert first["high"][-1] == 1 and (first["high"][:-1] - first["low"][1:]).abs().max() == 0


def test_gaps_and_single_lines() -> None:
    values = [1.0, None, 3.0]
    two = Lines("a", "A", "", "u", (Line("x", values, theme.BLUE, theme.SOLID),) * 2)
    one = Lines("a", "A", "", "u", two.lines[:1])
    made = drawn(two, [0, 1, 2], "α").to_dict()
    assert [row["value"] for row in rows(made, "line")][:3] == values
    assert '"symbolType": "stroke"' in json.dumps(made)
    assert "symbolType" not in json.dumps(drawn(one, [0, 1, 2], "α").to_dict())
