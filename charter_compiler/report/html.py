"""One self-contained HTML file: no script, no network, readable in light and dark, everything from outside escaped."""

from __future__ import annotations

import os
import re
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from charter_compiler.diagnostics.errors import OutputError
from charter_compiler.report import charts, graph_layout, metrics, timeline, token_shares
from charter_compiler.report.metrics import RunFigures
from charter_compiler.report.model import ReportData
from charter_compiler.report.prompt_blocks import MessageBlocks, message_blocks, nested_text, short_id, visible_space
from charter_compiler.report.savings import savings

COLORS = 8
"""Colours in the style sheet; sites and shared prefixes go round them, and carry a number besides."""


_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class _Cell:
    text: str
    reported: bool


def render_report(data: ReportData) -> str:
    """The page. The same data give the same text."""
    shares = token_shares.site_shares(data.misses)
    graph = graph_layout.layout(data.calls, data.opportunities, shares) if data.calls else None
    gantts, gantt_sites = timeline.charts(data.timelines)
    prompts: list[tuple[Any, tuple[MessageBlocks, ...]]] = [
        (call, message_blocks(call, data.opportunities, data.count_tokens)) for call in data.calls
    ]
    rows = metrics.rows_for(data.runs)
    return (
        _environment()
        .get_template("report.html.j2")
        .render(
            data=data,
            graph=graph,
            graph_size=graph_layout,
            charts=gantts,
            sites=gantt_sites,
            chart_size=timeline,
            prompts=prompts,
            prefix_texts=[nested_text(index, data.opportunities) for index in range(len(data.opportunities))],
            table=[(row, [_cell(row, run) for run in data.runs], row.change(data.runs)) for row in rows],
            basis=metrics.basis(data.runs),
            simulated=[run.label for run in data.runs if run.simulated],
            savings=savings(data.runs, data.pricing),
            shares=shares,
            views=[token_shares.shown_prompt(view) for view in data.views],
            capacity_chart=_capacity_chart(data),
            sections=_sections(data),
        )
    )


def _sections(data: ReportData) -> list[tuple[str, str]]:
    """Anchor and name of each section that the page has, in its order."""
    ran = any(run.ran for run in data.runs)
    found: list[tuple[object, str, str]] = [
        (data.runs, "runs", "Runs" if ran else "Prediction"),
        (savings(data.runs, data.pricing) or data.passes, "savings", "Savings"),
        (data.misses, "tokens", "Tokens"),
        (data.sites, "sites", "Call sites"),
        (data.endpoints, "endpoints", "Endpoints"),
        (data.calls, "graph", "Graph"),
        (any(run.timings for run in data.timelines), "timeline", "Timeline"),
        (data.curve, "capacity", "Capacity"),
        (data.opportunities, "prefixes", "Shared prefixes"),
        (data.patterns, "patterns", "Patterns"),
        (data.calls, "prompts", "Prompts"),
        (data.notes or data.environment, "notes", "Notes"),
    ]
    return [(anchor, name) for there, anchor, name in found if there]


def _capacity_chart(data: ReportData) -> Markup | None:
    """Lines over capacities that double, so that equal steps are a logarithmic axis."""
    if not data.curve:
        return None
    capacities = [metrics.count(point.blocks) for point in data.curve]
    series = [
        charts.Series("as written", tuple(point.as_written for point in data.curve)),
        charts.Series("planned", tuple(point.planned for point in data.curve)),
    ]
    attainable = data.runs[-1].attainable_hit_rate if data.runs else None
    if attainable is not None:
        series.append(charts.Series("attainable", tuple(attainable for _ in data.curve), bound=True))
    return charts.lines("token hit rate by capacity in blocks", capacities, series, metrics.percent)


def render_template(name: str, **values: Any) -> str:
    """A page of ``templates/`` other than the report; everything from outside is escaped, unless it is ``Markup``."""
    return _environment().get_template(name).render(**values)


def write_report(data: ReportData, path: Path) -> None:
    """Write the page at once or not at all; makes the folder.

    Raises:
        OutputError: the file cannot be written.
    """
    write_page(render_report(data), path)


def write_page(text: str, path: Path) -> None:
    """Write a text at once or not at all; makes the folder.

    Raises:
        OutputError: the file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(
            "w", encoding="utf-8", dir=path.parent, prefix=f".{path.name}.", delete=False
        ) as file:
            temporary = Path(file.name)
            file.write(text)
        try:
            os.replace(temporary, path)
        except OSError:
            temporary.unlink()
            raise
    except OSError as error:
        raise OutputError(
            f"the report cannot be written: {error.strerror}", place=str(path), remedy="choose another output folder"
        ) from error


def _cell(row: metrics.MetricRow, run: RunFigures) -> _Cell:
    return _Cell(row.text(run), row.value(run) is not None)


@cache
def _environment() -> Environment:
    loader = PackageLoader("charter_compiler.report", "templates")
    environment = Environment(
        loader=loader,
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_printable,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style, _, _ = loader.get_source(environment, "report.css")
    environment.globals["style"] = Markup(style)  # noqa: S704  # our own file, no part of it comes from outside
    environment.filters.update(
        short_id=short_id,
        short_origin=token_shares.short_origin,
        place=token_shares.place,
        inline=token_shares.inline,
        file_name=lambda path: path.rpartition("/")[2],
        visible_space=visible_space,
        percent=metrics.percent,
        seconds=metrics.seconds,
        places=lambda spans: dict.fromkeys(f"{span.file}:{span.line}" for span in spans),
        count=metrics.count,
        clamp=lambda value: f"{100 * min(max(value, 0.0), 1.0):.2f}",
        color=lambda index: f"c{index % COLORS}",
    )
    return environment


def _printable(value: Any) -> Any:
    """Characters that HTML or UTF-8 cannot hold (controls, lone surrogates) as U+FFFD."""
    if isinstance(value, Markup) or not isinstance(value, str):
        return value
    return _UNPRINTABLE.sub("\ufffd", value)
