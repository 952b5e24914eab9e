"""The agent's real control flow, run with a client that answers at once from an ``OutputSource``."""

from __future__ import annotations

import asyncio
import contextlib
import io
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from charter_compiler.executor.agent_client import AgentClient
from charter_compiler.executor.answers import merge_key
from charter_compiler.executor.calls import AgentCall, CallSites
from charter_compiler.executor.entry import Entry
from charter_compiler.executor.inputs import InputRow
from charter_compiler.executor.layout import PromptLayouts
from charter_compiler.executor.results import RowError
from charter_compiler.executor.run.item import row_error
from charter_compiler.executor.types import GenerationResult
from charter_compiler.ir.nodes import Call
from charter_compiler.predict.learning import MAX_RUNS, Learner, finished, watching
from charter_compiler.predict.shapes import Shape, shape_of_response_format
from charter_compiler.predict.synthetic import OutputSource

QUIET_TURNS = 20
"""Turns of the event loop without a new call, after which an asynchronous agent is taken to wait for its calls."""


@dataclass(frozen=True, slots=True)
class TracedCall:
    """A call of an item and its output. ``after``: ordinals of the item's calls that had been answered before it was
    made, so that it cannot be made earlier."""

    call: AgentCall
    output: str
    after: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ItemTrace:
    """The calls of one item in the order in which they were made; ``error`` is why the agent failed, if it did.
    ``values`` are those of its row."""

    item: int
    calls: tuple[TracedCall, ...]
    error: RowError | None
    values: Mapping[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class _Tracer:
    """``CallBackend`` of one item. Calls that an asynchronous agent has open at once are answered together."""

    outputs: OutputSource
    shapes: Mapping[str, Shape]
    learner: Learner | None = None
    answers: dict[Hashable, str] = field(default_factory=dict)
    asked: Counter[Hashable] = field(default_factory=Counter)
    calls: list[TracedCall] = field(default_factory=list)
    answered: list[int] = field(default_factory=list)
    waiting: list[tuple[int, asyncio.Future[None]]] = field(default_factory=list)
    quiet: int = 0

    def call(self, call: AgentCall) -> GenerationResult:
        result = self._note(call)
        self.answered.append(call.ordinal)
        return result

    async def acall(self, call: AgentCall) -> GenerationResult:
        result = self._note(call)
        loop = asyncio.get_running_loop()
        go: asyncio.Future[None] = loop.create_future()
        if not self.waiting:
            loop.call_soon(self._turn, loop)
        self.waiting.append((call.ordinal, go))
        self.quiet = 0
        await go
        return result

    def _note(self, call: AgentCall) -> GenerationResult:
        site = "" if call.site is None else call.site.label
        shape = self.shapes.get(site)
        if call.request.response_format is not None:
            shape = shape_of_response_format(call.request.response_format)
        text = self._text(call, shape)
        self.calls.append(TracedCall(call, text, tuple(self.answered)))
        answer = text if self.learner is None else self.learner.watch(site, text)
        return GenerationResult(answer, 0.0, None, None, None, None)

    def _text(self, call: AgentCall, shape: Shape | None) -> str:
        """The output of a call: what an earlier item got for an equal request, as from a model. Within an item each
        gets its own, so that code that asks until it likes the answer comes to an end."""
        request = merge_key(call.request)
        if request is None:
            return self.outputs.text(call.item, call.ordinal, call.request, shape)
        self.asked[request] += 1
        key = (request, self.asked[request], repr(shape))
        if key not in self.answers:
            self.answers[key] = self.outputs.text(call.item, call.ordinal, call.request, shape)
        return self.answers[key]

    def _turn(self, loop: asyncio.AbstractEventLoop) -> None:
        self.quiet += 1
        if self.quiet < QUIET_TURNS:
            loop.call_soon(self._turn, loop)
            return
        waiting, self.waiting = self.waiting, []
        for ordinal, go in waiting:
            self.answered.append(ordinal)
            if not go.done():  # the agent may have cancelled it
                go.set_result(None)


def trace_agent(
    entry: Entry,
    rows: Iterable[InputRow],
    outputs: OutputSource,
    *,
    max_tokens: int | None = None,
    calls: Sequence[Call] = (),
    layouts: PromptLayouts | None = None,
    on_item: Callable[[int], None] = lambda item: None,
) -> list[ItemTrace]:
    """Run the agent over the rows, one after the other, without a model. What it prints is dropped.

    The first item is run several times, to learn what the agent's code wants to parse: see ``learning``.

    Not to be called where an event loop runs: an asynchronous agent gets a loop of its own.

    Raises:
        InputsError, EntryError: a row is broken or does not fit the entry.
    """
    sites = CallSites(entry.root, calls)
    traces: list[ItemTrace] = []
    shapes: dict[str, Shape] = {}
    answers: dict[Hashable, str] = {}
    for number, row in enumerate(rows):
        if number == 0:
            shapes = _learn_shapes(entry, row, outputs, sites, max_tokens, layouts)
        traces.append(_trace_item(entry, row, _Tracer(outputs, shapes, answers=answers), sites, max_tokens, layouts)[0])
        on_item(row.index)
    return traces


def _learn_shapes(
    entry: Entry,
    row: InputRow,
    outputs: OutputSource,
    sites: CallSites,
    max_tokens: int | None,
    layouts: PromptLayouts | None,
) -> dict[str, Shape]:
    """The shapes that the agent's code parses, by call site, from runs of one item; empty for plain text."""
    learner = Learner()
    with watching(learner):
        for _ in range(MAX_RUNS):
            learner.begin()
            _, error = _trace_item(entry, row, _Tracer(outputs, learner.shapes, learner), sites, max_tokens, layouts)
            if error is not None:
                learner.failed(error)
            if not learner.changed:
                break
    return finished(learner.shapes)


def _trace_item(
    entry: Entry,
    row: InputRow,
    tracer: _Tracer,
    sites: CallSites,
    max_tokens: int | None,
    layouts: PromptLayouts | None,
) -> tuple[ItemTrace, Exception | None]:
    arguments = entry.bind(row.values, f"line {row.line} of the inputs")
    client = AgentClient(row.index, tracer, sites, max_tokens, layouts)
    error: RowError | None = None
    raised: Exception | None = None
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            if entry.is_async:
                asyncio.run(entry.call(client, arguments))
            else:
                entry.call(client, arguments)
    except Exception as exception:  # noqa: BLE001  whatever the agent raises on these outputs is the answer
        raised, error = exception, row_error(exception, entry, client)
    client.close()
    return ItemTrace(row.index, tuple(tracer.calls), error, row.values), raised
