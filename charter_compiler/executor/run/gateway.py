"""The gateway inside a run, for agents that construct an SDK's own client."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

from charter_compiler.diagnostics.errors import RequestCancelledError
from charter_compiler.executor.calls import AgentCall, CallSite, CallSites
from charter_compiler.executor.dispatch import Dispatcher
from charter_compiler.executor.fleet.fleet import Fleet
from charter_compiler.executor.gateway.calls import Caller, GatewayCalls, OnText
from charter_compiler.executor.gateway.server import serving_on
from charter_compiler.executor.gateway.templates import SiteTemplates
from charter_compiler.executor.gateway.wire import was_cut
from charter_compiler.executor.layout import PromptLayouts
from charter_compiler.executor.observed import CallMetrics
from charter_compiler.executor.sdk_calls import HOST, RunListener, marked_requests, site_of_header
from charter_compiler.executor.types import GenerationRequest, GenerationResult

DENIED = (
    "this request does not carry the token of the run; a client that does not send with httpx finds it as its API key "
    "where OPENAI_API_KEY and ANTHROPIC_API_KEY are not set: unset them, and give it no key in the code"
)


@dataclass(frozen=True, slots=True)
class RunAnswerer:
    """An ``Answerer``: the requests of a run's items are calls of these items.

    A request without an item (of a library that is not httpx, or of a thread that the agent started itself) is an item
    of its own, below 0. ``is_live``: whether an item still runs. ``cap``: of ``max_tokens``, for all calls.
    """

    model: str
    dispatcher: Dispatcher
    fleet: Fleet
    layouts: PromptLayouts
    is_live: Callable[[int], bool]
    cap: int | None
    ordinals: defaultdict[int, Iterator[int]]
    strangers: Iterator[int]
    templates: SiteTemplates
    metrics: CallMetrics | None = None

    async def answer(self, request: GenerationRequest, caller: Caller, on_text: OnText | None) -> GenerationResult:
        """See ``Answerer``."""
        if self.cap is not None:
            request = replace(request, max_tokens=min(request.max_tokens, self.cap))
        said = site_of_header(caller.site)
        # Under asyncio.gather a request is made in a task of its own: no line of the agent is on the stack.
        site = self.templates.site_of(request) if said is None else CallSite("", said["line"], said["label"])
        request = self.layouts.apply(site, request)
        if caller.item is None:
            item = next(self.strangers)
            self.fleet.start_item(item)
            try:
                return _told(request, await self.dispatcher.acall(AgentCall(item, 0, site, request), on_text))
            finally:
                self.fleet.finish_item(item)
        if not self.is_live(caller.item):
            raise RequestCancelledError("the item is over; it can make no more calls")
        ordinal = next(self.ordinals[caller.item])
        call = AgentCall(caller.item, ordinal, site, request)
        return _told(request, await self.dispatcher.acall(call, on_text))

    async def aclose(self) -> None:
        """The run ends its dispatcher itself."""


def _told(request: GenerationRequest, result: GenerationResult) -> GenerationResult:
    """Says that the answer was cut, where it was: the client only knows its own limit, which may be above the cap."""
    return replace(result, finish_reason="length") if was_cut(request, result) else result


@asynccontextmanager
async def run_gateway(
    listener: RunListener,
    model: str,
    dispatcher: Dispatcher,
    fleet: Fleet,
    sites: CallSites,
    layouts: PromptLayouts,
    is_live: Callable[[int], bool],
    cap: int | None,
) -> AsyncIterator[None]:
    """While the context lasts, requests that reach ``listener`` with its token are calls of the run."""
    counters: defaultdict[int, Iterator[int]] = defaultdict(itertools.count)
    strangers = itertools.count(-1, -1)
    answerer = RunAnswerer(
        model, dispatcher, fleet, layouts, is_live, cap, counters, strangers, SiteTemplates(sites.calls)
    )
    with marked_requests(listener.url, listener.token, sites):
        async with serving_on(listener.socket, GatewayCalls(answerer), HOST, listener.token, DENIED):
            yield
