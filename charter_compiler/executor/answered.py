"""Answers that outlive the run: kept in the journal before the agent has them, and found there by a resumed run."""

from __future__ import annotations

from charter_compiler.executor.answers import is_repeatable
from charter_compiler.executor.calls import AgentCall, CallRecord
from charter_compiler.executor.journal import AnsweredCall, Journal, JournalState
from charter_compiler.executor.metrics import CallFigures
from charter_compiler.executor.types import GenerationResult


class AnsweredCalls:
    """The answered calls of one run. Owned by one event loop.

    An item that is done again asks the same, as long as its agent does the same with the same answers; what it asks
    otherwise is sent. Of equal calls of one item each answer is given once.
    """

    def __init__(self, journal: Journal, state: JournalState, *, greedy_by_default: bool) -> None:
        self._journal = journal
        self._greedy_by_default = greedy_by_default
        self._earlier = state.calls

    def take(self, call: AgentCall, asked: bytes) -> tuple[GenerationResult, CallFigures] | None:
        """The answer that an earlier part of the run got; ``asked`` is the request's digest."""
        left = self._earlier.get(call.item)
        if not left:
            return None
        for index, answered in enumerate(left):
            if answered.asked == asked.hex():
                del left[index]
                return _result(answered, call), answered.figures
        return None

    def forget(self, item: int) -> None:
        """The item has finished."""
        self._earlier.pop(item, None)

    async def keep(self, item: int, asked: bytes, record: CallRecord) -> None:
        """Make an answer durable. Raises OutputError."""
        result = record.result
        again = is_repeatable(record.request, greedy_by_default=self._greedy_by_default)
        figures = CallFigures.of(record)
        answered = AnsweredCall(item, asked.hex(), result.text, result.finish_reason, figures, again, result.stop)
        await self._journal.call(answered)


def _result(answered: AnsweredCall, call: AgentCall) -> GenerationResult:
    figures = answered.figures
    return GenerationResult(
        text=answered.text,
        latency=figures.latency,
        ttft=figures.ttft,
        prompt_tokens=figures.prompt_tokens,
        cached_tokens=figures.cached_tokens,
        output_tokens=figures.output_tokens,
        cache_id=call.request.cache_id,
        finish_reason=answered.finish_reason,
        details={"resumed": True},
        stop=answered.stop,
    )
