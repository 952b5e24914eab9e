"""TensorRT-LLM's ``llmapi`` profile: a Python-backend model for Triton, and the same settings for ``trtllm-serve``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from charter_compiler.config.render import arguments, model_config, yaml_settings
from charter_compiler.config.settings import Setting
from charter_compiler.config.sizes import Sizes
from charter_compiler.config.target import EngineName, EngineTarget
from charter_compiler.config.triton_command import triton_script
from charter_compiler.config.triton_interfaces import LLMAPI, all_interfaces
from charter_compiler.config.trtllm_engine import CHUNKED_REASON

OLDER_OPTION = ("1.0", "1.1")
"""Releases in which ``trtllm-serve`` spells ``--config`` as ``--extra_llm_api_options``."""


def llm_arguments(target: EngineTarget, sizes: Sizes) -> tuple[Setting, ...]:
    """Arguments of ``LLM(...)``, which are the keys of both YAML files."""
    return (
        Setting("tensor_parallel_size", target.gpus, "GPUs that one copy of the model is spread over."),
        Setting("kv_cache_config.enable_block_reuse", True, "On by default; said here so that nothing turns it off."),
        Setting("kv_cache_config.enable_partial_reuse", True, "On by default: part of a block is reused, too."),
        Setting("kv_cache_config.tokens_per_block", sizes.tokens_per_block.value, sizes.tokens_per_block.reason),
        Setting("kv_cache_config.free_gpu_memory_fraction", sizes.memory_fraction.value, sizes.memory_fraction.reason),
        Setting("kv_cache_config.host_cache_size", sizes.host_memory_bytes.value, sizes.host_memory_bytes.reason),
        Setting(
            "scheduler_config.capacity_scheduler_policy",
            str(sizes.scheduler_policy.value).upper(),
            sizes.scheduler_policy.reason,
        ),
        Setting("enable_chunked_prefill", True, CHUNKED_REASON),
        Setting("max_batch_size", sizes.max_batch_size.value, sizes.max_batch_size.reason),
        Setting("max_seq_len", sizes.max_seq_len.value, sizes.max_seq_len.reason),
        Setting("max_num_tokens", sizes.max_num_tokens.value, sizes.max_num_tokens.reason),
    )


def llmapi_files(header: str, target: EngineTarget, sizes: Sizes) -> Mapping[str, str]:
    """``repository/tensorrt_llm``, ``tritonserver.sh``; for ``trtllm-serve`` ``serve.yaml`` and ``serve.args``.

    Raises:
        ConfigError: the version is unknown.
    """
    version = target.version(EngineName.LLMAPI)
    title = f"{header} TensorRT-LLM {version}, llmapi profile."
    settings = llm_arguments(target, sizes)
    decoupled = Setting(
        "triton_config.decoupled", True, "Streaming needs decoupled transactions: several answers to one request."
    )
    batch = Setting("triton_config.max_batch_size", 0, "Triton does not batch for it: the engine does.")
    model = Setting("model", target.model_path, "The model's folder as the container sees it, or its name on a hub.")
    option = "extra_llm_api_options" if version in OLDER_OPTION else "config"
    return {
        "repository/tensorrt_llm/1/model.yaml": yaml_settings(
            f"{title} Arguments of LLM(...); 1/model.py and helpers.py are TensorRT-LLM's own, in all_models/llmapi.",
            (model, *settings, decoupled, batch),
        ),
        "repository/tensorrt_llm/config.pbtxt": model_config(
            f"{title} Model tensorrt_llm.",
            all_interfaces()[LLMAPI],
            name="tensorrt_llm",
            max_batch_size=int(batch.value),
            decoupled=replace(decoupled, name="decoupled"),
            instances=Setting("count", 1, "The engine inside batches requests of its own."),
        ),
        # One rank whatever the number of GPUs: LLM(...) starts the others itself.
        "tritonserver.sh": triton_script(title, 1),
        "serve.yaml": yaml_settings(f"{title} For trtllm-serve {target.model_path} --{option} serve.yaml", settings),
        "serve.args": arguments(
            f"{title} Options of: trtllm-serve {target.model_path}",
            (
                Setting("host", "127.0.0.1", "Open on the loopback only."),
                Setting("port", 8000, "trtllm-serve's default."),
                Setting(option, "serve.yaml", "The settings beside this file."),
            ),
        ),
    }
