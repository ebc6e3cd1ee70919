"""What a report consists of, for one seed: a change of it must be seen, and meant.

Its numbers are compared with others' in the tests of the charts; here are the words, the data that
each chart draws, and how many rows of it. ``CLIPSOID_WRITE_GOLDEN=1`` writes the file anew.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import clipsoid as cs
from clipsoid.report.analysis import analysis_page
from clipsoid.report.blocks import Block, Galleries, Grid, Pair, Table
from clipsoid.report.figure import Figure

GOLDEN = Path(__file__).parents[1] / "golden" / "report.json"


def outline(block: Block) -> dict[str, Any]:
    match block:
        case Figure():
            return {
                "figure": block.key,
                "paper": block.paper,
                "title": block.title,
                "caption": block.caption,
                "measures": [[one.name, one.paper] for one in block.measures],
                "panels": {
                    panel.key: {
                        "rows": panel.data.height,
                        "columns": {n: str(t) for n, t in panel.data.schema.items()},
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


def test_the_report_is_as_it_was(analysis: cs.Analysis) -> None:
    page = analysis_page(analysis)
    found = {
        "title": page.title,
        "verdicts": [one.name for one in page.verdicts],
        "key_figures": [name for name, _ in page.key_figures],
        "made": [name for name, _ in page.made],
        "sections": {
            section.key: [outline(block) for block in section.blocks] for section in page.sections
        },
    }
    text = json.dumps(found, indent=1, ensure_ascii=False) + "\n"
    if os.environ.get("CLIPSOID_WRITE_GOLDEN"):
        GOLDEN.write_text(text, encoding="utf-8")
    assert json.loads(text) == json.loads(GOLDEN.read_text(encoding="utf-8"))


def test_every_figure_of_the_paper_is_there(analysis: cs.Analysis) -> None:
    page = analysis_page(analysis)
    blocks = [block for section in page.sections for block in section.blocks]
    named = " ".join(getattr(block, "paper", "") for block in blocks)
    # Figure 1 is a sketch, 13 needs candidates: it is on the page of a comparison.
    for number in range(2, 13):
        assert any(str(number) in word.strip(",").split() for word in named.split()), number
