"""The report in its other forms: JSON, the terminal, and a notebook's frame."""

from __future__ import annotations

import json
from dataclasses import replace
from io import StringIO
from pathlib import Path

from report_page import Page
from rich.console import Console

from charter_compiler.executor.metrics import EndpointMetrics
from charter_compiler.report.files import write_report_files
from charter_compiler.report.html import render_report
from charter_compiler.report.model import ReportData
from charter_compiler.report.notebook import notebook_html
from charter_compiler.report.report_json import report_json
from charter_compiler.report.savings import savings
from charter_compiler.report.terminal import saving_lines, share_lines
from charter_compiler.report.token_shares import HEAD, TAIL, shown_prompt, site_shares


def test_the_json_holds_what_the_page_shows(report_data: ReportData, tmp_path: Path) -> None:
    page, machine = write_report_files(report_data, tmp_path / "report.html")
    data = json.loads(machine.read_text(encoding="utf-8"))
    assert page.read_text(encoding="utf-8") == render_report(report_data)
    assert data["version"] == 1
    assert [run["hit_rate"] for run in data["runs"]] == [0.07, 0.63]
    assert data["runs"][1]["computed_tokens"] == 16_324
    assert data["savings"][0]["saved"] == 41_030 - 16_324
    assert {site["wasted"] for site in data["tokens_by_site"]} == {500}
    for prompt in data["prompts"]:
        assert sum(part["tokens"] for part in prompt["parts"]) == prompt["call"]["prompt"]
        assert [part["origin"]["line"] for part in prompt["parts"]] == [28, 34, 34, None]
    assert data["capacities"][0] == {"blocks": 64, "as_written": None, "planned": 0.2}
    assert [site["measured"] for site in data["call_sites"]] == [1 / 14, None]
    assert [run["simulated"] for run in data["runs"]] == [False, False]
    assert len(data["timelines"]) == 2


def test_nothing_is_called_measured_where_it_was_simulated(report_data: ReportData) -> None:
    runs = tuple(replace(run, simulated=True, wall_s=None, output_tokens=None) for run in report_data.runs)
    data = replace(
        report_data,
        runs=runs,
        sites=tuple(replace(site, simulated=True) for site in report_data.sites),
        endpoints=(EndpointMetrics("sim", 3, 9, 900, 450, 0.5, 0.51, 100),),
        timelines=(),
    )
    page = Page(render_report(data))
    assert page.problems == []
    assert "measured" not in page.text
    assert page.text.index("Simulated. No language model computed anything:") < page.text.index(
        "token hit rate, simulated"
    )
    sites = report_json(data)["call_sites"]
    assert [(site["hit_rate"], site["measured"]) for site in sites] == [(1 / 14, None), (None, None)]
    mixed = replace(data, runs=(report_data.runs[0], runs[1]))
    assert "No language model computed anything in “optimized (exact passes)”:" in Page(render_report(mixed)).text


def test_the_frame_of_a_notebook_holds_the_whole_page_and_may_do_nothing(report_data: ReportData) -> None:
    frame = Page(notebook_html(report_data))
    assert frame.problems == []
    ((tag, attributes),) = frame.elements
    assert tag == "iframe"
    assert attributes["sandbox"] == ""
    assert attributes["srcdoc"] == render_report(report_data)


def test_a_prompt_is_shown_with_the_token_that_parts_it(report_data: ReportData) -> None:
    page = Page(render_report(report_data))
    assert "Token 320 parts it from every earlier prompt:  April↵ here,  May in item 2, process#1." in page.text
    assert "It comes from input document, examples/agents/document_processor.py:34." in page.text
    shown = shown_prompt(report_data.views[0])
    assert [part.starts_new for part in shown.parts] == [False, False, True, False]
    assert shown.shares.words == "30% cached, 42% wasted, 28% computed"
    long = shown.parts[2]
    assert len(long.head) + long.hidden + len(long.tail) == len(long.part.text)
    assert (len(long.head), len(long.tail)) == (HEAD, TAIL)


def test_every_section_is_listed_and_there(report_data: ReportData) -> None:
    page = Page(render_report(report_data))
    listed = [attributes["href"] for attributes in page.tags("a")]
    headings = [attributes["id"] for attributes in page.tags("h2")]
    assert listed == ["#content", *(f"#{anchor}" for anchor in headings)]
    assert len(headings) == 11


def test_the_terminal_says_it_short(report_data: ReportData) -> None:
    output = StringIO()
    console = Console(file=output, width=120, color_system=None)
    for line in share_lines(site_shares(report_data.misses)):
        console.print(line, highlight=False)
    for saving in saving_lines(savings(report_data.runs, report_data.pricing)):
        console.print(saving, highlight=False)
    lines = output.getvalue().splitlines()
    words = ["30%", "cached,", "50%", "wasted,", "20%", "computed", "of", "1,000", "tokens"]
    assert lines[0].split() == ["process#1", "███████▒▒▒▒▒▒▒▒▒▒▒▒·····", *words]
    assert lines[4] == "  saved: 24,706 (-60%) prompt tokens computed (measured)"
    assert len(lines) == 3 + 1 + 4


def test_the_endpoints_of_a_run_are_on_the_page_and_in_the_json(report_data: ReportData) -> None:
    assert 'id="endpoints"' not in render_report(report_data)
    endpoints = (
        EndpointMetrics("triton://<a>:8001/m", 3, 9, 900, 450, 0.5, 0.51, 100),
        EndpointMetrics("triton://b:8001/m", 2, 6, 700, None, None, None, 100),
    )
    data = replace(report_data, endpoints=endpoints, imbalance=1000 / 900 - 1)
    page = Page(render_report(data))
    assert page.problems == []
    assert "The largest load lies 11.1% above the mean." in page.text
    assert "triton://<a>:8001/m399001,00051.0%50.0%" in page.text
    assert "triton://b:8001/m26700800not reportednot reported" in page.text
    assert [each["tokens"] for each in report_json(data)["endpoints"]] == [1000, 800]
