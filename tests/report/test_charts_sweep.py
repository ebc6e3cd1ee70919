"""The figure of a sweep, as the specification that altair makes of it."""

# ruff: noqa: RUF001 (the alpha is meant)

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import polars as pl
import pytest

import clipsoid as cs
from clipsoid.report import FIGURE_SUFFIXES, figure_bytes, is_figure
from clipsoid.report.charts.sweep import sweep_figure
from report.specs import check, measured
from unit.pair_samples import pairs


def titles(spec: Any) -> Iterator[str]:
    """Every title and subtitle, and every text."""
    if isinstance(spec, list):
        for part in spec:
            yield from titles(part)
    elif isinstance(spec, dict):
        for name, value in spec.items():
            if name in ("text", "subtitle", "title"):
                words = value if isinstance(value, list) else [value]
                yield from (word for word in words if isinstance(word, str))
            yield from titles(value)


def drawn(chart: Any, line: str) -> dict[float, Any]:
    """What a chart holds of a line: values by alpha."""
    found: dict[float, Any] = {}

    def visit(spec: Any) -> None:
        if isinstance(spec, list):
            for part in spec:
                visit(part)
        elif isinstance(spec, dict):
            if spec.get("line") == line:
                found[spec["alpha"]] = spec["value"]
            for part in spec.values():
                visit(part)

    visit(chart)
    return found


@pytest.fixture(scope="module")
def sweep() -> cs.LossSweep:
    return cs.loss_sweep(*pairs(200, 16))


def test_a_sweep_plots_itself() -> None:
    sweep = cs.loss_sweep(*pairs(60, 8))
    figure = sweep_figure(sweep)
    check(figure)
    assert sweep.plot().to_dict() == figure.chart().to_dict()
    assert measured(figure)["α of the least loss"] == f"{sweep.best_alpha + 0.0:.2f}".replace(
        "-", "\N{MINUS SIGN}"
    )


def test_panels_hold_the_table(sweep: cs.LossSweep) -> None:
    table = sweep.table
    chart = sweep.plot().to_dict()
    alphas = table["alpha"]
    correct = table["count_correct"][0]
    for line, column in (
        ("mean", "loss"),
        (f"matched ({correct})", "loss_correct"),
        (f"not matched ({200 - correct})", "loss_misclassified"),
        ("image to text", "accuracy_image_to_text"),
    ):
        assert drawn(chart, line) == dict(zip(alphas, table[column], strict=True)), line
    at_zero = table.filter(pl.col("alpha") == 0)
    for line in ("alignment", "uniformity"):
        want = table[line] - at_zero[line].item()
        assert drawn(chart, line) == dict(zip(alphas, want, strict=True))


def test_titles_say_what_is_seen(sweep: cs.LossSweep) -> None:
    chart = sweep.plot().to_dict()
    assert len(chart["concat"]) == 4
    words = [*titles(chart)]
    best, least = sweep.best_alpha, sweep.table["loss"].min()
    minus = "\N{MINUS SIGN}"
    assert f"{least:.4g} at α = {best:.4g}".replace("-", minus) in words
    for title in ("Contrastive loss as the image centre moves", "Its parts: change from α = 0"):
        assert title in words
    assert any("200 pairs of raw rows, temperature 0.01" in text for text in words)
    for unit in ("loss (nats)", "change (nats)", "share of pairs", "α (image means subtracted)"):
        assert unit in words
    zero = sweep.table.filter(pl.col("alpha") == 0).row(0, named=True)
    total = f"{zero['alignment']:.2f} + {zero['uniformity']:.2f} = {zero['loss']:.2f}"
    assert f"opposite and far larger: {total}".replace("-", minus) in words


def test_parts_that_are_not_large_are_not_called_so() -> None:
    warm = cs.loss_sweep(*pairs(200, 16), temperature=1.0, shift="both", partition="each")
    words = [*titles(warm.plot().to_dict())]
    assert any(text.startswith("they add up to the loss: ") for text in words)
    assert "Contrastive loss as the centres move" in words
    assert "α (means subtracted)" in words
    assert "matched: an image finds its text at each α" in words


def test_grids_of_any_kind_are_drawn() -> None:
    rows = pairs(60, 8)
    for alphas in ([0.3], [2.0, 0.5, 0.5], [-2.0, -1.0]):
        sweep = cs.loss_sweep(*rows, alphas=alphas)
        chart = sweep.plot()
        svg = figure_bytes(chart, ".svg", {}).decode()
        assert "NaN" not in svg and svg.startswith("<svg")
        near = min(alphas, key=abs)
        text = f"Its parts: change from α = {near:.4g}".replace("-", "\N{MINUS SIGN}")
        assert text in [*titles(chart.to_dict())]


def test_an_empty_class_leaves_a_gap(sweep: cs.LossSweep) -> None:
    gaps = pl.int_range(41).is_in([5, 6, 8, 9])
    column = pl.when(gaps).then(None).otherwise(pl.col("loss_misclassified"))
    table = sweep.table.with_columns(loss_misclassified=column)
    correct = table["count_correct"][0]
    chart = replace(sweep, table=table).plot().to_dict()
    values = drawn(chart, f"not matched ({200 - correct})")
    assert [i for i, value in enumerate(values.values()) if value is None] == [5, 6, 8, 9]


@pytest.mark.parametrize("suffix", FIGURE_SUFFIXES)
def test_files_are_known_again(sweep: cs.LossSweep, suffix: str) -> None:
    made = {"shift": '<image> & "text"', "alphas": [0.0, -0.1]}
    contents = figure_bytes(sweep.plot(), suffix, made)
    assert is_figure(contents, suffix)
    for other in FIGURE_SUFFIXES:
        assert is_figure(contents, other) == (other == suffix)
    assert not is_figure(b"", suffix) and not is_figure(contents[-200:], suffix)


def test_a_format_that_is_not_written(sweep: cs.LossSweep) -> None:
    with pytest.raises(ValueError, match=r"suffix=.\.gif.; wanted one of .*, \.pdf"):
        figure_bytes(sweep.plot(), ".gif", {})


def test_altair_is_not_imported_before_something_is_drawn() -> None:
    code = (
        "import sys, clipsoid, clipsoid.report, clipsoid.cli.sweep\n"
        "assert not {'altair', 'vl_convert'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch, sweep: cs.LossSweep) -> None:
    monkeypatch.setitem(sys.modules, "altair", None)
    with pytest.raises(cs.UnavailableError, match=r'pip install "clipsoid\[report\]"'):
        sweep.plot()
