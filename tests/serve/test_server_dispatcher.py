"""Requests to the engine and outputs back, with an engine and a client made here."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from numpy.typing import NDArray

from charter_compiler.diagnostics.errors import ContextLengthError
from charter_compiler.serve.engine.interface import Emit, EngineOutput, EngineRequest, FinishReason, SamplingParams
from charter_compiler.serve.model_repository.dispatcher import Dispatcher
from charter_compiler.serve.model_repository.inputs import Generation

GUARD = 10.0


class FakeEngine:
    """Runs nothing: a test emits. A prompt that holds -1 does not fit."""

    def __init__(self) -> None:
        self.submitted: queue.Queue[tuple[EngineRequest, Emit]] = queue.Queue()
        self.cancelled: queue.Queue[int] = queue.Queue()
        self._emits: dict[int, Emit] = {}

    def submit(self, request: EngineRequest, emit: Emit) -> None:
        if -1 in request.prompt:
            raise ContextLengthError("it does not fit", remedy="shorten it")
        self._emits[request.request_id] = emit
        self.submitted.put((request, emit))

    def cancel(self, request_id: int) -> None:
        self.cancelled.put(request_id)
        self._emits[request_id](EngineOutput(request_id, (), finish=FinishReason.CANCELLED))


class FakeSender:
    def __init__(self) -> None:
        self.sent: queue.Queue[tuple[str, Any]] = queue.Queue()
        self.gone = threading.Event()
        self.broken = False

    def send(self, tensors: Mapping[str, NDArray[Any]], *, final: bool) -> None:
        if self.broken:
            raise RuntimeError("no way back")
        self.sent.put(("final" if final else "more", tensors["output_ids"].ravel().tolist()))

    def fail(self, message: str, *, cancelled: bool = False) -> None:
        self.sent.put(("cancelled" if cancelled else "failed", message))

    def is_cancelled(self) -> bool:
        return self.gone.is_set()


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()


@pytest.fixture
def dispatcher(engine: FakeEngine) -> Iterator[Dispatcher]:
    running = Dispatcher(engine, lambda token: bytes([token]), check_period=0.01)
    yield running
    running.close()


def generation(*prompt: int) -> Generation:
    return Generation(prompt or (1,), SamplingParams(max_tokens=9), (), (), None, False, True)


def begin(dispatcher: Dispatcher, engine: FakeEngine, sender: FakeSender, name: str = "") -> tuple[int, Emit]:
    dispatcher.submit(name, sender, [generation()], streaming=True)
    request, emit = engine.submitted.get(timeout=GUARD)
    return request.request_id, emit


def test_tokens_go_out_in_order_and_the_last_is_final(dispatcher: Dispatcher, engine: FakeEngine) -> None:
    sender = FakeSender()
    request, emit = begin(dispatcher, engine, sender)
    emit(EngineOutput(request, (65,)))
    emit(EngineOutput(request, (66,)))
    emit(EngineOutput(request, (67,), finish=FinishReason.LENGTH))
    assert [sender.sent.get(timeout=GUARD) for _ in range(3)] == [("more", [65]), ("more", [66]), ("final", [67])]


def test_a_client_that_goes_away_frees_the_engine(dispatcher: Dispatcher, engine: FakeEngine) -> None:
    sender, other = FakeSender(), FakeSender()
    request, _ = begin(dispatcher, engine, sender)
    begin(dispatcher, engine, other)
    sender.gone.set()
    assert engine.cancelled.get(timeout=GUARD) == request
    assert sender.sent.get(timeout=GUARD)[0] == "cancelled"
    assert engine.cancelled.empty()


def test_only_the_last_entry_of_a_batch_ends_the_request(dispatcher: Dispatcher, engine: FakeEngine) -> None:
    sender = FakeSender()
    dispatcher.submit("", sender, [generation(1), generation(2)], streaming=False)
    (first, emit), (second, _) = (engine.submitted.get(timeout=GUARD) for _ in range(2))
    emit(EngineOutput(second.request_id, (66,), finish=FinishReason.LENGTH))
    emit(EngineOutput(first.request_id, (65,), finish=FinishReason.LENGTH))
    assert [sender.sent.get(timeout=GUARD) for _ in range(2)] == [("more", [66]), ("final", [65])]


def test_a_batch_with_an_entry_that_does_not_fit_fails_once(dispatcher: Dispatcher, engine: FakeEngine) -> None:
    sender = FakeSender()
    dispatcher.submit("", sender, [generation(1), generation(-1)], streaming=False)
    first, _ = engine.submitted.get(timeout=GUARD)
    assert engine.cancelled.get(timeout=GUARD) == first.request_id
    assert sender.sent.get(timeout=GUARD) == ("failed", "it does not fit (shorten it)")
    dispatcher.close()
    assert sender.sent.empty()


def test_an_engine_error_fails_the_request(dispatcher: Dispatcher, engine: FakeEngine) -> None:
    sender = FakeSender()
    request, emit = begin(dispatcher, engine, sender)
    emit(EngineOutput(request, (), finish=FinishReason.ERROR, error="out of cells"))
    assert sender.sent.get(timeout=GUARD) == ("failed", "out of cells")


def test_stop_ends_the_request_of_that_name_if_there_is_one_alone(dispatcher: Dispatcher, engine: FakeEngine) -> None:
    twins = [FakeSender(), FakeSender()]
    for twin in twins:
        begin(dispatcher, engine, twin, "twin")
    sender = FakeSender()
    request, _ = begin(dispatcher, engine, sender, "single")
    dispatcher.stop("twin")
    dispatcher.stop("")
    dispatcher.stop("single")
    assert sender.sent.get(timeout=GUARD)[0] == "cancelled"
    assert engine.cancelled.get(timeout=GUARD) == request
    assert all(twin.sent.empty() for twin in twins)


def test_one_client_that_cannot_be_answered_does_not_stop_the_others(
    dispatcher: Dispatcher, engine: FakeEngine
) -> None:
    broken, sender = FakeSender(), FakeSender()
    broken.broken = True
    request, emit = begin(dispatcher, engine, broken)
    emit(EngineOutput(request, (65,)))
    assert engine.cancelled.get(timeout=GUARD) == request
    request, emit = begin(dispatcher, engine, sender)
    emit(EngineOutput(request, (66,), finish=FinishReason.LENGTH))
    assert sender.sent.get(timeout=GUARD) == ("final", [66])


def test_closing_fails_what_still_runs(engine: FakeEngine) -> None:
    dispatcher, sender = Dispatcher(engine, lambda token: bytes([token]), check_period=0.01), FakeSender()
    begin(dispatcher, engine, sender)
    dispatcher.close()
    assert sender.sent.get(timeout=GUARD) == ("failed", "the server is stopping")


def test_it_reports_when_requests_begin_and_end(engine: FakeEngine) -> None:
    reports: queue.Queue[None] = queue.Queue()
    dispatcher = Dispatcher(engine, lambda token: bytes([token]), check_period=0.01, report=lambda: reports.put(None))
    request, emit = begin(dispatcher, engine, FakeSender())
    reports.get(timeout=GUARD)
    emit(EngineOutput(request, (), finish=FinishReason.END))
    reports.get(timeout=GUARD)
    dispatcher.close()
