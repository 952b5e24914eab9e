"""An ``AsyncTarget`` that computes nothing: an engine's own scheduler over the model of its cache, in the time of the
cost model."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass

from charter_compiler.diagnostics.errors import RequestCancelledError, RequestRejectedError
from charter_compiler.executor.prompts import PromptTokens
from charter_compiler.executor.sim.address import SimAddress
from charter_compiler.executor.sim.outputs import SimOutputs
from charter_compiler.executor.types import GenerationRequest, GenerationResult, StreamChunk, TargetFacts, last_result
from charter_compiler.serve.engine.core import EngineCore
from charter_compiler.serve.engine.costs import Costs
from charter_compiler.serve.engine.interface import Batch, EngineOutput, EngineRequest, PerfMetrics, SamplingParams
from charter_compiler.serve.engine.null_runner import NullRunner
from charter_compiler.serve.engine.vllm_core import VllmCore
from charter_compiler.tokens.tokenizer import Tokenizer


@dataclass(slots=True)
class _Call:
    """A request in the engine. ``first`` is done with its first token, ``last`` with its figures; ``ended``: the engine
    is through with it. A task that is cancelled cancels what it waits for."""

    tokens: list[int]
    first: asyncio.Future[None]
    last: asyncio.Future[PerfMetrics]
    ended: bool = False


class SimTarget:
    """A simulated server. Owned by one event loop.

    Tokens, cached tokens and the order of requests are those of the engine's model; the text is not a model's: common
    words, ``max_tokens`` of them. Times in results are the cost model's. With ``speed`` 0 no real time passes but what
    the simulation itself takes: then the engine goes on while an agent thinks no longer than one turn of the loop.
    """

    def __init__(self, address: SimAddress, tokenizer: Tokenizer, costs: Costs | None = None) -> None:
        self._address = address
        self._prompts = PromptTokens(tokenizer, None)
        self._says = SimOutputs(tokenizer)
        self._costs = costs or Costs()
        self._tokenizer = tokenizer
        self._outputs: dict[int, list[int]] = {}
        self._now = 0
        config = address.config
        self._core: EngineCore | VllmCore
        if address.engine == "vllm":
            self._core = VllmCore(config, self._outputs, self._advance, lambda: self._now)
        else:
            self._core = EngineCore(config, NullRunner(self._outputs, self._advance), lambda: self._now)
        self._calls: dict[int, _Call] = {}
        self._keys = itertools.count()
        self._driver: asyncio.Task[None] | None = None
        self._closed = False
        self._totals = dict.fromkeys(("requests", "prompt_tokens", "cached_tokens", "output_tokens"), 0)

    @property
    def seconds(self) -> float:
        """Model time that the engine has worked."""
        return self._now / 1e9

    async def generate(self, request: GenerationRequest) -> GenerationResult:
        """See ``AsyncTarget``."""
        return await last_result(self.stream(request))

    async def stream(self, request: GenerationRequest) -> AsyncGenerator[StreamChunk, None]:
        """See ``AsyncTarget``; in two pieces, the first token and the rest.

        Raises:
            RequestRejectedError, ContextLengthError: as the engine does; also for a ``response_format``.
        """
        if self._closed:
            raise RequestCancelledError("the target is closed")
        if request.response_format is not None:
            raise RequestRejectedError("a simulated model writes no JSON", remedy="leave response_format out")
        prompt = self._prompts.tokens(request) if request.tokens is None else list(request.tokens)
        if prompt is None:
            raise RequestRejectedError("the model has no chat template", remedy="give a --tokenizer that has one")
        key, loop = next(self._keys), asyncio.get_running_loop()
        output = self._outputs[key] = self._says.of(prompt, request.max_tokens)
        call = self._calls[key] = _Call(output, loop.create_future(), loop.create_future())
        try:
            self._core.add(EngineRequest(key, tuple(prompt), SamplingParams(request.max_tokens)))
            if self._driver is None:
                self._driver = loop.create_task(self._drive())
            await call.first
            text, first = self._says.text(output), self._says.text(output[:1])
            yield StreamChunk(first)
            perf = await call.last
            yield StreamChunk(text.removeprefix(first), _result(text, request, perf))
        finally:
            del self._calls[key]
            if not call.ended:  # refused, or given up
                self._core.cancel(key)
            self._outputs.pop(key, None)

    async def facts(self) -> TargetFacts:
        """See ``AsyncTarget``."""
        config = self._address.config
        return TargetFacts(
            target="sim",
            model=self._tokenizer.name,
            tokenizer=self._tokenizer.fingerprint,
            tokens_per_block=config.tokens_per_block,
            capacity_blocks=config.capacity_blocks,
            max_context=config.max_context,
            engine="vllm" if self._address.engine == "vllm" else None,
            simulated=True,
        )

    async def metrics(self) -> Mapping[str, float]:
        """See ``AsyncTarget``; counts since the start, and the model's seconds."""
        totals = {f"charter_sim_{name}_total": float(value) for name, value in self._totals.items()}
        return totals | {"charter_sim_seconds": self.seconds}

    async def aclose(self) -> None:
        """See ``AsyncTarget``."""
        self._closed = True
        if self._driver is not None:
            self._driver.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._driver

    async def _drive(self) -> None:
        """One iteration after the other while there is work; a turn of the loop between them, for what arrives."""
        started, base = time.perf_counter(), self._now
        try:
            while not self._core.idle:
                for output in self._core.step():
                    self._hear(output)
                ahead = 0.0
                if self._address.speed:
                    ahead = (self._now - base) / 1e9 / self._address.speed - (time.perf_counter() - started)
                await asyncio.sleep(max(0.0, ahead))
        except BaseException as error:
            for call in self._calls.values():  # closed, or a defect of the model: nobody may wait for ever
                for future in (call.first, call.last):
                    if not future.done():
                        future.set_exception(RequestCancelledError(f"the simulation ended: {error!r}"))
                        future.exception()  # looked at, should nobody wait for it
            raise
        finally:
            self._driver = None

    def _advance(self, batch: Batch) -> None:
        self._now += self._costs.of(batch)

    def _hear(self, output: EngineOutput) -> None:
        call = self._calls[output.request_id]
        if not call.first.done():
            call.first.set_result(None)
        perf = output.perf
        if output.finish is not None and perf is not None:
            call.ended = True
            if not call.last.done():
                call.last.set_result(perf)
            self._totals["requests"] += 1
            self._totals["prompt_tokens"] += perf.num_input_tokens
            self._totals["cached_tokens"] += perf.num_cached_tokens
            self._totals["output_tokens"] += perf.num_output_tokens


def _result(text: str, request: GenerationRequest, perf: PerfMetrics) -> GenerationResult:
    return GenerationResult(
        text=text,
        latency=(perf.last_token_time_ns - perf.arrival_time_ns) / 1e9,
        ttft=(perf.first_token_time_ns - perf.arrival_time_ns) / 1e9,
        prompt_tokens=perf.num_input_tokens,
        cached_tokens=perf.num_cached_tokens,
        output_tokens=perf.num_output_tokens,
        cache_id=request.cache_id,
        finish_reason="length",
    )
