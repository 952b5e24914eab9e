"""Request bodies and headers through Dynamo's own HTTP service: ``dynamo_peer.py BODIES.jsonl``.

Runs with the Python of ``.venv-hints`` (``tools/peer_hints.sh``). The service and its types are Dynamo's, in Rust;
the engine behind them is a few lines of ours, which keep what arrives. A line of the input is ``{"body", "headers"}``,
a line of the output ``{"status", "received", "error"}``: the request as Dynamo understood it, or its refusal. The
service listens on a free port and ends with this process.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from dynamo._core import DistributedRuntime, HttpAsyncEngine, HttpService

MODEL = "m"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def post(port: int, body: dict[str, Any], headers: dict[str, str]) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    headers = {"Content-Type": "application/json", **headers}
    connection.request("POST", "/v1/chat/completions", json.dumps(body), headers)
    answer = connection.getresponse()
    return answer.status, answer.read().decode()


async def until_listening(port: int) -> None:
    for _ in range(100):
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.1)
        else:
            writer.close()
            return
    raise RuntimeError("Dynamo's HTTP service does not listen")


async def main(path: Path) -> None:
    loop = asyncio.get_running_loop()
    runtime = DistributedRuntime(loop, "mem", "tcp")
    received: list[Any] = []

    async def engine(request: Any) -> AsyncIterator[dict[str, Any]]:
        received.append(request)
        delta = {"role": "assistant", "content": "ok"}
        choice = {"index": 0, "delta": delta, "finish_reason": "stop"}
        yield {
            "id": "1",
            "object": "chat.completion.chunk",
            "created": int(time.time()),
            "model": MODEL,
            "choices": [choice],
        }

    port = free_port()
    service = HttpService(port)
    service.add_chat_completions_model(MODEL, "0", HttpAsyncEngine(engine, loop))
    service.enable_endpoint("chat", True)
    running = asyncio.ensure_future(service.run(runtime))
    await until_listening(port)
    for line in path.read_text(encoding="utf-8").splitlines():
        case = json.loads(line)
        body = {"model": MODEL, "messages": [{"role": "user", "content": "hello"}], "stream": True, **case["body"]}
        received.clear()
        status, text = await asyncio.to_thread(post, port, body, case.get("headers", {}))
        got = received[0] if received else None
        print(json.dumps({"status": status, "received": got, "error": None if status == 200 else text}), flush=True)
    service.shutdown()
    runtime.shutdown()
    running.cancel()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
