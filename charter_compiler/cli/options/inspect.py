"""Options of ``charter inspect``."""

from __future__ import annotations

import argparse

from charter_compiler.diagnostics.diagnostic import Severity

FORMATS = ("text", "json", "sarif", "github", "dot", "mermaid")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``charter inspect``."""
    parser.add_argument("paths", nargs="+", metavar="PATH", help="a Python file or notebook, or a folder to search")
    parser.add_argument("--format", choices=FORMATS, default="text", help="default: text")
    parser.add_argument("--findings", action="store_true", help="as text, print the findings only")
    parser.add_argument(
        "--fail-on",
        choices=[str(severity) for severity in Severity],
        metavar="LEVEL",
        help="exit with 1 if there is a finding of this level (note, warning, error) or above; a file that does not "
        "parse is an error",
    )
