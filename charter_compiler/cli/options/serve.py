"""Options of ``charter serve``."""

from __future__ import annotations

import argparse

from charter_compiler.cli.options.values import seconds
from charter_compiler.serve.engine.interface import EngineConfig
from charter_compiler.serve.options import DEFAULT_GRPC_PORT, DEFAULT_HTTP_PORT, DEFAULT_METRICS_PORT, LOOPBACK
from charter_compiler.tokens.models import DEFAULT_MODEL


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Addresses, the model, and the engine's sizes."""
    sizes = EngineConfig()
    parser.add_argument("--host", default=LOOPBACK, help="address to listen on (default: %(default)s)")
    for name, port in (("http", DEFAULT_HTTP_PORT), ("grpc", DEFAULT_GRPC_PORT), ("metrics", DEFAULT_METRICS_PORT)):
        text = "0 for a free one (default: %(default)s)"
        parser.add_argument(f"--{name}-port", type=int, default=port, metavar="PORT", help=text)
    parser.add_argument(
        "--model", default=DEFAULT_MODEL.name, metavar="NAME|PATH", help="a known model or a GGUF file (%(default)s)"
    )
    parser.add_argument(
        "--capacity-blocks", type=int, default=sizes.capacity_blocks, metavar="N", help="KV blocks (%(default)s)"
    )
    parser.add_argument(
        "--tokens-per-block", type=int, default=sizes.tokens_per_block, metavar="N", help="block size (%(default)s)"
    )
    parser.add_argument(
        "--max-context",
        type=int,
        default=sizes.max_context,
        metavar="N",
        help="prompt and output tokens (%(default)s)",
    )
    parser.add_argument(
        "--max-running",
        type=int,
        default=sizes.max_running,
        metavar="N",
        help="requests at once (%(default)s)",
    )
    parser.add_argument("--threads", type=int, metavar="N", help="compute threads (default: all that may be used)")
    parser.add_argument("--no-reuse", action="store_true", help="switch the reuse of KV blocks off")
    parser.add_argument("--partial-reuse", action="store_true", help="reuse the first tokens of a KV block, too")
    parser.add_argument(
        "--reproducible", action="store_true", help="one request at a time; warm greedy outputs equal cold ones"
    )
    parser.add_argument(
        "--start-timeout", type=seconds, default=60.0, metavar="S", help="seconds to get ready in (%(default)g)"
    )
