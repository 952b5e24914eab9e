from __future__ import annotations

from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from charter_compiler.executor.metrics import Percentiles
from charter_compiler.report.metrics import (
    MEASURED_ROWS,
    NOT_COMPUTED,
    NOT_REPORTED,
    PREDICTED_ROWS,
    RunFigures,
    basis,
    count,
    per_second,
    percent,
    rows_for,
    seconds,
)
from charter_compiler.report.model import ReportData
from charter_compiler.report.terminal import comparison_table

METRICS: dict[str, Any] = {
    "mode": "optimized",
    "target": "local",
    "layout": False,
    "items": 4,
    "failed": 1,
    "calls": 12,
    "prompt_tokens": 1000,
    "cached_tokens": 600,
    "hit_rate": 0.6,
    "predicted_hit_rate": 0.7,
    "attainable_hit_rate": 0.8,
    "memoized_calls": 0,
    "warmup_tokens": 50,
    "output_tokens": 99,
    "wall_s": 8.0,
    "items_per_s": 0.5,
    "latency_s": {"p50": 0.5, "p95": 1.5},
    "ttft_s": {"p50": 0.25, "p95": None},
}


def row(label: str) -> Any:
    return next(entry for entry in MEASURED_ROWS if entry.label == label)


def test_every_key_of_the_metrics_file_is_read() -> None:
    run = RunFigures.from_mapping("x", METRICS)
    for name, value in METRICS.items():
        if name != "target":
            expected = Percentiles(**value) if isinstance(value, dict) else value
            assert getattr(run, name) == expected, name
    assert run.share_of_attainable == pytest.approx(0.75)
    assert run.seconds_per_item == 2.0


def test_a_null_and_a_missing_key_are_not_known() -> None:
    run = RunFigures.from_mapping("x", {"hit_rate": None, "latency_s": None})
    assert run == RunFigures("x")
    assert not run.ran
    assert run.share_of_attainable is None
    assert run.seconds_per_item is None


def test_nothing_attainable_has_no_share() -> None:
    assert RunFigures("x", hit_rate=0.0, attainable_hit_rate=0.0).share_of_attainable is None


@pytest.mark.parametrize(
    ("show", "value", "expected"),
    [
        (percent, 0.6321, "63.2%"),
        (percent, 0.0, "0.0%"),
        (seconds, 2.4, "2.40 s"),
        (seconds, 0.0874, "87 ms"),
        (count, 12031, "12,031"),
        (count, 0, "0"),
        (per_second, 0.4171, "0.417"),
    ],
)
def test_figures_as_shown(show: Any, value: float, expected: str) -> None:
    assert show(value) == expected
    assert show(None) == NOT_REPORTED


@pytest.mark.parametrize(
    ("label", "first", "last", "expected"),
    [
        ("token hit rate, measured", {"hit_rate": 0.07}, {"hit_rate": 0.63}, ("+56.0 points", "better")),
        ("token hit rate, measured", {"hit_rate": 0.63}, {"hit_rate": 0.07}, ("-56.0 points", "worse")),
        ("wall time", {"wall_s": 4.0}, {"wall_s": 3.0}, ("-25%", "better")),
        ("wall time", {"wall_s": 4.0}, {"wall_s": 5.0}, ("+25%", "worse")),
        ("wall time", {"wall_s": 4.0}, {"wall_s": None}, ("", "")),
        ("prompt tokens", {"prompt_tokens": 10}, {"prompt_tokens": 9}, ("-10%", "")),
        ("prompt tokens computed", {"prompt_tokens": 10, "cached_tokens": 2}, {"prompt_tokens": 11}, ("", "")),
        (
            "prompt tokens computed",
            {"prompt_tokens": 10, "cached_tokens": 2},
            {"prompt_tokens": 20, "cached_tokens": 10},
            ("+25%", "worse"),
        ),
        ("items failed", {"failed": 0}, {"failed": 2}, ("", "")),
        ("calls", {"calls": 5}, {"calls": 5}, ("", "")),
    ],
)
def test_change_from_the_first_run_to_the_last(
    label: str, first: dict[str, Any], last: dict[str, Any], expected: tuple[str, str]
) -> None:
    assert row(label).change([RunFigures("a", **first), RunFigures("b", **last)]) == expected


def test_one_run_has_no_change() -> None:
    assert row("wall time").change([RunFigures("a", wall_s=1.0)]) == ("", "")


def test_rows_of_a_prediction_and_of_a_run() -> None:
    assert rows_for([RunFigures("a", predicted_hit_rate=0.5)]) == PREDICTED_ROWS
    assert rows_for([RunFigures("a"), RunFigures("b", wall_s=1.0)]) == MEASURED_ROWS


def test_a_simulated_run_is_called_so_and_has_no_times() -> None:
    run = RunFigures.from_mapping("x", METRICS | {"simulated": True})
    assert (run.hit_rate, run.computed_tokens, run.basis) == (0.6, 400, "simulated")
    shown = {row.label: row.text(run) for row in rows_for([run])}
    assert shown["token hit rate, simulated"] == "60.0%"
    assert not [label for label in shown if "measured" in label]
    assert {label for label, text in shown.items() if text == NOT_COMPUTED} == {
        "latency of a call, median",
        "latency of a call, 95th percentile",
        "time to first token, median",
        "time to first token, 95th percentile",
        "wall time",
        "wall time an item",
        "items a second",
        "output tokens",
    }


def test_a_simulated_run_beside_a_measured_one() -> None:
    runs = [RunFigures.from_mapping("a", METRICS), RunFigures.from_mapping("b", METRICS | {"simulated": True})]
    assert basis(runs) == "measured or simulated"
    wall = next(row for row in rows_for(runs) if row.label == "wall time")
    assert [wall.text(run) for run in runs] == ["8.00 s", NOT_COMPUTED]
    assert wall.change(runs) == ("", "")


def test_terminal_table_shows_both_runs_and_what_is_not_reported(report_data: ReportData) -> None:
    output = StringIO()
    Console(file=output, width=120).print(comparison_table(report_data.runs, title="document_processor"))
    lines = output.getvalue().splitlines()
    measured = next(line for line in lines if "token hit rate, measured" in line)
    assert "7.0%" in measured
    assert "63.0%" in measured
    assert "+56.0 points" in measured
    slowest = next(line for line in lines if "first token, 95th" in line)
    assert NOT_REPORTED in slowest


def test_terminal_table_takes_labels_literally() -> None:
    output = StringIO()
    Console(file=output, width=120).print(comparison_table([RunFigures("[red]label[/red]", wall_s=1.0)]))
    assert "[red]label[/red]" in output.getvalue()
