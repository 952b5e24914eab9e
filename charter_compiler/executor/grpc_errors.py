"""Where failures of gRPC and Triton become Charter's errors: the one place that knows foreign ones.

Every ``grpc.StatusCode`` has an entry in ``BY_CODE`` (a test holds that). Some codes mean several things in Triton, and
only the message tells them apart: ``BY_MESSAGE`` is that table. The messages are those of Triton's core, TensorRT-LLM
and gRPC.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

import grpc

from charter_compiler.diagnostics.errors import (
    AuthenticationError,
    ContextLengthError,
    RequestCancelledError,
    RequestRejectedError,
    TargetError,
    TargetOverloadedError,
    TargetProtocolError,
    TargetTimeoutError,
    TargetUnavailableError,
    UnknownModelError,
)

MESSAGE_LIMIT = 400
"""Characters of a server's message that an error keeps; Python backends send whole tracebacks."""


@dataclass(frozen=True, slots=True)
class Meaning:
    """What an error is in Charter's tree, and what its reader can do about it."""

    error: type[TargetError]
    remedy: str


UNAVAILABLE = Meaning(TargetUnavailableError, "is the server running, and is this its gRPC port?")
TIMEOUT = Meaning(TargetTimeoutError, "raise the timeout, or send less at once")
OVERLOADED = Meaning(TargetOverloadedError, "lower the concurrency")
PROTOCOL = Meaning(TargetProtocolError, "is this a Triton server with a TensorRT-LLM model?")
AUTHENTICATION = Meaning(AuthenticationError, "check the headers and the certificates given to the client")
UNKNOWN_MODEL = Meaning(UnknownModelError, "check the model's name, and in the server's log that it was loaded")
CANCELLED = Meaning(RequestCancelledError, "send it again if its answer is still wanted")
REJECTED = Meaning(RequestRejectedError, "correct the request")
CONTEXT = Meaning(ContextLengthError, "shorten the prompt, or serve the model with a longer context")
TOO_LARGE = Meaning(RequestRejectedError, "shorten the prompt")
FAILED = Meaning(TargetError, "see the server's log")

BY_CODE: dict[grpc.StatusCode, Meaning] = {
    grpc.StatusCode.OK: PROTOCOL,  # a failure that claims success
    grpc.StatusCode.CANCELLED: CANCELLED,
    grpc.StatusCode.UNKNOWN: FAILED,
    grpc.StatusCode.INVALID_ARGUMENT: REJECTED,
    grpc.StatusCode.DEADLINE_EXCEEDED: TIMEOUT,
    grpc.StatusCode.NOT_FOUND: UNKNOWN_MODEL,
    grpc.StatusCode.ALREADY_EXISTS: REJECTED,
    grpc.StatusCode.PERMISSION_DENIED: AUTHENTICATION,
    grpc.StatusCode.UNAUTHENTICATED: AUTHENTICATION,
    grpc.StatusCode.RESOURCE_EXHAUSTED: OVERLOADED,
    grpc.StatusCode.FAILED_PRECONDITION: REJECTED,
    grpc.StatusCode.ABORTED: UNAVAILABLE,
    grpc.StatusCode.UNIMPLEMENTED: PROTOCOL,
    grpc.StatusCode.INTERNAL: FAILED,
    grpc.StatusCode.UNAVAILABLE: UNAVAILABLE,
    grpc.StatusCode.DATA_LOSS: PROTOCOL,
    grpc.StatusCode.OUT_OF_RANGE: REJECTED,
}

BY_MESSAGE: tuple[tuple[re.Pattern[str], Meaning], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), meaning)
    for pattern, meaning in (
        # Before the context's patterns: gRPC's own limit on a message also speaks of a maximum.
        (r"(sent|received) message larger than max", TOO_LARGE),
        (r"prompt length .* exceeds max|exceeds? (the )?(maximum|max) (input|sequence|context)", CONTEXT),
        (r"max_seq_len|context length|(exceeds?|fit|fit into|fit in) the (context|kv cache)", CONTEXT),
        (r"^internal error from core$", UNAVAILABLE),  # gRPC's asyncio API, of a connection that broke between messages
        (r"unknown model|has no available versions|is not (ready|found)$", UNKNOWN_MODEL),
        (r"exceeds maximum queue size|too many requests", OVERLOADED),
        (r"request timeout expired|deadline exceeded", TIMEOUT),
        (r"protocol is restricted", AUTHENTICATION),
        (r"certificate|handshake", AUTHENTICATION),
        (r"request (was|is|has been) cancell?ed", CANCELLED),
        (r"unexpected (inference )?(input|shape|datatype)|must specify|invalid argument|is not supported", REJECTED),
    )
)

AMBIGUOUS = frozenset(
    {
        None,  # an error inside a stream carries no code
        grpc.StatusCode.UNKNOWN,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.NOT_FOUND,
    }
)
"""Codes whose message is looked at. The others say all there is to say."""


def error_from_status(
    code: grpc.StatusCode | None, message: str, *, place: str, secrets: Iterable[str] = ()
) -> TargetError:
    """The error for a status and its message; ``code`` ``None`` where the server sent a message alone.

    Args:
        place: the target, as ``triton://host:port/model``.
        secrets: values of headers; a server that quotes one must not carry it into a log.
    """
    meaning = BY_CODE[code] if code is not None else FAILED
    if code in AMBIGUOUS:
        meaning = next((found for pattern, found in BY_MESSAGE if pattern.search(message)), meaning)
    text = one_line(message, secrets) or (code.name.lower().replace("_", " ") if code else "the server gave no reason")
    # The embedded server's own errors end with their remedy.
    return meaning.error(text, place=place, remedy=None if text.endswith(")") else meaning.remedy)


def error_from_grpc(error: Exception, *, place: str, secrets: Iterable[str] = ()) -> TargetError:
    """The error for what a gRPC call raised: ``grpc.RpcError`` (both APIs) or a future's cancellation or time-out."""
    if isinstance(error, grpc.FutureCancelledError):
        return error_from_status(grpc.StatusCode.CANCELLED, "", place=place)
    if isinstance(error, grpc.FutureTimeoutError):
        return error_from_status(grpc.StatusCode.DEADLINE_EXCEEDED, "", place=place)
    code = error.code() if hasattr(error, "code") else None
    details = error.details() if hasattr(error, "details") else str(error)
    return error_from_status(code, details or "", place=place, secrets=secrets)


def one_line(message: str, secrets: Iterable[str] = ()) -> str:
    """``message`` without line breaks, without the secrets, cut to ``MESSAGE_LIMIT``."""
    text = " ".join(message.split())
    for secret in secrets:
        if secret:
            text = text.replace(secret, "***")
    return text if len(text) <= MESSAGE_LIMIT else f"{text[:MESSAGE_LIMIT]}..."
