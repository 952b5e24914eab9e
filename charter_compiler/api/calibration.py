"""``calibrate``: a target probed for about a minute, and the cost model that fits what it did."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import itertools
import json
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from charter_compiler.diagnostics.errors import InputsError, TargetProtocolError, UsageError
from charter_compiler.executor.calls import AgentCall
from charter_compiler.executor.defaults import LOCAL
from charter_compiler.executor.results import write_json
from charter_compiler.executor.scheduler.mode import Mode
from charter_compiler.executor.targets import OpenTarget, TargetOptions, check_target, open_target
from charter_compiler.executor.types import GenerationRequest
from charter_compiler.predict.control_flow import ItemTrace, TracedCall
from charter_compiler.predict.cost_model import Calibration, Check, DecodeSample, PrefillSample, fit
from charter_compiler.predict.replay import Replay
from charter_compiler.tokens.models import models_dir
from charter_compiler.tokens.tokenizer import Tokenizer

LENGTHS = (32, 128, 256, 512, 768, 1024)
"""Prompt tokens of the prefill probes, again and again in this order; two at least, more as the time allows."""
TOGETHER = 4
OUTPUT = 12
"""Tokens of each decode probe, at one request and at ``TOGETHER``."""
CHECK_ITEMS, CHECK_OUTPUT = 4, 8


@dataclass(frozen=True, slots=True)
class CalibrationRequest:
    """``seconds`` is the time that the probe aims at; a slow target may take longer, since a request is never cut."""

    target: str = LOCAL
    target_options: TargetOptions = field(default_factory=TargetOptions)
    seconds: float = 60.0


def calibrate(request: CalibrationRequest, on_step: Callable[[str], None] = lambda step: None) -> Calibration:
    """Probe a target and keep the cost model for later compilations. Not to be called where an event loop runs.

    Other requests to the target, and other load on its machine, spoil the figures: run it alone.

    Raises:
        UsageError: the target's tokenizer, block size or capacity is not known.
        TargetError: it cannot be opened, or does not answer.
        OutputError: the result cannot be written.
    """
    check_target(request.target)
    calibration = asyncio.run(_calibrate(request, on_step))
    path = calibration_path(calibration.target, calibration.model)
    with contextlib.suppress(OSError):  # what cannot be made cannot be written to: said there
        path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, calibration.to_json())
    return calibration


def calibration_path(target: str, model: str) -> Path:
    """Where the calibration of a target and its model is kept."""
    served = Path(model).stem if model.endswith(".gguf") else model  # as the server that loads the file calls it
    name = hashlib.sha256(f"{target}\n{served}".encode()).hexdigest()[:16]
    return models_dir().parent / "calibration" / f"{name}.json"


def find_calibration(target: str, model: str) -> Calibration | None:
    """The calibration that was kept for a target and its model; ``None`` if there is none.

    Raises:
        InputsError: there is one, and it cannot be read.
    """
    path = calibration_path(target, model)
    try:
        return Calibration.from_json(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputsError(
            f"not a calibration that this version reads: {error}",
            place=str(path),
            remedy=f"make it again with: charter calibrate --target '{target}'",
        ) from error


async def _calibrate(request: CalibrationRequest, on_step: Callable[[str], None]) -> Calibration:
    on_step("opening the target")
    async with open_target(request.target, request.target_options) as target:
        tokenizer, engine = target.tokenizer, target.engine
        if tokenizer is None or engine is None:
            raise UsageError(
                "the target states not all of its tokenizer, block size and capacity",
                place=request.target,
                remedy="give --tokenizer; without block size and capacity there is no calibration",
            )
        probe = _Probe(target, tokenizer, random.Random())  # noqa: S311  texts that no cache holds, not a secret
        deadline = time.perf_counter() + request.seconds
        prefill: list[PrefillSample] = []
        await probe.ask(LENGTHS[0], 1)  # the first request of all may pay for what is made once
        room = min(engine.max_context, (engine.capacity_blocks - 1) * engine.tokens_per_block) - OUTPUT
        lengths = [n for n in LENGTHS if n <= room]
        for length in itertools.cycle(lengths):
            on_step(f"prefill of {length} tokens")
            began = time.perf_counter()
            prefill.append(await probe.prefill(length))
            now = time.perf_counter()
            # A longer one takes about twice as long; the other half of the time is for decoding and the check.
            if len(prefill) >= 2 and now + 2 * (now - began) > deadline - request.seconds / 2:
                break
        decode = []
        for count in (1, TOGETHER):
            on_step(f"decoding, {count} at once")
            decode.append(await probe.decode(count))
        try:
            costs = fit(prefill, decode)
        except ValueError as error:
            raise UsageError(f"the target is too small to probe: {error}", place=request.target) from error
        on_step("checking the fit on a small workload")
        workload = probe.workload(min(room // 3, max(LENGTHS[0], max(sample.tokens for sample in prefill) // 2)))
        replay = Replay(tokenizer, engine, Mode.BASELINE, CHECK_ITEMS, costs, target.facts.engine)
        replay.run(workload)
        measured = await probe.run(workload)
        calls = sum(len(item.calls) for item in workload)
        return Calibration(
            request.target,
            target.facts.model,
            costs,
            Check(calls, replay.seconds, measured),
            tuple(prefill),
            tuple(decode),
            datetime.now(UTC).isoformat(timespec="seconds"),
        )


class _Probe:
    """Cold requests to a target. Prompts begin with random tokens, so that nothing of them is cached."""

    def __init__(self, target: OpenTarget, tokenizer: Tokenizer, random: random.Random) -> None:
        self._target = target
        self._tokenizer = tokenizer
        self._random = random

    def text(self, tokens: int) -> str:
        """A text of about so many tokens; what it has of them is counted by the target."""
        words = " ".join(f"{self._random.randrange(10**6)}" for _ in range(tokens))
        return self._tokenizer.decode(self._tokenizer.encode(words)[:tokens])

    async def ask(self, tokens: int, output: int) -> tuple[int, float, float, int]:
        """Prompt tokens, seconds to the first token and in all, and output tokens, as the client saw them."""
        started = time.perf_counter()
        first: float | None = None
        count = None
        async for chunk in self._target.client.stream(_greedy(self.text(tokens), output)):
            if first is None:
                first = time.perf_counter() - started
            count = chunk.result or count
        total = time.perf_counter() - started
        if count is None or count.prompt_tokens is None:
            raise TargetProtocolError("the target does not count prompt tokens", place=self._target.name)
        return count.prompt_tokens, first or total, total, count.output_tokens or output

    async def prefill(self, tokens: int) -> PrefillSample:
        counted, first, _, _ = await self.ask(tokens, 1)
        return PrefillSample(counted, first)

    async def decode(self, requests: int) -> DecodeSample:
        """Time for one token each of requests that decode together: from the last one's first token to the end of the
        first that ends would be exact; the mean of their own times is close, as they start together."""
        answers = await asyncio.gather(*(self.ask(LENGTHS[0] // 2, OUTPUT) for _ in range(requests)))
        rates = [(total - first) / (made - 1) for _, first, total, made in answers if made > 1]
        if not rates:
            raise TargetProtocolError("the target gives one token where more are asked for", place=self._target.name)
        return DecodeSample(requests, sum(rates) / len(rates))

    def workload(self, tokens: int) -> list[ItemTrace]:
        """Items of two calls, the second after the first and beginning like it; all items share their first half."""
        shared = self.text(max(1, tokens // 2))
        answer = " the" * CHECK_OUTPUT
        items = []
        for item in range(CHECK_ITEMS):
            own = f"{shared} {self.text(max(1, tokens // 2))}"
            prompts = (own, f"{own} {self.text(16)}")
            calls = (AgentCall(item, n, None, _greedy(prompt, CHECK_OUTPUT)) for n, prompt in enumerate(prompts))
            traced = tuple(TracedCall(call, answer, tuple(range(call.ordinal))) for call in calls)
            items.append(ItemTrace(item, traced, None))
        return items

    async def run(self, workload: Sequence[ItemTrace]) -> float:
        """The workload on the target, all items at once; seconds of wall time."""

        async def item(trace: ItemTrace) -> None:
            for call in trace.calls:
                await self._target.client.generate(call.call.request)

        started = time.perf_counter()
        await asyncio.gather(*(item(trace) for trace in workload))
        return time.perf_counter() - started


def _greedy(prompt: str, output: int) -> GenerationRequest:
    return GenerationRequest(prompt=prompt, max_tokens=output, temperature=0.0)
