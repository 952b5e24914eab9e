"""The command lines of ``scripts/run_lambda_tests.py`` and ``scripts/benchmark_lambda.py``."""

from __future__ import annotations

import argparse
import io
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console

from charter_compiler.deploy import benchmark_report, results
from charter_compiler.deploy.benchmarks import BENCHMARKS, Row, run_benchmark
from charter_compiler.deploy.connect import Addresses, addressed, connect
from charter_compiler.deploy.results import CaseResult, Status
from charter_compiler.deploy.settings import Settings, load_settings
from charter_compiler.deploy.suite import CASES, run_suite
from charter_compiler.diagnostics.errors import CharterError, TargetUnavailableError
from charter_compiler.report.html import write_page

CONFIG = Path("configs") / "lambda_labs.yaml"
POLL = 1.0
"""Seconds between two questions whether the server is ready; there is no event to wait for."""
ALL = "all"


def run_tests(argv: Sequence[str], config: Path = CONFIG) -> int:
    """``config``: the settings where the command line names none.

    Returns 0 if every case passed, 1 if one did not or there was an error, 2 for a wrong command line.
    """
    parser = _parser("Acceptance tests of a deployment.", config)
    parser.add_argument("--only", action="append", default=[], choices=CASES, help="run this case (several times)")
    parser.add_argument("--junit", type=Path, metavar="FILE", help="write JUnit XML")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write JSON")
    return _guarded(lambda: _run_tests(parser.parse_args(list(argv))))


def _run_tests(args: argparse.Namespace) -> int:
    console = Console()

    def tell(case: CaseResult) -> None:
        console.print(f"{case.status.upper()} {case.name} ({case.seconds:.1f} s)", highlight=False, markup=False)
        lines = [case.problem] if case.problem else []
        lines += [str(check) for check in case.checks]
        lines += [f"{name} = {results.show(value)}" for name, value in case.figures.items()]
        for line in lines:
            console.print(f"    {line}", highlight=False, markup=False, soft_wrap=True)

    with ExitStack() as stack:
        folder = stack.enter_context(TemporaryDirectory(prefix="charter-tests-"))
        result = run_suite(_settings(args), Path(folder), tuple(args.only), tell)
    if args.junit is not None:
        write_page(results.to_junit(result), args.junit)
    if args.json is not None:
        write_page(results.to_json(result), args.json)
    passed = result.count(Status.PASSED)
    console.print(f"{passed} of {len(result.cases)} cases passed on {result.target} ({result.server})", highlight=False)
    return 0 if result.passed else 1


def run_benchmarks(argv: Sequence[str], config: Path = CONFIG) -> int:
    """``config``: the settings where the command line names none.

    Returns 0, 1 after an error, 2 for a wrong command line.
    """
    parser = _parser("Benchmarks of a deployment.", config)
    parser.add_argument("--benchmark", choices=(*BENCHMARKS, ALL), default=ALL, help="which one (%(default)s)")
    parser.add_argument("--iterations", type=_positive, metavar="N", help="how often (as the configuration says)")
    parser.add_argument(
        "-o", "--output", type=Path, default=Path("benchmark-out"), metavar="DIR", help="for the reports (%(default)s)"
    )
    return _guarded(lambda: _run_benchmarks(parser.parse_args(list(argv))))


def _run_benchmarks(args: argparse.Namespace) -> int:
    console = Console()
    settings = _settings(args)
    server = connect(settings)
    names = BENCHMARKS if args.benchmark == ALL else (args.benchmark,)
    iterations = args.iterations or settings.benchmarks.iterations
    console.print(f"{server.target} ({server.kind}): {', '.join(names)}, {iterations} times", highlight=False)

    def tell(name: str, row: Row) -> None:
        key = benchmark_report.KEY[name]
        console.print(f"  {name} {row['iteration']}: {key} {row[key]}", highlight=False, markup=False)

    with TemporaryDirectory(prefix="charter-bench-") as folder:
        result = run_benchmark(settings, server, names, iterations, Path(folder), tell)
    found = benchmark_report.tables(result)
    plain = Console(width=200, file=io.StringIO(), record=True)
    for table in found:
        console.print(table)
        plain.print(table)
    write_page(plain.export_text(), args.output / "report.txt")
    write_page(benchmark_report.to_json(result), args.output / "report.json")
    write_page(benchmark_report.to_html(result), args.output / "report.html")
    write_page("".join(f"{json.dumps(row)}\n" for row in result.rows), args.output / "rows.jsonl")
    console.print(
        f"reports: {args.output}/report.txt, report.json, report.html, rows.jsonl", highlight=False, soft_wrap=True
    )
    return 0


def _parser(description: str, config: Path) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--config", type=Path, default=config, metavar="FILE", help="settings (%(default)s)")
    parser.add_argument(
        "--wait", type=_positive, default=0, metavar="S", help="wait so long for a server that is not ready yet"
    )
    for name, what in (("url", "gRPC, host:port"), ("http-url", "HTTP"), ("metrics-url", "metrics")):
        variable = f"CHARTER_LAMBDA_{name.upper().replace('-', '_')}"
        parser.add_argument(
            f"--{name}",
            metavar="URL",
            default=os.environ.get(variable),
            help=f"address of the server ({what}) in place of the settings' (environment: {variable})",
        )
    parser.add_argument("--tokenizer", metavar="SPEC", help="the served model's tokenizer, in place of the settings'")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="another value of a setting, as in tests.delta_matching.items=4 (several times)",
    )
    return parser


def _settings(args: argparse.Namespace) -> Settings:
    given = Addresses(args.url, args.http_url, args.metrics_url, args.tokenizer)
    settings, until = load_settings(args.config, args.set), time.monotonic() + args.wait
    while True:
        found = addressed(settings, given)  # anew each time: a server that is up may tell its other addresses
        if time.monotonic() >= until or _ready(found):
            return found
        time.sleep(POLL)


def _ready(settings: Settings) -> bool:
    """Whether it answers; what it may else be is for the command to find out and to say."""
    try:
        connect(settings)
    except TargetUnavailableError:
        return False
    return True


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a whole number from 1")
    return int(text)


def _guarded(command: Callable[[], int]) -> int:
    try:
        return command()
    except CharterError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
