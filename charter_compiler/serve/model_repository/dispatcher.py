"""Carries requests to the engine and its outputs back to Triton, in one thread of its own.

Every call into Triton goes through shared memory and waits for an answer; the engine's thread must not. A request's
responses keep the order of its outputs. Triton tells nobody that a client has gone, so running requests are
asked for it every ``check_period``, as TensorRT-LLM does (``cancellation_check_period_ms``); with nothing running the
thread sleeps.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from numpy.typing import NDArray

from charter_compiler.diagnostics.errors import CharterError
from charter_compiler.serve.engine.interface import Emit, EngineOutput, EngineRequest, FinishReason
from charter_compiler.serve.model_repository.answers import Answer
from charter_compiler.serve.model_repository.inputs import Generation
from charter_compiler.serve.model_repository.kv_report import Outcomes

REPORT_PERIOD = 1.0
"""Seconds."""

logger = logging.getLogger(__name__)


class Sender(Protocol):
    """The way back to one client. Called from the dispatcher's thread only."""

    def send(self, tensors: Mapping[str, NDArray[Any]], *, final: bool) -> None:
        """One response; nothing follows a final one."""

    def fail(self, message: str, *, cancelled: bool = False) -> None:
        """An error as the final response."""

    def is_cancelled(self) -> bool:
        """Whether the client wants no more."""


class Engine(Protocol):
    """What is needed of ``thread.Engine``."""

    def submit(self, request: EngineRequest, emit: Emit) -> None:
        """Queue a request; ``emit`` is called from the engine's thread. Raises ``TargetError`` instead, where it will
        not run."""

    def cancel(self, request_id: int) -> None:
        """End a request; its last output says so. Nothing happens if it is over."""


@dataclass(slots=True)
class _Request:
    """A client's request: one engine request an entry of its batch. ``over``: its final response is sent."""

    name: str
    sender: Sender
    generations: Sequence[Generation]
    streaming: bool
    answers: dict[int, Answer] = field(default_factory=dict)
    cancelled: bool = False
    over: bool = False


@dataclass(frozen=True, slots=True)
class _Stop:
    name: str


class Dispatcher:
    """``submit``, ``stop`` and ``close`` may be called from any thread. ``report`` is called in the dispatcher's thread
    when a request has begun or ended, and every ``REPORT_PERIOD`` while some run. ``outcomes`` gets what became of
    hints."""

    def __init__(
        self,
        engine: Engine,
        token_bytes: Callable[[int], bytes],
        *,
        check_period: float,
        report: Callable[[], None] = lambda: None,
        outcomes: Outcomes | None = None,
    ) -> None:
        self._engine = engine
        self._token_bytes = token_bytes
        self._check_period = check_period
        self._report = report
        self._outcomes = Outcomes() if outcomes is None else outcomes
        self._inbox: queue.SimpleQueue[_Request | EngineOutput | _Stop | None] = queue.SimpleQueue()
        self._owners: dict[int, _Request] = {}
        self._next_id = 1
        self._checked = self._reported = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="charter-dispatcher", daemon=True)
        self._thread.start()

    def submit(self, name: str, sender: Sender, generations: Sequence[Generation], *, streaming: bool) -> None:
        """Run a request; its responses go to ``sender``. ``name`` is the client's id of it, which may be empty."""
        self._inbox.put(_Request(name, sender, generations, streaming))

    def stop(self, name: str) -> None:
        """Cancel the running request of that name; nothing happens unless there is exactly one."""
        self._inbox.put(_Stop(name))

    def close(self) -> None:
        """Fail what still runs, and end the thread."""
        self._inbox.put(None)
        self._thread.join()

    def _run(self) -> None:
        while True:
            try:
                item = self._inbox.get(timeout=self._check_period if self._owners else None)
            except queue.Empty:
                self._check()
                continue
            if item is None:
                break
            if isinstance(item, _Request):
                self._begin(item)
            elif isinstance(item, _Stop):
                self._stop(item.name)
            else:
                self._take(item)
            if time.monotonic() - self._checked >= self._check_period:
                self._check()
        for request in self._requests():
            self._fail(request, "the server is stopping")

    def _requests(self) -> list[_Request]:
        return list({id(request): request for request in self._owners.values()}.values())

    def _begin(self, request: _Request) -> None:
        for index, generation in enumerate(request.generations):
            request_id = self._next_id
            self._next_id += 1
            try:
                self._engine.submit(_engine_request(request_id, generation), self._inbox.put)
            except CharterError as error:
                self._cancel(request)
                self._fail(request, str(error))
                break
            request.answers[request_id] = Answer(
                index,
                generation,
                streaming=request.streaming,
                token_bytes=self._token_bytes,
                outcomes=self._outcomes,
            )
            self._owners[request_id] = request
        self._report_now()

    def _stop(self, name: str) -> None:
        named = [request for request in self._requests() if request.name == name]
        # Clients choose their ids; of two requests with the same one, the wrong one might be ended.
        if name and len(named) == 1:
            self._cancel(named[0])

    def _take(self, output: EngineOutput) -> None:
        request = self._owners[output.request_id]
        answer = request.answers[output.request_id]
        if output.finish is not None:
            del self._owners[output.request_id], request.answers[output.request_id]
        if output.finish is FinishReason.ERROR:
            self._cancel(request)
            self._fail(request, output.error or "the engine failed")
        elif output.finish is FinishReason.CANCELLED:
            self._fail(request, "the request was cancelled", cancelled=True)
        elif not request.over and (tensors := answer.feed(output)) is not None:
            self._send(request, tensors)
        if output.finish is not None:
            self._report_now()

    def _send(self, request: _Request, tensors: Mapping[str, NDArray[Any]]) -> None:
        request.over = not request.answers
        try:
            request.sender.send(tensors, final=request.over)
        except Exception:  # Triton raises its own exception for a client that cannot be answered
            logger.exception("a response could not be sent")
            request.over = True
            self._cancel(request)

    def _fail(self, request: _Request, message: str, *, cancelled: bool = False) -> None:
        if request.over:
            return
        request.over = True
        try:
            request.sender.fail(message, cancelled=cancelled)
        except Exception:  # as above
            logger.exception("an error could not be sent")

    def _cancel(self, request: _Request) -> None:
        if not request.cancelled:
            request.cancelled = True
            for request_id in request.answers:
                self._engine.cancel(request_id)

    def _report_now(self) -> None:
        self._reported = time.monotonic()
        self._report()

    def _check(self) -> None:
        self._checked = time.monotonic()
        for request in self._requests():
            if not request.cancelled and request.sender.is_cancelled():
                self._cancel(request)
        if self._checked - self._reported >= REPORT_PERIOD:
            self._report_now()


def _engine_request(request_id: int, generation: Generation) -> EngineRequest:
    return EngineRequest(
        request_id=request_id,
        prompt=generation.prompt,
        sampling=generation.sampling,
        stop=generation.stop,
        bad=generation.bad,
        end_id=generation.end_id,
        return_log_probs=generation.return_log_probs,
        retention=generation.retention,
        cache_salt=generation.cache_salt,
        drafts=generation.drafts,
        guide=generation.guide,
        hints=generation.hints.actions if generation.hints else (),
    )
