"""What every figure has to be, read from the specification that altair makes; small analyses."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import vl_convert

import clipsoid as cs
from clipsoid.report import theme
from clipsoid.report.figure import Figure, Panel
from clipsoid.report.marks import MOST_MARKS
from clipsoid.report.page import spec as page_spec

COLOUR = re.compile(r"#[0-9a-fA-F]{6}")


def nodes(spec: Any) -> Iterator[dict[str, Any]]:
    """Every object within a specification, but for the rows that are drawn."""
    if isinstance(spec, list):
        for part in spec:
            yield from nodes(part)
    elif isinstance(spec, dict):
        yield spec
        for name, part in spec.items():
            if name not in ("values", "datasets"):
                yield from nodes(part)


def spec_of(panel: Panel) -> dict[str, Any]:
    """The specification of a panel, which `check` validates with the others of its figure."""
    found: dict[str, Any] = panel.chart.to_dict(validate=False)
    return found


def rows(spec: dict[str, Any], *fields: str) -> list[dict[str, Any]]:
    """The rows of data that have all of these fields, of whichever layer."""
    sets = [*spec.get("datasets", {}).values()]
    sets += [node["data"]["values"] for node in nodes(spec) if "values" in node.get("data", {})]
    return [row for some in sets for row in some if set(fields) <= set(row)]


def drawn(panel: Panel, *fields: str) -> list[dict[str, Any]]:
    """The same of a panel, with all digits."""
    return rows(spec_of(panel), *fields)


def marks(panel: Panel) -> set[str]:
    """Types of the marks of a panel."""
    found = (node["mark"] for node in nodes(spec_of(panel)) if "mark" in node)
    return {mark["type"] if isinstance(mark, dict) else mark for mark in found}


def channel(panel: Panel, name: str) -> list[dict[str, Any]]:
    """The definitions of a channel in all layers that have one."""
    encodings = (node["encoding"] for node in nodes(spec_of(panel)) if "encoding" in node)
    return [encoding[name] for encoding in encodings if name in encoding]


def panel_of(figure: Figure, key: str) -> Panel:
    (found,) = [panel for panel in figure.panels if panel.key == key]
    return found


def measured(figure: Figure) -> dict[str, str]:
    """What was measured, by its name."""
    return {name: one for name, (one, _) in beside_paper(figure).items()}


def beside_paper(figure: Figure) -> dict[str, tuple[str, str]]:
    """What was measured, and the paper's, by its name."""
    names = [one.name for one in figure.measures]
    assert len(set(names)) == len(names)
    return {one.name: (one.measured, one.paper) for one in figure.measures}


def svg(figure: Figure) -> str:
    """The figure as it is drawn."""
    made: str = vl_convert.vegalite_to_svg(json.dumps(figure.chart().to_dict(validate=False)))
    assert "NaN" not in made and "undefined" not in made
    return made


#: Panels over names, which speak for themselves: an axis of them has no title.
NAMED = {"passing", "distributions", "shifts"}


def check(figure: Figure) -> dict[str, dict[str, Any]]:
    """Whatever holds of every figure; the specification of each panel on a page, by its key."""
    whole = figure.chart().to_dict()
    assert len(whole["concat"]) == len(figure.panels) > 0
    keys = [panel.key for panel in figure.panels]
    assert len(set(keys)) == len(keys)
    assert figure.title and figure.caption.endswith(".")
    assert all(one.name and one.measured for one in figure.measures)
    for node in nodes(whole):
        for value in node.values():
            colours = value if isinstance(value, list) else [value]
            for colour in colours:
                if isinstance(colour, str) and COLOUR.fullmatch(colour):
                    assert colour in theme.DARK, colour
    found = {}
    for panel in figure.panels:
        spec = found[panel.key] = page_spec(panel)
        json.dumps(spec, allow_nan=False)
        assert spec["width"] == "container"
        assert panel.description.endswith(".")
        assert any("tooltip" in node.get("encoding", {}) for node in nodes(spec))
        # A panel alone is what the figure's title says.
        titles = [node["title"] for node in nodes(spec) if isinstance(node.get("title"), dict)]
        assert len(figure.panels) == 1 or any(title.get("text") for title in titles)
        for name in ("x", "y"):
            assert panel.key in NAMED or any(one.get("title") for one in channel(panel, name))
        assert max(len(drawn(panel)), panel.data.height) <= MOST_MARKS
        panel.data.write_parquet(io.BytesIO())
    svg(figure)
    return found


def analysed(n: int = 300, dim: int = 32, **options: Any) -> cs.Analysis:
    """An analysis of few pairs, without what is slow."""
    image, text, _ = cs.double_ellipsoid(n, dim=dim, seed=1)
    slow = ("linear_separability", "normality", "blur", "similarities")
    return cs.analyze(image, text, leave_out=slow, **options)


def small(**options: Any) -> tuple[np.ndarray, np.ndarray, cs.Analysis]:
    """Rows and their analysis."""
    image, text, _ = cs.double_ellipsoid(300, dim=32, seed=1)
    x, y = image.astype(np.float64), text.astype(np.float64)
    return x, y, cs.analyze(x, y, bins=20, **options)


def with_constants(**options: Any) -> cs.Analysis:
    """An analysis of rows of which some features never vary, and one tells them apart for sure."""
    image, text, _ = cs.double_ellipsoid(60, dim=32, seed=2)
    x, y = image.astype(np.float64), text.astype(np.float64)
    x[:, 3] = y[:, 3] = 0.0
    x[:, 4], y[:, 4] = 1.0, 2.0
    x[:, 5] = 0.5
    return cs.analyze(x, y, bins=10, **options)


def tiny(**options: Any) -> cs.Analysis:
    """Twenty pairs of two features."""
    rng = np.random.default_rng(0)
    x, y = (rng.normal(size=(20, 2)) + center for center in ([3.0, 0.0], [0.0, 2.0]))
    return cs.analyze(x, y, bins=10, alphas=[0.0], **options)


def alike() -> cs.Analysis:
    """All images are one row, and normalised."""
    rng = np.random.default_rng(1)
    x, y = np.tile([0.6, 0.8, 0.0], (20, 1)), rng.normal(size=(20, 3))
    y /= np.linalg.norm(y, axis=1, keepdims=True)
    return cs.analyze(x, y, leave_out=["loss_sweep", "match_sweep", "normality", "vslerp"])
