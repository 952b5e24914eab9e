"""SGLang: the arguments of ``python -m sglang.launch_server``."""

from __future__ import annotations

from collections.abc import Mapping

from charter_compiler.config.render import arguments
from charter_compiler.config.settings import Setting
from charter_compiler.config.sizes import Sizes
from charter_compiler.config.target import EngineName, EngineTarget

GB = 10**9


def sglang_settings(target: EngineTarget, sizes: Sizes) -> tuple[Setting, ...]:
    """Options, without ``--``."""
    host_bytes = int(sizes.host_memory_bytes.value)
    settings = [
        Setting("model-path", target.model_path, "The model's folder as the server sees it, or its name on a hub."),
        Setting("host", "127.0.0.1", "Open on the loopback only."),
        Setting("port", 30000, "SGLang's default."),
        Setting("tp-size", target.gpus, "GPUs that one copy of the model is spread over."),
        Setting("page-size", sizes.tokens_per_block.value, sizes.tokens_per_block.reason),
        Setting("mem-fraction-static", sizes.memory_fraction.value, sizes.memory_fraction.reason),
        Setting("context-length", sizes.max_seq_len.value, sizes.max_seq_len.reason),
        Setting("max-running-requests", sizes.max_batch_size.value, sizes.max_batch_size.reason),
        Setting(
            "chunked-prefill-size",
            sizes.max_num_tokens.value,
            "Longer prompts are computed in parts, so that requests which found their prefix do not wait for them.",
        ),
        Setting("schedule-policy", "lpm", "Of waiting requests the one whose longest prefix is cached goes first."),
        Setting(
            "radix-eviction-policy",
            "priority",
            "Takes a priority with each request (hints.json): what is needed sooner is evicted later.",
        ),
        Setting("enable-priority-scheduling", True, "The scheduler's half of the same."),
        Setting("enable-cache-report", True, "Makes SGLang report the cached tokens of each request, to be measured."),
    ]
    if host_bytes:
        reason = f"In GB, rounded up. {sizes.host_memory_bytes.reason}"
        settings.append(Setting("enable-hierarchical-cache", True, "Keeps evicted blocks in host memory."))
        settings.append(Setting("hicache-size", -(-host_bytes // GB), reason))
    return tuple(settings)


def sglang_files(header: str, target: EngineTarget, sizes: Sizes) -> Mapping[str, str]:
    """``serve.args``.

    Raises:
        ConfigError: the version is unknown.
    """
    title = f"{header} SGLang {target.version(EngineName.SGLANG)}."
    settings = sglang_settings(target, sizes)
    return {"serve.args": arguments(f"{title} Options of: python -m sglang.launch_server", settings)}
