"""An envelope as an engine reads it: the reverse of ``envelope.py``."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from charter_compiler.config.hints.envelope import ACTION_VERSION, PREFIX, PROTOCOL_VERSION
from charter_compiler.diagnostics.errors import RequestRejectedError
from charter_compiler.plan.hints import HintAction

MAX_ACTIONS = 256
_WITH_PRIORITY = frozenset({HintAction.RETAIN, HintAction.DEMOTE})
_BY_NAME = {str(action): action for action in HintAction}


@dataclass(frozen=True, slots=True)
class ReceivedAction:
    """One action. ``action`` None: not one on blocks, or of another version, which ``note`` says; it is to be ignored.
    ``fault``: what makes it impossible. ``start`` and ``end`` are tokens of the request's own prompt (None: to its
    end). ``duration_ms`` is the lease of a pin. A prefix is named by ``prefix_id``, or given by ``token_ids``."""

    action_id: str
    action_type: str
    action: HintAction | None = None
    start: int = 0
    end: int | None = None
    priority: int | None = None
    duration_ms: float | None = None
    prefix_id: str | None = None
    token_ids: tuple[int, ...] = ()
    note: str = ""
    fault: str = ""


@dataclass(frozen=True, slots=True)
class ReceivedEnvelope:
    message_id: str
    actions: tuple[ReceivedAction, ...]


def read_envelope(text: str) -> ReceivedEnvelope:
    """Raises RequestRejectedError where it is no envelope at all; what is wrong with one action stays with that action,
    since no answer depends on it."""
    try:
        found = json.loads(text)
    except ValueError as error:
        raise _refused(f"is not JSON: {error}") from error
    actions = found.get("actions") if isinstance(found, dict) else None
    if not isinstance(actions, list) or not all(isinstance(one, dict) for one in actions):
        raise _refused("is not an envelope: it has no list of actions")
    if len(actions) > MAX_ACTIONS:
        raise _refused(f"has {len(actions)} actions and {MAX_ACTIONS} are taken")
    protocol = found.get("protocol_version")
    note = "" if protocol == PROTOCOL_VERSION else f"protocol version {protocol} is not {PROTOCOL_VERSION}"
    return ReceivedEnvelope(str(found.get("message_id", "")), tuple(_read(one, note) for one in actions))


def _read(one: Mapping[str, Any], note: str) -> ReceivedAction:
    ids = str(one.get("action_id", "")), str(one.get("action_type", ""))
    action = _BY_NAME.get(ids[1].removeprefix(PREFIX))
    version = str(one.get("action_version", ACTION_VERSION))
    if not note and action is None:
        note = "not an action on blocks that is known here"
    elif not note and version.partition(".")[0] != ACTION_VERSION.partition(".")[0]:
        note = f"version {version} is not {ACTION_VERSION}"
    if note or action is None:
        return ReceivedAction(*ids, note=note)
    payload = one.get("payload")
    try:
        return _read_payload(ids, action, payload if isinstance(payload, dict) else {})
    except ValueError as error:
        return ReceivedAction(*ids, action, fault=str(error))


def _read_payload(ids: tuple[str, str], action: HintAction, payload: Mapping[str, Any]) -> ReceivedAction:
    target = payload.get("target")
    if not isinstance(target, dict):
        raise ValueError("it has no target")
    prefix = target.get("prefix_id")
    prefix_id = None if prefix is None else str(prefix)
    if action is HintAction.PREFETCH:
        return ReceivedAction(*ids, action, prefix_id=prefix_id, token_ids=_token_ids(target, prefix_id))
    start, end = _range(target)
    lease = "lease_ms" if action is HintAction.PIN else "duration_ms"
    return ReceivedAction(
        *ids,
        action,
        start,
        end,
        _number(payload, "priority", required=action in _WITH_PRIORITY),
        _number(payload, lease, required=action is HintAction.PIN),
        prefix_id,
    )


def _range(target: Mapping[str, Any]) -> tuple[int, int | None]:
    found = target.get("token_range", [0, None])
    if not isinstance(found, list) or len(found) != 2:
        raise ValueError("token_range is not two numbers")
    start, end = found
    if not _whole(start) or not (end is None or _whole(end)) or (end is not None and end <= start):
        raise ValueError(f"token_range from {start} to {end} is none")
    return start, end


def _token_ids(target: Mapping[str, Any], prefix_id: str | None) -> tuple[int, ...]:
    ids = target.get("token_ids", [])
    if not isinstance(ids, list) or not all(_whole(one) for one in ids):
        raise ValueError("token_ids is not a list of token ids")
    if not ids and prefix_id is None:
        raise ValueError("its target has neither prefix_id nor token_ids")
    return tuple(ids)


def _number(payload: Mapping[str, Any], name: str, *, required: bool) -> Any:
    value = payload.get(name)
    if value is None:
        if required:
            raise ValueError(f"{name} is missing")
        return None
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not math.isfinite(value) or value < 0 or (name == "priority" and value != int(value)):
        raise ValueError(f"{name} is {value}")
    return int(value) if name == "priority" else value


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _refused(what: str) -> RequestRejectedError:
    return RequestRejectedError(
        f"the parameter kv_hints {what}", remedy="send an envelope of the KV hints protocol 0.1, or leave it out"
    )
