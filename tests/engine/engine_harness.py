"""Driving an engine core in tests: a clock that moves by one a decode, and requests in short form."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from charter_compiler.cache.events import OnEvent
from charter_compiler.cache.retention import Retention
from charter_compiler.config.hints.received import ReceivedAction
from charter_compiler.serve.engine.core import EngineCore
from charter_compiler.serve.engine.interface import (
    Batch,
    EngineConfig,
    EngineOutput,
    EngineRequest,
    FinishReason,
    Guide,
    SamplingParams,
)
from charter_compiler.serve.engine.null_runner import NullRunner


class Ticks:
    """A core over known outputs. Time is the number of decodes; every batch is kept."""

    def __init__(
        self,
        outputs: dict[int, Sequence[int]],
        on_event: OnEvent | None = None,
        *,
        vocab_size: int | None = None,
        **sizes: int,
    ) -> None:
        self.now = 0
        self.batches: list[Batch] = []
        runner = NullRunner(outputs, self._advance, vocab_size)
        self.core = EngineCore(EngineConfig(**sizes), runner, lambda: self.now, on_event)

    def _advance(self, batch: Batch) -> None:
        self.now += 1
        self.batches.append(batch)


def request(
    request_id: int,
    prompt: Sequence[int],
    max_tokens: int = 4,
    *,
    stop: tuple[tuple[int, ...], ...] = (),
    bad: tuple[tuple[int, ...], ...] = (),
    end_id: int | None = None,
    log_probs: bool = False,
    retention: Retention | None = None,
    salt: str | None = None,
    drafts: Sequence[int] = (),
    guide: Guide | None = None,
    hints: tuple[ReceivedAction, ...] = (),
    **sampling: float | None,
) -> EngineRequest:
    params = SamplingParams(max_tokens=max_tokens, **sampling)  # type: ignore[arg-type]
    return EngineRequest(
        request_id, tuple(prompt), params, stop, bad, end_id, log_probs, retention, salt, tuple(drafts), guide, hints
    )


def drain(core: EngineCore, limit: int = 10_000) -> dict[int, list[EngineOutput]]:
    """Step until the core is idle, checking it each time; the outputs by request."""
    outputs: dict[int, list[EngineOutput]] = defaultdict(list)
    for _ in range(limit):
        if core.idle:
            return outputs
        for output in core.step():
            outputs[output.request_id].append(output)
        core.check()
    raise AssertionError("the core does not come to an end")


def tokens(outputs: list[EngineOutput]) -> list[int]:
    return [token for output in outputs for token in output.token_ids]


def finish(outputs: list[EngineOutput]) -> FinishReason | None:
    """The last output's finish; the others have none."""
    assert all(output.finish is None and output.perf is None for output in outputs[:-1])
    return outputs[-1].finish
