"""The report in a real Chromium: drawn, silent, alone, equal to its figures, and looked at.

Screenshots and the printed page are kept in ``build/report``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from celes_beam import cli
from celes_beam.report.content import make_content
from celes_beam.report.write import write_report
from celes_beam.stores.lake.lake import Lake
from celes_beam.stores.lake.lake_input import open_input
from celes_beam.stores.lake.manifest import RejectedExample
from pipelines import batch
from tests.comparisons import comparison
from tests.lakes import Sale, draft, reject
from tests.report_pages import HOSTILE, LONG, Page, check_tables
from tests.tools import ROOT, need_module, need_tool

KEPT = ROOT / "build" / "report"
INSTALL = "apt-get install chromium"
WIDTHS = (390, 1280)
CHARTS = {
    "categories",
    "regions",
    "month-totals",
    "month-sales",
    "engine-times",
    "engine-memory",
    "time-by-rows",
    "memory-by-rows",
}
_DRAWN = """(chart) => {
  const kinds = ["rect", "symbol", "line"].map((kind) => `svg .mark-${kind} path`).join(",");
  const boxes = [...chart.querySelectorAll(kinds)].map((mark) => mark.getBoundingClientRect());
  return boxes.filter(({ width, height }) => width > 0 || height > 0).length;
}"""
"""How many marks of a chart take any room."""
CATEGORIES = (HOSTILE, LONG, "Electrónica", "سوق الهدايا", "a=b/c%20d", "Ropa & «más»")
SALES: list[Sale] = [
    (CATEGORIES[n % 6 if n % 4 else 0], f"Región {n % 30:02}", 1_000_000 + 7_919 * n % 999_999)
    for n in range(600)
]
DATES = [datetime(2023 + n % 2, 1 + n % 12, 1 + n % 28, tzinfo=UTC) for n in range(600)]


@dataclass
class Seen:
    """A page as a browser shows it, what it said in the console, and what it asked for."""

    page: Any
    said: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    api = need_module("playwright.sync_api", "pip install playwright")
    program = need_tool("chromium", INSTALL)
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A report in each language, of a lake with odd names, rejected rows and engines."""
    root = str(tmp_path_factory.mktemp("lake"))
    lake = Lake.open(root)
    example = RejectedExample(
        reason="missing", source="lunes.csv", position=9, column="id_cliente", value="<img src=x>"
    )
    run = draft(lake, "uno", SALES, dates=DATES, rejected_examples=(example,))
    lake.commit(reject(lake, run, 4))
    made = make_content(open_input(root, datetime(2026, 1, 1, tzinfo=UTC)), comparison())
    KEPT.mkdir(parents=True, exist_ok=True)
    paths = {language: KEPT / f"report-{language}.html" for language in ("es", "en")}
    for language, path in paths.items():
        write_report(str(path), made, language)
    return paths


def see(browser: Any, path: Path, *, width: int = 1280, scheme: str = "light") -> Seen:
    """Open a file and wait until its charts are drawn; all that goes elsewhere is refused."""
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    seen = Seen(context.new_page())

    def route(route: Any) -> None:
        seen.asked.append(route.request.url)
        if route.request.url == path.as_uri():
            route.continue_()
        else:
            route.abort()

    context.route("**/*", route)
    seen.page.on("console", lambda message: seen.said.append(f"{message.type}: {message.text}"))
    seen.page.on("pageerror", lambda error: seen.said.append(str(error)))
    seen.page.on("dialog", lambda dialog: seen.said.append(f"dialog: {dialog.message}"))
    seen.page.goto(path.as_uri())
    seen.page.wait_for_selector("html[data-drawn]", timeout=30_000)
    return seen


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
def test_charts_are_drawn_and_the_page_keeps_to_itself(
    browser: Any, reports: dict[str, Path], width: int, scheme: str
) -> None:
    language = "es" if scheme == "light" else "en"
    seen = see(browser, reports[language], width=width, scheme=scheme)
    page = seen.page
    page.screenshot(path=KEPT / f"report-{language}-{width}-{scheme}.png", full_page=True)
    assert seen.said == []
    assert seen.asked == [reports[language].as_uri()]
    marks = {name: page.locator(f"#chart-{name}").evaluate(_DRAWN) for name in CHARTS}
    assert page.locator("[data-chart]").count() == len(CHARTS)
    assert all(count >= 2 for count in marks.values()), marks
    # Nothing is cut off at the right: the page does not scroll sideways, and charts fit into it.
    assert page.evaluate("document.documentElement.scrollWidth") == width
    boxes = page.evaluate(
        """() => [...document.querySelectorAll(".chart svg, .chart svg text")].map((one) => {
             const { left, right } = one.getBoundingClientRect(); return [left, right]; })"""
    )
    assert all(left >= 0 and right <= width for left, right in boxes)
    page.context.close()


def test_colours_follow_the_page_into_the_dark(browser: Any, reports: dict[str, Path]) -> None:
    seen = see(browser, reports["es"])
    colour = """() => ["body", "#chart-categories .mark-rect path"].map((one, text) => {
        const style = getComputedStyle(document.querySelector(one));
        return text ? style.fill : style.backgroundColor; })"""
    light = seen.page.evaluate(colour)
    seen.page.emulate_media(color_scheme="dark")
    dark = seen.page.evaluate(colour)
    assert all(one != other for one, other in zip(light, dark, strict=True))
    seen.page.emulate_media(media="print")
    assert seen.page.evaluate(colour) == light
    seen.page.context.close()


@pytest.mark.parametrize("language", ["es", "en"])
def test_what_is_shown_is_the_json(browser: Any, reports: dict[str, Path], language: str) -> None:
    seen = see(browser, reports[language])
    html = seen.page.content()
    page = Page(html)
    check_tables(page, language)
    assert page.data["figures"]["lake"]["rows_rejected"] == 4
    assert seen.page.locator("main img, main iframe, main b").count() == 0
    seen.page.context.close()


def test_it_is_used_with_the_keyboard(browser: Any, reports: dict[str, Path]) -> None:
    seen = see(browser, reports["es"], width=390)
    page = seen.page
    page.keyboard.press("Tab")
    focused = "() => document.activeElement.textContent.trim() || document.activeElement.id"
    assert page.evaluate(focused) == "Saltar al contenido"
    skip = page.locator(".skip")
    page.wait_for_function("document.querySelector('.skip').getBoundingClientRect().top >= 0")
    assert skip.evaluate("(one) => getComputedStyle(one).outlineStyle") == "solid"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.getAttribute('role')") == "region"
    page.context.close()


def test_a_tooltip_tells_a_figure_and_escapes_it(browser: Any, reports: dict[str, Path]) -> None:
    seen = see(browser, reports["en"])
    seen.page.locator("#chart-categories .mark-rect path").first.hover()
    tooltip = seen.page.locator("#vg-tooltip-element.visible")
    tooltip.wait_for(timeout=10_000)
    assert HOSTILE in tooltip.inner_text()
    assert seen.said == []
    seen.page.context.close()


def test_it_can_be_printed(browser: Any, reports: dict[str, Path]) -> None:
    seen = see(browser, reports["es"], scheme="dark")
    printed = seen.page.pdf(path=KEPT / "report-es.pdf", format="A4")
    assert printed.startswith(b"%PDF")
    assert len(printed) > 50_000
    assert len(re.findall(rb"/Type\s*/Page\b", printed)) >= 3
    seen.page.emulate_media(media="print")
    clipped = """() => [...document.querySelectorAll(".scroll")].filter(
        (one) => one.scrollHeight > one.clientHeight + 1).length"""
    assert seen.page.evaluate(clipped) == 0
    seen.page.context.close()


def test_without_scripts_the_tables_say_it_all(browser: Any, reports: dict[str, Path]) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(reports["es"].as_uri())
    assert page.locator("noscript").inner_text() == (
        "Los gráficos necesitan JavaScript; las tablas dicen lo mismo."
    )
    assert page.locator("#by-category tbody tr").count() == len(CATEGORIES)
    context.close()


def test_a_lake_in_a_bucket(bucket: Any, tmp_path: Path) -> None:
    root = f"gs://{bucket.name}/lake"
    whole = batch.run(["--rows", "2000", "--output", root, "--progress", "off"])
    output = tmp_path / "r.html"
    assert cli.main(["report", "--input", root, "--output", str(output)]) == 0
    page = Page(output.read_text("utf-8"))
    check_tables(page, "es")
    figures = page.data["figures"]
    assert (figures["sales"]["rows"], figures["sales"]["total"]) == (2000, whole.manifest.total)
    assert figures["lake"]["commits"][0]["run_id"] == whole.manifest.run_id
