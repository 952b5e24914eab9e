"""The engine's thread: requests come in from any thread, outputs go out through a callback of each request."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass, replace

from charter_compiler.diagnostics.errors import RequestRejectedError, TargetUnavailableError
from charter_compiler.serve.engine.core import EngineCore
from charter_compiler.serve.engine.interface import Emit, EngineOutput, EngineRequest, EngineStats

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Submission:
    request: EngineRequest
    arrival_ns: int


class Engine:
    """Runs a core. All methods may be called from any thread.

    The thread waits on a condition while there is nothing to do. It holds the lock only to take what has arrived, so
    ``submit`` and ``cancel`` never wait for the model. ``emit`` is called from the engine's thread, without a lock, and
    must be quick. If it raises, its request is cancelled and it is not called again.
    """

    def __init__(self, core: EngineCore) -> None:
        self._core = core
        self._changed = threading.Condition()
        self._submissions: list[_Submission] = []
        self._cancellations: list[int] = []
        self._emits: dict[int, Emit] = {}
        self._stopping = False
        self._stats = core.stats()
        self._thread = threading.Thread(target=self._run, name="charter-engine", daemon=True)

    def start(self) -> None:
        """Start the thread; once."""
        self._thread.start()

    def stop(self) -> None:
        """Cancel what is left, emit its end, and wait for the thread. Idempotent; not from within ``emit``."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        if self._thread.ident is not None:
            self._thread.join()

    def submit(self, request: EngineRequest, emit: Emit) -> None:
        """Queue a request. Raises RequestRejectedError (also where the id is in use), ContextLengthError, or
        TargetUnavailableError when the engine is stopping; in each case ``emit`` is not called."""
        self._core.validate(request)
        with self._changed:
            if self._stopping:
                raise TargetUnavailableError("the engine is stopping", remedy="start it again")
            if request.request_id in self._emits:
                raise RequestRejectedError(f"request id {request.request_id} is in use", remedy="choose another")
            self._emits[request.request_id] = emit
            self._submissions.append(_Submission(request, self._core.clock()))
            self._changed.notify()

    def cancel(self, request_id: int) -> None:
        """End a request after the current iteration; its last output then has the finish ``CANCELLED``. Nothing
        happens if it has ended."""
        with self._changed:
            self._cancellations.append(request_id)
            self._changed.notify()

    def stats(self) -> EngineStats:
        """As of the last iteration; what has arrived since counts as waiting."""
        with self._changed:
            return replace(self._stats, waiting=self._stats.waiting + len(self._submissions))

    def _run(self) -> None:
        while self._take():
            try:
                outputs = self._core.step()
            except Exception as error:  # the thread's boundary: a failure ends requests, not the engine
                log.exception("an iteration failed")
                outputs = self._core.fail(f"the model failed: {error}")
            self._publish(outputs)
        self._cancel(list(self._emits))

    def _take(self) -> bool:
        """Wait for work and hand it to the core; False when the engine stops."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._stopping or self._submissions or self._cancellations or not self._core.idle
            )
            submissions, self._submissions = self._submissions, []
            cancellations, self._cancellations = self._cancellations, []
            for submission in submissions:
                self._core.enqueue(submission.request, submission.arrival_ns)
            self._stats = self._core.stats()
        self._cancel(cancellations)
        return not self._stopping

    def _cancel(self, request_ids: list[int]) -> None:
        outputs = [self._core.cancel(request_id) for request_id in request_ids]
        self._publish([output for output in outputs if output is not None])

    def _publish(self, outputs: list[EngineOutput]) -> None:
        """Stats first: whoever learns from an output that a request has ended finds it counted."""
        failed = []
        with self._changed:
            self._stats = self._core.stats()
            emits = [self._emits[o.request_id] if o.finish is None else self._emits.pop(o.request_id) for o in outputs]
        for emit, output in zip(emits, outputs, strict=True):
            try:
                emit(output)
            except Exception:  # a caller's fault ends its own request, not the engine
                log.exception("the receiver of request %d failed", output.request_id)
                failed += [output.request_id] if output.finish is None else []
        for request_id in failed:
            self._core.cancel(request_id)
            with self._changed:
                del self._emits[request_id]
