"""The engine that the arms run on: for each run one whose cache is empty."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

from charter_compiler.executor.targets import LOCAL, TargetOptions
from charter_compiler.serve.engine.interface import EngineConfig


class Engines(Protocol):
    """Hands out targets."""

    name: str

    def cold(self, config: EngineConfig) -> AbstractContextManager[tuple[str, TargetOptions]]:
        """Name and options of a target of these sizes, with nothing in its cache; it is used for one run."""


class Embedded:
    """An embedded Triton server for each run, started and ended with it."""

    name = "embedded"

    def cold(self, config: EngineConfig) -> AbstractContextManager[tuple[str, TargetOptions]]:
        """See ``Engines``."""
        return nullcontext((LOCAL, TargetOptions(fresh_server=True, engine=config)))
