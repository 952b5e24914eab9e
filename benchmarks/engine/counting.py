"""The engine with its tokens counted at ``llama_decode``, random requests for it, and what the cache model says of
them. The tests of the engine use this too."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from charter_compiler.cache.retention import Retention, RetentionRange
from charter_compiler.serve.engine.core import EngineCore
from charter_compiler.serve.engine.interface import (
    Batch,
    EngineConfig,
    EngineOutput,
    EngineRequest,
    PerfMetrics,
    SamplingParams,
)
from charter_compiler.serve.engine.llama_runner import LlamaRunner
from charter_compiler.serve.engine.null_runner import NullRunner

Outputs = Mapping[int, Sequence[EngineOutput]]


class Counted:
    """A core over a runner; ``decoded`` counts, at ``llama_decode``, the tokens of each request."""

    def __init__(self, config: EngineConfig, runner: LlamaRunner, clock: Callable[[], int] = time.monotonic_ns) -> None:
        self.runner = runner
        self.core = EngineCore(config, runner, clock)
        self.decoded: Counter[int] = Counter()
        decode = runner.decode

        def counting(batch: Batch) -> None:
            owners = {entry.allocation.sequence: i for i, entry in self.core._running.items()}
            decode(batch)
            self.decoded.update(owners[sequence] for sequence in batch.sequences)

        runner.decode = counting  # type: ignore[method-assign]

    def serve(self, requests: Sequence[EngineRequest]) -> dict[int, list[EngineOutput]]:
        """All at once, to their ends."""
        outputs: dict[int, list[EngineOutput]] = {request.request_id: [] for request in requests}
        for request in requests:
            self.core.add(request)
        while not self.core.idle:
            for output in self.core.step():
                outputs[output.request_id].append(output)
        return outputs

    def check(self) -> None:
        """The core's invariants, and that llama.cpp holds as many positions as the block manager believes."""
        self.core.check()
        expected = {entry.allocation.sequence: entry.computed for entry in self.core._running.values()}
        for block in self.core.blocks.stored():
            if block.idle is not None:
                expected[block.idle] = block.end
        held = {s: self.runner.sequence_length(s) for s in range(self.core.config.max_sequences)}
        assert {s: n for s, n in held.items() if n} == {s: n for s, n in expected.items() if n}


class Steps:
    """A clock that moves by 1 ms an iteration, so that durations end at the same moment in engine and model."""

    def __init__(self) -> None:
        self.now = 0

    def __call__(self) -> int:
        return self.now


def random_requests(
    count: int,
    seed: int,
    *,
    passages: int = 8,
    lengths: tuple[int, int] = (3, 15),
    at_most: int = 3,
    retained: bool = False,
) -> list[EngineRequest]:
    """Prompts that begin with up to ``at_most`` of a few shared passages, whose lengths are from ``lengths[0]`` up to,
    not including, ``lengths[1]``; ``retained``: each with a retention of its own."""
    rng = random.Random(seed)
    texts = [[rng.randrange(100, 40_000) for _ in range(rng.randrange(*lengths))] for _ in range(passages)]
    made = []
    for i in range(count):
        prompt = [token for _ in range(rng.randrange(1, at_most + 1)) for token in rng.choice(texts)]
        prompt += [rng.randrange(100, 40_000) for _ in range(rng.randrange(0, 6))]
        sampling = SamplingParams(rng.randrange(1, 5))
        retention = random_retention(rng) if retained else None
        made.append(EngineRequest(i, tuple(prompt), sampling, retention=retention))
    return made


def random_retention(rng: random.Random) -> Retention:
    """Priorities and durations, in ms of a clock that counts steps."""
    durations = (None, 5.0, 40.0)
    ranges = (
        RetentionRange(0, 8, rng.choice((0, 35, 100)), rng.choice(durations)),
        RetentionRange(8, None, rng.choice((0, 35, 100)), rng.choice(durations)),
    )
    return Retention(ranges, rng.choice((0, 35, 100)), rng.choice(durations))


def trickle(
    core: EngineCore, requests: Sequence[EngineRequest], clock: Steps, check: Callable[[], None] = lambda: None
) -> dict[int, list[EngineOutput]]:
    """Three new requests an iteration at most, as long as no more than twelve wait; ``check`` after each."""
    waiting = list(reversed(requests))
    outputs: dict[int, list[EngineOutput]] = {request.request_id: [] for request in requests}
    while waiting or not core.idle:
        clock.now += 10**6
        for _ in range(3):
            if waiting and core.stats().waiting < 12:
                core.add(waiting.pop())
        for output in core.step():
            outputs[output.request_id].append(output)
        check()
    return outputs


def modelled(
    config: EngineConfig, requests: Sequence[EngineRequest], outputs: Outputs, *, check: bool = False
) -> dict[int, PerfMetrics]:
    """What the same core says of each request over a runner that computes nothing and knows the outputs."""
    clock = Steps()
    model = EngineCore(config, NullRunner({i: tokens(found) for i, found in outputs.items()}), clock)
    found = trickle(model, requests, clock, model.check if check else lambda: None)
    return {i: last_perf(one) for i, one in found.items()}


def due(perf: PerfMetrics) -> int:
    """Tokens of a request that must go through ``llama_decode``; the last one of its output never does."""
    return perf.num_input_tokens - perf.num_cached_tokens + perf.num_output_tokens - 1


def tokens(outputs: Sequence[EngineOutput]) -> list[int]:
    return [token for output in outputs for token in output.token_ids]


def last_perf(outputs: Sequence[EngineOutput]) -> PerfMetrics:
    perf = outputs[-1].perf
    assert perf is not None, "the request has not ended"
    return perf
