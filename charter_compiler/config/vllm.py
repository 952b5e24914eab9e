"""vLLM: the arguments of ``vllm serve``, and the same as a YAML file for its ``--config``."""

from __future__ import annotations

from collections.abc import Mapping

from charter_compiler.config.render import arguments, yaml_settings
from charter_compiler.config.settings import Setting
from charter_compiler.config.sizes import GIB, Sizes
from charter_compiler.config.target import EngineName, EngineTarget


def vllm_settings(target: EngineTarget, sizes: Sizes) -> tuple[Setting, ...]:
    """Options of ``vllm serve``, without ``--``."""
    host_bytes = int(sizes.host_memory_bytes.value)
    settings = [
        Setting("host", "127.0.0.1", "Open on the loopback only."),
        Setting("port", 8000, "vLLM's default."),
        Setting("tensor-parallel-size", target.gpus, "GPUs that one copy of the model is spread over."),
        Setting("enable-prefix-caching", True, "On by default; said here so that nothing turns it off."),
        Setting("block-size", sizes.tokens_per_block.value, sizes.tokens_per_block.reason),
        Setting("gpu-memory-utilization", sizes.memory_fraction.value, sizes.memory_fraction.reason),
        Setting("max-model-len", sizes.max_seq_len.value, sizes.max_seq_len.reason),
        Setting("max-num-seqs", sizes.max_batch_size.value, sizes.max_batch_size.reason),
        Setting(
            "max-num-batched-tokens",
            sizes.max_num_tokens.value,
            "Longer prompts are computed in parts, so that requests which found their prefix do not wait for them.",
        ),
        Setting("enable-chunked-prefill", True, "The other half of the limit above."),
        Setting(
            "scheduling-policy",
            "priority",
            "Takes a priority with each request (hints.json); without one it is first come, first served.",
        ),
        Setting(
            "enable-prompt-tokens-details", True, "Makes vLLM report the cached tokens of each request, to be measured."
        ),
    ]
    if host_bytes:
        settings.append(
            Setting("kv-offloading-size", round(host_bytes / GIB, 2), f"In GiB. {sizes.host_memory_bytes.reason}")
        )
    return tuple(settings)


def vllm_files(header: str, target: EngineTarget, sizes: Sizes) -> Mapping[str, str]:
    """``serve.args`` and ``serve.yaml``.

    Raises:
        ConfigError: the version is unknown.
    """
    title = f"{header} vLLM {target.version(EngineName.VLLM)}."
    settings = vllm_settings(target, sizes)
    return {
        "serve.args": arguments(f"{title} Options of: vllm serve {target.model_path}", settings),
        "serve.yaml": yaml_settings(f"{title} For: vllm serve {target.model_path} --config serve.yaml", settings),
    }
