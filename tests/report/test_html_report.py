from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest
from report_hostile import PAYLOAD, poisoned
from report_page import Page

from charter_compiler.diagnostics.errors import OutputError
from charter_compiler.report.html import render_report, write_report
from charter_compiler.report.metrics import RunFigures
from charter_compiler.report.model import ReportData

EMPTY = ReportData(title="t", entry="e", target="local", model=None)


def test_page_is_balanced_and_names_every_call(report_data: ReportData) -> None:
    page = Page(render_report(report_data))
    assert page.problems == []
    for call in report_data.calls:
        assert f"{call.span.file}:{call.span.line}" in page.text
    assert "63.0%" in page.text
    assert "prompts differed in 0, and outputs to the same prompt in 3" in page.text


def test_a_report_without_runs_and_calls_is_balanced_too() -> None:
    page = Page(render_report(EMPTY))
    assert page.problems == []
    assert "not reported" in page.text
    assert page.tags("table") == []
    assert page.tags("svg") == []


def test_nothing_from_outside_becomes_markup(report_data: ReportData) -> None:
    page = Page(render_report(poisoned(report_data)))
    assert page.problems == []
    assert page.tags("script") == []
    assert page.tags("img") == []
    assert not [name for _, attributes in page.elements for name in attributes if name.startswith("on")]
    clean = {tag for tag, _ in Page(render_report(report_data)).elements}
    assert {tag for tag, _ in page.elements} == clean
    visible = PAYLOAD.replace("\x00", "\ufffd").replace("\ud800", "\ufffd")
    assert visible in page.text


def test_the_page_loads_nothing(report_data: ReportData) -> None:
    source = render_report(report_data)
    assert not re.search(r"(?:https?:)?//[a-z]|url\((?!#)|@import", source)
    loading = {"script", "link", "img", "iframe", "object", "embed", "audio", "video", "source", "form"}
    page = Page(source)
    assert not loading & {tag for tag, _ in page.elements}
    assert all(attributes["href"].startswith("#") for attributes in page.tags("a") if attributes["href"] is not None)
    policies = [meta["content"] for meta in page.tags("meta") if meta.get("http-equiv") == "Content-Security-Policy"]
    assert policies == ["default-src 'none'; style-src 'unsafe-inline'"]


def test_what_is_not_known_is_not_a_number(report_data: ReportData) -> None:
    run = RunFigures("blind target", wall_s=3.0, items=1)
    text = Page(render_report(dataclasses.replace(report_data, runs=(run,), differences=()))).text
    assert "measured not reported, predicted not reported, attainable not reported" in text
    assert "None" not in text
    assert "nan" not in text


def test_a_prediction_shows_no_measured_rows() -> None:
    runs = (
        RunFigures("as written", predicted_hit_rate=0.07, attainable_hit_rate=0.09, prompt_tokens=100),
        RunFigures("planned", predicted_hit_rate=0.6, attainable_hit_rate=0.65, prompt_tokens=100),
    )
    text = Page(render_report(dataclasses.replace(EMPTY, runs=runs))).text
    assert "Prediction" in text
    assert "token hit rate, measured" not in text
    assert "+53.0 points" in text


def test_the_timeline_is_there_in_figures(report_data: ReportData) -> None:
    page = Page(render_report(report_data))
    for run in report_data.timelines:
        assert f"Timeline of {run.label}, in figures" in {region.get("aria-label") for region in page.tags("div")}
    # Item 0, its first call: sent at once, a first token after 1.8 s, half a second of output.
    assert "0process#10 ms0 ms1.80 s2.30 s900500" in page.text


def test_a_call_says_how_many_more_prefixes_it_shares(report_data: ReportData) -> None:
    first = report_data.opportunities[0]
    for prefixes, more in ((4, []), (7, ["and 3 more"])):
        text = Page(render_report(dataclasses.replace(report_data, opportunities=(first,) * prefixes))).text
        assert re.findall(r"and \d+ more", text) == more * len(first.nodes)


def test_scrolling_regions_can_be_reached_with_the_keyboard(report_data: ReportData) -> None:
    page = Page(render_report(report_data))
    regions = [attributes for _, attributes in page.elements if "scroll" in (attributes.get("class") or "").split()]
    focusable = [attributes for attributes in regions if attributes.get("tabindex") == "0"]
    assert len(focusable) >= 5
    assert all(attributes.get("aria-label") for attributes in focusable)
    pictures = page.tags("svg")
    assert pictures
    assert all(picture.get("aria-label") for picture in pictures)


def test_the_same_data_give_the_same_page(report_data: ReportData) -> None:
    assert render_report(report_data) == render_report(report_data)


def test_write_report_makes_the_folder_and_replaces(report_data: ReportData, tmp_path: Path) -> None:
    path = tmp_path / "out" / "report.html"
    write_report(EMPTY, path)
    write_report(report_data, path)
    assert path.read_text(encoding="utf-8") == render_report(report_data)
    assert [entry.name for entry in path.parent.iterdir()] == ["report.html"]


def test_an_output_folder_that_is_a_file_is_one_clear_line(tmp_path: Path) -> None:
    blocker = tmp_path / "file"
    blocker.write_text("")
    with pytest.raises(OutputError, match=r"report\.html: the report cannot be written: .* \(choose another"):
        write_report(EMPTY, blocker / "report.html")
