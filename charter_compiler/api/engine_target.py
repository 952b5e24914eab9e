"""From what the command line says of engines, GPUs and model to the deployment that configuration is written for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from charter_compiler.analysis.gpu_memory import gpu_named
from charter_compiler.config.model_facts import ModelFacts, load_model_facts
from charter_compiler.config.target import MODELS, EngineName, EngineTarget, engine_named
from charter_compiler.diagnostics.errors import ConfigError, ModelError
from charter_compiler.tokens.models import find_model


@dataclass(frozen=True, slots=True)
class ConfigOptions:
    """``engines`` are names with an optional ``=VERSION``; without any, all of them. ``model_files`` are the model's
    own; ``model_path`` is where the server finds it."""

    engines: tuple[str, ...] = ()
    gpu: str | None = None
    gpus: int = 1
    model_files: Path | None = None
    model_path: str | None = None
    prompt_embedding_table: int = 0

    @property
    def names(self) -> tuple[EngineName, ...]:
        """Raises ConfigError: an engine is unknown."""
        asked = tuple(dict.fromkeys(engine_named(one.partition("=")[0]) for one in self.engines))
        return asked or tuple(EngineName)

    @property
    def versions(self) -> tuple[tuple[EngineName, str], ...]:
        pairs = (one.partition("=") for one in self.engines)
        return tuple((engine_named(name), version) for name, _, version in pairs if version)


def describe_engine_target(
    options: ConfigOptions, local_model: str | Path | None, notes: list[str]
) -> tuple[EngineTarget, tuple[EngineName, ...]]:
    """The deployment, and the engines that configuration is written of.

    Args:
        local_model: what the embedded server would load; its facts count where ``options`` name no other model.
        notes: gets a line where something is not known, or not written, that nobody asked for by name.

    Raises:
        ConfigError, UsageError: an engine, a version, a GPU or the model's architecture is unknown.
        ModelError: the files that were named are not those of a model.
    """
    target = EngineTarget(
        model=_facts(options, local_model, notes),
        model_path=options.model_path or f"{MODELS}/weights",
        gpu=None if options.gpu is None else gpu_named(options.gpu),
        gpus=options.gpus,
        versions=options.versions,
        prompt_embedding_table=options.prompt_embedding_table,
    )
    engines = []
    for engine in options.names:
        target.version(engine)
        try:
            if engine is EngineName.ENGINE:
                target.require_converter()
            engines.append(engine)
        except ConfigError as error:
            if options.engines:
                raise
            notes.append(f"no configuration is written for {engine}: {error}")
    return target, tuple(engines)


def _facts(options: ConfigOptions, local_model: str | Path | None, notes: list[str]) -> ModelFacts | None:
    if options.model_files is not None:
        return load_model_facts(options.model_files)
    if local_model is None:
        notes.append("engine configuration has default sizes: name the model's files with --model-files")
        return None
    try:
        return load_model_facts(find_model(local_model))
    except ModelError as error:
        notes.append(f"engine configuration has default sizes: {error}")
        return None
