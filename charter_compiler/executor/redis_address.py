"""Where a Redis or Valkey server is, and the one boundary for what its client raises."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from charter_compiler.diagnostics.errors import CharterError, UsageError

if TYPE_CHECKING:
    from redis import Redis
    from redis.asyncio import Redis as AsyncRedis

SCHEMES = ("redis", "rediss")
PASSWORD_VARIABLE = "CHARTER_REDIS_PASSWORD"  # noqa: S105  the name of the variable, not a password
EXTRA = "pip install '.[redis]' in the checkout"
FORM = "write redis://host:port/database, or rediss:// for TLS"
DEFAULT_PORT = 6379
TIMEOUT = 5.0
"""Seconds for connecting, and for one answer."""
RETRIES = 3
"""Of one command whose connection was lost. Every command that Charter sends may be sent twice."""


@dataclass(frozen=True, slots=True)
class RedisAddress:
    """One server (a Cluster is not followed). ``str`` names it without user and password: that is what may be shown."""

    host: str
    port: int
    database: int
    tls: bool
    user: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'rediss' if self.tls else 'redis'}://{host}:{self.port}/{self.database}"

    def connect(self) -> Redis:
        """A client; it connects with its first command. Raises UsageError where the extra is not installed."""
        with _installed():
            from redis import Redis
            from redis.backoff import ExponentialBackoff
            from redis.retry import Retry
        return Redis(retry=Retry(ExponentialBackoff(cap=1.0, base=0.1), RETRIES), **self._settings())

    def connect_async(self, *, waits: bool = False) -> AsyncRedis:
        """The same for an event loop; ``waits``: for a channel, on which nothing may come for long."""
        with _installed():
            from redis.asyncio import Redis
            from redis.asyncio.retry import Retry
            from redis.backoff import ExponentialBackoff
        settings = self._settings() | ({"socket_timeout": None} if waits else {})
        return Redis(retry=Retry(ExponentialBackoff(cap=1.0, base=0.1), RETRIES), **settings)

    def _settings(self) -> dict[str, Any]:
        return {
            "host": self.host,
            "port": self.port,
            "db": self.database,
            "ssl": self.tls,
            "username": self.user,
            "password": self.password,
            "socket_timeout": TIMEOUT,
            "socket_connect_timeout": TIMEOUT,
        }


def is_redis(place: str) -> bool:
    """Whether a text means to name a Redis server."""
    return place.partition("://")[0] in SCHEMES and "://" in place


def parse_redis(place: str) -> RedisAddress:
    """Read ``redis://[user[:password]@]host[:port][/database]``. The password is better kept out of the command line,
    which other users of the machine can read: in ``$CHARTER_REDIS_PASSWORD``.

    Raises:
        UsageError: it is none. The text is not shown, since it may hold a password.
    """
    try:
        parts = urlsplit(place)
        host, port = parts.hostname, parts.port
        database = int(parts.path.strip("/") or 0)
    except ValueError:
        raise UsageError("the address of the Redis server cannot be read", remedy=FORM) from None
    if parts.scheme not in SCHEMES or not host or database < 0 or parts.query or parts.fragment:
        raise UsageError("the address of the Redis server cannot be read", place=host, remedy=FORM)
    return RedisAddress(
        host=host,
        port=port or DEFAULT_PORT,
        database=database,
        tls=parts.scheme == "rediss",
        user=unquote(parts.username) if parts.username else None,
        password=unquote(parts.password) if parts.password else os.environ.get(PASSWORD_VARIABLE),
    )


@contextmanager
def redis_errors(raised: Callable[[str], CharterError]) -> Iterator[None]:
    """Turn what the client raises into ``raised(cause)``."""
    from redis.exceptions import RedisError

    try:
        yield
    except (RedisError, OSError) as error:
        raise raised(str(error) or type(error).__name__) from error


@contextmanager
def _installed() -> Iterator[None]:
    try:
        yield
    except ImportError as error:
        raise UsageError(f"a Redis server needs the package {error.name}", remedy=EXTRA) from error
