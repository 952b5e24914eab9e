"""Prompts put into the order that the plan asks for, on their way from the agent to the target."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from charter_compiler.executor.calls import CallSite
from charter_compiler.executor.types import GenerationRequest
from charter_compiler.ir.nodes import Call
from charter_compiler.passes.template import PlannedLayout


@dataclass(slots=True)
class LayoutCounts:
    """Prompts sent in a new order, and prompts of the same call sites left as they were, since they did not match their
    template in exactly one way."""

    applied: int = 0
    left: int = 0


class PromptLayouts:
    """The layouts of a run. Safe to use from many threads.

    A call site whose prompt is its function's parameter sends the prompts of its wrappers: there every layout is tried,
    and one is used if it alone matches.
    """

    def __init__(self, layouts: Iterable[PlannedLayout] = (), calls: Iterable[Call] = ()) -> None:
        self._by_call = {layout.call: layout for layout in layouts}
        self._forwarding = frozenset(call.id for call in calls if call.forward)
        self._lock = threading.Lock()
        self.counts = LayoutCounts()

    def __bool__(self) -> bool:
        return bool(self._by_call)

    def apply(self, site: CallSite | None, request: GenerationRequest) -> GenerationRequest:
        """The request with its prompt or messages in the new order; the same request where there is none for it."""
        name = None if site is None else site.id
        own = self._by_call.get(name or "")
        if own is not None:
            found = _apply(own, request)
            with self._lock:
                self.counts.applied += found is not None
                self.counts.left += found is None
            return found or request
        if name not in self._forwarding:
            return request
        matching = [found for each in self._by_call.values() if (found := _apply(each, request)) is not None]
        if len(matching) != 1:
            return request
        with self._lock:
            self.counts.applied += 1
        return matching[0]


def _apply(layout: PlannedLayout, request: GenerationRequest) -> GenerationRequest | None:
    if request.prompt is not None:
        if len(layout.messages) != 1 or layout.messages[0].role != "raw":
            return None
        text = layout.messages[0].apply(request.prompt)
        return None if text is None else replace(request, prompt=text)
    messages = request.messages or ()
    if len(messages) < len(layout.messages):
        return None
    changed: list[Mapping[str, Any]] = []
    for message, planned in zip(messages, layout.messages, strict=False):
        content = message.get("content")
        if not planned.after:
            changed.append(message)
            continue
        if message.get("role") != planned.role or not isinstance(content, str):
            return None
        text = planned.apply(content)
        if text is None:
            return None
        changed.append({**message, "content": text})
    return replace(request, messages=(*changed, *messages[len(layout.messages) :]))
