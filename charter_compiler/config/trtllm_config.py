"""What TensorRT-LLM must be told so that it reuses the prefixes that were found.

Two profiles, because two generations are in use: ``engine`` (compiled engines behind Triton's TensorRT-LLM backend, up
to TensorRT-LLM 1.2.1) and ``llmapi`` (the Python model that loads weights directly).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from charter_compiler.analysis.prefix_analyzer import PrefixOpportunity
from charter_compiler.config.block_size import ConstantPrefix
from charter_compiler.config.files import header_of, write_files
from charter_compiler.config.retention import CallRetention, hinted_retention, retention_json, suggest_retention
from charter_compiler.config.settings import Overrides
from charter_compiler.config.sizes import Sizes, compute_sizes
from charter_compiler.config.target import EngineName, EngineTarget
from charter_compiler.config.trtllm_engine import engine_files
from charter_compiler.config.trtllm_llmapi import llmapi_files
from charter_compiler.config.workload import Workload
from charter_compiler.diagnostics.errors import ConfigError
from charter_compiler.plan.execution_plan import ExecutionPlan

PROFILES = (str(EngineName.ENGINE), str(EngineName.LLMAPI))


@dataclass(frozen=True, slots=True)
class TRTLLMConfig:
    """Both profiles for a target; ``profiles`` are those that are written. ``retention`` has the calls whose prompts
    have leading tokens worth keeping, known before the run. ``header`` stands at the top of each file."""

    header: str
    target: EngineTarget
    sizes: Sizes
    retention: tuple[CallRetention, ...]
    profiles: tuple[str, ...] = PROFILES

    @property
    def tokens_per_block(self) -> int:
        return int(self.sizes.tokens_per_block.value)

    def files(self) -> Mapping[str, str]:
        """Text of each file by its path, the same for the same analysis, byte for byte.

        Raises:
            ConfigError: the version is unknown, or no conversion is known for the model's architecture.
        """
        files: dict[str, str] = {}
        if EngineName.ENGINE in self.profiles:
            made = engine_files(self.header, self.target, self.sizes)
            files |= {f"{EngineName.ENGINE}/{path}": text for path, text in made.items()}
            files[f"{EngineName.ENGINE}/retention.json"] = retention_json(self.retention)
        if EngineName.LLMAPI in self.profiles:
            made = llmapi_files(self.header, self.target, self.sizes)
            files |= {f"{EngineName.LLMAPI}/{path}": text for path, text in made.items()}
        return files

    def write(self, folder: Path) -> tuple[Path, ...]:
        """Write the files below ``folder``, which is made if need be; returns their paths.

        Raises:
            ConfigError: a file cannot be written; else as ``files``.
        """
        return write_files(folder, self.files())


class TRTLLMConfigGenerator:
    """Makes a configuration from an analysis or from a plan."""

    def generate_from_analysis(
        self, opportunities: Iterable[PrefixOpportunity], target: EngineTarget | None = None
    ) -> TRTLLMConfig:
        """Both profiles, for the opportunities found.

        One with a template does not count for the block size: how much it shares is known at run time only.

        Raises:
            ConfigError: the model does not fit the target's GPUs.
        """
        prefixes = tuple(
            ConstantPrefix(o.shared_prefix_length, o.priority, o.nodes) for o in opportunities if o.template is None
        )
        target = target or EngineTarget()
        sizes = compute_sizes(prefixes, target, None, Overrides())
        retention = suggest_retention(prefixes, int(sizes.tokens_per_block.value))
        return TRTLLMConfig(header_of(None, target), target, sizes, retention)

    def generate(
        self,
        plan: ExecutionPlan,
        profile: str | None = None,
        *,
        target: EngineTarget | None = None,
        workload: Workload | None = None,
        overrides: Overrides | None = None,
    ) -> TRTLLMConfig:
        """The profile (one of ``PROFILES``), or both, for a plan.

        Raises:
            ConfigError: there is no such profile, or the model does not fit the target's GPUs.
        """
        if profile is not None and profile not in PROFILES:
            raise ConfigError(f"there is no TensorRT-LLM profile {profile!r}", remedy=f"one of {', '.join(PROFILES)}")
        target, overrides = target or EngineTarget(), overrides or Overrides()
        prefixes = constant_prefixes(plan)
        sizes = compute_sizes(prefixes, target, workload, overrides)
        size = int(sizes.tokens_per_block.value)
        retention = hinted_retention(plan.hints, size, overrides) if plan.hints else suggest_retention(prefixes, size)
        profiles = PROFILES if profile is None else (profile,)
        return TRTLLMConfig(header_of(plan, target), target, sizes, retention, profiles)


def constant_prefixes(plan: ExecutionPlan) -> tuple[ConstantPrefix, ...]:
    """The plan's prefixes that are known before the run."""
    return tuple(ConstantPrefix(p.tokens, p.priority, p.nodes) for p in plan.prefixes if not p.parameters)
