"""The server that is tested: found through its addresses, its model named, the figures it reports made readable."""

from __future__ import annotations

from dataclasses import dataclass, replace

from charter_compiler.api.config_check import INNER
from charter_compiler.deploy.settings import AUTO, Connection, Settings
from charter_compiler.diagnostics.errors import TargetError, TargetUnavailableError
from charter_compiler.executor.targets import DEFAULT_TRITON_MODEL, TargetOptions, served_tokenizer
from charter_compiler.executor.triton_client_production import ProductionTritonClient
from charter_compiler.executor.types import TargetFacts
from charter_compiler.serve.discovery import find_running
from charter_compiler.tokens.tokenizer import Tokenizer, load_tokenizer


@dataclass(frozen=True, slots=True)
class Addresses:
    """What the command line says of addresses; ``None`` where it says nothing."""

    url: str | None = None
    http_url: str | None = None
    metrics_url: str | None = None
    tokenizer: str | None = None


@dataclass(frozen=True, slots=True)
class Server:
    """A server that answers. ``connection.http_url`` and ``metrics_url`` are ``None`` where they are not known."""

    connection: Connection
    model: str
    version: str
    facts: TargetFacts
    tokens_per_block: int | None
    tokenizer: Tokenizer | None

    @property
    def target(self) -> str:
        """As ``charter run --target`` takes it."""
        return f"triton://{self.connection.url}/{self.model}"

    @property
    def kind(self) -> str:
        """What computes, for reports: times of the embedded server say nothing of a GPU."""
        return "embedded server, CPU" if self.facts.embedded else "TensorRT-LLM"

    def options(self) -> TargetOptions:
        """How a run reaches it."""
        return TargetOptions(
            tokenizer=self.connection.tokenizer,
            timeout=self.connection.timeout_s,
            metrics_url=self.connection.metrics_url,
            tokens_per_block=self.tokens_per_block,
        )

    def client(self) -> ProductionTritonClient:
        """A client of its own; to be closed."""
        return make_client(self.connection, self.model, self.tokens_per_block, self.tokenizer)


def make_client(
    connection: Connection, model: str, tokens_per_block: int | None, tokenizer: Tokenizer | None = None
) -> ProductionTritonClient:
    """A client of ``model`` at that address."""
    return ProductionTritonClient(
        connection.url,
        model,
        connection.timeout_s,
        tokenizer=tokenizer,
        tokens_per_block=tokens_per_block,
        metrics_url=connection.metrics_url,
    )


def addressed(settings: Settings, given: Addresses) -> Settings:
    """The settings with the addresses of the command line. Who gives the gRPC address alone means another server than
    the file does: its other addresses are then what an embedded server here says of itself, else not known."""
    connection = settings.connection
    if given.url is not None:
        info = find_running(given.url)
        here = info if info is not None and info.here else None
        connection = replace(
            connection,
            url=given.url,
            http_url=None if here is None else here.http_url,
            metrics_url=None if here is None else here.metrics_url,
        )
    connection = replace(
        connection,
        http_url=given.http_url or connection.http_url,
        metrics_url=given.metrics_url or connection.metrics_url,
        tokenizer=given.tokenizer or connection.tokenizer,
    )
    return replace(settings, connection=connection)


def connect(settings: Settings) -> Server:
    """Ask the server what it is.

    Raises:
        TargetUnavailableError: nothing answers, or none of the models is ready.
        TokenizerError: the settings name one that cannot be read.
    """
    connection, size = settings.connection, settings.cache.tokens_per_block
    names = (DEFAULT_TRITON_MODEL, INNER) if connection.model == AUTO else (connection.model,)
    reason: str | None = None
    for name in names:
        with make_client(connection, name, size) as client:
            health = client.health_check()
            if health:
                return Server(connection, name, health.version or "", client.facts(), size, _tokenizer(connection))
            reason = reason or health.reason
    raise TargetUnavailableError(
        f"no model of {', '.join(names)} is ready: {reason}",
        place=connection.url,
        remedy="is the server up and the tunnel too? scripts/lambda_tunnel.sh status; or: charter serve",
    )


def _tokenizer(connection: Connection) -> Tokenizer | None:
    """The one that is named, else that of an embedded server."""
    if connection.tokenizer is not None:
        return load_tokenizer(connection.tokenizer)
    info = find_running(connection.url)
    return None if info is None else served_tokenizer(info, None)


def monitored(server: Server, prefixes: tuple[str, ...]) -> dict[str, float]:
    """The server's samples whose names begin so; empty where its metrics are not known or not readable."""
    if server.connection.metrics_url is None:
        return {}
    with server.client() as client:
        try:
            found = client.get_metrics()
        except TargetError:
            return {}  # the health case is the one that judges it
    return {name: value for name, value in found.items() if name.startswith(prefixes)}
