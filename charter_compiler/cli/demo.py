"""``charter demo``: the main job on the embedded server, start to end, over real documents."""

from __future__ import annotations

import argparse
from contextlib import ExitStack
from dataclasses import replace

from rich.console import Console
from rich.syntax import Syntax

from charter_compiler.api.compilation import Compilation
from charter_compiler.api.compile import compile_agent
from charter_compiler.api.compile_request import CompileRequest
from charter_compiler.api.examples import examples_folder
from charter_compiler.api.run_request import RunRequest
from charter_compiler.api.side_by_side import LABELS, SideBySide, run_side_by_side
from charter_compiler.cli.compile import print_compilation
from charter_compiler.cli.models import fetch_with_progress
from charter_compiler.cli.observer import ConsoleObserver
from charter_compiler.diagnostics.errors import AgentError
from charter_compiler.executor.run.options import RunOptions
from charter_compiler.report.files import write_report_files
from charter_compiler.report.model import ReportData
from charter_compiler.report.terminal import comparison_table
from charter_compiler.tokens.models import DEFAULT_MODEL

ENTRY = "agents/document_processor.py:DocumentProcessor.process"
INPUTS = "data/documents.jsonl"


def run(args: argparse.Namespace) -> int:
    """Compile the document processor, run it as written, optimized and laid out, compare. Raises AgentError if an item
    failed, and what ``compile_agent`` and ``run_side_by_side`` do."""
    console = Console()
    examples = examples_folder()
    entry, inputs = f"{examples / ENTRY}", examples / INPUTS
    options = RunOptions(concurrency=args.concurrency, max_tokens=args.max_tokens, handle_interrupt=True)
    fetch_with_progress(Console(stderr=True), DEFAULT_MODEL.name)
    console.rule("compile", align="left")
    exact = CompileRequest(entry, inputs, options=options, limit=args.documents)
    compilation = compile_agent(exact)
    print_compilation(console, compilation)
    console.rule("compile with --layout", align="left")
    laid_out = compile_agent(replace(exact, layout=True))
    laid_out.write(args.output)
    print_compilation(console, laid_out)
    for rewrite in laid_out.rewrites:
        console.print(Syntax(rewrite.diff(), "diff", theme="ansi_dark", word_wrap=True))
    console.rule("run on the embedded Triton server: as written, exact passes, with layout", align="left")
    request = RunRequest(
        entry, inputs, args.output / "run.jsonl", options=options, plan=compilation.plan, limit=args.documents
    )
    with ExitStack() as stack:

        def observe(name: str) -> ConsoleObserver:
            console.print(f"{LABELS[name]} ...", highlight=False)
            return stack.enter_context(ConsoleObserver(Console(stderr=True), LABELS[name]))

        runs = run_side_by_side(request, args.output, observe, laid_out.plan)
    _check_items(runs)
    report = build_report(laid_out, runs)
    path = args.output / "report.html"
    write_report_files(report, path)
    console.print(comparison_table(report.runs))
    print_differences(console, runs)
    console.print(f"report: {path.resolve()}", soft_wrap=True)
    return 0


def _check_items(runs: SideBySide) -> None:
    for report in runs.reports:
        if report.first_error is not None:
            index, error = report.first_error
            raise AgentError(f"{error.type}: {error.message}", place=f"{report.rows}, item {index}")


def build_report(compilation: Compilation, runs: SideBySide) -> ReportData:
    """The report of the runs and of what the compiler found in the agent."""
    report = runs.report("Charter demo: document processor", notes=compilation.notes)
    return replace(
        report,
        entry=compilation.plan.entry,
        passes=compilation.passes,
        curve=() if compilation.details is None else compilation.details.curve,
        calls=compilation.calls,
        opportunities=compilation.opportunities,
        patterns=compilation.patterns,
    )


def print_differences(console: Console, runs: SideBySide) -> None:
    """Whether both runs sent the same prompts, and how often the engine answered the same prompt differently."""
    found = runs.comparison
    console.print(
        f"same prompts sent: {found.compared - len(found.different_prompts)} of {found.compared} calls whose earlier "
        f"outputs were the same; greedy outputs that differ all the same: {len(found.different_outputs)} "
        f"(floating-point sums depend on how a prefill is cut and batched); calls after these, not compared: "
        f"{found.not_compared}",
        soft_wrap=True,
        highlight=False,
    )
