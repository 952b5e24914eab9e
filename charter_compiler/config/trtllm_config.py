"""What TensorRT-LLM must be told so that it reuses the prefixes that were found.

Two profiles, because two generations are in use: ``engine`` (compiled engines behind Triton's TensorRT-LLM backend, up
to TensorRT-LLM 1.2.1) and ``llmapi`` (the Python model that loads weights directly). The files hold what concerns KV
reuse; a model repository around them is not made here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from charter_compiler.analysis.prefix_analyzer import PrefixOpportunity
from charter_compiler.config.block_size import BlockChoice, ConstantPrefix, choose_block_size
from charter_compiler.config.retention import CallRetention, suggest_retention
from charter_compiler.config.trtllm_render import (
    Setting,
    build_arguments,
    model_parameters,
    retention_inputs,
    yaml_settings,
)
from charter_compiler.diagnostics.errors import ConfigError
from charter_compiler.plan.execution_plan import ExecutionPlan

PROFILES = ("engine", "llmapi")
FREE_GPU_MEMORY_FRACTION = 0.9
"""TensorRT-LLM's own default: what is not the cache's helps nobody once weights and activations are placed."""

ENGINE_HEADER = "TensorRT-LLM, engine profile (compiled engines, up to TensorRT-LLM 1.2.1)."
LLMAPI_HEADER = "TensorRT-LLM, llmapi profile (arguments of LLM(...), what newer TensorRT-LLM serves with)."


@dataclass(frozen=True, slots=True)
class TRTLLMConfig:
    """The settings of both profiles; ``profiles`` are those that are written.

    ``block_choice`` says which block size was taken and what each would reuse; ``retention`` has the calls whose
    prompts have leading tokens worth keeping.
    """

    block_choice: BlockChoice
    retention: tuple[CallRetention, ...]
    free_gpu_memory_fraction: float = FREE_GPU_MEMORY_FRACTION
    profiles: tuple[str, ...] = PROFILES

    @property
    def tokens_per_block(self) -> int:
        return self.block_choice.tokens_per_block

    @property
    def build_settings(self) -> tuple[Setting, ...]:
        """Options of ``trtllm-build``."""
        return (
            Setting(
                "use_paged_context_fmha",
                "enable",
                "Without paged context attention an engine cannot read KV blocks of earlier requests: no reuse at all.",
            ),
            Setting("tokens_per_block", self.tokens_per_block, f"Fixed when the engine is built. {self._block_reason}"),
        )

    @property
    def runtime_parameters(self) -> tuple[Setting, ...]:
        """Parameters in the ``config.pbtxt`` of the inner model ``tensorrt_llm``."""
        return (
            Setting("enable_kv_cache_reuse", True, "Older releases do not reuse KV blocks unless asked to."),
            Setting("kv_cache_free_gpu_mem_fraction", self.free_gpu_memory_fraction, _MEMORY_REASON),
            Setting("gpt_model_type", "inflight_fused_batching", "Requests share KV blocks under in-flight batching."),
            Setting("batch_scheduler_policy", "guaranteed_no_evict", _SCHEDULER_REASON),
            Setting("enable_chunked_context", True, _CHUNKED_REASON),
        )

    @property
    def llm_arguments(self) -> tuple[Setting, ...]:
        """Keys of ``model.yaml``."""
        return (
            Setting(
                "kv_cache_config.enable_block_reuse", True, "On by default; said here so that nothing turns it off."
            ),
            Setting("kv_cache_config.tokens_per_block", self.tokens_per_block, self._block_reason),
            Setting("kv_cache_config.free_gpu_memory_fraction", self.free_gpu_memory_fraction, _MEMORY_REASON),
            Setting("scheduler_config.capacity_scheduler_policy", "GUARANTEED_NO_EVICT", _SCHEDULER_REASON),
            Setting("enable_chunked_prefill", True, _CHUNKED_REASON),
            Setting("triton_config.decoupled", True, _DECOUPLED_REASON),
        )

    @property
    def _block_reason(self) -> str:
        reason = self.block_choice.reason
        return f"{reason[0].upper()}{reason[1:]}."

    def files(self) -> Mapping[str, str]:
        """Text of each file by its path, the same for the same analysis, byte for byte."""
        files: dict[str, str] = {}
        if "engine" in self.profiles:
            files["engine/trtllm-build.args"] = build_arguments(
                f"{ENGINE_HEADER} Options for trtllm-build, beside those of the model.", self.build_settings
            )
            files["engine/tensorrt_llm/config.pbtxt.part"] = model_parameters(
                f"{ENGINE_HEADER} To be put into the config.pbtxt of the inner model tensorrt_llm.",
                self.runtime_parameters,
                decoupled_reason=f"{_DECOUPLED_REASON} tensorrt_llm_bls needs the same; the ensemble follows.",
            )
            files["engine/retention.json"] = retention_inputs(self.retention)
        if "llmapi" in self.profiles:
            files["llmapi/model.yaml"] = yaml_settings(
                f"{LLMAPI_HEADER} Add `model:` with a folder or a hub name.", self.llm_arguments
            )
        return files

    def write(self, folder: Path) -> tuple[Path, ...]:
        """Write the files below ``folder``, which is made if need be; returns their paths.

        Raises:
            ConfigError: a file cannot be written.
        """
        written = []
        for name, text in self.files().items():
            path = folder / name
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text, encoding="utf-8")
            except OSError as error:
                raise ConfigError(f"cannot be written: {error.strerror}", place=str(path)) from error
            written.append(path)
        return tuple(written)


class TRTLLMConfigGenerator:
    """Makes a configuration from an analysis or from a plan."""

    def generate_from_analysis(self, opportunities: Iterable[PrefixOpportunity]) -> TRTLLMConfig:
        """Both profiles, for the opportunities found.

        One with a template does not count for the block size: how much it shares is known at run time only.
        """
        return _config(
            ConstantPrefix(o.shared_prefix_length, o.priority, o.nodes) for o in opportunities if o.template is None
        )

    def generate(self, plan: ExecutionPlan, target: str | None = None) -> TRTLLMConfig:
        """The profile ``target`` (one of ``PROFILES``), or both, for the prefixes of a plan.

        Raises:
            ConfigError: there is no such profile.
        """
        if target is not None and target not in PROFILES:
            raise ConfigError(f"there is no TensorRT-LLM profile {target!r}", remedy=f"one of {', '.join(PROFILES)}")
        profiles = PROFILES if target is None else (target,)
        return _config(
            (ConstantPrefix(p.tokens, p.priority, p.nodes) for p in plan.prefixes if not p.parameters), profiles
        )


def _config(prefixes: Iterable[ConstantPrefix], profiles: tuple[str, ...] = PROFILES) -> TRTLLMConfig:
    prefixes = tuple(prefixes)
    choice = choose_block_size(prefixes)
    return TRTLLMConfig(choice, suggest_retention(prefixes, choice.tokens_per_block), profiles=profiles)


_MEMORY_REASON = (
    "TensorRT-LLM's own default. More KV blocks keep more prefixes; lower it if other processes use the GPU."
)
_SCHEDULER_REASON = "A request that has started is never paused, so that none of its tokens is computed twice."
_CHUNKED_REASON = (
    "A long cold prompt is computed in parts, so that requests which found their prefix do not wait for it."
)
_DECOUPLED_REASON = "Streaming needs decoupled transactions: several answers to one request."
