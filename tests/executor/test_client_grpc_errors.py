"""Foreign failures become Charter's errors in one place, and none is forgotten."""

from __future__ import annotations

import grpc
import pytest

from charter_compiler.diagnostics import errors
from charter_compiler.executor.grpc_errors import (
    BY_CODE,
    MESSAGE_LIMIT,
    error_from_grpc,
    error_from_status,
    one_line,
)

PLACE = "triton://host:8001/ensemble"


def test_every_status_code_has_a_meaning() -> None:
    assert set(BY_CODE) == set(grpc.StatusCode)


@pytest.mark.parametrize("code", list(grpc.StatusCode))
def test_every_code_makes_one_line_with_place_and_remedy(code: grpc.StatusCode) -> None:
    error = error_from_status(code, "first line\nsecond line", place=PLACE)
    assert isinstance(error, errors.TargetError)
    assert str(error).startswith(f"{PLACE}: first line second line (")
    assert "\n" not in str(error)


@pytest.mark.parametrize("code", list(grpc.StatusCode))
def test_a_status_without_a_message_is_named(code: grpc.StatusCode) -> None:
    assert error_from_status(code, "", place=PLACE).message


@pytest.mark.parametrize(
    ("code", "message", "kind"),
    [
        ("UNAVAILABLE", "failed to connect to all addresses", errors.TargetUnavailableError),
        ("UNAVAILABLE", "Request for unknown model: 'x' has no available versions", errors.UnknownModelError),
        ("NOT_FOUND", "Request for unknown model: 'x' is not found", errors.UnknownModelError),
        ("UNAVAILABLE", "Exceeds maximum queue size", errors.TargetOverloadedError),
        ("UNAVAILABLE", "Request timeout expired", errors.TargetTimeoutError),
        ("UNAVAILABLE", "This protocol is restricted, expecting header 'x'", errors.AuthenticationError),
        ("UNAVAILABLE", "Ssl handshake failed: certificate verify failed", errors.AuthenticationError),
        ("RESOURCE_EXHAUSTED", "slow down", errors.TargetOverloadedError),
        ("INTERNAL", "Internal error from Core", errors.TargetUnavailableError),
        (
            "RESOURCE_EXHAUSTED",
            "CLIENT: Received message larger than max (9 vs. 4)",
            errors.RequestRejectedError,
        ),
        (
            "INTERNAL",
            "Executor failed process requestId 3: Prompt length (200) exceeds maximum input length (100)",
            errors.ContextLengthError,
        ),
        (
            "INVALID_ARGUMENT",
            "in ensemble 'e', 9000 prompt tokens and 5 output tokens exceed the context of 8192 tokens (x)",
            errors.ContextLengthError,
        ),
        ("INVALID_ARGUMENT", "5 prompt tokens and 9 output tokens exceed the KV cache of 8", errors.ContextLengthError),
        ("INVALID_ARGUMENT", "unexpected shape for input 'seed'", errors.RequestRejectedError),
        ("INTERNAL", "CUDA error", errors.TargetError),
        ("CANCELLED", "Request for unknown model", errors.RequestCancelledError),
        ("UNIMPLEMENTED", "ModelInfer RPC doesn't support decoupled models", errors.TargetProtocolError),
    ],
)
def test_codes_that_mean_several_things_are_told_apart_by_their_message(
    code: str, message: str, kind: type[errors.TargetError]
) -> None:
    assert type(error_from_status(grpc.StatusCode[code], message, place=PLACE)) is kind


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ("Prompt length (200) exceeds maximum input length (100)", errors.ContextLengthError),
        ("Request was cancelled", errors.RequestCancelledError),
        ("Exceeds maximum queue size", errors.TargetOverloadedError),
        ("something else", errors.TargetError),
    ],
)
def test_a_message_without_a_code_is_read(message: str, kind: type[errors.TargetError]) -> None:
    assert type(error_from_status(None, message, place=PLACE)) is kind


def test_a_remedy_that_the_server_gave_is_not_repeated() -> None:
    error = error_from_status(grpc.StatusCode.INVALID_ARGUMENT, "top_p is 2.0 (it must be below 1)", place=PLACE)
    assert str(error) == f"{PLACE}: top_p is 2.0 (it must be below 1)"


def test_futures_of_grpc_are_mapped() -> None:
    assert type(error_from_grpc(grpc.FutureCancelledError(), place=PLACE)) is errors.RequestCancelledError
    assert type(error_from_grpc(grpc.FutureTimeoutError(), place=PLACE)) is errors.TargetTimeoutError


def test_a_secret_that_a_server_quotes_is_not_shown() -> None:
    error = error_from_status(grpc.StatusCode.UNAUTHENTICATED, "bad token sesame", place=PLACE, secrets=("sesame", ""))
    assert "sesame" not in str(error)
    assert "***" in str(error)


def test_long_messages_are_cut() -> None:
    assert len(one_line("word " * 1000)) == MESSAGE_LIMIT + len("...")
