"""The requests of a planned run as evidence for engine configuration: their tokens, their order, and their hints."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence

from charter_compiler.config.engines import Evidence
from charter_compiler.config.hints.worth import HintedRequest
from charter_compiler.config.workload import Workload
from charter_compiler.executor.prompts import PromptTokens
from charter_compiler.plan.execution_plan import ExecutionPlan
from charter_compiler.plan.hint_ranges import resolve_hints
from charter_compiler.plan.hints import CallHints
from charter_compiler.plan.placement import group_of
from charter_compiler.predict.control_flow import ItemTrace, TracedCall
from charter_compiler.tokens.tokenizer import Tokenizer


def evidence_of(traces: Sequence[ItemTrace], plan: ExecutionPlan, tokenizer: Tokenizer, concurrency: int) -> Evidence:
    """What traced items would send. Calls whose tokens are not known (a chat without a template) are left out."""
    requests = tuple(hinted_requests(in_flight(traces, concurrency), plan.hints, tokenizer))
    if not requests:
        return Evidence()
    prompts, answers = tuple(one.prompt for one in requests), tuple(len(one.answer) for one in requests)
    groups = {trace.item: group_of(trace.values, plan.group_by) for trace in traces}
    return Evidence(Workload(prompts, answers, len(traces)), requests, concurrency, groups)


def in_flight(traces: Iterable[ItemTrace], concurrency: int) -> Iterator[tuple[TracedCall, int]]:
    """The calls of all items in turn: ``concurrency`` items are open, each makes its next call when all others have
    made theirs, and the next item starts when one ends. With each call how many of the open items are older."""
    waiting = deque(deque(trace.calls) for trace in traces if trace.calls)
    turn = deque(waiting.popleft() for _ in range(min(concurrency, len(waiting))))
    while turn:
        calls = turn.popleft()
        item = calls[0].call.item
        yield calls.popleft(), sum(1 for other in turn if other[0].call.item < item)
        if calls:
            turn.append(calls)
        elif waiting:
            turn.append(waiting.popleft())


def hinted_requests(
    calls: Iterable[tuple[TracedCall, int]], hints: Iterable[CallHints], tokenizer: Tokenizer
) -> Iterator[HintedRequest]:
    """Each call as the engine gets it, with the hints of its call site. ``calls`` are those of ``in_flight``."""
    prompts = PromptTokens(tokenizer, None)
    by_site = {one.call: one for one in hints}
    for traced, rank in calls:
        request = traced.call.request
        tokens = prompts.tokens(request)
        if tokens is None:
            continue
        text = request.prompt if request.prompt is not None else tokenizer.render_chat(request.messages or [])
        site = traced.call.site
        own = None if site is None or site.id is None else by_site.get(site.id)
        resolved = None if own is None else resolve_hints(own, text, tokens, tokenizer, rank=rank)
        answer = tokenizer.encode(traced.output)[: request.max_tokens]
        yield HintedRequest(tuple(tokens), tuple(answer), resolved, traced.call.item)
