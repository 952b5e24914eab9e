"""What a run is given beside the agent and its endpoints, and how it went."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from charter_compiler.diagnostics.errors import CharterError
from charter_compiler.executor.hinting import RunHints
from charter_compiler.executor.journal import Journal, JournalState
from charter_compiler.executor.layout import PromptLayouts
from charter_compiler.executor.memo.memo import Memo
from charter_compiler.executor.metrics import Tally
from charter_compiler.executor.recording import Recorder
from charter_compiler.executor.results import RowError, RowWriter
from charter_compiler.executor.run.options import RunOptions
from charter_compiler.executor.scheduler.ended_items import EndedItems
from charter_compiler.executor.sdk_calls import RunListener
from charter_compiler.executor.tracing import NoSpans, RunSpans
from charter_compiler.executor.types import GenerationRequest, TargetFacts
from charter_compiler.ir.nodes import Call
from charter_compiler.tokens.tokenizer import Tokenizer


@dataclass(frozen=True, slots=True)
class RunFiles:
    """Where a run writes: rows in input order, the journal, and the recorded calls if they are wanted."""

    rows: RowWriter
    journal: Journal
    recorder: Recorder | None = None


@dataclass(slots=True)
class RunContext:
    """What a run needs beside the agent and its endpoints. ``facts`` are what they all have in common.

    ``warm_ups`` are prompts that are computed before the items, in optimized mode, in a resumed run too; ``calls`` the
    agent's call sites in the IR, for ids; ``layouts`` the orders that prompts are sent in; ``resumed`` what an earlier
    run finished; ``memo`` answers calls that were made before; ``patience``: seconds that the target may be away;
    ``listener``: where the agent's own SDK clients send their requests, ``None`` for an agent that has none; ``hints``:
    sent beside the calls; ``group_by``: the plan's; ``weigh``: about how many tokens the item of a row takes, which
    loads are balanced by; ``expected``: what the items will need of the cache, where that was predicted, by the block
    size and capacity of an endpoint; ``constant``: prompts that belong to no item, warmed or not; ``spans`` are told of
    items and calls; ``on_progress`` is told after each item and call, ``on_interrupt`` how often Ctrl-C was pressed.
    """

    options: RunOptions
    facts: TargetFacts
    tokenizer: Tokenizer | None = None
    warm_ups: Sequence[GenerationRequest] = ()
    calls: Sequence[Call] = ()
    layouts: PromptLayouts = field(default_factory=PromptLayouts)
    resumed: JournalState = field(default_factory=JournalState)
    memo: Memo | None = None
    patience: float = 0.0
    listener: RunListener | None = None
    hints: RunHints | None = None
    group_by: tuple[str, ...] = ()
    weigh: Callable[[Mapping[str, Any]], float] = lambda values: 1.0
    expected: Mapping[tuple[int | None, int | None], EndedItems] = field(default_factory=dict)
    constant: Sequence[GenerationRequest] = ()
    spans: RunSpans = field(default_factory=NoSpans)
    on_progress: Callable[[Tally], None] = lambda tally: None
    on_interrupt: Callable[[int], None] = lambda times: None


@dataclass(slots=True)
class RunOutcome:
    """How a run went. ``stopped`` is why it ended before the last row, ``None`` if it did not; ``interrupted``: by
    Ctrl-C. ``first_error`` is the failed item with the lowest index, and why it failed."""

    tally: Tally
    wall_s: float
    interrupted: bool = False
    stopped: CharterError | None = None
    first_error: tuple[int, RowError] | None = None
