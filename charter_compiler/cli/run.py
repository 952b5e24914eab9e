"""``charter run``: an agent over its inputs, predicted and measured."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

from charter_compiler.api.cluster.connection import Cluster
from charter_compiler.api.cluster.places import is_plain
from charter_compiler.api.cluster.run import cluster_run
from charter_compiler.api.measured_run import measured_run
from charter_compiler.api.memo import MemoOptions, memo_place
from charter_compiler.api.run_report import RunReport
from charter_compiler.api.run_request import PredictWhen, RunRequest
from charter_compiler.cli.observer import ConsoleObserver
from charter_compiler.diagnostics.errors import PlanError, UsageError
from charter_compiler.executor.budget import Budget
from charter_compiler.executor.defaults import LOCAL
from charter_compiler.executor.memo.store import MemoLimits
from charter_compiler.executor.metrics import Percentiles
from charter_compiler.executor.redis_address import parse_redis
from charter_compiler.executor.run.options import RunOptions
from charter_compiler.executor.scheduler.mode import Mode
from charter_compiler.executor.targets import TargetOptions
from charter_compiler.plan.execution_plan import ExecutionPlan
from charter_compiler.plan.placement import Placement
from charter_compiler.report.files import write_report_files
from charter_compiler.report.metrics import NOT_COMPUTED
from charter_compiler.report.savings import Pricing

INTERRUPTED = 130
NOT_REPORTED = "not reported"


def run(args: argparse.Namespace) -> int:
    """Run and show the figures. Returns 0 if every item succeeded, 1 if one failed, 130 after Ctrl-C; raises what
    ``measured_run`` does, and why the run ended early if it did."""
    if args.max_cost is not None and args.prices is None:
        raise UsageError("--max-cost needs prices", remedy="give --prices PROMPT,CACHED,OUTPUT, for a million tokens")
    if args.keep_wording and not args.layout:
        raise UsageError("--keep-wording is about a layout", remedy="give --layout too")
    if args.report is not None and args.report.suffix != ".html":
        raise UsageError("the report is a page", place=str(args.report), remedy="end its name in .html")
    report = _run(args)
    if args.report is not None:
        write_report_files(report.report(Pricing(args.price_per_hour, args.prices)), args.report)
    for note in report.notes:
        print(f"charter: note: {note}", file=sys.stderr)
    Console().print(summary(report))
    if report.stopped is not None:
        raise report.stopped
    if report.interrupted:
        print(f"charter: interrupted after {report.metrics.items} items; continue with --resume", file=sys.stderr)
        return INTERRUPTED
    if report.first_error is not None:
        index, error = report.first_error
        line = "" if error.line is None else f" at line {error.line}"
        print(
            f"charter: error: {report.metrics.failed} of {report.metrics.items} items failed; the first is item "
            f"{index}{line}: {error.type}: {error.message}",
            file=sys.stderr,
        )
        return 1
    return 0


def _run(args: argparse.Namespace) -> RunReport:
    """Here, or on the cluster that ``--on`` names, where rows may lie elsewhere too."""
    with ConsoleObserver(Console(stderr=True), args.mode) as observer:
        if args.on is not None:
            cluster = Cluster(args.on, args.workers)
            return cluster_run(make_request(args), cluster, observer, inputs=args.inputs, output=args.output)
        for place in (args.inputs, args.output):
            if not is_plain(place):
                raise UsageError("only a cluster reads and writes that", place=place, remedy="give --on ray")
        return measured_run(make_request(args), observer)


def make_request(args: argparse.Namespace) -> RunRequest:
    """The request that the command line makes; reads the plan.

    Raises:
        PlanError: the plan cannot be read, is stale, or is another entry's.
    """
    when = PredictWhen.NEVER if args.no_predict else PredictWhen.ALWAYS if args.allow_effects else PredictWhen.PURE
    return RunRequest(
        entry=args.entry,
        inputs=Path(args.inputs),
        output=Path(args.output),
        target=",".join(args.target or [LOCAL]),
        target_options=TargetOptions(
            fresh_server=args.fresh_server,
            model=args.model,
            tokenizer=args.tokenizer,
            timeout=args.timeout,
            metrics_url=args.metrics_url,
            tokens_per_block=args.tokens_per_block,
        ),
        options=RunOptions(
            mode=Mode(args.mode),
            concurrency=args.concurrency,
            max_tokens=args.max_tokens,
            max_failures=args.max_failures,
            handle_interrupt=True,
            merge=not args.no_merge,
            merge_sampling=args.merge_sampling,
            budget=Budget(args.max_tokens_total, args.max_seconds, args.max_cost, args.prices),
            placement=None if args.placement is None else Placement(args.placement),
        ),
        plan=None if args.plan is None else read_plan(args.plan, args.entry),
        predict=when,
        limit=args.limit,
        record=args.record or args.report is not None,
        explain=args.report is not None,
        layout=args.layout,
        wording=not args.keep_wording,
        resume=args.resume,
        journal=None if args.journal is None else parse_redis(args.journal),
        memo=_memo(args),
        hints=args.hints,
        log=args.log,
    )


def _memo(args: argparse.Namespace) -> MemoOptions | None:
    """A baseline is compared with: each of its calls reaches the engine. So it does where equal ones are not merged."""
    if args.no_memo or args.no_merge or args.mode == Mode.BASELINE:
        return None
    return MemoOptions(args.memo_sampled, MemoLimits(args.memo_size * 1_000_000, args.memo_days), memo_place(args.memo))


def read_plan(folder: Path, entry: str) -> ExecutionPlan:
    """The plan in ``folder/plan.json``, if it is this entry's and its sources are unchanged.

    Raises:
        PlanError: it is not there, cannot be read, is stale or another entry's.
    """
    path = folder / "plan.json"
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise PlanError(
            f"cannot be read: {error}", place=str(path), remedy="make it with: charter compile ENTRY -o DIR"
        ) from error
    plan = ExecutionPlan.from_json(text, place=str(path))
    if _resolved(plan.entry) != _resolved(entry):
        raise PlanError(f"it is the plan of {plan.entry}", place=str(path), remedy="run charter compile again")
    plan.check_sources(Path.cwd())
    return plan


def _resolved(entry: str) -> tuple[Path, str]:
    path, _, name = entry.rpartition(":")
    return Path(path).resolve(), name


def summary(report: RunReport) -> Table:
    """The figures of a run as a table. What only an engine tells is not shown of a simulated one."""
    metrics, prediction = report.metrics, report.prediction
    simulated = metrics.simulated
    table = Table(title=f"{metrics.mode} on {metrics.target}", title_justify="left", show_header=False)
    table.add_column(overflow="fold")
    table.add_column(justify="right")
    failed = "" if not metrics.failed else f", {metrics.failed} failed"
    table.add_row("items", f"{metrics.items}{failed}")
    table.add_row("calls", str(metrics.calls))
    if metrics.memoized_calls:
        table.add_row("calls answered without the engine", str(metrics.memoized_calls))
    table.add_row("prompt tokens", _count(metrics.prompt_tokens))
    table.add_row("of these cached", _count(metrics.cached_tokens))
    table.add_row(f"hit rate, {'simulated' if simulated else 'measured'}", _percent(metrics.hit_rate))
    table.add_row("hit rate, predicted", _percent(None if prediction is None else prediction.hit_rate, "no prediction"))
    table.add_row("hit rate, attainable", _percent(metrics.attainable_hit_rate))
    table.add_row("output tokens", NOT_COMPUTED if simulated else _count(metrics.output_tokens))
    for endpoint in metrics.endpoints:
        figures = f"{endpoint.items} items, {_count(endpoint.tokens)} tokens, hit rate {_percent(endpoint.hit_rate)}"
        table.add_row(endpoint.name, figures)
    if metrics.endpoints:
        table.add_row("load above the mean, at most", _percent(metrics.imbalance))
    table.add_row("latency p50 / p95", NOT_COMPUTED if simulated else _seconds(metrics.latency_s))
    table.add_row("TTFT p50 / p95", NOT_COMPUTED if simulated else _seconds(metrics.ttft_s))
    table.add_row("the simulation took" if simulated else "wall time", f"{metrics.wall_s:.2f} s")
    table.add_row("rows", str(report.rows))
    table.add_row("figures", str(report.metrics_file))
    return table


def _count(value: int | None) -> str:
    return NOT_REPORTED if value is None else f"{value:,}"


def _percent(value: float | None, otherwise: str = NOT_REPORTED) -> str:
    return otherwise if value is None else f"{value:.1%}"


def _seconds(values: Percentiles) -> str:
    if values.p50 is None or values.p95 is None:
        return NOT_REPORTED
    return f"{values.p50:.2f} s / {values.p95:.2f} s"
