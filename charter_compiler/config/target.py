"""What is configured: an engine of a version, a model, the GPUs, and where things lie as the server sees them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from charter_compiler.analysis.gpu_memory import GPU, RESERVE_BYTES
from charter_compiler.config.model_facts import ModelFacts
from charter_compiler.diagnostics.errors import ConfigError


class EngineName(StrEnum):
    """What configuration is written for."""

    ENGINE = "engine"
    """TensorRT-LLM, compiled engines behind Triton."""
    LLMAPI = "llmapi"
    """TensorRT-LLM, weights loaded directly: behind Triton, or ``trtllm-serve``."""
    VLLM = "vllm"
    SGLANG = "sglang"
    LLAMACPP = "llamacpp"
    HOSTED = "hosted"
    """Providers' own services: Anthropic, OpenAI, Gemini."""


KNOWN_VERSIONS: dict[EngineName, tuple[str, ...]] = {
    EngineName.ENGINE: ("0.21", "1.0", "1.1", "1.2"),
    EngineName.LLMAPI: ("1.0", "1.1", "1.2", "1.3"),
    EngineName.VLLM: ("0.32",),
    EngineName.SGLANG: ("0.5",),
    EngineName.LLAMACPP: ("11549",),
    EngineName.HOSTED: ("2026-11",),
}
"""Major and minor versions (llama.cpp: builds; providers: the month in which their rules were looked up) whose options
are known, the newest last, which is the default. vLLM's, SGLang's and llama.cpp's are those whose own parsers the
generated options were checked with; TensorRT-LLM's options are those of its documentation, not tried on a GPU."""

CONVERTERS = {
    "llama": "llama",
    "mistral": "llama",
    "mixtral": "llama",
    "smollm": "llama",
    "qwen2": "qwen",
    "qwen2_moe": "qwen",
    "qwen3": "qwen",
    "qwen3_moe": "qwen",
    "gemma": "gemma",
    "gemma2": "gemma",
    "phi3": "phi",
}
"""By a model's architecture, the folder of its ``convert_checkpoint.py`` in TensorRT-LLM's ``examples/models/core``."""

MODELS = "/models"
"""The one folder that the server's container mounts."""


@dataclass(frozen=True, slots=True)
class EngineTarget:
    """A deployment. ``model`` and ``gpu`` are ``None`` where they are not known: then safe defaults stand in the files.

    Args:
        model: facts of the model.
        model_path: where its folder lies for the server, or its name on a hub; by default ``/models/weights``.
        gpus: of one kind, in one tensor-parallel group.
        versions: of engines, ``major.minor`` or longer, by engine; the newest known where there is none.
        prompt_embedding_table: rows of a prompt-tuning table, for who asks for one; it does not create cache hits.
    """

    model: ModelFacts | None = None
    model_path: str = f"{MODELS}/weights"
    gpu: GPU | None = None
    gpus: int = 1
    versions: tuple[tuple[EngineName, str], ...] = ()
    prompt_embedding_table: int = 0

    def version(self, engine: EngineName) -> str:
        """The known version that options are written for.

        Raises:
            ConfigError: the one that was asked for is not known.
        """
        known = KNOWN_VERSIONS[engine]
        asked = dict(self.versions).get(engine, known[-1])
        found = ".".join(asked.split(".")[: 1 + known[-1].count(".")])
        if found not in known:
            raise ConfigError(f"version {asked} of {engine} is not known", remedy=f"known are {', '.join(known)}")
        return found

    def require_converter(self) -> str:
        """The folder of the conversion script of TensorRT-LLM's ``engine`` profile.

        Raises:
            ConfigError: the architecture has none that is known.
        """
        architecture = "llama" if self.model is None else self.model.architecture
        if architecture not in CONVERTERS:
            raise ConfigError(
                f"no TensorRT-LLM conversion is known for the architecture {architecture!r}",
                remedy=f"known are {', '.join(CONVERTERS)}; or use the llmapi profile, which converts nothing",
            )
        return CONVERTERS[architecture]

    @property
    def dtype(self) -> str:
        """Of weights and KV: the model's own, bfloat16 where it is not known or is none that the plugins compute in."""
        kind = "bfloat16" if self.model is None else str(self.model.kv.dtype)
        return kind if kind in ("float16", "bfloat16") else "bfloat16"

    @property
    def memory_bytes(self) -> int | None:
        """Of all GPUs, nominal."""
        return None if self.gpu is None else self.gpu.memory_bytes * self.gpus

    @property
    def free_bytes(self) -> int | None:
        """What the weights leave of it; ``None`` where either is not known.

        Raises:
            ConfigError: the weights and the engine's own needs do not fit.
        """
        if self.memory_bytes is None or self.model is None or self.model.kv.weight_bytes is None:
            return None
        free = self.memory_bytes - self.model.kv.weight_bytes
        if free <= self.reserve_bytes:
            raise ConfigError(
                f"the weights of {self.model.name} ({self.model.kv.weight_bytes / 1e9:.0f} GB) do not fit "
                f"{self.gpus} x {self.gpu.name if self.gpu else ''}",
                remedy="give more GPUs, or larger ones",
            )
        return free

    @property
    def reserve_bytes(self) -> int:
        """Assumed for activations and the engine itself: see ``analysis.gpu_memory.RESERVE_BYTES``."""
        return RESERVE_BYTES * self.gpus

    @property
    def capacity_tokens(self) -> int | None:
        """Tokens of KV that fit beside the weights; ``None`` where that is not known."""
        free = self.free_bytes
        if free is None or self.model is None:
            return None
        copies = max(1, -(-self.gpus // self.model.kv.kv_heads))
        return (free - self.reserve_bytes) // (self.model.kv.bytes_per_token() * copies)


def engine_named(name: str) -> EngineName:
    """The engine of that name.

    Raises:
        ConfigError: there is none; the message lists those that are known.
    """
    try:
        return EngineName(name)
    except ValueError as error:
        raise ConfigError(f"there is no engine {name!r}", remedy=f"known are {', '.join(EngineName)}") from error
