"""LiteLLM and LangChain's ChatOpenAI, in an environment of their own, against the gateway before the real server."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path

import pytest

from charter_compiler.executor.gateway.calls import GatewayCalls, SharedTarget
from charter_compiler.executor.gateway.server import serving
from charter_compiler.executor.sdk_calls import run_token, sdk_environment
from charter_compiler.executor.targets import open_target
from charter_compiler.serve.server import ServerHandle

PYTHON = "CHARTER_CLIENTS_PYTHON"
"""The interpreter that has them; ``make test-clients`` sets it."""

pytestmark = [pytest.mark.clients, pytest.mark.server, pytest.mark.timeout(600)]


async def test_litellm_and_langchain_whole_and_streamed(embedded_server: ServerHandle) -> None:
    python = os.environ.get(PYTHON)
    assert python, f"set {PYTHON}, or run make test-clients"
    script = Path(__file__).parent / "stock_clients.py"
    async with (
        open_target(f"triton://{embedded_server.grpc_url}/ensemble") as target,
        serving(GatewayCalls(SharedTarget(target, 4)), "127.0.0.1", 0, token := run_token()) as url,
    ):
        with sdk_environment(url, token):
            process = await asyncio.create_subprocess_exec(
                python, str(script), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
            )
        out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    told = json.loads(out.decode().splitlines()[-1])
    for name in ("litellm", "langchain"):
        one = told[name]
        assert one["text"].strip(), name
        assert one["output"] == 4, name
        assert len(one["pieces"]) > 1, name
        assert "".join(one["pieces"]).strip(), name
    assert told["litellm"]["anthropic"].strip()
    assert told["langchain"]["cached"] >= 64, "the same prompt as LiteLLM's is in the engine's cache"
