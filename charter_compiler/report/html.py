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
from charter_compiler.report import graph_layout, metrics, timeline
from charter_compiler.report.metrics import RunFigures
from charter_compiler.report.model import ReportData
from charter_compiler.report.prompt_blocks import MessageBlocks, message_blocks, nested_text, short_id, visible_space

COLORS = 8
"""Colours in the style sheet; sites and shared prefixes go round them, and carry a number besides."""


_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class _Cell:
    text: str
    reported: bool


def render_report(data: ReportData) -> str:
    """The page. The same data give the same text."""
    graph = graph_layout.layout(data.calls, data.opportunities) if data.calls else None
    charts, sites = timeline.charts(data.timelines)
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
            charts=charts,
            sites=sites,
            chart_size=timeline,
            prompts=prompts,
            prefix_texts=[nested_text(index, data.opportunities) for index in range(len(data.opportunities))],
            table=[(row, [_cell(row, run) for run in data.runs], row.change(data.runs)) for row in rows],
            measured=any(run.measured for run in data.runs),
        )
    )


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
    value = row.value(run)
    return _Cell(row.show(value), value is not None)


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
        visible_space=visible_space,
        percent=metrics.percent,
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
