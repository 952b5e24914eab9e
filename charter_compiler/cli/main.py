"""``charter``: thin commands over the library. Each is a module here with ``run``, and one in ``options`` with
``add_arguments``: help and wrong options need no more than that."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from typing import Any

from charter_compiler.diagnostics.errors import CharterError

COMMANDS = {
    "inspect": "find every model call, its template and the graph; runs nothing",
    "compile": "predict, optimize, and write plan, report and engine configuration",
    "plan": "how many replicas a run takes, how long, and at what price",
    "run": "run an agent over inputs and measure",
    "calibrate": "probe a target for a minute, so that compile predicts seconds too",
    "config": "check engine configuration, or a running server, against a plan",
    "simulate": "replay a recorded trace through the model of an engine's cache",
    "bench": "baselines and Charter side by side on the embedded server, repeated in turn",
    "demo": "the main job on the embedded server, start to end",
    "serve": "the embedded Triton server",
    "gateway": "an OpenAI- and Anthropic-compatible front of a target",
    "lambda": "GPU instances of Lambda's cloud: prices, launch with a spending limit and an end, terminate",
    "cache": "the memo store: what is kept of earlier calls",
    "models": "fetch and list model weights",
    "doctor": "what works on this machine, and how to mend what does not",
}
"""Name and help line; the modules are ``charter_compiler.cli.options.<name>`` and ``charter_compiler.cli.<name>``, each
imported only when it is needed."""
MODULES = {"lambda": "instances"}
"""Where the module has another name, since the command is a word of Python."""

INTERNAL_ERROR = 70
"""Exit code for a defect in Charter: ``EX_SOFTWARE`` of ``sysexits.h``."""


def build_parser(command: str | None) -> argparse.ArgumentParser:
    """Parser of the whole command line; only ``command``'s own options are filled in, so that start-up stays short."""
    parser = argparse.ArgumentParser(prog="charter", description="An optimizing compiler for LLM agent programs.")
    parser.add_argument("--version", action="store_true", help="print the version and exit")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND")
    for name, text in COMMANDS.items():
        sub = subparsers.add_parser(name, help=text, description=text)
        sub.add_argument("--debug", action="store_true", help="show the traceback of an error")
        if name == command:
            command_module("cli.options", name).add_arguments(sub)
    return parser


def command_module(package: str, name: str) -> Any:
    """A command's module in a package."""
    return importlib.import_module(f"charter_compiler.{package}.{MODULES.get(name, name)}")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code. Errors, a defect in Charter too, print as one line unless ``--debug`` is
    given."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    command = next((word for word in arguments if not word.startswith("-")), None)
    parser = build_parser(command)
    args = parser.parse_args(arguments)
    if args.version:
        from importlib.metadata import version  # imported late: it costs start-up time

        print(version("charter-compiler"))
        return 0
    if args.command is None:
        parser.print_help()
        return 2
    try:
        code: int = command_module("cli", args.command).run(args)
    except CharterError as error:
        if args.debug:
            raise
        print(f"charter: error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        if args.debug:
            raise
        print("charter: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader of our output went away (`charter inspect ... | head`): not an error of ours.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except Exception as error:
        if args.debug:
            raise
        what = " ".join(f"{type(error).__name__}: {error}".split())
        hint = "run again with --debug for the traceback, and report it"
        print(f"charter: internal error: {what} ({hint})", file=sys.stderr)
        return INTERNAL_ERROR
    return code


if __name__ == "__main__":
    sys.exit(main())
