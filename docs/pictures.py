"""Make the pictures of the README from the demo's data: ``make pictures``.

The first screen of the report, by a browser (chromium), and two of its figures.
"""

from __future__ import annotations

import io
import shutil
import tempfile
from pathlib import Path

import clipsoid as cs
from clipsoid.report import figure_bytes

FOLDER = Path(__file__).parent / "images"

#: Figures of the README, of the report's.
FIGURES = ("loss-sweep", "conformity")

#: The first screen, in CSS pixels.
WIDTH, HEIGHT = 1120, 760


def main() -> None:
    """Make them all."""
    image, text, _ = cs.double_ellipsoid(5000, seed=0)
    found = cs.analyze(image, text)
    FOLDER.mkdir(exist_ok=True)
    for figure in found.figures():
        if figure.key in FIGURES:
            contents = figure_bytes(figure.chart(), ".svg", {"data": "clipsoid demo"})
            (FOLDER / f"{figure.key}.svg").write_bytes(contents)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "report.html"
        found.report(path, title="clipsoid demo: 5,000 synthetic pairs")
        (FOLDER / "report.png").write_bytes(_first_screen(path))


def _first_screen(path: Path) -> bytes:
    from PIL import Image
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
        page.goto(path.as_uri())
        page.wait_for_selector("html[data-drawn]")
        picture = Image.open(io.BytesIO(page.screenshot()))
        browser.close()
    file = io.BytesIO()
    # Few colours: a third of the size.
    picture.convert("RGB").quantize(64).save(file, "PNG", optimize=True)
    return file.getvalue()


if __name__ == "__main__":
    main()
