"""Agents that construct an SDK's own client: their base URL is a gateway inside the run, and their requests carry the
run's token and say which item they are of and where in the agent's code they were made."""

from __future__ import annotations

import contextvars
import importlib
import importlib.util
import os
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from socket import socket
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from charter_compiler.executor.calls import CallSites
from charter_compiler.ir.nodes import Call

HOST = "127.0.0.1"
ITEM_HEADER, SITE_HEADER, TOKEN_HEADER = "x-charter-item", "x-charter-site", "x-charter-token"
NO_KEY = "charter-run"
"""What stands in for an API key where the environment has none: the SDKs insist on one. Run tokens begin with it."""

HTTP_LIBRARIES = ("httpx", "httpx2")
"""What the SDKs send with; their clients have the same ``send``."""
REDIRECTED = ("openai", "anthropic", "litellm", "langchain", "agents", "instructor")
"""First words of the APIs, as the IR names them, whose clients find their server by the variables below."""

_ITEM: contextvars.ContextVar[int | None] = contextvars.ContextVar("charter_item", default=None)


def run_token() -> str:
    """A token that nobody guesses."""
    return f"{NO_KEY}-{secrets.token_urlsafe(32)}"


def key_of_environment(name: str) -> str | None:
    """An API key of the user's; ``None`` where there is none, or only a run's token stands in for it."""
    key = os.environ.get(name)
    return None if not key or key.startswith(NO_KEY) else key


@dataclass(frozen=True, slots=True)
class RunListener:
    """Where the clients that an agent constructs send their requests: a socket that listens on ``HOST``, and the token
    without which the gateway behind it refuses them."""

    socket: socket
    token: str = field(default_factory=run_token, repr=False)

    @property
    def url(self) -> str:
        """``http://host:port``."""
        return f"http://{HOST}:{self.socket.getsockname()[1]}"


def uses_sdk(calls: Iterable[Call]) -> bool:
    """Whether the agent reaches models through a client of its own, which can be sent to the run's gateway."""
    return any(call.api.partition(".")[0] in REDIRECTED for call in calls)


@contextmanager
def sdk_environment(url: str, token: str) -> Iterator[None]:
    """The variables in which the stock SDKs look for their server, for the length of a context.

    Args:
        url: ``http://host:port`` of the gateway.
        token: what its clients send as their key. A key of the user's stays: the agent may use it for another server.
    """
    given = {
        "OPENAI_BASE_URL": f"{url}/v1",
        "OPENAI_API_BASE": f"{url}/v1",  # LiteLLM, LangChain and older clients
        "ANTHROPIC_BASE_URL": url,
        "ANTHROPIC_API_BASE": url,  # LiteLLM
    }
    # Either spelling may be the one that a library reads: a proxy must see neither prompts nor keys.
    direct = ",".join(filter(None, (os.environ.get("NO_PROXY"), os.environ.get("no_proxy"), HOST)))
    given |= {"NO_PROXY": direct, "no_proxy": direct}
    keys = {name: key_of_environment(name) or token for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY")}
    before = {name: os.environ.get(name) for name in (*given, *keys)}
    os.environ.update(given | keys)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def begin_item(item: int) -> None:
    """Requests that this task makes from now on, and tasks and threads that inherit its context, are of this item."""
    _ITEM.set(item)


@contextmanager
def guarded_token(url: str, token: str) -> Iterator[None]:
    """While the context lasts, requests of the HTTP libraries that the SDKs use carry ``NO_KEY`` instead of the token,
    in whatever header, where they go to another server than ``url``: their clients find it as a key in the environment.
    Not covered: a token in a URL or a body, other HTTP libraries, and processes that the agent starts."""

    def guard(request: Any) -> None:
        if not _goes_to(url, request):
            for name, value in request.headers.items():
                if token in value:
                    request.headers[name] = value.replace(token, NO_KEY)

    with _every_request(guard):
        yield


@contextmanager
def marked_requests(url: str, token: str, sites: CallSites) -> Iterator[None]:
    """While the context lasts, requests to ``url`` of the HTTP libraries that the SDKs use carry the token, whatever
    their key is, and item and call site.

    Requests of others reach the gateway with no more than their key: they belong to no item."""

    def mark(request: Any) -> None:
        if not _goes_to(url, request):
            return
        request.headers[TOKEN_HEADER] = token
        item, site = _ITEM.get(), sites.here()
        if item is not None:
            request.headers[ITEM_HEADER] = str(item)
        if site is not None:
            request.headers[SITE_HEADER] = f"{site.line}:{quote(site.label)}"  # a header has ASCII alone

    with _every_request(mark):
        yield


def _goes_to(url: str, request: Any) -> bool:
    address = urlsplit(url)
    return (request.url.host, request.url.port) == (address.hostname, address.port)


@contextmanager
def _every_request(change: Callable[[Any], None]) -> Iterator[None]:
    """While the context lasts, the HTTP libraries that the SDKs use let ``change`` change what they send."""
    with ExitStack() as stack:
        for name in HTTP_LIBRARIES:
            if importlib.util.find_spec(name) is not None:
                library = importlib.import_module(name)
                stack.enter_context(_replaced(library.Client, change))
                stack.enter_context(_replaced(library.AsyncClient, change))
        yield


@contextmanager
def _replaced(owner: Any, change: Callable[[Any], None]) -> Iterator[None]:
    send = owner.send

    def changed(self: Any, request: Any, **options: Any) -> Any:
        change(request)
        return send(self, request, **options)

    owner.send = changed
    try:
        yield
    finally:
        owner.send = send


def site_of_header(text: str | None) -> Mapping[str, Any] | None:
    """``{"line", "label"}`` of a marked request; ``None`` for one that is not."""
    line, colon, label = (text or "").partition(":")
    return {"line": int(line), "label": unquote(label)} if colon and line.isdecimal() else None
