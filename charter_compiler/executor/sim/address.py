"""What ``sim``, ``sim://ENGINE?blocks=N&block_size=N&context=N&running=N&speed=X`` ask for. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

from charter_compiler.diagnostics.errors import ConfigError, UsageError
from charter_compiler.serve.engine.interface import EngineConfig
from charter_compiler.serve.engine.vllm_core import VLLM_BATCHED_TOKENS, VLLM_SEQUENCES

ENGINES = ("trtllm", "vllm")
SIZES = {
    "blocks": "capacity_blocks",
    "block_size": "tokens_per_block",
    "context": "max_context",
    "running": "max_running",
}
REMEDY = "write sim, or sim://trtllm?blocks=256&block_size=32 (also context, running, speed; engines: trtllm, vllm)"


@dataclass(frozen=True, slots=True)
class SimAddress:
    """``engine``: whose scheduler and cache rules hold. ``speed``: model seconds a real second; 0 does not wait."""

    engine: str = "trtllm"
    config: EngineConfig = field(default_factory=EngineConfig)
    speed: float = 0.0


def is_sim(spec: str) -> bool:
    """Whether a target's name is this kind's."""
    return spec == "sim" or spec.startswith("sim://")


def parse_sim(spec: str) -> SimAddress:
    """Raises UsageError where the text is no simulated target, or its sizes contradict each other."""
    if spec == "sim":
        return SimAddress()
    parts = urlsplit(spec)
    engine = parts.netloc or "trtllm"
    if parts.scheme != "sim" or engine not in ENGINES or parts.path.strip("/") or parts.fragment:
        raise UsageError(f"'{spec}' is no simulated target", remedy=REMEDY)
    try:
        given = {key: values[-1] for key, values in parse_qs(parts.query, strict_parsing=bool(parts.query)).items()}
        speed = float(given.pop("speed", "0"))
        config = _config(engine, given)
    except (ValueError, ConfigError) as error:
        raise UsageError(f"'{spec}': {error}", remedy=REMEDY) from error
    if given or not 0 <= speed < float("inf"):
        raise UsageError(f"'{spec}': {', '.join(given) or 'speed'} is not understood", remedy=REMEDY)
    return SimAddress(engine, config, speed)


def _config(engine: str, given: dict[str, str]) -> EngineConfig:
    sizes: dict[str, Any] = {size: int(given.pop(name)) for name, size in SIZES.items() if name in given}
    if engine == "vllm":
        sizes = {"max_running": VLLM_SEQUENCES, "prefill_chunk": VLLM_BATCHED_TOKENS} | sizes
    running = sizes.get("max_running", EngineConfig().max_running)
    sizes.setdefault("max_sequences", max(running, EngineConfig().max_sequences))
    return EngineConfig(**sizes)
