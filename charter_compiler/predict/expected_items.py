"""What the items of a traced run will need of the cache, before the first of them has run."""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Iterable, Sequence

from charter_compiler.executor.prompts import PromptTokens
from charter_compiler.executor.scheduler.ended_items import EndedItems
from charter_compiler.executor.scheduler.prefix import PrefixScheduler
from charter_compiler.executor.types import GenerationRequest
from charter_compiler.predict.control_flow import ItemTrace

SAMPLE = 64
"""Items at most that are looked at; the first ones."""


def expected_items(
    traces: Sequence[ItemTrace],
    prompts: PromptTokens,
    capacity_blocks: int,
    constant: Iterable[Hashable] = (),
) -> EndedItems | None:
    """The first items through a scheduler of their own, one at a time and each call over at once: only what they hold
    and come back to counts, no time. ``constant`` blocks belong to no item. ``None`` where no call is known.

    Raises:
        TokenizerError: a chat, for which the tokenizer has no template.
    """
    scheduler, keys = PrefixScheduler(1, capacity_blocks, constant=constant), itertools.count()

    def submit(item: int, stage: int, request: GenerationRequest) -> None:
        tokens = prompts.tokens(request)
        scheduler.submit(prompts.scheduled(next(keys), item, stage, tokens, request.max_tokens))

    def run_out() -> None:
        while calls := scheduler.ready():
            for call in calls:
                scheduler.on_first_token(call.key)
                scheduler.on_done(call.key)

    for trace in traces[:SAMPLE]:
        scheduler.start_item(trace.item)
        waiting, answered = list(trace.calls), set[int]()
        while ready := [call for call in waiting if answered.issuperset(call.after)]:
            for each in ready:
                submit(trace.item, each.call.ordinal, each.call.request)
            run_out()
            answered.update(each.call.ordinal for each in ready)
            waiting = [call for call in waiting if call not in ready]
        scheduler.finish_item(trace.item)
    return scheduler.ended if scheduler.ended.sized else None
