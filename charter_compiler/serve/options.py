"""What the embedded server is started with, and how that travels to the models through their configuration."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from charter_compiler.diagnostics.errors import UsageError
from charter_compiler.serve.engine.interface import EngineConfig

DEFAULT_HTTP_PORT = 8000
DEFAULT_GRPC_PORT = 8001
DEFAULT_METRICS_PORT = 8002
LOOPBACK = "127.0.0.1"

MARK = "charter_embedded"
"""Model parameter that only the embedded server has; its value is Charter's version."""


def usable_processors() -> int:
    """Processors that this process may use, as far as the system tells."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """``model_path`` is a GGUF file. A port of 0 means a free one. ``start_timeout`` is in seconds; ``threads`` are
    those of the matrix products. The sizes are in the words of ``EngineConfig``."""

    model_path: Path
    model_name: str
    host: str = LOOPBACK
    http_port: int = 0
    grpc_port: int = 0
    metrics_port: int = 0
    engine: EngineConfig = field(default_factory=EngineConfig)
    threads: int = field(default_factory=usable_processors)
    start_timeout: float = 60.0

    def __post_init__(self) -> None:
        if self.threads < 1:
            raise UsageError(f"threads is {self.threads}", remedy="give 1 or more")
        for name, port in self.ports.items():
            if not 0 <= port <= 65535:
                raise UsageError(f"{name} port {port} does not exist", remedy="give 1 to 65535, or 0 for a free one")

    @property
    def ports(self) -> dict[str, int]:
        return {"HTTP": self.http_port, "gRPC": self.grpc_port, "metrics": self.metrics_port}


def engine_parameters(config: EngineConfig, threads: int) -> dict[str, str]:
    """Model parameters that carry the engine's sizes; ``engine_config`` reads them back."""
    return {
        "tokens_per_block": str(config.tokens_per_block),
        "charter_capacity_blocks": str(config.capacity_blocks),
        "charter_max_context": str(config.max_context),
        "charter_max_running": str(config.max_running),
        "charter_max_sequences": str(config.max_sequences),
        "charter_prefill_chunk": str(config.prefill_chunk),
        "charter_threads": str(threads),
        "enable_kv_cache_reuse": str(config.enable_block_reuse).lower(),
        "charter_partial_reuse": str(config.enable_partial_reuse).lower(),
        "charter_reproducible": str(config.reproducible).lower(),
    }


def engine_config(parameters: Mapping[str, str]) -> EngineConfig:
    """The sizes that ``engine_parameters`` wrote.

    Raises:
        KeyError, ValueError: they were not written by it.
    """
    return EngineConfig(
        tokens_per_block=int(parameters["tokens_per_block"]),
        capacity_blocks=int(parameters["charter_capacity_blocks"]),
        max_context=int(parameters["charter_max_context"]),
        max_running=int(parameters["charter_max_running"]),
        max_sequences=int(parameters["charter_max_sequences"]),
        prefill_chunk=int(parameters["charter_prefill_chunk"]),
        enable_block_reuse=parameters["enable_kv_cache_reuse"] == "true",
        enable_partial_reuse=parameters["charter_partial_reuse"] == "true",
        reproducible=parameters["charter_reproducible"] == "true",
    )
