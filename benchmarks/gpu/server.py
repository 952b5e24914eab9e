"""An OpenAI-compatible server on loopback over ``paged_engine``: completions and chat, streamed or whole, cached tokens
in the usage. For benchmarks: greedy, of a fixed length, one model with random weights.

    python benchmarks/gpu/server.py --port 8011 --shape tiny --device cpu
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import torch
from aiohttp import web
from paged_engine import Call, EngineError, EngineSettings, PagedEngine
from random_llama import SHAPES, random_llama, word_ids

from charter_compiler.tokens.tokenizer import Tokenizer, default_tokenizer

BODY_LIMIT = 16 << 20
"""Bytes of a request: prompts as lists of token ids are long."""
DEFAULT_MAX_TOKENS = 16


class Front:
    """The routes. ``calls`` are those since the last reset, ``labels`` name a call by a text that its prompt holds."""

    def __init__(self, engine: PagedEngine, tokenizer: Tokenizer, model: str) -> None:
        self._engine = engine
        self._tokenizer = tokenizer
        self._model = model
        self._calls: list[Call] = []
        self._labels: dict[str, str] = {}

    def app(self) -> web.Application:
        app = web.Application(client_max_size=BODY_LIMIT)
        app.add_routes(
            [
                web.get("/health", self.health),
                web.get("/v1/models", self.models),
                web.get("/metrics", self.metrics),
                web.post("/v1/completions", self.completions),
                web.post("/v1/chat/completions", self.chat),
                web.post("/reset", self.reset),
                web.get("/calls", self.calls),
                web.get("/facts", self.facts),
            ]
        )
        return app

    async def health(self, _request: web.Request) -> web.Response:
        return web.json_response({})

    async def models(self, _request: web.Request) -> web.Response:
        """``owned_by`` and the metric below are vLLM's: the one form in which Charter is told the sizes of a cache
        behind an OpenAI endpoint."""
        context = self._engine.blocks * self._engine.settings.block_size
        entry = {"id": self._model, "object": "model", "owned_by": "vllm", "max_model_len": context}
        return web.json_response({"object": "list", "data": [entry]})

    async def metrics(self, _request: web.Request) -> web.Response:
        engine = self._engine
        labels = f'block_size="{engine.settings.block_size}",enable_prefix_caching="{engine.sharing}"'
        lines = ["# TYPE vllm:cache_config_info gauge"]
        lines.append(f'vllm:cache_config_info{{{labels},num_gpu_blocks="{engine.blocks}"}} 1.0')
        return web.Response(text="\n".join(lines) + "\n")

    async def reset(self, request: web.Request) -> web.Response:
        """Empty the cache and forget the calls. ``blocks``, ``sharing``, ``eviction`` are of the runs that follow."""
        body = await request.json()
        try:
            await self._engine.reset(
                body.get("blocks"), sharing=body.get("sharing", True), eviction=body.get("eviction", "transformers")
            )
        except (EngineError, ValueError, KeyError) as error:
            return _failure(409, f"{type(error).__name__}: {error}")
        self._calls, self._labels = [], body.get("labels", {})
        return web.json_response({"blocks": self._engine.blocks, "sharing": self._engine.sharing})

    async def calls(self, _request: web.Request) -> web.Response:
        return web.json_response([asdict(call) for call in self._calls])

    async def facts(self, _request: web.Request) -> web.Response:
        return web.json_response(self._engine.facts())

    async def completions(self, request: web.Request) -> web.StreamResponse:
        arrived, body = time.perf_counter(), await request.json()
        prompt = body.get("prompt")
        if isinstance(prompt, list) and all(isinstance(each, int) for each in prompt):
            return await self._answer(request, body, prompt, "", arrived, chat=False)
        if not isinstance(prompt, str):
            return _failure(400, "prompt is a text or a list of token ids")
        return await self._answer(request, body, self._tokenizer.encode(prompt), prompt, arrived, chat=False)

    async def chat(self, request: web.Request) -> web.StreamResponse:
        arrived, body = time.perf_counter(), await request.json()
        template = self._tokenizer.chat_template
        if template is None or not body.get("messages"):
            return _failure(400, "messages are missing, or the tokenizer has no chat template")
        prompt = template.render(body["messages"])
        return await self._answer(request, body, self._tokenizer.encode(prompt), prompt, arrived, chat=True)

    async def _answer(
        self, request: web.Request, body: dict[str, Any], ids: list[int], prompt: str, arrived: float, *, chat: bool
    ) -> web.StreamResponse:
        if not ids:
            return _failure(400, "the prompt is empty")
        label = next((name for name, text in self._labels.items() if text in prompt), "call")
        call = Call(arrived=arrived, prompt_tokens=len(ids), label=label)
        self._calls.append(call)
        pieces = self._pieces(ids, int(body.get("max_tokens") or DEFAULT_MAX_TOKENS), call)
        if body.get("stream"):
            return await self._streamed(request, pieces, call, chat=chat)
        try:
            text = "".join([piece async for piece in pieces])
        except EngineError as error:
            return _failure(400 if "context length" in str(error) else 500, str(error))
        ending = {"index": 0, "finish_reason": "length"}
        choice = ending | ({"message": {"role": "assistant", "content": text}} if chat else {"text": text})
        return web.json_response(self._frame(chat=chat) | {"choices": [choice], "usage": _usage(call)})

    async def _pieces(self, ids: list[int], max_tokens: int, call: Call) -> AsyncIterator[str]:
        async for tokens in self._engine.generate(ids, max_tokens, call):
            yield b"".join(self._tokenizer.token_bytes(each) for each in tokens).decode("utf-8", "replace")

    async def _streamed(
        self, request: web.Request, pieces: AsyncIterator[str], call: Call, *, chat: bool
    ) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)

        async def send(event: object) -> None:
            await response.write(b"data: " + json.dumps(event).encode() + b"\n\n")

        frame = self._frame(chat=chat)
        try:
            async for piece in pieces:
                await send(
                    frame | {"choices": [{"index": 0, **({"delta": {"content": piece}} if chat else {"text": piece})}]}
                )
            ending = {"index": 0, "finish_reason": "length", **({"delta": {}} if chat else {"text": ""})}
            await send(frame | {"choices": [ending]})
            await send(frame | {"choices": [], "usage": _usage(call)})
            await response.write(b"data: [DONE]\n\n")
        except EngineError as error:
            await send({"error": {"message": str(error), "code": 400 if "context length" in str(error) else 500}})
        await response.write_eof()
        return response

    def _frame(self, *, chat: bool) -> dict[str, Any]:
        kind = "chat.completion" if chat else "text_completion"
        return {"id": f"cmpl-{len(self._calls)}", "object": kind, "created": int(time.time()), "model": self._model}


def _usage(call: Call) -> dict[str, Any]:
    """``engine`` is of this server: seconds from the request's arrival to its first token and to its last."""
    assert call.first is not None
    assert call.finished is not None
    return {
        "prompt_tokens": call.prompt_tokens,
        "completion_tokens": call.output_tokens,
        "total_tokens": call.prompt_tokens + call.output_tokens,
        "prompt_tokens_details": {"cached_tokens": call.cached_tokens},
        "engine": {"ttft_s": call.first - call.arrived, "latency_s": call.finished - call.arrived},
    }


def _failure(status: int, message: str) -> web.Response:
    return web.json_response({"error": {"message": message, "code": status}}, status=status)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--shape", choices=SHAPES, default="llama-3-8b")
    parser.add_argument("--device", default="cuda")
    for name, value in asdict(EngineSettings()).items():
        parser.add_argument("--" + name.replace("_", "-"), type=type(value), default=value)
    args = parser.parse_args()
    torch.set_grad_enabled(False)
    tokenizer = default_tokenizer()
    start = time.perf_counter()
    model = random_llama(args.shape, torch.device(args.device), output_ids=word_ids(tokenizer))
    print(f"model made in {time.perf_counter() - start:.1f} s", flush=True)
    settings = replace(EngineSettings(), **{name: getattr(args, name) for name in asdict(EngineSettings())})
    engine = PagedEngine(model, settings)
    print(f"engine ready after {time.perf_counter() - start:.1f} s: {engine.facts()}", flush=True)
    web.run_app(Front(engine, tokenizer, args.shape).app(), host="127.0.0.1", port=args.port, print=None)


if __name__ == "__main__":
    main()
