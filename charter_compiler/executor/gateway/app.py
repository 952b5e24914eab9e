"""The gateway as an ASGI application."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import math
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Mapping
from contextlib import aclosing
from typing import Any, Protocol, TypeVar

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from charter_compiler.diagnostics.errors import (
    CharterError,
    RequestCancelledError,
    RequestRejectedError,
    TargetOverloadedError,
)
from charter_compiler.executor.gateway import anthropic_api, openai_api, responses_api
from charter_compiler.executor.gateway.calls import Caller, GatewayCalls
from charter_compiler.executor.gateway.wire import event, read_json, status_of
from charter_compiler.executor.sdk_calls import ITEM_HEADER, SITE_HEADER, TOKEN_HEADER
from charter_compiler.executor.types import GenerationRequest, GenerationResult, StreamChunk

T = TypeVar("T")

USER_HEADER = "x-charter-user"
"""Names the user whose share of the target a request comes out of."""

DENIED = "the token is missing or wrong"

MAX_BODY = 32 << 20
"""Bytes of a request."""
LOOPBACK_HOSTS = ["localhost", "127.0.0.1", "[::1]", "::1"]
"""What a request to a loopback address is addressed to. A page in a browser that was led there names another host."""


class Shape(Protocol):
    """How one API writes an answer."""

    stream: bool

    def whole(self, request: GenerationRequest, result: GenerationResult, model: str) -> dict[str, Any]: ...
    def begin(self, model: str) -> Any: ...
    def text(self, piece: str, model: str) -> Any: ...
    def end(self, request: GenerationRequest, result: GenerationResult, model: str) -> Any: ...


Parse = Callable[[Mapping[str, Any]], tuple[GenerationRequest, Shape]]
ErrorBody = Callable[[str, int], dict[str, Any]]


def make_app(calls: GatewayCalls, *, token: str | None, host: str | None, refusal: str | None = None) -> Starlette:
    """The application.

    Args:
        token: what a client must send as ``Authorization: Bearer``, ``x-api-key`` or ``x-charter-token``; ``None`` for
            nothing.
        host: the loopback address that it is bound to: names of other hosts are refused then; ``None`` for another.
        refusal: what a client without the token is told; ``DENIED`` if not given.
    """
    model, refusal = calls.model, refusal or DENIED

    def endpoint(parse: Parse, error_body: ErrorBody) -> Callable[[Request], Any]:
        async def handle(request: Request) -> Response:
            if not _allowed(request, token):
                return JSONResponse(error_body(refusal, 401), 401)
            try:
                asked, shape = parse(await _body(request))
                caller = _caller(request)
                if shape.stream:
                    return await _streamed(request, calls, asked, caller, shape, model, error_body)
                result = await _unless_it_hangs_up(request, calls.generate(asked, caller))
            except CharterError as error:
                return _failure(error, error_body)
            return JSONResponse(shape.whole(asked, result, model))

        return handle

    async def models(request: Request) -> Response:
        if not _allowed(request, token):
            return JSONResponse(openai_api.error_body(refusal, 401), 401)
        entry = {"id": model, "object": "model", "created": 0, "owned_by": "charter"}
        return JSONResponse({"object": "list", "data": [entry]})

    async def metrics(request: Request) -> Response:
        if not _allowed(request, token):
            return PlainTextResponse(f"{refusal}\n", 401)
        found = calls.metrics
        return PlainTextResponse("" if found is None else found.text(), media_type="text/plain; version=0.0.4")

    openai = openai_api.error_body
    routes = [
        Route("/metrics", metrics, methods=["GET"]),
        Route("/v1/models", models, methods=["GET"]),
        Route("/v1/chat/completions", endpoint(lambda b: openai_api.parse(b, chat=True), openai), methods=["POST"]),
        Route("/v1/completions", endpoint(lambda b: openai_api.parse(b, chat=False), openai), methods=["POST"]),
        Route("/v1/responses", endpoint(responses_api.parse, openai), methods=["POST"]),
        Route("/v1/messages", endpoint(anthropic_api.parse, anthropic_api.error_body), methods=["POST"]),
    ]
    if host is None:
        return Starlette(routes=routes)
    known = Middleware(TrustedHostMiddleware, allowed_hosts=[*LOOPBACK_HOSTS, host], www_redirect=False)
    return Starlette(routes=routes, middleware=[known])


def _caller(request: Request) -> Caller:
    """Users are told apart by what they say they are, else by their keys (of which a hash is kept)."""
    headers = request.headers
    said = headers.get(USER_HEADER) or headers.get("authorization") or headers.get("x-api-key") or ""
    item = headers.get(ITEM_HEADER, "")
    return Caller(
        user=hashlib.blake2b(said.encode(), digest_size=8).hexdigest(),
        item=int(item) if item.isdecimal() else None,
        site=headers.get(SITE_HEADER),
    )


def _allowed(request: Request, token: str | None) -> bool:
    if token is None:
        return True
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    sent = (
        given if scheme.lower() == "bearer" else "",
        request.headers.get("x-api-key", ""),
        request.headers.get(TOKEN_HEADER, ""),  # a run's, beside a key that is the agent's own
    )
    return any(hmac.compare_digest(each.encode(), token.encode()) for each in sent)


async def _body(request: Request) -> dict[str, Any]:
    """The JSON object of a request. That its type is declared keeps forms of web pages out."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise RequestRejectedError("the content type is not application/json")
    data = bytearray()
    try:
        async for piece in request.stream():
            data += piece
            if len(data) > MAX_BODY:
                raise RequestRejectedError(f"the request is larger than {MAX_BODY} bytes")
    except ClientDisconnect:
        raise RequestCancelledError("the client hung up") from None
    try:
        body = read_json(data)
    except ValueError as error:
        raise RequestRejectedError(f"the request is not JSON: {error}") from None
    if not isinstance(body, dict):
        raise RequestRejectedError("the request is not a JSON object")
    return body


async def _streamed(
    request: Request,
    calls: GatewayCalls,
    asked: GenerationRequest,
    caller: Caller,
    shape: Shape,
    model: str,
    error_body: ErrorBody,
) -> Response:
    """Headers go out with the first piece, so that a call which fails before it has its status."""
    chunks = calls.stream(asked, caller)
    try:
        first = await _unless_it_hangs_up(request, _first(chunks))
    except BaseException:
        await chunks.aclose()
        raise

    async def events() -> AsyncIterator[str]:
        async with aclosing(chunks):
            for line in shape.begin(model):
                yield line
            try:
                for line in _events_of(first, asked, shape, model):
                    yield line
                async for chunk in chunks:
                    for line in _events_of(chunk, asked, shape, model):
                        yield line
            except CharterError as error:
                body = error_body(str(error), status_of(error))
                yield event(body, "error" if "type" in body else None)

    return StreamingResponse(events(), media_type="text/event-stream", headers={"cache-control": "no-store"})


async def _first(chunks: AsyncGenerator[StreamChunk, None]) -> StreamChunk:
    return await anext(chunks)


async def _unless_it_hangs_up(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """The result, for a client that waits for it. The whole body has been read: what comes next is its farewell.

    Raises:
        RequestCancelledError: the client has gone, and the work is cancelled; or the gateway has ended.
    """
    working, leaving = asyncio.ensure_future(work), asyncio.ensure_future(request.receive())
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise RequestCancelledError("the client hung up")
        if working.cancelled():
            raise RequestCancelledError("the gateway has ended")
        return working.result()
    finally:
        for task in (working, leaving):
            task.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)


def _events_of(chunk: StreamChunk, asked: GenerationRequest, shape: Shape, model: str) -> list[str]:
    lines = list(shape.text(chunk.text, model)) if chunk.text else []
    return lines if chunk.result is None else [*lines, *shape.end(asked, chunk.result, model)]


def _failure(error: CharterError, error_body: ErrorBody) -> Response:
    status = status_of(error)
    headers = {}
    if isinstance(error, TargetOverloadedError) and error.retry_after is not None:
        headers["retry-after"] = str(math.ceil(error.retry_after))  # not before its time
    return JSONResponse(error_body(str(error), status), status, headers)
