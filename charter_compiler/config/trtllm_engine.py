"""TensorRT-LLM's ``engine`` profile: the commands that build an engine, and the Triton model repository around it.

The repository's Python (``1/model.py`` of three models) belongs to TensorRT-LLM and is part of its container;
``build.sh`` copies it from there. All paths are those of the container, which mounts one folder, ``/models``.
"""

from __future__ import annotations

from collections.abc import Mapping

from charter_compiler.config.render import command, comment, model_config
from charter_compiler.config.settings import Setting
from charter_compiler.config.sizes import Sizes
from charter_compiler.config.target import MODELS, EngineName, EngineTarget
from charter_compiler.config.triton_command import REPOSITORY, triton_script
from charter_compiler.config.triton_interfaces import engine_interfaces

IMAGE = "tritonserver:25.12-trtllm-python-py3"
"""The last container with a stable TensorRT-LLM of this profile (1.2.1)."""
CHECKPOINT = f"{MODELS}/checkpoint"
ENGINE = f"{MODELS}/engine"
TEMPLATES = "/app/all_models/inflight_batcher_llm"
WITH_PYTHON = ("preprocessing", "postprocessing", "tensorrt_llm_bls")

DECOUPLED = Setting(
    "decoupled",
    True,
    "Streaming needs decoupled transactions: several answers to one request. tensorrt_llm and tensorrt_llm_bls must "
    "agree; Triton works out for itself that the ensemble is decoupled, too.",
)


def build_settings(target: EngineTarget, sizes: Sizes) -> tuple[Setting, ...]:
    """Options of ``trtllm-build``."""
    plugin = f"Computes attention and products in {target.dtype}, the type of the checkpoint."
    settings = [
        Setting("checkpoint_dir", CHECKPOINT, "What convert_checkpoint.py wrote."),
        Setting("output_dir", ENGINE, "Where config.pbtxt of tensorrt_llm looks for the engine."),
        Setting("gpt_attention_plugin", target.dtype, plugin),
        Setting("gemm_plugin", target.dtype, plugin),
        Setting(
            "use_paged_context_fmha",
            "enable",
            "Without paged context attention an engine cannot read KV blocks of earlier requests: no reuse at all.",
        ),
        Setting("kv_cache_type", "paged", "KV in blocks: what is reused is blocks."),
        Setting(
            "tokens_per_block",
            sizes.tokens_per_block.value,
            f"Fixed when the engine is built. {sizes.tokens_per_block.reason}",
        ),
        Setting("max_batch_size", sizes.max_batch_size.value, sizes.max_batch_size.reason),
        Setting("max_input_len", sizes.max_input_len.value, sizes.max_input_len.reason),
        Setting("max_seq_len", sizes.max_seq_len.value, sizes.max_seq_len.reason),
        Setting("max_num_tokens", sizes.max_num_tokens.value, sizes.max_num_tokens.reason),
    ]
    if target.prompt_embedding_table:
        settings.append(
            Setting(
                "max_prompt_embedding_table_size",
                target.prompt_embedding_table,
                "Asked for. It is for prompt tuning and creates no cache hits for text.",
            )
        )
    return tuple(settings)


def runtime_parameters(sizes: Sizes) -> tuple[Setting, ...]:
    """Parameters in the ``config.pbtxt`` of the inner model ``tensorrt_llm``."""
    return (
        Setting("gpt_model_type", "inflight_fused_batching", "Requests share KV blocks under in-flight batching."),
        Setting("gpt_model_path", ENGINE, "The engine that build.sh builds, as the container sees it."),
        Setting("tokenizer_dir", f"{MODELS}/weights", "The model's own tokenizer: reuse is by token ids."),
        Setting("enable_kv_cache_reuse", True, "Older releases do not reuse KV blocks unless asked to."),
        Setting("kv_cache_free_gpu_mem_fraction", sizes.memory_fraction.value, sizes.memory_fraction.reason),
        Setting("kv_cache_host_memory_bytes", sizes.host_memory_bytes.value, sizes.host_memory_bytes.reason),
        Setting("kv_cache_onboard_blocks", True, "A block found in host memory is copied back before it is used."),
        Setting("batch_scheduler_policy", sizes.scheduler_policy.value, sizes.scheduler_policy.reason),
        Setting("enable_chunked_context", True, CHUNKED_REASON),
        Setting(
            "enable_context_fmha_fp32_acc",
            False,
            "TensorRT-LLM's default; with true, attention over long contexts adds up in 32 bits, and slower.",
        ),
        Setting("exclude_input_in_output", True, "Clients want the answer alone, as in the other servers."),
        Setting("max_beam_width", 1, "Greedy or sampled answers; beams would each take blocks of their own."),
        Setting("cancellation_check_period_ms", 100, "TensorRT-LLM's default: a cancelled request frees its blocks."),
        Setting("FORCE_CPU_ONLY_INPUT_TENSORS", "no", "TensorRT-LLM's default."),
    )


CHUNKED_REASON = (
    "A long cold prompt is computed in parts, so that requests which found their prefix do not wait for it."
)


def engine_files(header: str, target: EngineTarget, sizes: Sizes) -> Mapping[str, str]:
    """``build.sh``, ``run.sh``, ``tritonserver.sh`` and the five models' ``config.pbtxt``, by path.

    Raises:
        ConfigError: no conversion is known for the model's architecture, or the version is unknown.
    """
    version = target.version(EngineName.ENGINE)
    batch = int(sizes.max_batch_size.value)
    title = f"{header} TensorRT-LLM {version}, engine profile."
    models = engine_interfaces()
    tokenizer = Setting("tokenizer_dir", f"{MODELS}/weights", "The model's own tokenizer, as the container sees it.")

    def config(name: str, *parameters: Setting, decoupled: bool = False, instances: Setting | None = None) -> str:
        return model_config(
            f"{title} Model {name}.",
            models[name],
            name=name,
            max_batch_size=batch,
            parameters=parameters,
            decoupled=DECOUPLED if decoupled else None,
            instances=instances,
        )

    one = Setting("count", 1, "One is enough: the work between tokens is small.")
    return {
        "build.sh": _build_script(title, target, sizes),
        "tritonserver.sh": triton_script(title, target.gpus),
        "run.sh": _run_script(title),
        "repository/preprocessing/config.pbtxt": config(
            "preprocessing",
            tokenizer,
            Setting(
                "add_special_tokens",
                False,
                "Prompts come rendered, special tokens spelled out; what is added in front would shift every block.",
            ),
            instances=one,
        ),
        "repository/tensorrt_llm/config.pbtxt": config(
            "tensorrt_llm", *runtime_parameters(sizes), decoupled=True, instances=one
        ),
        "repository/postprocessing/config.pbtxt": config(
            "postprocessing",
            tokenizer,
            Setting("skip_special_tokens", True, "The answer's text without the token that ends it."),
            instances=one,
        ),
        "repository/ensemble/config.pbtxt": config("ensemble"),
        "repository/tensorrt_llm_bls/config.pbtxt": config(
            "tensorrt_llm_bls",
            Setting("accumulate_tokens", False, "Each response carries what is new, as the ensemble's do."),
            Setting("tensorrt_llm_model_name", "tensorrt_llm", "The inner model of this repository."),
            decoupled=True,
            instances=Setting(
                "count",
                batch,
                "An instance answers one request at a time: fewer than a batch hold the engine up.",
            ),
        ),
    }


def _build_script(title: str, target: EngineTarget, sizes: Sizes) -> str:
    source = "/app/examples" if target.version(EngineName.ENGINE) == "0.21" else "/app/tensorrt_llm/examples"
    convert = (
        Setting("model_dir", target.model_path, "The model's folder; only /models is mounted."),
        Setting("output_dir", CHECKPOINT, "Input of trtllm-build."),
        Setting("dtype", target.dtype, "The type of the weights as they were published."),
        Setting("tp_size", target.gpus, "GPUs that one copy of the model is spread over."),
    )
    script = f"$TRTLLM_EXAMPLES/models/core/{target.require_converter()}/convert_checkpoint.py"
    gate = ""
    if target.model is not None and target.model.gated:
        gate = comment(
            f"The weights of {target.model.name} ({target.model.licence}) are given only to who accepts their terms: "
            "fetch them to /models/weights with a token in the environment, never in a URL."
        )
    return (
        "#!/bin/sh\n"
        + comment(f"{title} Run inside the container {IMAGE}, with this folder mounted at {MODELS}.")
        + gate
        + f"set -eu\nTRTLLM_EXAMPLES=${{TRTLLM_EXAMPLES:-{source}}}\n"
        + f"TEMPLATES=${{TEMPLATES:-{TEMPLATES}}}\n\n"
        + command(f'python3 "{script}"', convert)
        + "\n"
        + command("trtllm-build", build_settings(target, sizes))
        + "\n"
        + comment("The Python of these models is TensorRT-LLM's own and comes with its container.")
        + f"for model in {' '.join(WITH_PYTHON)}; do\n"
        + f'  mkdir -p "{REPOSITORY}/$model/1"\n  cp "$TEMPLATES/$model/1/model.py" "{REPOSITORY}/$model/1/"\ndone\n'
        + f"mkdir -p {REPOSITORY}/tensorrt_llm/1 {REPOSITORY}/ensemble/1\n"
    )


def _run_script(title: str) -> str:
    return (
        "#!/bin/sh\n"
        + comment(
            f"{title} Run on the host, from this folder; TRITON_IMAGE names the container {IMAGE} with its registry. "
            "Ports are open on the loopback only."
        )
        + 'set -eu\nexec docker run --rm --gpus all --shm-size=2g -v "$PWD":/models \\\n'
        + "  -p 127.0.0.1:8000:8000 -p 127.0.0.1:8001:8001 -p 127.0.0.1:8002:8002 \\\n"
        + f'  "${{TRITON_IMAGE:?}}" sh {MODELS}/tritonserver.sh\n'
    )
