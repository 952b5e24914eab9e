"""Targets by name: ``local``, ``triton://host:port/model``, ``openai://host:port/v1?model=NAME``, ``openais://...``."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from charter_compiler.diagnostics.errors import CharterError, ServerStartError, UsageError
from charter_compiler.executor.openai_client import OpenAITarget
from charter_compiler.executor.triton_client_async import AsyncProductionTritonClient
from charter_compiler.executor.types import AsyncTarget, TargetFacts
from charter_compiler.serve.discovery import ServerInfo, find_running
from charter_compiler.serve.engine.interface import EngineConfig
from charter_compiler.serve.options import ServerOptions
from charter_compiler.serve.server import ServerHandle, start_server
from charter_compiler.tokens.models import DEFAULT_MODEL, find_model
from charter_compiler.tokens.tokenizer import Tokenizer, load_tokenizer

LOCAL = "local"
DEFAULT_TRITON_MODEL = "ensemble"
CALL_TIMEOUT = 600.0
"""Seconds for one call. Long, since calls wait in the server's queue while others are computed."""

KNOWN_TARGETS = "local, triton://host:port/model, openai://host:port/v1?model=NAME or openais://..."


@dataclass(frozen=True, slots=True)
class TargetOptions:
    """How a target is opened.

    ``fresh_server``: ``local`` starts a server of its own, with an empty cache, even if one is running; ``engine`` and
    ``model`` (a known model's name or a GGUF file) are for a server that is started here. ``tokenizer`` names the
    tokenizer of a target that does not say which it has. ``timeout`` is in seconds, for a call.
    """

    fresh_server: bool = False
    engine: EngineConfig = field(default_factory=EngineConfig)
    model: str | Path = DEFAULT_MODEL.name
    tokenizer: str | None = None
    timeout: float = CALL_TIMEOUT


@dataclass(frozen=True, slots=True)
class OpenTarget:
    """A target that answers. ``tokenizer`` and ``engine`` are ``None`` where they are not known: then there is neither
    single-flight nor a prediction. ``server`` is the one that was started for it."""

    name: str
    client: AsyncTarget
    facts: TargetFacts
    tokenizer: Tokenizer | None
    engine: EngineConfig | None
    server: ServerHandle | None = None

    def explain(self, error: CharterError) -> CharterError:
        """The error, or why the server that was started for this target has ended, if it has."""
        if self.server is None or self.server.wait(0) is None:
            return error
        return ServerStartError(
            f"the embedded server ended in mid-run: {self.server.failure()}",
            place=self.server.grpc_url,
            remedy="finished results are kept; continue with --resume",
        )


def check_target(spec: str) -> None:
    """Raises UsageError where the text names no kind of target."""
    scheme = spec.partition("://")[0]
    if spec != LOCAL and scheme not in ("triton", "openai", "openais"):
        raise UsageError(f"there is no target '{spec}'", remedy=f"targets are {KNOWN_TARGETS}")


@asynccontextmanager
async def open_target(spec: str, options: TargetOptions | None = None) -> AsyncIterator[OpenTarget]:
    """Connect to a target, and for ``local`` start the embedded server unless one runs on the default port.

    A server that was started here ends with the context; one that was found stays.

    Raises:
        UsageError: the text names no target.
        TargetError, ServerStartError, ModelError, TokenizerError: it cannot be reached or started.
    """
    options = options or TargetOptions()
    check_target(spec)
    if spec == LOCAL:
        async with _open_local(options) as target:
            yield target
    elif spec.startswith("triton://"):
        async with _open_triton(spec, options) as target:
            yield target
    else:
        async with _open_openai(spec, options) as target:
            yield target


@asynccontextmanager
async def _open_local(options: TargetOptions) -> AsyncIterator[OpenTarget]:
    info = None if options.fresh_server else await asyncio.to_thread(find_running)
    if info is not None:
        async with _embedded(LOCAL, info, options, None) as target:
            yield target
        return
    path = find_model(options.model)
    server_options = ServerOptions(model_path=path, model_name=_model_name(options.model), engine=options.engine)
    # Shielded: were this task cancelled, the thread would go on and leave a server behind that nobody ends.
    starting = asyncio.ensure_future(asyncio.to_thread(start_server, server_options))
    try:
        server = await asyncio.shield(starting)
    except asyncio.CancelledError:
        (await starting).stop()
        raise
    try:
        info = await asyncio.to_thread(find_running, server.grpc_url)
        if info is None:
            raise ServerStartError(f"the server does not answer: {server.failure()}", place=server.grpc_url)
        async with _embedded(LOCAL, info, options, server) as target:
            yield target
    finally:
        await asyncio.to_thread(server.stop)


def _model_name(model: str | Path) -> str:
    path = Path(model)
    return path.stem if path.suffix == ".gguf" else str(model)


@asynccontextmanager
async def _embedded(
    spec: str, info: ServerInfo, options: TargetOptions, server: ServerHandle | None
) -> AsyncIterator[OpenTarget]:
    tokenizer = load_tokenizer(options.tokenizer or info.model_path)
    async with AsyncProductionTritonClient(
        info.grpc_url, DEFAULT_TRITON_MODEL, options.timeout, tokenizer=tokenizer
    ) as client:
        yield OpenTarget(spec, client, await client.facts(), tokenizer, info.engine, server)


@asynccontextmanager
async def _open_triton(spec: str, options: TargetOptions) -> AsyncIterator[OpenTarget]:
    parts = urlsplit(spec)
    model = parts.path.strip("/") or DEFAULT_TRITON_MODEL
    if not parts.hostname or "/" in model:
        raise UsageError(f"'{spec}' is not a Triton target", remedy="write triton://host:port/model")
    url = f"{parts.hostname}:{parts.port or 8001}"
    info = await asyncio.to_thread(find_running, url)
    if info is not None and model == DEFAULT_TRITON_MODEL:
        async with _embedded(spec, info, options, None) as target:
            yield target
        return
    tokenizer = None if options.tokenizer is None else load_tokenizer(options.tokenizer)
    async with AsyncProductionTritonClient(url, model, options.timeout, tokenizer=tokenizer) as client:
        facts = await client.facts()
        yield OpenTarget(spec, client, facts, tokenizer, _engine_of(facts))


@asynccontextmanager
async def _open_openai(spec: str, options: TargetOptions) -> AsyncIterator[OpenTarget]:
    tokenizer = None if options.tokenizer is None else load_tokenizer(options.tokenizer)
    client = OpenAITarget(spec, options.timeout)
    try:
        facts = await client.facts()
        yield OpenTarget(spec, client, facts, tokenizer, _engine_of(facts))
    finally:
        await client.aclose()


def _engine_of(facts: TargetFacts) -> EngineConfig | None:
    """The sizes of an engine that states its block size and capacity; how many requests it computes at once, which no
    target states, is left at the embedded engine's default."""
    if facts.tokens_per_block is None or facts.capacity_blocks is None:
        return None
    context = facts.max_context or facts.tokens_per_block * facts.capacity_blocks
    return EngineConfig(
        tokens_per_block=facts.tokens_per_block, capacity_blocks=facts.capacity_blocks, max_context=context
    )
