"""What the three APIs have in common: reading fields strictly, errors, usage, server-sent events. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from charter_compiler.diagnostics.errors import (
    AuthenticationError,
    CharterError,
    ContextLengthError,
    RequestRejectedError,
    TargetOverloadedError,
    TargetTimeoutError,
    TargetUnavailableError,
    TokenizerError,
    UnknownModelError,
)
from charter_compiler.executor.types import GenerationRequest, GenerationResult

DEFAULT_MAX_TOKENS = 1024
"""Of a request that does not say how long its answer may be."""

_STATUS: tuple[tuple[type[CharterError], int], ...] = (
    (ContextLengthError, 400),
    (RequestRejectedError, 400),
    (TargetOverloadedError, 429),
    (TargetTimeoutError, 504),
    (TargetUnavailableError, 503),
    (UnknownModelError, 502),
    (TokenizerError, 400),  # the text, or a chat that the model's template does not take
    (AuthenticationError, 502),  # the target's credentials are ours, not the client's
)


def status_of(error: CharterError) -> int:
    """The HTTP status of an error."""
    return next((status for kind, status in _STATUS if isinstance(error, kind)), 502)


def read_json(text: str | bytes | bytearray) -> Any:
    """A JSON document. Raises ValueError for anything else: for what Python alone reads (``NaN``), and what is nested
    too deep, too."""

    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is no JSON")

    try:
        return json.loads(text, parse_constant=refuse)
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error


def event(data: Mapping[str, Any], name: str | None = None) -> str:
    """One server-sent event."""
    head = "" if name is None else f"event: {name}\n"
    return f"{head}data: {json.dumps(data)}\n\n"


class Fields:
    """The fields of a body, each of which is taken or refused: what would change the answer is never dropped."""

    def __init__(self, body: Mapping[str, Any]) -> None:
        self._body = dict(body)

    def take(self, name: str, kinds: type | tuple[type, ...], default: Any = None) -> Any:
        """A field; ``null`` is the same as none. Raises RequestRejectedError where it has another type."""
        value = self._body.pop(name, None)
        if value is None:
            return default
        if not isinstance(value, kinds) or (isinstance(value, bool) and kinds is not bool):
            raise RequestRejectedError(f"{name} is a {type(value).__name__}", remedy="see the API's reference")
        return value

    def need(self, name: str, kinds: type | tuple[type, ...]) -> Any:
        """A field that must be there."""
        value = self.take(name, kinds)
        if value is None:
            raise RequestRejectedError(f"{name} is missing")
        return value

    def ignore(self, *names: str) -> None:
        """Fields that do not change the answer."""
        for name in names:
            self._body.pop(name, None)

    def neutral(self, **values: Sequence[Any]) -> None:
        """Fields that are taken only where they change nothing."""
        for name, allowed in values.items():
            value = self._body.get(name)
            if value is None or value in allowed:
                self._body.pop(name, None)

    def finish(self) -> None:
        """Raises RequestRejectedError for what is left."""
        left = [name for name, value in self._body.items() if value is not None]
        if left:
            raise RequestRejectedError(f"the gateway does not support {', '.join(sorted(left))}", remedy="leave it out")


NUMBER = (int, float)


def text_of(content: object, kinds: Sequence[str] = ("text", "input_text", "output_text")) -> str:
    """The text of a message's content: a string, or parts that are all texts.

    Raises:
        RequestRejectedError: a part is an image, audio or something else.
    """
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise RequestRejectedError("a message has no content")
    texts = []
    for part in content:
        if not isinstance(part, dict) or part.get("type") not in kinds or not isinstance(part.get("text"), str):
            kind = part.get("type") if isinstance(part, dict) else type(part).__name__
            raise RequestRejectedError(f"a part of a message is {kind!r}", remedy="the gateway takes texts")
        texts.append(part["text"])
    return "".join(texts)


def messages_of(messages: Sequence[Any]) -> tuple[dict[str, str], ...]:
    """``{"role", "content"}`` of each message.

    Raises:
        RequestRejectedError: there is none, or one has another role.
    """
    found = []
    for message in messages:
        role = message.get("role") if isinstance(message, dict) else None
        if role == "developer":
            role = "system"
        if role not in ("system", "user", "assistant"):
            raise RequestRejectedError(f"a message of the role {role!r}", remedy="see the API's reference")
        found.append({"role": role, "content": text_of(message.get("content"))})
    if not found:
        raise RequestRejectedError("messages is empty")
    return tuple(found)


def stop_of(value: str | list[Any] | None) -> tuple[str, ...]:
    """Stop texts. Raises RequestRejectedError where one is no text."""
    texts = (value,) if isinstance(value, str) else tuple(value or ())
    if not all(isinstance(text, str) and text for text in texts):
        raise RequestRejectedError("stop holds something that is no text")
    return texts


def was_cut(request: GenerationRequest, result: GenerationResult) -> bool:
    """Whether the answer ended for its length; by its tokens where the target does not say why."""
    if result.finish_reason is not None:
        return result.finish_reason == "length"
    return result.output_tokens is not None and result.output_tokens >= request.max_tokens
