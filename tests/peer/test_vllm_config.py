"""Generated arguments, fields and envelopes, taken by vLLM 0.32 itself (`make test-peer`)."""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from config_cases import CASES, files_of, known

from charter_compiler.config.hints.envelope import ACTION_TYPES, envelope
from charter_compiler.config.hints.openai_fields import vllm_fields
from charter_compiler.config.model_facts import load_model_facts
from charter_compiler.config.settings import Overrides
from charter_compiler.config.target import EngineName, EngineTarget
from charter_compiler.executor.openai_client import OpenAITarget
from charter_compiler.executor.types import GenerationRequest
from charter_compiler.plan.hints import HintAction

ROOT = Path(__file__).parents[2]
PEER = Path(os.environ.get("CHARTER_PEER_PYTHON", ROOT / ".venv-peer" / "bin" / "python"))
SCRIPT = ROOT / "benchmarks" / "hints" / "vllm_peer.py"
ENVIRONMENT = {**os.environ, "HF_HUB_OFFLINE": "1", "VLLM_CPU_KVCACHE_SPACE": "1", "PYTHONPATH": ""}

pytestmark = [pytest.mark.peer, pytest.mark.timeout(1800)]


def run_peer(*arguments: str) -> list[dict[str, Any]]:
    assert PEER.exists(), f"{PEER} is missing: make test-peer sets it up"
    command = [str(PEER), str(SCRIPT), *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False, env=ENVIRONMENT)
    lines = [json.loads(line) for line in ended.stdout.splitlines() if line.startswith("{")]
    assert ended.returncode == 0, ended.stderr[-2000:]
    return lines


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory, model_path: Path) -> Path:
    """The default model as a Hugging Face folder."""
    folder = tmp_path_factory.mktemp("weights")
    script = ROOT / "benchmarks" / "prediction" / "hf_weights.py"
    subprocess.run(
        [str(PEER), str(script), str(model_path), str(folder)], check=True, timeout=600, env=ENVIRONMENT, stderr=-3
    )
    return folder


def test_the_parser_takes_the_arguments_and_reads_the_same_from_the_yaml(tmp_path: Path) -> None:
    cases = [files_of(case, EngineName.VLLM) for case in CASES]
    cases.append(replace(known(), overrides=Overrides({"host_memory_bytes": 3 << 30})).files(EngineName.VLLM))
    words = []
    for number, files in enumerate(cases):
        (tmp_path / f"{number}.yaml").write_text(files["serve.yaml"], encoding="utf-8")
        arguments = shlex.split(files["serve.args"], comments=True)
        words += [arguments, ["--config", str(tmp_path / f"{number}.yaml"), *arguments[:1], arguments[1]]]
    words.append(["--tokens-per-block", "32"])
    (tmp_path / "arguments.json").write_text(json.dumps(words), encoding="utf-8")
    *found, refused = run_peer("parse", str(tmp_path / "arguments.json"))
    assert "unrecognized arguments: --tokens-per-block" in refused["error"]
    for plain, by_yaml in zip(found[::2], found[1::2], strict=True):
        assert "parsed" in plain, plain
        assert "parsed" in by_yaml, by_yaml
        assert plain["parsed"]["enable_prefix_caching"] is True
        assert plain["parsed"]["scheduling_policy"] == "priority"


def test_envelopes_reach_the_scheduler_as_they_were_sent(tmp_path: Path, weights: Path) -> None:
    sent = []
    for number, request in enumerate(known().evidence.requests[:6]):
        assert request.hints is not None
        hashes = [f"{number}-{block}" for block in range(len(request.prompt) // 32)]
        sent.append(envelope(request.hints, f"item-{number}", blocks=(32, hashes)))
        accepted = [f"charter.{HintAction.PIN}"]
        sent.append(envelope(request.hints, f"item-{number}", accepted=accepted))
    assert {action["action_type"] for one in sent if one for action in one["actions"]} <= set(ACTION_TYPES)
    path = tmp_path / "envelopes.jsonl"
    path.write_text("".join(f"{json.dumps(one)}\n" for one in sent), encoding="utf-8")
    found = run_peer("hints", str(path), str(weights))
    assert [one["type"] for one in found] == ["KvHintsEnvelope"] * len(sent)
    assert [one["kv_hints"] for one in found] == sent


@pytest.fixture(scope="module")
def server(weights: Path, model_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """vLLM's own server with the generated arguments; beside them only what a CPU and a free port need. vLLM computes
    as many tokens as may be in one pass before it listens, which takes a CPU minutes: so these are few, by hand."""
    target = EngineTarget(model=load_model_facts(model_path), model_path=str(weights))
    by_hand = Overrides({"max_num_tokens": 512, "max_batch_size": 4})
    config = replace(known(), target=target, overrides=by_hand)
    words = shlex.split(config.files(EngineName.VLLM)["serve.args"], comments=True)
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    words[words.index("--port") + 1] = port
    log = tmp_path_factory.mktemp("vllm") / "log"
    command = [str(PEER), "-m", "vllm.entrypoints.openai.api_server", "--model", str(weights), *words]
    with log.open("wb") as file:
        process = subprocess.Popen(
            [*command, "--enforce-eager", "--served-model-name", "m"], stdout=file, stderr=file, env=ENVIRONMENT
        )
    try:
        deadline = time.monotonic() + 1200
        while True:
            assert process.poll() is None, log.read_text(encoding="utf-8", errors="replace")[-3000:]
            assert time.monotonic() < deadline, log.read_text(encoding="utf-8", errors="replace")[-3000:]
            try:
                if httpx.get(f"http://127.0.0.1:{port}/health", timeout=5).status_code == httpx.codes.OK:
                    break
            except httpx.TransportError:
                time.sleep(1)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        try:
            process.wait(120)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def test_the_server_starts_with_them_reuses_and_takes_the_fields(server: str) -> None:
    hints = known().plan.hints[0]
    fields = vllm_fields(hints, "item-1")
    body = {"model": "m", "prompt": "The cat sat on the mat. " * 40, "max_tokens": 2, "temperature": 0, **fields.body}
    answers = [httpx.post(f"{server}/v1/completions", json=body, timeout=300) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [httpx.codes.OK] * 2, answers[0].text
    usage = [answer.json()["usage"] for answer in answers]
    assert usage[1]["prompt_tokens_details"]["cached_tokens"] > usage[1]["prompt_tokens"] * 0.8
    told = answers[1].json()["choices"][0]["text"]
    assert asyncio.run(_stopped_at(server, body["prompt"], told)) == told, "it says at which stop text it stopped"
    models = httpx.get(f"{server}/v1/models", timeout=30).json()["data"][0]
    assert (
        models["max_model_len"]
        == yaml.safe_load(files_of("document_processor", EngineName.VLLM)["serve.yaml"])["max-model-len"]
    )


async def _stopped_at(server: str, prompt: str, text: str) -> str | None:
    async with OpenAITarget(f"openai://{server.removeprefix('http://')}/v1?model=m", timeout=300) as target:
        result = await target.generate(GenerationRequest(prompt=prompt, max_tokens=8, temperature=0, stop=(text,)))
    return result.stop
