"""Test doubles of the run time: a target in memory whose answers and failures a test decides."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from charter_compiler.cache.unbounded import UnboundedCache
from charter_compiler.executor.types import GenerationRequest, GenerationResult, StreamChunk, TargetFacts
from charter_compiler.tokens.tokenizer import default_tokenizer

BLOCK = 16


@dataclass
class ScriptedTarget:
    """Answers with ``answer(request)``; raises what that returns if it is an exception. Counts like an engine whose
    cache never evicts. ``hold``: calls wait for it before their first token; ``stop``: where it says it
    stopped."""

    answer: Callable[[GenerationRequest], str | Exception] = lambda request: "yes"
    reports_cached: bool = True
    hold: asyncio.Event | None = None
    stop: str | None = None
    sent: list[GenerationRequest] = field(default_factory=list)
    running: int = 0
    most_running: int = 0
    cancelled: int = 0

    def __post_init__(self) -> None:
        self._cache = UnboundedCache(BLOCK)

    async def stream(self, request: GenerationRequest) -> AsyncIterator[StreamChunk]:
        self.sent.append(request)
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        try:
            prompt = default_tokenizer().encode(request.prompt or str(request.messages))
            cached = self._cache.request(prompt)
            if self.hold is not None:
                await self.hold.wait()
            await asyncio.sleep(0)
            text = self.answer(request)
            if isinstance(text, Exception):
                raise text
            output = default_tokenizer().encode(text)
            yield StreamChunk(text)
            await asyncio.sleep(0)
            reported = cached if self.reports_cached else None
            result = GenerationResult(text, 0.01, 0.005, len(prompt), reported, len(output), stop=self.stop)
            yield StreamChunk("", result)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.running -= 1

    async def generate(self, request: GenerationRequest) -> GenerationResult:
        chunks = [chunk async for chunk in self.stream(request)]
        assert chunks[-1].result is not None
        return chunks[-1].result

    async def facts(self) -> TargetFacts:
        return facts()

    async def metrics(self) -> Mapping[str, float]:
        return {}

    async def aclose(self) -> None:
        """Nothing is open."""


def facts(capacity_blocks: int | None = None) -> TargetFacts:
    return TargetFacts("scripted", "none", tokens_per_block=BLOCK, capacity_blocks=capacity_blocks)


def write_agent(folder: Path, source: str) -> Path:
    path = folder / "agent.py"
    path.write_text(source, encoding="utf-8")
    return path
