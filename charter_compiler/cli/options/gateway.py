"""Options of ``charter gateway``."""

from __future__ import annotations

import argparse
from pathlib import Path

from charter_compiler.cli.options.shared import add_memo, add_target, add_tokenizer
from charter_compiler.cli.options.values import port, positive, seconds
from charter_compiler.executor.defaults import CALL_TIMEOUT, DEFAULT_CONCURRENCY

DEFAULT_PORT = 8010


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The target, the address and the limits."""
    add_target(parser)
    parser.add_argument(
        "--agent", metavar="ENTRY", help="file.py:function whose call sites are told apart by their text"
    )
    parser.add_argument(
        "--layout", action="store_true", help="with --agent: send its prompts in the order that shares most"
    )
    parser.add_argument("--log", type=Path, metavar="F.jsonl", help="write a line a call, without its texts")
    parser.add_argument("--host", default="127.0.0.1", help="any but this machine's own needs a token (%(default)s)")
    parser.add_argument("--port", type=port, default=DEFAULT_PORT, help="0 takes a free one (default: %(default)s)")
    parser.add_argument(
        "--concurrency", type=positive, default=DEFAULT_CONCURRENCY, metavar="N", help="calls at once (%(default)s)"
    )
    add_memo(parser)
    parser.add_argument("--no-memo", action="store_true", help="do not answer from the memo store, nor keep answers")
    add_tokenizer(parser)
    parser.add_argument("--timeout", type=seconds, default=CALL_TIMEOUT, metavar="S", help="for one call (%(default)g)")
