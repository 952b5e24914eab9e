"""``charter inspect``: what the source says, without running it."""

from __future__ import annotations

import argparse
import io
import json
import sys
from importlib.metadata import version
from pathlib import Path

from rich.console import Console

from charter_compiler.analysis.checks import check
from charter_compiler.analysis.pattern_detector import SequencePatternDetector
from charter_compiler.dag.builder import DAGBuilder
from charter_compiler.diagnostics.diagnostic import Diagnostic, Severity
from charter_compiler.diagnostics.errors import UsageError
from charter_compiler.parser.ast_parser import AgentASTParser, ParsedAgent
from charter_compiler.report.annotations import github, sarif, worst_severity
from charter_compiler.report.graph_text import to_dot, to_mermaid
from charter_compiler.report.inspect_json import document
from charter_compiler.report.inspect_text import print_findings, print_inspection
from charter_compiler.tokens.tokenizer import default_tokenizer

PIPE_WIDTH = 120
"""Columns of the text form where no terminal says how many there are."""


def run(args: argparse.Namespace) -> int:
    """Inspect and print.

    Raises:
        UsageError: a path does not exist.
        SourceError: the one file that was given cannot be parsed.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        # Source may hold what the terminal's encoding does not: escape it rather than fail.
        sys.stdout.reconfigure(errors="backslashreplace")
    for path in args.paths:
        if not Path(path).exists():
            raise UsageError("no such file or folder", place=path, remedy="give Python files or folders")
    parsed = AgentASTParser().parse_paths(args.paths)
    # What a finding costs is counted with the default model's tokenizer, which is loaded once there is one.
    findings = check(parsed.agent, parsed.sources, default_tokenizer)
    alone = parsed.files == 1 and any(failed.cell is None for failed in parsed.failed)
    if not (alone and args.format == "text"):
        _print(parsed, findings, args)
    if alone:
        parsed.require()
    worst = worst_severity(parsed, findings)
    return int(args.fail_on is not None and worst is not None and worst >= Severity[args.fail_on.upper()])


def _print(parsed: ParsedAgent, findings: tuple[Diagnostic, ...], args: argparse.Namespace) -> None:
    graph = DAGBuilder().build_from_calls(parsed.calls)
    match args.format:
        case "json":
            print(json.dumps(document(parsed, findings), indent=1))
        case "sarif":
            print(json.dumps(sarif(parsed, findings, version("charter-compiler")), indent=1))
        case "github":
            sys.stdout.write(github(parsed, findings))
        case "dot":
            sys.stdout.write(to_dot(graph))
        case "mermaid":
            sys.stdout.write(to_mermaid(graph))
        case _:
            console = Console(highlight=False, width=None if sys.stdout.isatty() else PIPE_WIDTH)
            if args.findings:
                print_findings(console, parsed, findings)
            else:
                print_inspection(console, parsed, graph, SequencePatternDetector().detect(graph), findings)
