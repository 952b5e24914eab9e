"""Options of ``charter run``."""

from __future__ import annotations

import argparse
from pathlib import Path

from charter_compiler.cli.options.shared import add_memo, add_price_arguments, add_run_arguments, add_tokenizer
from charter_compiler.cli.options.values import amount, days, natural, positive, seconds
from charter_compiler.executor.defaults import CALL_TIMEOUT, KNOWN_TARGETS, LOCAL
from charter_compiler.executor.scheduler.mode import Mode
from charter_compiler.plan.placement import Placement
from charter_compiler.tokens.models import DEFAULT_MODEL


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the design's command line, and those that say how the target is opened."""
    add_run_arguments(parser, in_flight="at each endpoint")
    parser.add_argument("--inputs", required=True, metavar="F.jsonl", help="one JSON object a line")
    parser.add_argument("-o", "--output", required=True, metavar="OUT.jsonl", help="rows in input order")
    parser.add_argument("--plan", type=Path, metavar="DIR", help="follow this plan (default: made for the target)")
    parser.add_argument(
        "--target",
        action="append",
        metavar="T",
        help=f"{KNOWN_TARGETS} (default: {LOCAL}); for several endpoints: repeated, with commas, or a file of them",
    )
    parser.add_argument(
        "--placement",
        choices=[str(placement) for placement in Placement],
        help="of items on several endpoints: by shared prefix (optimized), by load, or call by call in turn (baseline)",
    )
    parser.add_argument(
        "--mode",
        choices=[str(mode) for mode in Mode],
        default=str(Mode.OPTIMIZED),
        help="baseline sends calls as the agent makes them (default: %(default)s)",
    )
    parser.add_argument(
        "--layout",
        action="store_true",
        help="send prompts in the order that reuses most of the cache; changes what the model is asked",
    )
    parser.add_argument(
        "--no-merge", action="store_true", help="send equal greedy requests each, instead of answering them once"
    )
    parser.add_argument(
        "--merge-sampling", action="store_true", help="answer equal requests with a temperature and no seed once, too"
    )
    parser.add_argument("--keep-wording", action="store_true", help="with --layout: no word is changed")
    parser.add_argument("--max-failures", type=natural, metavar="N", help="end the run when more items than N failed")
    parser.add_argument(
        "--max-tokens-total", type=positive, metavar="N", help="start no more items after N tokens, prompt and output"
    )
    parser.add_argument("--max-seconds", type=seconds, metavar="S", help="start no more items after S seconds")
    parser.add_argument(
        "--max-cost", type=amount, metavar="X", help="start no more items after that much money, by --prices"
    )
    add_price_arguments(parser)
    parser.add_argument(
        "--on",
        metavar="CLUSTER",
        help="ray: the cluster of RAY_ADDRESS=host:6379, else one on this machine; rows may be Parquet or s3://...",
    )
    parser.add_argument(
        "--workers", type=positive, metavar="N", help="with --on: endpoints at once (one a target, else one a node)"
    )
    parser.add_argument(
        "--hints", action="store_true", help="send the plan's hints (retain, release, ...) to a target that takes them"
    )
    parser.add_argument("--resume", action="store_true", help="continue the run whose journal lies beside OUT.jsonl")
    parser.add_argument(
        "--journal",
        metavar="redis://...",
        help="keep the journal on that server: the same agent, inputs and options may be resumed from any machine",
    )
    parser.add_argument(
        "--record", action="store_true", help="write every call, with prompt and output, to OUT.jsonl.calls.jsonl"
    )
    parser.add_argument("--log", type=Path, metavar="F.jsonl", help="write a line a call and item, without their texts")
    parser.add_argument(
        "--report",
        type=Path,
        metavar="FILE.html",
        help="write a report: predicted and measured, timeline, where tokens go; FILE.json beside it (records calls)",
    )
    add_memo(parser)
    parser.add_argument(
        "--no-memo", action="store_true", help="neither answer calls from the memo store nor keep answers there"
    )
    parser.add_argument(
        "--memo-sampled", action="store_true", help="keep answers of calls that are neither greedy nor seeded too"
    )
    parser.add_argument(
        "--memo-size", type=positive, default=1024, metavar="MB", help="size of the memo store (default: %(default)s)"
    )
    parser.add_argument(
        "--memo-days", type=days, default="30", metavar="N", help="age of its oldest entry (default: %(default)s)"
    )
    prediction = parser.add_mutually_exclusive_group()
    prediction.add_argument("--no-predict", action="store_true", help="no prediction")
    prediction.add_argument(
        "--allow-effects",
        action="store_true",
        help="predict even if the agent's code may act on the outside: a prediction runs it once more for each row, "
        "and up to 24 times more for the first",
    )
    parser.add_argument(
        "--model",
        default=DEFAULT_MODEL.name,
        metavar="NAME|PATH",
        help="what a local server serves if one is started (%(default)s)",
    )
    parser.add_argument(
        "--fresh-server", action="store_true", help="start a local server with an empty cache even if one is running"
    )
    add_tokenizer(parser)
    parser.add_argument(
        "--metrics-url", metavar="URL", help="a Triton server's metrics, where a tunnel has moved its ports"
    )
    parser.add_argument(
        "--tokens-per-block", type=positive, metavar="N", help="block size of a Triton server that does not tell it"
    )
    parser.add_argument(
        "--timeout", type=seconds, default=CALL_TIMEOUT, metavar="S", help="seconds for one call (%(default)g)"
    )
