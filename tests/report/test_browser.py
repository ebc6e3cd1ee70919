"""A report in a real browser: it draws, answers, and shows what it was given as text."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pytest

import clipsoid as cs
from clipsoid.cli import main
from report.conftest import CAPTIONS

if TYPE_CHECKING:
    from playwright.sync_api import Browser, FloatRect, Locator, Page


class Opened:
    """A page that is open, and everything that it asked for or complained about."""

    def __init__(self, browser: Browser, path: Path, **options: Any) -> None:
        self.context = browser.new_context(**options)
        self.context.set_offline(True)
        self.page: Page = self.context.new_page()
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("console", lambda message: self._said(message.type, message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.goto(path.as_uri())
        self.page.wait_for_selector("html[data-drawn]", timeout=60_000)

    def _said(self, kind: str, text: str) -> None:
        if kind in ("error", "warning"):
            self.complaints.append(text)


#: A page from a file may have no clipboard: what would be copied is what is selected.
COPIED = """() => {
  Object.defineProperty(navigator, "clipboard", {value: undefined, configurable: true});
  document.execCommand = () => { window.copied = document.activeElement.value; return true; };
}"""


def box_of(place: Locator) -> FloatRect:
    """Return where a place lies on the page."""
    box = place.bounding_box()
    assert box is not None
    return box


@pytest.fixture(scope="module")
def comparison(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a comparison of two candidates."""
    image, text, _ = cs.double_ellipsoid(400, dim=32, seed=0)
    path = tmp_path_factory.mktemp("comparison") / "report.html"
    cs.compare(image, {"captions": text, "a generator of pictures": image[:200]}).report(path)
    return path


@pytest.fixture(scope="module")
def scores(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a scored set, some of whose conformities are below 0."""
    folder = tmp_path_factory.mktemp("scores")
    rows = np.random.default_rng(0).standard_normal((1_200, 8)).astype(np.float32)
    captions = [f"=1+1 {'long ' * 60}{row}" for row in range(len(rows))]
    frame = pl.DataFrame({"embedding": pl.Series(rows), "caption": captions})
    frame.write_parquet(folder / "rows.parquet")
    words = ["score", str(folder / "rows.parquet"), "--key=embedding", "--id-column=caption"]
    path = folder / "report.html"
    assert main([*words, f"--out={folder / 'out'}", f"--report={path}", "--quiet"]) == 0
    return path


@pytest.fixture(scope="module")
def opened(browser: Browser, report: Path) -> Iterator[Opened]:
    found = Opened(browser, report, viewport={"width": 1200, "height": 900})
    yield found
    found.context.close()


@pytest.fixture
def page(opened: Opened) -> Page:
    return opened.page


def test_nothing_is_fetched_and_nothing_complains(opened: Opened, report: Path) -> None:
    from_network = [
        url for url in opened.requests if not url.startswith(("data:", "blob:", report.as_uri()))
    ]
    assert from_network == []
    assert opened.complaints == []


def test_every_chart_has_drawn(page: Page) -> None:
    assert page.evaluate("document.documentElement.dataset.drawn") == "true"
    data = json.loads(page.locator("#page-data").text_content() or "")
    places = page.locator(".chart")
    assert places.count() == len(data["charts"]) > 20
    blank = """place => {
      const canvas = place.querySelector("canvas");
      if (!canvas) return place.querySelectorAll("svg .mark-group, svg path, svg text").length < 10;
      const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
      return new Set(new Uint32Array(pixels.buffer)).size < 10;
    }"""
    for i in range(places.count()):
        place = places.nth(i)
        assert not place.evaluate(blank), place.get_attribute("id")
        box = place.bounding_box()
        assert box is not None and box["width"] > 200 and box["height"] > 100


def test_a_range_of_the_histogram_filters_pictures_and_rows(
    page: Page, analysis: cs.Analysis
) -> None:
    chart = page.locator("#conformity-conformity-image")
    rows = page.locator("#rows-image")
    count = rows.locator("[data-count]")
    assert (count.text_content() or "").startswith("300 of 300 rows")
    chart.scroll_into_view_if_needed()
    box = chart.bounding_box()
    assert box is not None
    y = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + box["width"] * 0.75, y)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.90, y, steps=8)
    page.mouse.up()
    page.wait_for_function(
        "!document.querySelector('#rows-image [data-count]').textContent.startsWith('300 of')"
    )
    low, high = (float(rows.locator(f"[data-{end}]").input_value()) for end in ("low", "high"))
    assert analysis.image.mean_conformity < low < high
    conformity = analysis.image.sample.conformity
    inside = int(((conformity >= low) & (conformity <= high)).sum())
    # The ends are shown with five digits.
    found = int((count.text_content() or "").split()[0])
    assert abs(found - inside) <= 2 and 0 < found < 300
    values = rows.locator("tbody tr td:nth-child(2)").all_text_contents()
    assert values and all(low - 1e-4 <= float(value) <= high + 1e-4 for value in values)
    shown = rows.locator("[data-gallery] .value").all_text_contents()
    assert shown and all(low - 1e-4 <= float(text.split()[0]) <= high + 1e-4 for text in shown)
    rows.locator("[data-all]").click()
    assert (count.text_content() or "").startswith("300 of 300 rows")


def test_a_range_can_be_typed_and_may_be_empty(page: Page) -> None:
    rows = page.locator("#rows-text")
    rows.locator("[data-low]").fill("0.999")
    rows.locator("[data-low]").press("Enter")
    rows.locator("[data-low]").blur()
    assert "No row of 300 is in this range" in (rows.locator("[data-count]").text_content() or "")
    assert brush(page, "text") == (0, 0)
    assert rows.locator("tbody tr").count() == 0
    rows.locator("[data-all]").click()
    assert rows.locator("tbody tr").count() == 10


def brush(page: Page, modality: str) -> tuple[float, float]:
    """Return the ends of a histogram's chosen range, as shares of the width of its axis."""
    chart = page.locator(f"#conformity-conformity-{modality}")
    chosen = chart.locator(f".range_{modality}_brush path")
    if chosen.count() == 0 or chosen.bounding_box() is None:
        return (0.0, 0.0)
    # Without its stroke, which boxes of a browser count.
    ends = """path => {
      const box = path.getBBox(), at = path.getScreenCTM();
      return [box.x * at.a + at.e, (box.x + box.width) * at.a + at.e];
    }"""
    low, high = chosen.first.evaluate(ends)
    least, most = chart.locator("path.background").first.evaluate(ends)
    return ((low - least) / (most - least), (high - least) / (most - least))


def test_brush_and_fields_are_one_range(
    browser: Browser, report: Path, analysis: cs.Analysis
) -> None:
    opened = Opened(browser, report, viewport={"width": 1200, "height": 900}, color_scheme="light")
    page = opened.page
    rows = page.locator("#rows-image")
    low, high = (rows.locator(f"[data-{end}]") for end in ("low", "high"))
    count = rows.locator("[data-count]")
    # One axis for both modalities.
    both = [*analysis.image.conformity.edges, *analysis.text.conformity.edges]
    edges = (min(both), max(both))
    ends = (edges[0] + 0.25 * (edges[-1] - edges[0]), edges[0] + 0.6 * (edges[-1] - edges[0]))
    conformity = analysis.image.sample.conformity

    def check(least: float, most: float) -> None:
        page.wait_for_timeout(250)
        # A hundredth of the axis is five pixels.
        assert brush(page, "image") == pytest.approx(
            [(end - edges[0]) / (edges[-1] - edges[0]) for end in (least, most)], abs=0.01
        )
        inside = int(((conformity >= least) & (conformity <= most)).sum())
        assert abs(int((count.text_content() or "").split()[0]) - inside) <= 2 and inside > 0

    assert brush(page, "image") == (0, 0)
    # Reversed: the ends change places.
    low.fill(str(ends[1]))
    low.press("Tab")
    high.fill(str(ends[0]))
    high.press("Tab")
    assert float(low.input_value()) == pytest.approx(ends[0], rel=1e-4)
    assert float(high.input_value()) == pytest.approx(ends[1], rel=1e-4)
    check(*ends)
    for _ in range(2):
        page.locator("#theme").click()
        page.wait_for_selector("html[data-drawn=true]")
        check(*ends)
    page.set_viewport_size({"width": 1000, "height": 900})
    page.wait_for_timeout(300)
    check(*ends)
    # Beyond the axis: the fields keep what was typed.
    high.fill("7")
    high.press("Tab")
    check(ends[0], edges[-1])
    assert high.input_value() == "7"
    rows.locator("[data-all]").click()
    page.wait_for_timeout(250)
    assert brush(page, "image") == (0, 0) and brush(page, "text") == (0, 0)
    assert (count.text_content() or "").startswith("300 of 300 rows")
    opened.context.close()


def test_rows_sort_and_turn_over(page: Page, analysis: cs.Analysis) -> None:
    rows = page.locator("#rows-text")
    rows.get_by_role("button", name="norm").click()
    norms = [float(x) for x in rows.locator("tbody td:nth-child(4)").all_text_contents()]
    want = sorted(analysis.text.sample.norm, reverse=True)[:10]
    assert norms == pytest.approx(want, abs=1e-4)
    rows.get_by_role("button", name="norm").click()
    first = float(rows.locator("tbody td:nth-child(4)").first.text_content() or "")
    assert first == pytest.approx(min(analysis.text.sample.norm), abs=1e-4)
    rows.locator("[data-next]").click()
    assert rows.locator("[data-page]").text_content() == "page 2 of 30"


def test_the_slider_moves_both_distributions(page: Page, analysis: cs.Analysis) -> None:
    assert analysis.match_sweep is not None
    place = page.locator(".chart", has=page.locator("input[type=range]"))
    assert place.count() == 1
    slider = place.locator("input[type=range]")

    def drawn() -> str:
        page.wait_for_timeout(200)
        return str(place.locator("canvas").evaluate("canvas => canvas.toDataURL()"))

    slider.focus()
    seen = [drawn()]
    for key, value in (("End", 1.0), ("Home", -1.0)):
        page.keyboard.press(key)
        assert float(slider.input_value()) == value
        seen.append(drawn())
    assert len(set(seen)) == 3
    # Another theme does not move it.
    for _ in range(2):
        page.locator("#theme").click()
        page.wait_for_selector("html[data-drawn=true]")
        assert float(slider.input_value()) == -1.0


def test_captions_are_shown_as_text(page: Page) -> None:
    assert page.title() == "Two ellipsoids: images and texts"
    shown = page.locator("#ends-image .caption").all_text_contents()
    for caption in CAPTIONS[:4]:
        assert caption in shown
    assert page.locator("#ends-image .caption img, #ends-image .caption script").count() == 0
    # The sixth has none.
    assert page.locator("#ends-image .none").first.text_content() == "no caption"
    alt = page.locator("#ends-image img").nth(1).get_attribute("alt")
    assert alt == CAPTIONS[3]
    hebrew = page.locator("#ends-image .caption", has_text="שלום").first
    assert hebrew.evaluate("place => getComputedStyle(place).direction") == "rtl"
    long = max(shown, key=len)
    assert long.startswith("long long") and len(long) == 280 and long.endswith("…")


def test_pictures_that_cannot_be_read_say_so(page: Page, analysis: cs.Analysis) -> None:
    missing, broken = analysis.image.highest.row[:2]
    gone = page.locator("#ends-image .gone").all_text_contents()
    assert f"not found: images/{missing:03d}.png" in gone
    assert any(text.endswith(f"images/{broken:03d}.png") for text in gone)
    assert page.get_by_text("2 of ", exact=False).first.is_visible()
    good = page.locator("#ends-image img").first
    assert good.evaluate("image => image.naturalWidth") == 40


def test_tables_sort_and_are_copied(page: Page, analysis: cs.Analysis) -> None:
    page.evaluate(COPIED)
    section = page.locator("#all-figures")
    section.get_by_role("button", name="Copy as CSV").click()
    page.wait_for_function("window.copied !== undefined")
    lines = page.evaluate("window.copied").splitlines()
    assert lines[0] == 'figure,image,"paper, image",text,"paper, text"'
    copied = next(line for line in lines if line.startswith("conformity: mean,")).split(",")
    assert float(copied[1]) == analysis.image.mean_conformity
    section.get_by_role("button", name="text", exact=True).click()
    texts = section.locator("tbody tr td:nth-child(4)").all_text_contents()
    known = [float(text.replace("\N{MINUS SIGN}", "-")) for text in texts if text]
    assert known == sorted(known, reverse=True) and texts[len(known) :] == [""] * (
        len(texts) - len(known)
    )


def test_the_analysis_can_be_saved(page: Page, analysis: cs.Analysis, tmp_path: Path) -> None:
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Save the data as JSON").click()
    path = tmp_path / waiting.value.suggested_filename
    waiting.value.save_as(path)
    assert path.name == "clipsoid.analysis.json"
    assert path.read_text(encoding="utf-8") == analysis.to_json()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 800, 1200])
def test_widths_and_colours(browser: Browser, report: Path, scheme: str, width: int) -> None:
    opened = Opened(browser, report, viewport={"width": width, "height": 844}, color_scheme=scheme)
    page = opened.page
    assert opened.complaints == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
    for item in page.locator(".verdicts li").all():
        answer, name = (box_of(item.locator(part)) for part in (".answer", "b"))
        assert answer["x"] + answer["width"] <= name["x"] or (
            answer["y"] + answer["height"] <= name["y"]
        )
    assert colour == {"light": "rgb(255, 255, 255)", "dark": "rgb(21, 24, 29)"}[scheme]
    backgrounds = {"light": "#FFFFFF", "dark": "#15181D"}
    chart = page.locator("#loss-sweep-loss svg.marks")
    assert backgrounds[scheme] in chart.inner_html().upper()
    page.locator("#theme").click()
    page.wait_for_selector("html[data-drawn=true]")
    (other,) = backgrounds.keys() - {scheme}
    assert backgrounds[other] in chart.inner_html().upper()
    assert backgrounds[scheme] not in chart.inner_html().upper()
    opened.context.close()


def test_a_menu_is_whole_and_covers_no_chart(page: Page) -> None:
    chart = page.locator("#conformity-conformity-image")
    button = chart.locator("summary")
    # Within one call: the page may still be scrolling.
    gap = chart.evaluate("""chart => chart.querySelector("svg.marks").getBoundingClientRect().top
      - chart.querySelector("summary").getBoundingClientRect().bottom""")
    assert gap >= 0
    button.click()
    page.wait_for_timeout(600)
    menu, place = box_of(chart.locator(".vega-actions")), box_of(chart)
    assert place["x"] <= menu["x"] and menu["x"] + menu["width"] <= place["x"] + place["width"]
    assert menu["y"] + menu["height"] <= place["y"] + place["height"]
    button.click()


def test_the_theme_is_kept_and_says_where_it_leads(browser: Browser, report: Path) -> None:
    opened = Opened(browser, report, color_scheme="light")
    page, theme = opened.page, opened.page.locator("#theme")
    assert theme.text_content() == "Dark"
    theme.click()
    page.wait_for_selector("html[data-drawn=true]")
    assert theme.text_content() == "Light"
    page.reload()
    page.wait_for_selector("html[data-drawn=true][data-theme=dark]")
    assert theme.text_content() == "Light"
    # What a reader has chosen outweighs the system.
    page.emulate_media(color_scheme="dark")
    page.emulate_media(color_scheme="light")
    assert page.locator("html").get_attribute("data-theme") == "dark"
    opened.context.close()


def test_a_page_without_storage_turns_dark(browser: Browser, report: Path) -> None:
    context = browser.new_context(color_scheme="light")
    context.add_init_script(
        "Object.defineProperty(window, 'localStorage', {get() { throw new Error('none'); }})"
    )
    page = context.new_page()
    page.goto(report.as_uri())
    page.wait_for_selector("html[data-drawn=true][data-theme=light]", timeout=60_000)
    page.locator("#theme").click()
    page.wait_for_selector("html[data-drawn=true][data-theme=dark]")
    context.close()


def test_paper_is_white(browser: Browser, report: Path) -> None:
    opened = Opened(browser, report, color_scheme="dark")
    chart = opened.page.locator("#loss-sweep-loss svg.marks")
    opened.page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    # As printing does: nothing is waited for.
    assert "#FFFFFF" in chart.inner_html().upper()
    opened.page.evaluate("window.dispatchEvent(new Event('afterprint'))")
    opened.page.wait_for_selector("html[data-drawn=true]")
    assert "#15181D" in chart.inner_html().upper()
    paper = opened.page.pdf(format="A4")
    # Some sixteen figures, six to a page at the most, and no page of its own for any panel.
    assert paper.startswith(b"%PDF") and 5 <= len(re.findall(rb"/Type\s*/Page\b", paper)) <= 25
    opened.context.close()


#: The width of what is printed on A4, in CSS pixels: 210 mm without Chromium's margins of 1 cm.
PAPER = round((210 - 20) / 25.4 * 96)


def test_paper_holds_every_column(browser: Browser, comparison: Path) -> None:
    opened = Opened(browser, comparison, viewport={"width": PAPER, "height": 1000})
    page = opened.page
    page.emulate_media(media="print")
    table = page.locator("#candidates-table")
    assert table.locator("th").count() > 15
    assert box_of(table)["x"] + box_of(table)["width"] <= PAPER
    for cell in table.locator("th, td").all():
        assert cell.evaluate("cell => cell.scrollWidth <= cell.clientWidth + 1")
    opened.context.close()


def test_a_lone_explorer_has_the_width(browser: Browser, scores: Path) -> None:
    opened = Opened(browser, scores, viewport={"width": 1200, "height": 900})
    rows, pair = (box_of(opened.page.locator(part)) for part in ("#explorer", "#rows"))
    assert rows["width"] == pair["width"] > 1_000
    made = dict(
        zip(
            opened.page.locator(".made dt").all_text_contents(),
            opened.page.locator(".made dd").all_text_contents(),
            strict=True,
        )
    )
    assert made["lengths of the ellipsoid's rows"] == "raw"
    assert made["rows of the ellipsoid"] == "1,200"
    assert made["rows that were scored"].startswith("of the ellipsoid")
    assert not {"is normalized", "member", "dim"} & made.keys()
    # Long cells are cut to two lines, and whole when pointed at.
    cell = opened.page.locator("#explorer tbody .cell", has_text="long").first
    height = cell.evaluate("cell => parseFloat(getComputedStyle(cell).lineHeight)")
    assert box_of(cell)["height"] <= 2 * height + 1
    assert cell.get_attribute("title") == cell.text_content()
    # A caption like a formula is copied as text; numbers stay numbers.
    opened.page.evaluate(COPIED)
    opened.page.locator("#explorer [data-copy-rows]").click()
    opened.page.wait_for_function("window.copied !== undefined")
    lines = opened.page.evaluate("window.copied").splitlines()
    assert any("'=1+1 long" in line for line in lines)
    values = [line.split(",")[1] for line in lines[1:]]
    assert any(value.startswith("-") for value in values)
    assert all(abs(float(value)) <= 1 for value in values)
    opened.context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_accessibility(browser: Browser, report: Path, scheme: str) -> None:
    from axe_playwright_python.sync_playwright import Axe

    opened = Opened(browser, report, viewport={"width": 1200, "height": 900}, color_scheme=scheme)
    found = Axe().run(opened.page).response["violations"]
    wanted = ("landmark-unique", "empty-table-header")
    serious = [
        (one["id"], [node["html"][:120] for node in one["nodes"][:3]])
        for one in found
        if one["impact"] in ("serious", "critical") or one["id"] in wanted
    ]
    assert serious == []
    opened.context.close()


def test_the_keyboard_reaches_everything(page: Page) -> None:
    # From the beginning, wherever other tests have been.
    page.reload()
    page.wait_for_selector("html[data-drawn=true]")
    reached = set()
    for _ in range(400):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.id || document.activeElement.className"))
        if page.evaluate("document.activeElement.id") == "save":
            break
    assert {"skip", "theme", "sort", "save"} <= reached
