"""Reads a server's Prometheus endpoint, in both forms. Foreign errors of httpx end here."""

from __future__ import annotations

from urllib.parse import urlsplit

import httpx

from charter_compiler.diagnostics.errors import (
    TargetError,
    TargetProtocolError,
    TargetTimeoutError,
    TargetUnavailableError,
)
from charter_compiler.executor.prometheus import parse_metrics

TIMEOUT = 5.0
"""Seconds; metrics come from memory."""


def read_metrics(url: str, *, loopback: bool) -> dict[str, float]:
    """The samples at ``url``, as ``parse_metrics`` names them. ``loopback``: no proxy leads there.

    Raises:
        TargetError: nothing answers, or it is no metrics text.
    """
    try:
        with httpx.Client(timeout=TIMEOUT, trust_env=not loopback) as client:
            response = client.get(url)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise _mapped(error, url) from error
    return _parsed(response, url)


async def read_metrics_async(url: str, *, loopback: bool) -> dict[str, float]:
    """``read_metrics`` for an event loop."""
    try:
        async with httpx.AsyncClient(timeout=TIMEOUT, trust_env=not loopback) as client:
            response = await client.get(url)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise _mapped(error, url) from error
    return _parsed(response, url)


def _parsed(response: httpx.Response, url: str) -> dict[str, float]:
    if response.status_code != httpx.codes.OK:
        raise TargetProtocolError(
            f"the metrics answered {response.status_code} {response.reason_phrase}",
            place=_shown(url),
            remedy="give the client another metrics_url",
        )
    return parse_metrics(response.text, place=_shown(url))


def _mapped(error: Exception, url: str) -> TargetError:
    if isinstance(error, httpx.TimeoutException):
        return TargetTimeoutError(f"the metrics did not come within {TIMEOUT:g} s", place=_shown(url))
    return TargetUnavailableError(
        f"the metrics cannot be read: {error}",
        place=_shown(url),
        remedy="give the client metrics_url, or start the server with metrics",
    )


def _shown(url: str) -> str:
    """The address without user and password."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
