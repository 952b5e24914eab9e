"""Benchmarks as text, JSON and one HTML page with plots. Medians over the iterations; the raw rows are in the JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median

from markupsafe import Markup
from rich.table import Table
from rich.text import Text

from charter_compiler.deploy.benchmarks import ABOUT, BENCHMARKS, BenchmarkResult, Row
from charter_compiler.deploy.results import Figure, show
from charter_compiler.report.charts import Series, bars, lines
from charter_compiler.report.html import render_template
from charter_compiler.report.metrics import percent, seconds

KEY = {"cache": "mode", "batch": "in_flight", "prefix": "words"}
"""What tells the rows of a benchmark apart within an iteration."""


@dataclass(frozen=True, slots=True)
class Plot:
    """A chart of columns of a benchmark's medians."""

    title: str
    columns: tuple[tuple[str, str], ...]
    show: Callable[[float], str]
    draw: Callable[[str, Sequence[str], Sequence[Series], Callable[[float], str]], Markup]


def _number(value: float) -> str:
    return f"{value:.4g}"


RATES = (("hit_rate", "tokens"), ("block_hit_rate", "blocks, where the server counts no prompt tokens"))
PLOTS: Mapping[str, tuple[Plot, ...]] = {
    "cache": (
        Plot("Hit rate", RATES, percent, bars),
        Plot("Seconds a document", (("s_per_item", "wall time a document"),), seconds, bars),
        Plot("Time to first token", (("ttft_p50_s", "median"), ("ttft_p95_s", "95th percentile")), seconds, bars),
    ),
    "batch": (
        Plot("Output tokens a second", (("output_tokens_per_s", "output tokens a second"),), _number, lines),
        Plot("Latency of a call", (("latency_p50_s", "median"), ("latency_p95_s", "95th percentile")), seconds, lines),
    ),
    "prefix": (
        Plot("Time to first token", (("cold_ttft_s", "first call"), ("warm_ttft_s", "second call")), seconds, lines),
        Plot("Hit rate of the second call", RATES, percent, lines),
    ),
}


def medians(rows: Sequence[Row], key: str) -> tuple[dict[str, Figure], ...]:
    """One row a value of ``key``, in the order of their first appearance: the median of each number; ``None`` where
    an iteration did not report it."""
    grouped: dict[Figure, list[Row]] = {}
    for row in rows:
        grouped.setdefault(row[key], []).append(row)
    found = []
    for name, group in grouped.items():
        one: dict[str, Figure] = {key: name}
        for column in group[0]:
            if column in (key, "benchmark", "iteration"):
                continue
            values = [row[column] for row in group]
            numbers = [value for value in values if isinstance(value, (int, float))]
            one[column] = median(numbers) if len(numbers) == len(values) else None
        found.append(one)
    return tuple(found)


def present(result: BenchmarkResult) -> tuple[str, ...]:
    """The benchmarks that were run."""
    return tuple(name for name in BENCHMARKS if result.of(name))


def to_json(result: BenchmarkResult) -> str:
    """The raw rows, and their medians under ``summary``."""
    value = asdict(result)
    value["environment"] = dict(result.environment)
    value["summary"] = {name: medians(result.of(name), KEY[name]) for name in present(result)}
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def tables(result: BenchmarkResult) -> tuple[Table, ...]:
    """For the terminal."""
    found = []
    for name in present(result):
        rows = medians(result.of(name), KEY[name])
        title = f"{name}: median of {result.iterations}" if result.iterations > 1 else f"{name}: one iteration"
        table = Table(title=title, title_justify="left", header_style="bold")
        table.add_column(_head(KEY[name]))
        for row in rows:
            table.add_column(Text(str(row[KEY[name]])), justify="right")
        for column in list(rows[0])[1:]:
            table.add_row(_head(column), *(Text(cell(column, row[column])) for row in rows))
        found.append(table)
    return tuple(found)


def to_html(result: BenchmarkResult) -> str:
    """The page; the same result gives the same text."""
    sections = []
    for name in present(result):
        rows = medians(result.of(name), KEY[name])
        categories = [str(row[KEY[name]]) for row in rows]
        sections.append(
            {
                "name": name,
                "about": ABOUT[name],
                "charts": [_draw(plot, categories, rows) for plot in PLOTS[name]],
                "heads": [_head(column) for column in rows[0]],
                "rows": [[cell(column, value) for column, value in row.items()] for row in rows],
            }
        )
    return render_template(
        "deployment.html.j2",
        title="Charter: benchmarks of a deployment",
        lead=f"Medians over {result.iterations} iterations, measured by scripts/benchmark_lambda.py as this client saw "
        "them. Figures of the embedded server were computed on a CPU and say nothing of a GPU.",
        facts=[
            ("target", result.target),
            ("server", result.server),
            ("started", result.started),
            *result.environment,
        ],
        sections=sections,
        monitored=[(name, show(value)) for name, value in sorted(result.monitored.items()) if value],
    )


def _draw(plot: Plot, categories: Sequence[str], rows: Sequence[Row]) -> Markup:
    series = [Series(label, tuple(_float(row[column]) for row in rows)) for column, label in plot.columns]
    return plot.draw(plot.title, categories, series, plot.show)


def _float(value: Figure) -> float | None:
    return float(value) if isinstance(value, (int, float)) else None


def _head(column: str) -> str:
    return column.replace("_", " ")


def cell(column: str, value: Figure) -> str:
    """A figure as its column's name says what it is."""
    time = column == "s_per_item" or (column.endswith("_s") and not column.endswith("per_s"))
    if isinstance(value, (int, float)) and column.endswith("_rate"):
        return percent(value)
    if isinstance(value, (int, float)) and time:
        return seconds(value)
    return show(value)
