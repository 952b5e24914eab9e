"""The real server, asked by `curl`. The same questions with httpx: tests/serve/test_embedded_server.py."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import pytest
from server_requests import PROMPT, ask

from charter_compiler.serve.server import ServerHandle

pytestmark = [pytest.mark.server, pytest.mark.system]


def curl(*arguments: str) -> str:
    return subprocess.run(
        ["curl", "-sS", "--fail-with-body", "--noproxy", "*", *arguments],
        check=True,
        capture_output=True,
        text=True,
        timeout=120,
    ).stdout


def test_curl_generates(embedded_server: ServerHandle) -> None:
    body = json.dumps({"text_input": PROMPT, "max_tokens": 4})
    answer = json.loads(curl(f"{embedded_server.http_url}/v2/models/ensemble/generate", "-d", body))
    assert answer["text_output"].startswith(" Paris")
    assert answer["num_output_tokens"] == 4


def test_curl_streams(embedded_server: ServerHandle) -> None:
    body = json.dumps({"text_input": PROMPT, "max_tokens": 4, "stream": True})
    lines = curl("-N", f"{embedded_server.http_url}/v2/models/ensemble/generate_stream", "-d", body).splitlines()
    events = [json.loads(line.removeprefix("data: ")) for line in lines if line]
    assert len(events) == 4
    assert "".join(event["text_output"] for event in events).startswith(" Paris")


def test_curl_reads_health_and_statistics(embedded_server: ServerHandle) -> None:
    ask(embedded_server.grpc_url, text_input=PROMPT, max_tokens=1)
    assert curl("-o", "/dev/null", "-w", "%{http_code}", f"{embedded_server.http_url}/v2/health/ready") == "200"
    statistics = json.loads(curl(f"{embedded_server.http_url}/v2/models/ensemble/stats"))["model_stats"][0]
    assert statistics["name"] == "ensemble"
    assert statistics["inference_count"] >= 1


def test_curl_reads_the_kv_metrics(embedded_server: ServerHandle) -> None:
    text = curl(embedded_server.metrics_url)
    assert re.search(r'nv_trt_llm_kv_cache_block_metrics\{kv_cache_block_type="max",.*\} 256', text)
    assert re.search(r'nv_trt_llm_kv_cache_block_metrics\{kv_cache_block_type="tokens_per",.*\} 32', text)


def test_curl_uses_the_gateway(embedded_server: ServerHandle) -> None:
    """``charter gateway`` as a process: a token on loopback, a streamed chat, and its end by SIGTERM."""
    command = [sys.executable, "-m", "charter_compiler.cli.main", "gateway", "--port", "0"]
    command += ["--target", f"triton://{embedded_server.grpc_url}/ensemble"]
    environment = {**os.environ, "CHARTER_GATEWAY_TOKEN": "sesame"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as gateway:
        try:
            assert gateway.stdout is not None
            url = gateway.stdout.readline().split()[-1]
            chat = {"messages": [{"role": "user", "content": PROMPT}], "max_tokens": 3, "stream": True}
            arguments = [f"{url}/v1/chat/completions", "-H", "content-type: application/json", "-d", json.dumps(chat)]
            refused = subprocess.run(["curl", "-sS", "--noproxy", "*", *arguments], capture_output=True, text=True)
            assert json.loads(refused.stdout)["error"]["code"] == 401
            lines = curl("-N", *arguments, "-H", "authorization: Bearer sesame").splitlines()
        finally:
            gateway.terminate()
        assert gateway.wait(30) == 0
    events = [line.removeprefix("data: ") for line in lines if line]
    assert events[-1] == "[DONE]"
    assert "".join(json.loads(event)["choices"][0]["delta"].get("content", "") for event in events[:-1]).strip()
