"""Figure 13, and the page of a comparison."""

# ruff: noqa: RUF001 (the minus sign is meant)

from __future__ import annotations

import json
import warnings
from typing import Any

import numpy as np
import polars as pl
import pytest

import clipsoid as cs
from clipsoid.comparison import Comparison
from clipsoid.report.blocks import Table
from clipsoid.report.charts.expressiveness import MOST_RIDGES, expressiveness_figure
from clipsoid.report.comparison import comparison_page
from clipsoid.report.page import html
from report.specs import check, measured, rows, svg
from unit.samples import cloud

NAMES = ["bland", "plain </script> \"quoted\" 'one' {{ x }}", "wild"]


def compared(reference: Any, candidates: dict[str, Any], **options: Any) -> Comparison:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", cs.SmallSampleWarning)
        return cs.compare(reference, candidates, **options)


@pytest.fixture(scope="module")
def real() -> np.ndarray:
    found: np.ndarray = cloud(300, 16)
    return found


@pytest.fixture(scope="module")
def found(real: np.ndarray) -> Comparison:
    mean = real.mean(axis=0)
    moves = dict(zip(NAMES, (0.6, 0.0, -0.5), strict=True))
    made = {name: cloud(80, 16, seed=5) + move * mean for name, move in moves.items()}
    return compared(real, made, paired=True)


def test_ridges_are_the_distributions(found: Comparison) -> None:
    figure = expressiveness_figure(found)
    made = check(figure)["distributions"]
    data = figure.panels[0].data
    own = {name: one.conformity for name, one in found.candidates.items()}
    assert found.reference.conformity is not None
    sets = {"reference": found.reference.conformity, **own}
    assert data["series"].unique(maintain_order=True).to_list() == list(sets)
    everything = np.concatenate(list(sets.values()))
    edges = np.linspace(everything.min(), everything.max(), 51)
    for place, (name, values) in enumerate(sets.items()):
        part = data.filter(pl.col("series") == name)
        assert set(part["place"]) == {place}
        np.testing.assert_allclose(part["low"], edges[:-1], rtol=1e-12)
        # A row next to an edge is counted on either side of it.
        off = np.abs(part["count"].to_numpy() - np.histogram(values, edges)[0])
        assert part["count"].sum() == len(values) and off.sum() <= 4
        np.testing.assert_allclose(part["share"], part["count"] / len(values))
    bars = [row for row in rows(made, "base", "series") if row["series"] == "bland"]
    assert {row["base"] for row in bars} == {-1}
    assert max(row["top"] for row in rows(made, "base", "series")) < 1
    (mean,) = rows(made, "low", "label")
    assert mean["low"] == pytest.approx(found.reference.mean, rel=1e-5)


def test_names_stand_at_their_ridges(found: Comparison) -> None:
    figure = expressiveness_figure(found)
    drawn = svg(figure)
    assert ">reference<" in drawn and drawn.count(">bland<") == 2 and drawn.count(">wild<") == 2


def test_shifts_are_those_of_the_comparison(found: Comparison) -> None:
    figure = expressiveness_figure(found)
    made = check(figure)["shifts"]
    dots = rows(made, "name", "shift")
    assert [row["name"] for row in dots] == list(found.candidates)
    for row, one in zip(dots, found.candidates.values(), strict=True):
        for name in ("shift", "shift_lower", "shift_upper", "mean"):
            assert row[name] == pytest.approx(getattr(one, name), rel=1e-5)
        assert one.shift_upper is not None
        words = f"{one.shift:.4f} ± {one.shift_upper - one.shift:.4f}".replace("-", "−")
        assert measured(figure)[f"shift, {one.name}"] == words
    sort = next(
        layer["encoding"]["y"]["sort"] for layer in made["layer"] if "y" in layer["encoding"]
    )
    assert sort == list(found.candidates)


def test_an_ellipsoid_is_its_mean(real: np.ndarray) -> None:
    found = compared(cs.Ellipsoid.fit(real), {"a": cloud(20, 16, seed=2)})
    figure = expressiveness_figure(found)
    made = check(figure)
    assert set(figure.panels[0].data["series"]) == {"a"}
    assert set(figure.panels[0].data["place"]) == {1}
    (mean,) = rows(made["distributions"], "low", "label")
    assert mean["low"] == pytest.approx(found.reference.mean, rel=1e-5)
    assert "known by its mean alone" in figure.subtitle
    assert ">a<" in svg(figure)


def test_candidates_that_do_not_vary(real: np.ndarray) -> None:
    same = np.tile(real[:1], (5, 1))
    found = compared(cs.Ellipsoid.fit(real), {"same": same, "other": same * 2})
    figure = expressiveness_figure(found)
    shift = next(iter(found.candidates.values())).shift
    assert measured(figure)["shift, same"] == f"{shift:.4f}".replace("-", "−")
    assert {row["shift_lower"] for row in rows(check(figure)["shifts"], "name")} == {None}
    svg(figure)
    html(comparison_page(found))


def test_many_candidates(real: np.ndarray) -> None:
    mean = real.mean(axis=0)
    many = {f"m{i}": cloud(10, 16, seed=i) + 0.05 * i * mean for i in range(40)}
    found = compared(real, many)
    figure = expressiveness_figure(found)
    check(figure)
    drawn = figure.panels[0].data["series"].unique(maintain_order=True).to_list()[1:]
    order = list(found.candidates)
    assert len(drawn) == MOST_RIDGES and (drawn[0], drawn[-1]) == (order[0], order[-1])
    assert drawn == sorted(drawn, key=order.index)
    assert figure.drawn == ("8 of 40 distributions are drawn. 30 of 40 shifts are drawn.")
    tables = [b for s in comparison_page(found).sections for b in s.blocks if isinstance(b, Table)]
    assert [len(table.rows) for table in tables] == [40, 40]


def test_two_features(real: np.ndarray) -> None:
    found = compared(cloud(20, 2), {"a": cloud(20, 2, seed=3)})
    svg(expressiveness_figure(found))


def test_a_page_says_all_of_it(found: Comparison) -> None:
    page = comparison_page(found)
    assert not page.verdicts
    assert page.warnings == found.notes
    keys = dict(page.key_figures)
    assert keys["mean conformity of the reference"] == f"{found.reference.mean:.4f}"
    assert keys["most generic"].startswith("bland, ") and keys["rarest"].startswith("wild, ")
    counts = [int(value) for value in list(keys.values())[3:]]
    assert sum(counts) == 3
    candidates, tests = [b for s in page.sections for b in s.blocks if isinstance(b, Table)]
    for table, frame in ((candidates, found.table), (tests, found.tests_table)):
        assert len(table.rows) == frame.height
        assert all(len(row) == len(table.columns) for row in table.rows)
    at = candidates.columns.index("shift")
    assert [row[at] for row in candidates.rows] == found.table["shift"].to_list()
    at = tests.columns.index("p (Holm)")
    assert [row[at] for row in tests.rows] == found.tests_table["p_corrected"].to_list()
    assert any("neither is better" in section.intro for section in page.sections)
    assert page.payload["format"] == "clipsoid.comparison"
    assert json.loads(page.payload["text"]) == json.loads(json.dumps(found.to_dict()))


def test_the_file_is_the_same_again(found: Comparison) -> None:
    made = html(comparison_page(found, "A <title>"))
    assert made == html(comparison_page(found, "A <title>"))
    assert "<title>A &lt;title&gt;</title>" in made
    data = made.split('id="page-data">')[1].split("</script>")[0]
    assert set(json.loads(data)["charts"]) == {
        "expressiveness-distributions",
        "expressiveness-shifts",
    }


def test_one_candidate_is_neither_end(real: np.ndarray) -> None:
    page = comparison_page(compared(real, {"a": cloud(40, 16, seed=3)}))
    assert "the candidate" in dict(page.key_figures) and "rarest" not in dict(page.key_figures)
    assert page.summary == "1 candidate against 300 rows of a reference"
