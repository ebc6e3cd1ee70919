"""A page as one HTML file that needs no network."""

from __future__ import annotations

import base64
import functools
import gzip
import json
from typing import Any

from clipsoid._native import __version__
from clipsoid.report import theme
from clipsoid.report.blocks import Block, Galleries, Grid, Page, Pair
from clipsoid.report.figure import Figure, Panel

#: Of the template, in the order in which they run.
SCRIPTS = ("tables.js", "page.js")

#: Panels of more marks are drawn on a canvas: as SVG each mark would be an element.
MOST_ELEMENTS = 1_500


def html(page: Page) -> str:
    """Return the contents of a page's file; the same for the same page."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    room = Environment(
        loader=PackageLoader("clipsoid.report", "template"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    room.filters["cell"] = _cell
    loader = room.loader
    assert loader is not None
    read = functools.partial(loader.get_source, room)
    blocks = [block for section in page.sections for block in section.blocks]
    return room.get_template("page.html").render(
        page=page,
        version=__version__,
        has_captions=_has_captions(blocks),
        style=read("style.css")[0],
        script="\n".join(read(name)[0] for name in SCRIPTS),
        library=library(),
        data=_data(page, blocks),
        payload=_packed(page.payload["text"]) if page.payload else "",
    )


def _has_captions(blocks: list[Block]) -> bool:
    """Return whether any row has a caption: where none has, none is missing."""
    items = (
        item
        for block in blocks
        if isinstance(block, (Galleries, Grid))
        for items in (
            [gallery.items for gallery in block.galleries]
            if isinstance(block, Galleries)
            else [row for _, row in block.rows]
        )
        for item in items
    )
    return any(item.caption for item in items)


@functools.cache
def library() -> str:
    """Return the chart library's scripts; about a second, once."""
    import altair as alt
    import vl_convert

    version = ".".join(alt.SCHEMA_VERSION.lstrip("v").split(".")[:2])
    # Its stub says that a snippet must be given; without one, all of the library is bundled.
    bundle: str = vl_convert.javascript_bundle(vl_version=version)  # type: ignore[call-arg]
    # Within a page's script, an end of it must not be read as one.
    return bundle.replace("</script", "<\\/script")


def _data(page: Page, blocks: list[Block]) -> str:
    """Return what the scripts read, as JSON that no caption can end."""
    charts = {
        f"{figure.key}-{panel.key}": {"spec": spec(panel), "renderer": _renderer(panel)}
        for figure in blocks
        if isinstance(figure, Figure)
        for panel in figure.panels
    }
    explorers = {
        one.key: {
            "figure": one.figure,
            "signal": one.signal,
            "columns": {name: list(column) for name, column in one.columns.items()},
            "images": dict(one.images),
        }
        for pair in blocks
        if isinstance(pair, Pair)
        for one in pair.explorers
    }
    thumbnails = [{"src": t.source, "path": t.path, "why": t.reason} for t in page.thumbnails]
    data = {
        "charts": charts,
        "explorers": explorers,
        "thumbnails": thumbnails,
        "dark": theme.DARK,
    }
    return json.dumps(data, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")


#: Significant digits of what a page holds: more than a screen can show, and a third of the size.
DIGITS = 6


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}")
    if isinstance(value, dict):
        return {name: _rounded(part) for name, part in value.items()}
    return [_rounded(part) for part in value] if isinstance(value, list) else value


def spec(panel: Panel) -> dict[str, Any]:
    """Return a panel that fills what it is put into, in Vega-Lite."""
    # The tests check that it is valid: to do so takes most of the time.
    made: dict[str, Any] = panel.chart.to_dict(validate=False)
    size = {"width": "container", "height": panel.height}
    fit = {"autosize": {"type": "fit-x", "contains": "padding"}, "config": theme.config()}
    rounded: dict[str, Any] = _rounded(made | size | fit)
    return rounded


def _renderer(panel: Panel) -> str:
    return "canvas" if panel.data.height > MOST_ELEMENTS else "svg"


def _packed(text: str) -> str:
    """Compress; without the time, so that equal pages are equal files."""
    return base64.b64encode(gzip.compress(text.encode(), 6, mtime=0)).decode("ascii")


def _cell(value: Any) -> str:
    """Return a cell of a table: four digits tell small p-values and large counts apart."""
    if isinstance(value, float):
        return f"{value + 0.0:.4g}".replace("-", "\N{MINUS SIGN}") if value == value else ""
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return "" if value is None else str(value)
