"""``charter serve``: the embedded Triton server in the foreground."""

from __future__ import annotations

import argparse
import sys

from charter_compiler.diagnostics.errors import TargetUnavailableError
from charter_compiler.serve.discovery import is_loopback
from charter_compiler.serve.engine.interface import EngineConfig
from charter_compiler.serve.options import ServerOptions
from charter_compiler.serve.server import ServerHandle, start_server
from charter_compiler.tokens.models import DEFAULT_MODEL, find_model


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
