"""The real model, for the engine's tests that need it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from charter_compiler.serve.engine.interface import EngineConfig
from charter_compiler.serve.engine.llama_runner import LlamaRunner


@pytest.fixture
def make_runner(model_path: Path) -> Iterator[Callable[..., LlamaRunner]]:
    """Runners over the real model, closed after the test."""
    runners: list[LlamaRunner] = []

    def make(config: EngineConfig, threads: int | None = None) -> LlamaRunner:
        runners.append(LlamaRunner(model_path, config, threads))
        return runners[-1]

    yield make
    for runner in runners:
        runner.close()
