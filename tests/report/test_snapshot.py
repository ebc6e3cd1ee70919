"""What a report consists of, for one seed: a change of it must be seen, and meant.

Here are the words, what was measured, and of the data that each chart draws the columns, how many
rows and the mean of each number. Whether these are right is for the tests of the charts. Machines
may differ in the last digits. ``CLIPSOID_WRITE_GOLDEN=1`` writes the file anew.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import clipsoid as cs
from clipsoid.report.analysis import analysis_page
from clipsoid.report.blocks import Block, Galleries, Grid, Pair, Table
from clipsoid.report.figure import Figure

NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)?")

GOLDEN = Path(__file__).parents[1] / "golden" / "report.json"


def outline(block: Block) -> dict[str, Any]:
    match block:
        case Figure():
            return {
                "figure": block.key,
                "paper": block.paper,
                "title": block.title,
                "caption": block.caption,
                "measures": [[one.name, one.measured, one.paper] for one in block.measures],
                "panels": {
                    panel.key: {
                        "rows": panel.data.height,
                        "columns": {c.name: str(c.dtype) for c in panel.data},
                        "means": {c.name: mean(c) for c in panel.data if c.dtype.is_numeric()},
                    }
                    for panel in block.panels
                },
            }
        case Galleries():
            return {"galleries": block.key, "items": [len(one.items) for one in block.galleries]}
        case Grid():
            return {"grid": block.key, "rows": [row for row, _ in block.rows]}
        case Table():
            return {"table": block.key, "columns": block.columns, "rows": len(block.rows)}
        case Pair():
            return {"pair": [[one.key, *one.columns] for one in block.explorers]}


def mean(column: pl.Series) -> float | None:
    known = column.cast(pl.Float64).to_numpy()
    known = known[np.isfinite(known)]
    return float(f"{known.mean():.6g}") if len(known) else None


def assert_alike(found: Any, want: Any, where: str = "report") -> None:
    """Equal, but for the last digits of numbers, in words and alone."""
    match want:
        case dict():
            assert list(found) == list(want), where
            for name, part in want.items():
                assert_alike(found[name], part, f"{where}.{name}")
        case list():
            assert len(found) == len(want), where
            for i, part in enumerate(want):
                assert_alike(found[i], part, f"{where}[{i}]")
        case float():
            assert found == pytest.approx(want, rel=1e-3, abs=1e-6), where
        case str():
            assert NUMBER.sub("#", found) == NUMBER.sub("#", want), where
            pairs = zip(NUMBER.findall(found), NUMBER.findall(want), strict=True)
            for one, other in pairs:
                a, b = (float(text.replace(",", "")) for text in (one, other))
                assert a == pytest.approx(b, rel=2e-3, abs=2e-3), f"{where}: {found} for {want}"
        case _:
            assert found == want, where


def test_the_report_is_as_it_was(analysis: cs.Analysis) -> None:
    page = analysis_page(analysis)
    found = {
        "title": page.title,
        "verdicts": [[one.name, one.holds, one.detail] for one in page.verdicts],
        "key_figures": page.key_figures,
        "made": [name for name, _ in page.made],
        "sections": {
            section.key: [outline(block) for block in section.blocks] for section in page.sections
        },
    }
    text = json.dumps(found, indent=1, ensure_ascii=False) + "\n"
    if os.environ.get("CLIPSOID_WRITE_GOLDEN"):
        GOLDEN.write_text(text, encoding="utf-8")
    assert_alike(json.loads(text), json.loads(GOLDEN.read_text(encoding="utf-8")))


def test_every_figure_of_the_paper_is_there(analysis: cs.Analysis) -> None:
    page = analysis_page(analysis)
    blocks = [block for section in page.sections for block in section.blocks]
    named = " ".join(getattr(block, "paper", "") for block in blocks)
    # Figure 1 is a sketch, 13 needs candidates: it is on the page of a comparison.
    for number in range(2, 13):
        assert any(str(number) in word.strip(",").split() for word in named.split()), number
