"""The report in a real browser: nothing is loaded, no script runs; it can be read and used in both colour schemes."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, sync_playwright
from report_hostile import poisoned

from charter_compiler.report.html import write_report
from charter_compiler.report.model import ReportData
from charter_compiler.report.notebook import notebook_html

pytestmark = pytest.mark.system
SCHEMES: dict[Literal["light", "dark"], str] = {"light": "rgb(251, 251, 250)", "dark": "rgb(20, 23, 28)"}
"""The page's background in ``report.css``."""
SECTIONS = (
    ["runs", "savings", "tokens", "sites", "graph", "timeline", "capacity", "prefixes", "patterns", "prompts", "notes"]
)  # fmt: skip


@dataclass(slots=True)
class Opened:
    """A page, and what the browser said and asked for meanwhile."""

    page: Page
    console: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    assert program is not None, "Chromium is missing: make test-system installs it"
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-dev-shm-usage"])
        yield started
        started.close()


def opened(browser: Browser, file: Path, scheme: Literal["light", "dark"] = "light", width: int = 1180) -> Opened:
    page = browser.new_page(color_scheme=scheme, viewport={"width": width, "height": 1200})
    found = Opened(page)
    page.on("console", lambda message: found.console.append(message.text))
    page.on("pageerror", lambda error: found.console.append(str(error)))
    page.on("request", lambda request: found.requests.append(request.url))
    page.goto(file.as_uri())
    return found


@pytest.fixture
def file(report_data: ReportData, tmp_path: Path) -> Path:
    path = tmp_path / "report.html"
    write_report(report_data, path)
    return path


@pytest.mark.parametrize("scheme", SCHEMES)
def test_it_reads_in_both_schemes(browser: Browser, file: Path, scheme: Literal["light", "dark"]) -> None:
    report = opened(browser, file, scheme)
    page = report.page
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == SCHEMES[scheme]
    for name in SECTIONS:
        assert page.locator(f"section[aria-labelledby={name}] > h2#{name}").is_visible(), name
    page.locator("details:not([open])").evaluate_all("all => all.forEach(one => one.open = true)")
    # Contrast of every text, names of every region, order of headings, lists, tables: the rules of axe-core.
    # Colours alone differ between the schemes.
    options = {"runOnly": ["color-contrast"]} if scheme == "dark" else {}
    found: dict[str, Any] = Axe().run(page, options=options).response
    problems = [
        (rule["id"], node["html"][:200], node["failureSummary"])
        for rule in found["violations"]
        for node in rule["nodes"]
    ]
    assert problems == []
    assert "color-contrast" in {rule["id"] for rule in found["passes"]}
    assert report.console == []
    assert report.requests == [file.as_uri()]


def focused(page: Page) -> str:
    """What has the focus: an id, a link, or an element's own words."""
    return str(
        page.evaluate(
            "(() => { const at = document.activeElement; return at === document.body ? '' : at.id || "
            "at.getAttribute('href') || at.getAttribute('aria-label') || at.textContent.trim().slice(0, 30); })()"
        )
    )


def test_it_works_from_the_keyboard(browser: Browser, file: Path) -> None:
    page = opened(browser, file).page
    reached = []
    for _ in range(120):
        page.keyboard.press("Tab")
        if not (at := focused(page)):
            break
        reached.append(at)
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline == "solid", f"the focus cannot be seen on {at}"
    assert reached[: 1 + len(SECTIONS)] == ["#content", *(f"#{name}" for name in SECTIONS)]
    summaries = page.locator("summary").evaluate_all("all => all.map(one => one.textContent.trim().slice(0, 30))")
    scrolled = page.locator("[role=region]").evaluate_all(
        "all => all.filter(one => one.checkVisibility()).map(one => one.ariaLabel)"
    )
    assert set(summaries) | set(scrolled) <= set(reached)
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert focused(page) == "content", "the skip link leads to the content"
    closed = page.locator("details.view:not([open])").first
    closed.locator("summary").focus()
    page.keyboard.press("Enter")
    assert page.locator("details.view[open]").count() == 2


def test_it_fits_a_small_screen(browser: Browser, file: Path) -> None:
    page = opened(browser, file, width=380).page
    assert page.evaluate("document.documentElement.scrollWidth") <= 380


def test_a_hostile_report_stays_text(browser: Browser, report_data: ReportData, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    write_report(poisoned(report_data), path)
    report = opened(browser, path)
    assert report.page.locator("script, img").count() == 0
    assert "<script>alert(1)</script>" in report.page.locator("body").inner_text()
    assert report.page.locator("details.view").count() == len(report_data.views)
    assert report.console == []
    assert report.requests == [path.as_uri()]


def test_the_frame_of_a_notebook_shows_it(browser: Browser, report_data: ReportData, tmp_path: Path) -> None:
    path = tmp_path / "notebook.html"
    path.write_text(f"<!DOCTYPE html><title>t</title>{notebook_html(report_data)}", encoding="utf-8")
    report = opened(browser, path)
    frame = report.page.frame_locator("iframe")
    assert frame.locator("h1").inner_text() == report_data.title
    frame.locator("details.view:not([open]) summary").first.click()
    assert frame.locator("details.view[open]").count() == 2
    assert report.console == []
