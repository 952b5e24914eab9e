"""Targets by name: ``local``, ``triton://host:port/model``, ``openai://host:port/v1?model=NAME``, ``openais://...``,
``sim``."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from charter_compiler.diagnostics.errors import (
    CharterError,
    PlanError,
    ServerStartError,
    TargetUnavailableError,
    TokenizerError,
    UsageError,
)
from charter_compiler.executor.defaults import CALL_TIMEOUT, KNOWN_TARGETS, LOCAL
from charter_compiler.executor.openai_client import OpenAITarget, check_openai_target
from charter_compiler.executor.sim.address import is_sim, parse_sim
from charter_compiler.executor.sim.target import SimTarget
from charter_compiler.executor.triton_channel import DEFAULT_GRPC_PORT, Endpoint
from charter_compiler.executor.triton_client_async import AsyncProductionTritonClient
from charter_compiler.executor.types import AsyncTarget, TargetFacts
from charter_compiler.plan.execution_plan import ExecutionPlan
from charter_compiler.serve.discovery import ServerInfo, find_here, find_running
from charter_compiler.serve.engine.interface import EngineConfig
from charter_compiler.serve.engine.vllm_core import VLLM_BATCHED_TOKENS, VLLM_SEQUENCES
from charter_compiler.serve.options import ServerOptions
from charter_compiler.serve.server import ServerHandle, start_server
from charter_compiler.tokens.models import DEFAULT_MODEL, find_model
from charter_compiler.tokens.tokenizer import Tokenizer, default_tokenizer, load_tokenizer

DEFAULT_TRITON_MODEL = "ensemble"


@dataclass(frozen=True, slots=True)
class TargetOptions:
    """How a target is opened.

    ``fresh_server``: ``local`` starts a server of its own, with an empty cache, even if one is running; ``engine`` and
    ``model`` (a known model's name or a GGUF file) are for a server that is started here. ``tokenizer`` names the
    tokenizer of a target that does not say which it has. ``timeout`` is in seconds, for a call. ``metrics_url`` and
    ``tokens_per_block`` are a Triton server's, where it does not tell them or a tunnel has moved its ports.
    """

    fresh_server: bool = False
    engine: EngineConfig = field(default_factory=EngineConfig)
    model: str | Path = DEFAULT_MODEL.name
    tokenizer: str | None = None
    timeout: float = CALL_TIMEOUT
    metrics_url: str | None = None
    tokens_per_block: int | None = None

    def client(self, url: str, model: str, tokenizer: Tokenizer | None) -> AsyncProductionTritonClient:
        """A client of the Triton server at ``url``."""
        return AsyncProductionTritonClient(
            url,
            model,
            self.timeout,
            tokenizer=tokenizer,
            metrics_url=self.metrics_url,
            tokens_per_block=self.tokens_per_block,
        )


@dataclass(frozen=True, slots=True)
class OpenTarget:
    """A target that answers. ``tokenizer`` and ``engine`` are ``None`` where they are not known: then there is neither
    single-flight nor a prediction. ``server`` is the one that was started for it. ``identity`` tells engine and model
    from others, as far as can be seen, as JSON values: answers are kept in the memo store under it."""

    name: str
    client: AsyncTarget
    facts: TargetFacts
    tokenizer: Tokenizer | None
    engine: EngineConfig | None
    server: ServerHandle | None = None
    identity: Mapping[str, Any] = field(default_factory=dict)

    @property
    def limits(self) -> tuple[str, ...]:
        """What an optimized run does without on this target, as lines for the user."""
        missing = [
            name
            for name, value in (("tokenizer", self.tokenizer), ("block size", self.facts.tokens_per_block))
            if value is None
        ]
        if not missing:
            return ()
        return (f"calls that share a prefix are not held back: the target does not state its {' and '.join(missing)}",)

    def explain(self, error: CharterError) -> CharterError:
        """The error; or, where it says that this target is away, why the server that was started for it has ended, if
        it has."""
        away = isinstance(error, TargetUnavailableError) and error.place == self.facts.target
        if not away or self.server is None or self.server.wait(0) is None:
            return error
        return TargetUnavailableError(
            f"the embedded server ended in mid-run: {self.server.failure()}",
            place=self.server.grpc_url,
            remedy="finished results are kept; continue with --resume",
        )


def check_target(spec: str) -> None:
    """Raises UsageError where the text names no target, or the target may not be used so; connects to nothing."""
    scheme = spec.partition("://")[0]
    if spec == LOCAL:
        return
    if scheme == "triton":
        _parse_triton(spec)
    elif scheme in ("openai", "openais"):
        check_openai_target(spec)
    elif is_sim(spec):
        parse_sim(spec)
    else:
        raise UsageError(f"there is no target '{spec}'", remedy=f"targets are {KNOWN_TARGETS}")


def check_plan(plan: ExecutionPlan, target: OpenTarget) -> None:
    """Refuse a plan whose tokens and blocks are not those of the target; what the target does not say is not compared.

    Raises:
        PlanError: model, tokenizer or block size differ.
    """
    remedy = "run charter compile again, for this target"
    facts, tokenizer = target.facts, target.tokenizer
    if _model_name(plan.model) != _model_name(facts.model):
        message = f"the plan is for the model {plan.model}, the target serves {facts.model}"
    elif tokenizer is not None and plan.tokenizer != tokenizer.fingerprint:
        message = f"the plan counts tokens with another tokenizer than the target's, {tokenizer.name}"
    elif facts.tokens_per_block is not None and plan.block_size != facts.tokens_per_block:
        message = f"the plan is for blocks of {plan.block_size} tokens, the target has {facts.tokens_per_block}"
    else:
        return
    raise PlanError(message, place=target.name, remedy=remedy)


@asynccontextmanager
async def open_target(spec: str, options: TargetOptions | None = None) -> AsyncIterator[OpenTarget]:
    """Connect to a target, and for ``local`` start the embedded server unless one runs on the default port.

    A server that was started here ends with the context; one that was found stays.

    Raises:
        UsageError: as ``check_target``.
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
    elif is_sim(spec):
        async with _open_sim(spec, options) as target:
            yield target
    else:
        async with _open_openai(spec, options) as target:
            yield target


@asynccontextmanager
async def _open_local(options: TargetOptions) -> AsyncIterator[OpenTarget]:
    info = None if options.fresh_server else await asyncio.to_thread(find_here)
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


def served_tokenizer(info: ServerInfo, spec: str | None) -> Tokenizer | None:
    """The tokenizer of a running embedded server, which may be on another machine: from its model's file if that is
    here and the same, else the one that ``spec`` names, else the shipped one if it is the same, else ``None``.

    Raises:
        TokenizerError: ``spec`` is looked at, and names none.
    """
    served = _tokenizer_in(info.model_path)
    if served is not None and served.fingerprint == info.tokenizer_fingerprint:
        return served
    if spec is not None:
        return load_tokenizer(spec)
    shipped = default_tokenizer()
    return shipped if shipped.fingerprint == info.tokenizer_fingerprint else None


@asynccontextmanager
async def _embedded(
    spec: str, info: ServerInfo, options: TargetOptions, server: ServerHandle | None
) -> AsyncIterator[OpenTarget]:
    tokenizer = served_tokenizer(info, options.tokenizer)
    async with options.client(info.grpc_url, DEFAULT_TRITON_MODEL, tokenizer) as client:
        identity = {
            "engine": ["embedded", info.version, asdict(info.engine)],
            "model": info.model,
            "tokenizer": info.tokenizer_fingerprint,
            "weights": _weights(info.model_path, info.grpc_url, loopback=info.here),
        }
        yield OpenTarget(spec, client, await client.facts(), tokenizer, info.engine, server, identity)


def _tokenizer_in(path: str) -> Tokenizer | None:
    if not os.path.exists(path):  # also where the folder may not be read, at which Path.exists raises
        return None
    try:
        return load_tokenizer(path)
    except TokenizerError:
        return None  # a file of this machine that only has the name of the server's


def _parse_triton(spec: str) -> tuple[Endpoint, str]:
    """Address and model of ``triton://host:port/model``; port and model have defaults."""
    remedy = "write triton://host:port/model"
    try:
        parts = urlsplit(spec)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise UsageError(f"'{spec}' is not a Triton target: {error}", remedy=remedy) from error
    if parts.username is not None:
        # Not shown: what should not be there may be a secret.
        raise UsageError("a Triton target holds host, port and model, nothing else", place=host, remedy=remedy)
    model = parts.path.strip("/") or DEFAULT_TRITON_MODEL
    if not host or port == 0 or "/" in model or parts.query or parts.fragment:
        raise UsageError(f"'{spec}' is not a Triton target", remedy=remedy)
    return Endpoint(host, DEFAULT_GRPC_PORT if port is None else port), model


@asynccontextmanager
async def _open_triton(spec: str, options: TargetOptions) -> AsyncIterator[OpenTarget]:
    endpoint, model = _parse_triton(spec)
    url = endpoint.target
    info = await asyncio.to_thread(find_running, url)
    if info is not None and model == DEFAULT_TRITON_MODEL:
        async with _embedded(spec, info, options, None) as target:
            yield target
        return
    tokenizer = None if options.tokenizer is None else load_tokenizer(options.tokenizer)
    async with options.client(url, model, tokenizer) as client:
        facts = await client.facts()
        # An address is no model: behind a tunnel's port there may be another one tomorrow. Triton tells no weights.
        identity = {
            "engine": "triton",
            "model": facts.model,
            "weights": url,
            "stated": await client.stated(),
            "tokenizer": None if tokenizer is None else tokenizer.fingerprint,
        }
        yield OpenTarget(spec, client, facts, tokenizer, _engine_of(facts), None, identity)


@asynccontextmanager
async def _open_openai(spec: str, options: TargetOptions) -> AsyncIterator[OpenTarget]:
    tokenizer = None if options.tokenizer is None else load_tokenizer(options.tokenizer)
    client = OpenAITarget(spec, options.timeout, retry_overloads=False)  # the dispatcher holds all calls back
    try:
        facts = await client.facts()
        if tokenizer is None and client.loopback and facts.model_path is not None:
            tokenizer = _tokenizer_in(facts.model_path)
        weights = _weights(facts.model_path, facts.target, loopback=client.loopback)
        identity = {"engine": facts.engine or "openai", "model": facts.model, "weights": weights}
        yield OpenTarget(spec, client, facts, tokenizer, _engine_of(facts), None, identity)
    finally:
        await client.aclose()


@asynccontextmanager
async def _open_sim(spec: str, options: TargetOptions) -> AsyncIterator[OpenTarget]:
    address, tokenizer = parse_sim(spec), load_tokenizer(options.tokenizer)
    client = SimTarget(address, tokenizer)
    try:
        identity = {"engine": ["sim", address.engine, asdict(address.config)], "tokenizer": tokenizer.fingerprint}
        yield OpenTarget(spec, client, await client.facts(), tokenizer, address.config, None, identity)
    finally:
        await client.aclose()


def _weights(path: str | None, address: str, *, loopback: bool) -> object:
    """What stands for a model's weights: names, sizes and times of their files where those are on this machine, else
    the server's address, which does not change when other weights are served there under the same name."""
    found = Path(path) if path is not None and loopback and os.path.exists(path) else None
    if found is None:
        return address
    files = sorted(found.iterdir()) if found.is_dir() else [found.resolve()]
    return [[file.name, file.stat().st_size, file.stat().st_mtime_ns] for file in files if file.is_file()]


def _engine_of(facts: TargetFacts) -> EngineConfig | None:
    """The sizes of an engine that states its block size and capacity; how many requests it computes at once, which no
    target states, is left at the embedded engine's default."""
    if facts.tokens_per_block is None or facts.capacity_blocks is None:
        return None
    return engine_config(facts, facts.tokens_per_block, facts.capacity_blocks)


def engine_config(facts: TargetFacts, tokens_per_block: int, capacity_blocks: int) -> EngineConfig:
    """The sizes of a target's engine, as far as it states them, with these for its cache."""
    context = facts.max_context or tokens_per_block * capacity_blocks
    sizes = EngineConfig(tokens_per_block=tokens_per_block, capacity_blocks=capacity_blocks, max_context=context)
    if facts.engine == "vllm":
        return replace(sizes, max_running=VLLM_SEQUENCES, prefill_chunk=VLLM_BATCHED_TOKENS)
    return sizes
