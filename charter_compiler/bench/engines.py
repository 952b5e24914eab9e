"""The engine that the arms run on: for each run one whose cache is empty."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

from charter_compiler.diagnostics.errors import UsageError
from charter_compiler.executor.defaults import LOCAL
from charter_compiler.executor.targets import TargetOptions
from charter_compiler.serve.engine.interface import EngineConfig


class Engines(Protocol):
    """Hands out targets."""

    name: str
    timed: bool
    """Whether its seconds are those of an engine that computes."""

    def cold(self, config: EngineConfig) -> AbstractContextManager[tuple[str, TargetOptions]]:
        """Name and options of a target of these sizes, with nothing in its cache; it is used for one run."""


class Embedded:
    """An embedded Triton server for each run, started and ended with it."""

    name = "embedded"
    timed = True

    def cold(self, config: EngineConfig) -> AbstractContextManager[tuple[str, TargetOptions]]:
        """See ``Engines``."""
        return nullcontext((LOCAL, TargetOptions(fresh_server=True, engine=config)))


class Simulated:
    """The embedded engine's own scheduler and cache model, which compute nothing: tokens and hit rates alone."""

    name = "sim"
    timed = False

    def cold(self, config: EngineConfig) -> AbstractContextManager[tuple[str, TargetOptions]]:
        """See ``Engines``.

        Raises:
            UsageError: what cannot be simulated: a cache that is off, or partial reuse.
        """
        if not config.enable_block_reuse or config.enable_partial_reuse:
            raise UsageError("the simulated cache is on and reuses whole blocks", remedy="choose other arms or cases")
        sizes = f"blocks={config.capacity_blocks}&block_size={config.tokens_per_block}&context={config.max_context}"
        return nullcontext((f"sim://trtllm?{sizes}", TargetOptions()))
