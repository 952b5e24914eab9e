"""Generated arguments and request fields, taken by SGLang's own parser and Dynamo's own HTTP service
(`make test-peer`)."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from config_cases import CASES, files_of, known

from charter_compiler.config.hints.openai_fields import SESSION_HEADER, dynamo_fields
from charter_compiler.config.routers.files import router_files
from charter_compiler.config.settings import Overrides
from charter_compiler.config.target import EngineName

ROOT = Path(__file__).parents[2]
PYTHON = Path(os.environ.get("CHARTER_HINTS_PYTHON", ROOT / ".venv-hints" / "bin" / "python"))
SCRIPTS = ROOT / "benchmarks" / "hints"

pytestmark = [pytest.mark.peer, pytest.mark.timeout(600)]


def run(script: str, path: Path) -> list[dict[str, Any]]:
    assert PYTHON.exists(), f"{PYTHON} is missing: make test-peer sets it up"
    command = [str(PYTHON), str(SCRIPTS / script), str(path)]
    environment = {**os.environ, "PYTHONPATH": ""}
    ended = subprocess.run(command, capture_output=True, text=True, timeout=500, check=False, env=environment)
    assert ended.returncode == 0, ended.stderr[-2000:]
    return [json.loads(line) for line in ended.stdout.splitlines() if line.startswith("{")]


def test_the_parser_of_sglangs_router_takes_the_arguments(tmp_path: Path) -> None:
    words = [shlex.split(router_files(CASES[case](), 3)["sglang_router.args"], comments=True) for case in CASES]
    path = tmp_path / "arguments.json"
    path.write_text(json.dumps([*words, ["--cache-share", "0.3"]]), encoding="utf-8")
    *found, refused = run("sglang_router_peer.py", path)
    assert "unrecognized arguments: --cache-share" in refused["error"]
    for answer in found:
        parsed = answer["parsed"]
        assert (parsed["policy"], parsed["host"]) == ("cache_aware", "127.0.0.1")
        assert parsed["worker_urls"] == [f"http://replica-{number}:30000" for number in range(3)]
        assert {"cache_threshold", "balance_abs_threshold", "balance_rel_threshold"} <= parsed.keys()


def test_sglangs_parser_takes_the_arguments(tmp_path: Path) -> None:
    texts = [files_of(case, EngineName.SGLANG)["serve.args"] for case in CASES]
    by_hand = replace(known(), overrides=Overrides({"host_memory_bytes": 3 << 30}))
    texts.append(by_hand.files(EngineName.SGLANG)["serve.args"])
    words = [shlex.split(text, comments=True) for text in texts]
    path = tmp_path / "arguments.json"
    path.write_text(json.dumps([*words, ["--model-path", "m", "--tokens-per-block", "32"]]), encoding="utf-8")
    *found, refused = run("sglang_peer.py", path)
    assert "unrecognized arguments: --tokens-per-block" in refused["error"]
    for asked, answer in zip(words, found, strict=True):
        parsed = answer["parsed"]
        names = {word[2:].replace("-", "_") for word in asked if word.startswith("--")}
        assert set(parsed) == names, "each option is there under its own name"
        assert parsed["radix_eviction_policy"] == "priority"
        assert str(parsed["page_size"]) == asked[asked.index("--page-size") + 1]
    assert found[-1]["parsed"]["hicache_size"] == 4


def test_dynamo_takes_the_fields_as_they_were_sent(tmp_path: Path) -> None:
    first, *_, last = known().plan.hints
    talking = replace(first, output_reused=True)
    silent = replace(last, expected_output_tokens=None)
    fields = [dynamo_fields(one, f"item-{number}") for number, one in enumerate((first, last, talking, silent))]
    assert all(one.headers == {SESSION_HEADER: f"item-{number}"} for number, one in enumerate(fields))
    cases = [{"body": one.body, "headers": one.headers} for one in fields]
    cases.append({"body": {"nvext": {"agent_hints": {"priority": "high"}}}})
    cases.append({"body": {"nvext": {"agent_hints": {"urgency": 1}}}})
    path = tmp_path / "bodies.jsonl"
    path.write_text("".join(f"{json.dumps(case)}\n" for case in cases), encoding="utf-8")
    *taken, wrong_type, unknown_name = run("dynamo_peer.py", path)
    assert [one["received"]["nvext"] for one in taken] == [one.body["nvext"] for one in fields]
    assert wrong_type["status"] == unknown_name["status"] == 400, "Dynamo's types are strict: the others were checked"
    assert "expected i32" in wrong_type["error"]
    assert "unknown field `urgency`" in unknown_name["error"]
    assert taken[2]["received"]["nvext"]["agent_hints"]["speculative_prefill"] is True
