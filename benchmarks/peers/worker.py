"""A replica as a router sees one: OpenAI's completions over HTTP in front of one simulated engine.

The engine is that of ``charter run --target sim``. ``charter gateway`` is no such replica: it has no ``/health``, which
routers ask before they send anything, and refuses the fields of SGLang that sglang-router adds to every request.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from charter_compiler.executor.gateway.openai_api import usage_of
from charter_compiler.executor.gateway.server import listen, url_of
from charter_compiler.executor.sim.address import parse_sim
from charter_compiler.executor.sim.target import SimTarget
from charter_compiler.executor.types import GenerationRequest
from charter_compiler.tokens.tokenizer import default_tokenizer

HOST = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Counts:
    """Of one replica, since it was started."""

    calls: int
    prompt_tokens: int
    cached_tokens: int
    output_tokens: int


class Worker:
    """One replica; ``url`` is ``http://host:port``. Requests reach its engine in the order in which they arrive."""

    def __init__(self, target: SimTarget, url: str) -> None:
        self.url = url
        self._target = target

    async def counts(self) -> Counts:
        """What its engine has counted."""
        found = await self._target.metrics()
        names = ("requests", "prompt_tokens", "cached_tokens", "output_tokens")
        return Counts(*(int(found[f"charter_sim_{name}_total"]) for name in names))

    def app(self) -> Starlette:
        """What it serves. Fields that change no answer of a simulated model are not looked at."""

        async def complete(request: Request) -> Response:
            body = await request.json()
            asked = GenerationRequest(prompt=body["prompt"], max_tokens=body["max_tokens"])
            result = await self._target.generate(asked)
            choice = {"index": 0, "text": result.text, "finish_reason": result.finish_reason, "logprobs": None}
            return JSONResponse({"id": "cmpl", "object": "text_completion", "created": 0, "model": body["model"],
                                 "choices": [choice], "usage": usage_of(result)})  # fmt: skip

        async def healthy(request: Request) -> Response:
            return Response()

        return Starlette(
            routes=[Route("/v1/completions", complete, methods=["POST"]), Route("/health", healthy)],
        )


@asynccontextmanager
async def serving_worker(address: str) -> AsyncIterator[Worker]:
    """A replica with an engine of its own (``sim://trtllm?...``) on a free port, while the context lasts."""
    target = SimTarget(parse_sim(address), default_tokenizer())
    with closing(listen(HOST, 0)) as listener:
        worker = Worker(target, url_of(listener, HOST))
        config = uvicorn.Config(worker.app(), log_level="error", access_log=False, lifespan="off")
        server = uvicorn.Server(config)
        serving = asyncio.ensure_future(
            server._serve([listener])
        )  # without its signal handlers: Ctrl-C is the script's
        try:
            yield worker
        finally:
            server.should_exit = True
            await target.aclose()
            await serving
