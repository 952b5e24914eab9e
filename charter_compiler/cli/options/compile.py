"""Options of ``charter compile``."""

from __future__ import annotations

import argparse
from pathlib import Path

from charter_compiler.analysis.gpu_memory import GPUS
from charter_compiler.api.defaults import DEFAULT_METRIC, DEFAULT_THRESHOLD
from charter_compiler.api.layout_metrics import BUILT_IN
from charter_compiler.cli.options.shared import (
    add_predicted_target_arguments,
    add_price_arguments,
    add_run_arguments,
    add_target,
)
from charter_compiler.cli.options.values import natural, positive
from charter_compiler.config.target import EngineName
from charter_compiler.tokens.kv_shape import KVDtype


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the design's command line, and those that the prediction needs."""
    add_run_arguments(parser, in_flight="in the run that is predicted")
    parser.add_argument("-o", "--output", required=True, type=Path, metavar="DIR", help="where the files go")
    parser.add_argument(
        "--inputs",
        type=Path,
        metavar="F.jsonl",
        help="predict over these rows; this runs the agent's code, without a model, several times",
    )
    add_target(parser)
    add_predicted_target_arguments(parser)
    parser.add_argument(
        "--engine",
        action="append",
        default=[],
        metavar="NAME[=VERSION]",
        help=f"write configuration for this engine (several times; default: all of {', '.join(EngineName)})",
    )
    parser.add_argument(
        "--gpu", metavar="NAME", help=f"GPU that sizes are computed for: {', '.join(gpu.name for gpu in GPUS)}"
    )
    parser.add_argument("--gpus", type=positive, default=1, metavar="N", help="GPUs of one server (%(default)s)")
    parser.add_argument(
        "--model-files", type=Path, metavar="PATH", help="folder with config.json, or GGUF file, of the model to serve"
    )
    parser.add_argument("--model-path", metavar="PATH|HUB", help="where the server finds the model (/models/weights)")
    parser.add_argument(
        "--prompt-table", type=natural, default=0, metavar="ROWS", help="room for prompt tuning (TensorRT-LLM engine)"
    )
    parser.add_argument(
        "--outputs-of",
        type=Path,
        metavar="OUT.jsonl",
        help="outputs of this run (charter run --record) in place of synthetic ones",
    )
    parser.add_argument(
        "--explain", action="store_true", help="say which token first differs at each miss, and what put it there"
    )
    parser.add_argument(
        "--size", action="store_true", help="search for the cache's size by simulation; memory and price with --gpu"
    )
    parser.add_argument(
        "--kv-dtype", choices=[str(dtype) for dtype in KVDtype], help="with --size: how KV is stored (the model's own)"
    )
    add_price_arguments(parser)
    parser.add_argument(
        "--replicas",
        type=positive,
        default=1,
        metavar="N",
        help="write what routers before N replicas of the engine take, and files that deploy them",
    )
    parser.add_argument("--layout", action="store_true", help="put what stays the same longest first in each prompt")
    parser.add_argument("--keep-wording", action="store_true", help="with --layout: no word is changed")
    parser.add_argument(
        "--parallel", action="store_true", help="in DIR/agent, ask awaited calls that do not need each other at once"
    )
    parser.add_argument(
        "--drop-dead", action="store_true", help="in DIR/agent, take calls out whose answers nobody reads"
    )
    parser.add_argument("--diff", action="store_true", help="print what changes in the agent's source")
    parser.add_argument(
        "--verify",
        type=positive,
        metavar="N",
        help="with --layout: run N inputs as written and laid out on the target, and refuse outputs that part",
    )
    parser.add_argument("--metric", default=DEFAULT_METRIC, metavar="M", help=f"{BUILT_IN} (default: %(default)s)")
    parser.add_argument(
        "--threshold",
        type=float,
        default=DEFAULT_THRESHOLD,
        metavar="X",
        help="least mean of the metric that --verify lets through (%(default)s)",
    )
