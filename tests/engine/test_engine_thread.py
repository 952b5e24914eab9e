"""The engine's thread over a runner that computes nothing."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
from engine_harness import request, tokens

from charter_compiler.diagnostics.errors import ContextLengthError, RequestRejectedError, TargetUnavailableError
from charter_compiler.serve.engine.core import EngineCore
from charter_compiler.serve.engine.interface import Batch, EngineConfig, EngineOutput, FinishReason
from charter_compiler.serve.engine.null_runner import NullRunner
from charter_compiler.serve.engine.thread import Engine

GUARD = 30  # seconds; only a hang takes so long


class Receiver:
    """Collects the outputs of a request."""

    def __init__(self) -> None:
        self.outputs: list[EngineOutput] = []
        self.started = threading.Event()
        self.ended = threading.Event()

    def __call__(self, output: EngineOutput) -> None:
        self.outputs.append(output)
        self.started.set()
        if output.finish:
            self.ended.set()

    def wait(self) -> FinishReason | None:
        assert self.ended.wait(GUARD)
        return self.outputs[-1].finish


class Gate:
    """Holds the model back until it is opened; raises once if told to."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.entered = threading.Event()
        self.failure: Exception | None = None

    def __call__(self, batch: Batch) -> None:
        self.entered.set()
        assert self.open.wait(GUARD)
        if self.failure:
            failure, self.failure = self.failure, None
            raise failure


@pytest.fixture
def gate() -> Gate:
    return Gate()


@pytest.fixture
def engine(gate: Gate) -> Iterator[Engine]:
    outputs = {i: range(i, i + 40) for i in range(400)}
    engine = Engine(EngineCore(EngineConfig(), NullRunner(outputs, gate), time.monotonic_ns))
    engine.start()
    yield engine
    gate.open.set()
    engine.stop()
    assert engine.stats().used_blocks == 0


def test_requests_from_many_threads_all_end(engine: Engine, gate: Gate) -> None:
    gate.open.set()
    receivers = {i: Receiver() for i in range(200)}

    def send(first: int) -> None:
        for i in range(first, 200, 8):
            engine.submit(request(i, range(1, 40 + i % 7), 5), receivers[i])

    threads = [threading.Thread(target=send, args=(first,)) for first in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for i, receiver in receivers.items():
        assert receiver.wait() is FinishReason.LENGTH
        assert tokens(receiver.outputs) == list(range(i, i + 5))
    assert engine.stats().requests == 200


def test_submit_and_cancel_do_not_wait_for_the_model(engine: Engine, gate: Gate) -> None:
    first, second = Receiver(), Receiver()
    engine.submit(request(1, [1], 30), first)
    assert gate.entered.wait(GUARD)
    engine.submit(request(2, [2], 3), second)
    stats = engine.stats()
    assert stats.running + stats.waiting == 2
    engine.cancel(1)
    gate.open.set()
    assert first.wait() is FinishReason.CANCELLED
    assert second.wait() is FinishReason.LENGTH


def test_cancelling_what_has_ended_does_nothing(engine: Engine, gate: Gate) -> None:
    gate.open.set()
    receiver = Receiver()
    engine.submit(request(1, [1], 2), receiver)
    receiver.wait()
    engine.cancel(1)
    again = Receiver()
    engine.submit(request(1, [1], 2), again)
    assert again.wait() in {FinishReason.LENGTH, FinishReason.CANCELLED}
    assert len([output for output in receiver.outputs if output.finish]) == 1


def test_a_failing_model_ends_its_requests_and_not_the_engine(engine: Engine, gate: Gate) -> None:
    gate.failure = RuntimeError("out of luck")
    receiver = Receiver()
    engine.submit(request(1, [1], 3), receiver)
    gate.open.set()
    assert receiver.wait() is FinishReason.ERROR
    assert "out of luck" in (receiver.outputs[-1].error or "")
    later = Receiver()
    engine.submit(request(2, [1], 3), later)
    assert later.wait() is FinishReason.LENGTH


def test_a_failing_receiver_ends_its_own_request_only(engine: Engine, gate: Gate) -> None:
    calls = []

    def broken(output: EngineOutput) -> None:
        calls.append(output)
        raise ConnectionError("gone")

    good = Receiver()
    engine.submit(request(1, [1], 30), broken)
    engine.submit(request(2, [1], 30), good)
    gate.open.set()
    assert good.wait() is FinishReason.LENGTH
    assert len(calls) == 1
    engine.submit(request(1, [1], 1), Receiver())  # its id is free again


def test_wrong_requests_raise_where_they_are_submitted(engine: Engine) -> None:
    with pytest.raises(ContextLengthError):
        engine.submit(request(1, range(9000), 1), Receiver())
    with pytest.raises(RequestRejectedError):
        engine.submit(request(1, [], 1), Receiver())


def test_an_id_in_use_is_refused(engine: Engine) -> None:
    engine.submit(request(1, [1], 3), Receiver())
    with pytest.raises(RequestRejectedError, match="in use"):
        engine.submit(request(1, [1], 3), Receiver())


def test_stopping_cancels_what_is_left() -> None:
    gate = Gate()
    engine = Engine(
        EngineCore(EngineConfig(max_running=1), NullRunner({1: range(40), 2: [1]}, gate), time.monotonic_ns)
    )
    running, waiting = Receiver(), Receiver()
    engine.start()
    engine.submit(request(1, [1], 40), running)
    engine.submit(request(2, [1], 1), waiting)
    assert gate.entered.wait(GUARD)
    stopper = threading.Thread(target=engine.stop)
    stopper.start()
    gate.open.set()
    stopper.join(GUARD)
    assert (running.wait(), waiting.wait()) == (FinishReason.CANCELLED, FinishReason.CANCELLED)
    with pytest.raises(TargetUnavailableError):
        engine.submit(request(3, [1], 1), Receiver())
    engine.stop()


def test_an_engine_that_never_started_can_be_stopped() -> None:
    Engine(EngineCore(EngineConfig(), NullRunner({}), time.monotonic_ns)).stop()
