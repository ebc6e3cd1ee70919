"""What the tests of charts share: small analyses, and how a chart's specification is read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import clipsoid as cs
from clipsoid.report.figure import Figure
from clipsoid.report.marks import MOST_MARKS
from clipsoid.report.page import spec


def checked(figure: Figure) -> dict[str, dict[str, Any]]:
    """The specification of each panel, by its key; every one is valid, and draws not too much."""
    figure.chart().to_dict()
    found = {}
    for panel in figure.panels:
        assert panel.description and panel.height > 0 and panel.data.height <= MOST_MARKS
        found[panel.key] = spec(panel)
    assert len(found) == len(figure.panels)
    assert figure.title and figure.caption
    return found


def parts(spec: Any) -> Iterator[dict[str, Any]]:
    """Every object within a specification."""
    if isinstance(spec, list):
        for part in spec:
            yield from parts(part)
    elif isinstance(spec, dict):
        yield spec
        for part in spec.values():
            yield from parts(part)


def rows(spec: Any, *names: str) -> list[dict[str, Any]]:
    """The rows of data that have all of these fields."""
    lists = [part["values"] for part in parts(spec) if isinstance(part.get("values"), list)]
    datasets = [*lists, *spec.get("datasets", {}).values()]
    found = [row for values in datasets for row in values if isinstance(row, dict)]
    return [row for row in found if set(names) <= row.keys()]


def svg(figure: Figure) -> str:
    """The figure as it is drawn."""
    import vl_convert

    made: str = vl_convert.vegalite_to_svg(figure.chart().to_dict())
    assert "NaN" not in made and "undefined" not in made
    return made


def measured(figure: Figure) -> dict[str, str]:
    return {measure.name: measure.measured for measure in figure.measures}


def small(n: int = 300, dim: int = 32, **options: Any) -> cs.Analysis:
    image, text, _ = cs.double_ellipsoid(n, dim=dim, seed=1)
    slow = ("linear_separability", "normality", "blur", "similarities")
    return cs.analyze(image, text, leave_out=options.pop("leave_out", slow), **options)
