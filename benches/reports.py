"""The report of an analysis: to write it, how large it is, and to open it in a browser."""

import json
import shutil
import statistics
import subprocess
import sys

import clipsoid as cs

ROWS = 5_000

#: Seconds beyond the analysis, in a process of its own: the chart library is loaded, too.
WRITE_MARK = 5.0

#: Bytes of a report without pictures; seconds until every chart of it has drawn.
SIZE_MARK, DRAW_MARK = 5e6, 3.0

ROUNDS = 5

_WRITE = """
import sys, time
import clipsoid as cs
found = cs.Analysis.from_json(open(sys.argv[1]).read())
start = time.perf_counter()
found.report(sys.argv[2])
print(time.perf_counter() - start)
"""


def measure(scale, folder):
    """Medians of all three; no time to draw where there is no browser."""
    rows = ROWS // scale
    image, text, topics = cs.double_ellipsoid(rows, seed=0)
    captions = [f"a caption of row {row}, of topic {topic}" for row, topic in enumerate(topics)]
    analysis, path = folder / "analysis.json", folder / "report.html"
    analysis.write_text(cs.analyze(image, text, captions=captions).to_json())
    command = [sys.executable, "-c", _WRITE, str(analysis), str(path)]
    written = [float(subprocess.check_output(command, text=True)) for _ in range(ROUNDS)]
    found = {
        "job": "report of an analysis",
        "rows": rows,
        "write": statistics.median(written),
        "write_mark": WRITE_MARK,
        "size": path.stat().st_size,
        "size_mark": SIZE_MARK,
        "draw": _drawn(path),
        "draw_mark": DRAW_MARK,
    }
    analysis.unlink()
    path.unlink()
    return found


def _drawn(path):
    """Seconds from the opening until every chart has drawn; None without a browser."""
    program = shutil.which("chromium")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        program = None
    if program is None:
        return None
    times = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        for _ in range(ROUNDS + 1):
            page = browser.new_page(viewport={"width": 1200, "height": 900})
            page.goto(path.as_uri())
            page.wait_for_selector("html[data-drawn=true]")
            times.append(json.loads(page.evaluate("String(performance.now())")) / 1000)
            page.close()
        browser.close()
    # The first starts the browser's processes.
    return statistics.median(times[1:])
