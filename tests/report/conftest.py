"""A page of an analysis whose captions and pictures are as bad as they come, and a browser."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

import clipsoid as cs

if TYPE_CHECKING:
    from playwright.sync_api import Browser

COUNT = 300

#: Of the first rows, by conformity of the images: those that galleries show.
CAPTIONS = (
    '<script>document.title = "broken"</script><img src=x onerror="document.title=1">',
    "\"quotes\", 'single' & &amp; </script> <!-- {{ 7 * 7 }} ]]>",
    "שלום עולם, a caption that begins from the right",
    "emoji \N{GRINNING FACE} and a family \U0001f468\u200d\U0001f469\u200d\U0001f467",
    "long " * 2_000,
    "",
)


@pytest.fixture(scope="session")
def analysis(tmp_path_factory: pytest.TempPathFactory) -> cs.Analysis:
    image, text, _ = cs.double_ellipsoid(COUNT, seed=0)
    order = np.argsort(-cs.conformity(image), kind="stable")
    captions = [f"caption of row {row}" for row in range(COUNT)]
    for row, caption in zip(order, CAPTIONS, strict=False):
        captions[row] = caption
    return cs.analyze(
        image,
        text,
        captions=captions,
        image_paths=[f"images/{row:03d}.png" for row in range(COUNT)],
    )


@pytest.fixture(scope="session")
def image_root(analysis: cs.Analysis, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of pictures, of which one is missing and one is broken."""
    from PIL import Image

    root = tmp_path_factory.mktemp("pictures")
    (root / "images").mkdir()
    for row in range(COUNT):
        colour = (row * 7 % 256, row * 13 % 256, row * 29 % 256)
        Image.new("RGB", (40, 30), colour).save(root / f"images/{row:03d}.png")
    missing, broken = (int(row) for row in analysis.image.highest.row[:2])
    (root / f"images/{missing:03d}.png").unlink()
    (root / f"images/{broken:03d}.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    return root


@pytest.fixture(scope="session")
def report(
    analysis: cs.Analysis, image_root: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The report of the analysis, on disk."""
    path = tmp_path_factory.mktemp("report") / "report.html"
    analysis.report(path, image_root=image_root)
    return path


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Chromium; without it tests are skipped, or fail where the environment asks for it."""
    names = ("chromium", "chromium-browser", "google-chrome")
    found = os.environ.get("CLIPSOID_BROWSER") or next(filter(None, map(shutil.which, names)), None)
    if found is None:
        how = "no chromium here: apt-get install chromium, or name one in CLIPSOID_BROWSER"
        if os.environ.get("CLIPSOID_REQUIRE_BROWSER"):
            pytest.fail(how)
        pytest.skip(how)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # Its sandbox does not work for root, nor in most containers; the pages are our own.
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield browser
        browser.close()
