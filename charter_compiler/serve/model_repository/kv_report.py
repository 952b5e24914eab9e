"""What the engine says of its KV cache beside its answers: what became of hints, and what happened to blocks.

TensorRT-LLM has no tensor for either. They are JSON in one output of Charter's own, which a response has only when it
was asked for. Knows NumPy, not Triton.
"""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from charter_compiler.cache.event_log import EventLog
from charter_compiler.config.hints.received import ReceivedEnvelope
from charter_compiler.diagnostics.errors import RequestRejectedError
from charter_compiler.serve.engine.hints import HintOutcome

REPORT = "charter_kv_report"
"""Output of `tensorrt_llm`: STRING, one a batch entry."""
HINTS, EVENTS_FROM, OUTCOMES_OF = "kv_hints", "kv_events_from", "kv_outcomes_of"
"""Request parameters: an envelope; the number of the first event that is wanted; a message id."""
EVENTS_AT_ONCE = 2048
KEPT_OUTCOMES = 256


class Outcomes:
    """Of the latest envelopes, by message id. Any thread may call it."""

    def __init__(self, kept: int = KEPT_OUTCOMES) -> None:
        self._lock = threading.Lock()
        self._kept = kept
        self._found: OrderedDict[str, list[dict[str, str]]] = OrderedDict()

    def add(self, message_id: str, outcomes: Sequence[HintOutcome]) -> None:
        with self._lock:
            self._found[message_id] = as_json(outcomes)
            self._found.move_to_end(message_id)
            if len(self._found) > self._kept:
                self._found.popitem(last=False)

    def of(self, message_id: str) -> list[dict[str, str]] | None:
        with self._lock:
            return self._found.get(message_id)


def as_json(outcomes: Sequence[HintOutcome]) -> list[dict[str, str]]:
    return [
        {
            "action_id": one.action_id,
            "action_type": one.action_type,
            "outcome": str(one.outcome),
            "detail": one.detail,
        }
        for one in outcomes
    ]


def outcome_report(envelope: ReceivedEnvelope, outcomes: Sequence[HintOutcome]) -> NDArray[np.object_]:
    """The output of a request that had an envelope."""
    return report({"message_id": envelope.message_id, "outcomes": as_json(outcomes)})


def answer_query(parameters: Mapping[str, Any], log: EventLog, outcomes: Outcomes) -> NDArray[np.object_] | None:
    """The output of a request that asks for events or outcomes and for no tokens; None where it asks for neither.

    Raises:
        RequestRejectedError: what it asks for cannot be.
    """
    found: dict[str, Any] = {}
    if EVENTS_FROM in parameters:
        found |= _events(parameters[EVENTS_FROM], log)
    if OUTCOMES_OF in parameters:
        name = str(parameters[OUTCOMES_OF])
        found |= {"message_id": name, "outcomes": outcomes.of(name)}
    return report(found) if found else None


def report(value: Mapping[str, Any]) -> NDArray[np.object_]:
    return np.array([[json.dumps(value).encode()]], dtype=np.object_)


def _events(first: Any, log: EventLog) -> dict[str, Any]:
    if not isinstance(first, int) or isinstance(first, bool) or first < 0:
        raise RequestRejectedError(f"the parameter {EVENTS_FROM} is {first!r}", remedy="send a number from 0")
    found = log.since(first, EVENTS_AT_ONCE)
    events = [
        {
            "number": number,
            "event": str(one.kind),
            # 64 bits, which JSON's numbers do not hold everywhere.
            "block": str(one.block),
            "parent": str(one.parent),
            "token_ids": list(one.tokens),
            "priority": one.priority,
        }
        for number, one in enumerate(found.events, start=found.first)
    ]
    return {"events": events, "lost": found.lost, "next": found.next}
