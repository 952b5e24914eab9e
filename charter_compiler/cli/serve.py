"""``charter serve``: the embedded Triton server in the foreground."""

from __future__ import annotations

import argparse
import sys

from charter_compiler.cli.arguments import seconds
from charter_compiler.diagnostics.errors import TargetUnavailableError
from charter_compiler.serve.discovery import is_loopback
from charter_compiler.serve.engine.interface import EngineConfig
from charter_compiler.serve.options import (
    DEFAULT_GRPC_PORT,
    DEFAULT_HTTP_PORT,
    DEFAULT_METRICS_PORT,
    LOOPBACK,
    ServerOptions,
)
from charter_compiler.serve.server import ServerHandle, start_server
from charter_compiler.tokens.models import DEFAULT_MODEL, find_model


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


def run(args: argparse.Namespace) -> int:
    """Serve until Ctrl-C. Raises ``ModelError``, ``ConfigError``, ``ServerStartError``, and ``TargetUnavailableError``
    when the server dies."""
    options = server_options(args)
    if not is_loopback(options.host):
        print(
            f"charter: warning: {options.host} is reachable from other machines, and the server asks for no password",
            file=sys.stderr,
        )
    print("starting the server ...", file=sys.stderr, flush=True)
    with start_server(options) as server:
        print(describe(server), flush=True)
        try:
            server.wait()
        except KeyboardInterrupt:
            print("stopping", file=sys.stderr)
            return 0
        raise TargetUnavailableError(server.failure(), place="the server died", remedy="run: charter doctor --start")


def server_options(args: argparse.Namespace) -> ServerOptions:
    """What the command line asks for. Raises ``ModelError``, ``ConfigError`` and ``UsageError``."""
    sizes = EngineConfig()
    engine = EngineConfig(
        tokens_per_block=args.tokens_per_block,
        capacity_blocks=args.capacity_blocks,
        max_context=args.max_context,
        max_running=args.max_running,
        max_sequences=max(sizes.max_sequences, args.max_running),
        enable_block_reuse=not args.no_reuse,
        enable_partial_reuse=args.partial_reuse,
        reproducible=args.reproducible,
    )
    path = find_model(args.model)
    threads = {} if args.threads is None else {"threads": args.threads}
    return ServerOptions(
        model_path=path,
        model_name=args.model if args.model == DEFAULT_MODEL.name else path.stem,
        host=args.host,
        http_port=args.http_port,
        grpc_port=args.grpc_port,
        metrics_port=args.metrics_port,
        engine=engine,
        start_timeout=args.start_timeout,
        **threads,
    )


def describe(server: ServerHandle) -> str:
    """Addresses of a running server, and a first request to it."""
    return f"""ready: {server.options.model_name}
  gRPC     {server.grpc_url}
  HTTP     {server.http_url}
  metrics  {server.metrics_url}
  log      {server.log_path}

  curl {server.http_url}/v2/models/ensemble/generate -d '{{"text_input": "The capital of France is", "max_tokens": 8}}'

Ctrl-C stops it."""
