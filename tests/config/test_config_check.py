"""``charter config check``: what it finds wrong in folders, and what it says of servers that are none."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from config_cases import files_of, known

from charter_compiler.api.config_check import check_config
from charter_compiler.cli.main import main
from charter_compiler.config.files import write_files
from charter_compiler.config.target import EngineName


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A compilation: all engines, and a plan that they serve."""
    plan = replace(known().plan, capacity_blocks=None)
    (tmp_path / "plan.json").write_text(plan.to_json(), encoding="utf-8")
    for engine in EngineName:
        write_files(tmp_path / "config" / "local" / engine, files_of("document_processor", engine))
    return tmp_path


def test_what_charter_writes_has_no_problem(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "check", str(folder)]) == 0
    out = capsys.readouterr().out
    assert out.splitlines()[-1] == "no problems"
    for engine in (
        "engine/repository",
        "llmapi/repository",
        "llmapi/serve.yaml",
        "vllm/serve.args",
        "sglang/serve.args",
    ):
        assert f"local/{engine}" in out
    assert "KV reuse on" in out


def changed(name: str, old: str, new: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / "config" / "local" / name
        text = path.read_text(encoding="utf-8")
        assert old in text
        path.write_text(text.replace(old, new), encoding="utf-8")

    return change


BLS = "engine/repository/tensorrt_llm_bls/config.pbtxt"
MODEL = "llmapi/repository/tensorrt_llm"
ON, OFF = "decoupled: true", "decoupled: false"
INNER = "engine/repository/tensorrt_llm/config.pbtxt"
TRUE = 'key: "enable_kv_cache_reuse"\n  value {\n    string_value: "true"'


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (changed(INNER, TRUE, TRUE.replace('"true"', '"false"')), "KV reuse is off"),
        (
            changed(INNER, "decoupled: true", "decoupled: false"),
            "disagree on decoupled transactions: tensorrt_llm false",
        ),
        (changed(INNER, "enable_kv_cache_reuse", "tokens_per_block"), "tokens_per_block is no parameter of the model"),
        (changed(INNER, '"/models/engine"', '"/data/engine"'), "/data/engine lies outside /models"),
        (
            changed("engine/build.sh", "--use_paged_context_fmha enable", "--x 1"),
            "built without --use_paged_context_fmha",
        ),
        (changed("engine/build.sh", "--max_seq_len ", "--max_seq_len 64 --y "), "a sequence has at most 64 tokens"),
        (
            changed(
                "llmapi/repository/tensorrt_llm/1/model.yaml", "enable_block_reuse: true", "enable_block_reuse: false"
            ),
            "off",
        ),
        (
            changed("llmapi/repository/tensorrt_llm/config.pbtxt", "decoupled: true", "decoupled: false"),
            "model.yaml true",
        ),
        (changed("llmapi/serve.yaml", "enable_partial_reuse: true", "max_tokens: 40"), "the cache holds 40 tokens"),
        (changed("vllm/serve.yaml", "enable-prefix-caching: true", "enable-prefix-caching: false"), "KV reuse is off"),
        (changed("vllm/serve.args", "--enable-prefix-caching", "--no-enable-prefix-caching"), "KV reuse is off"),
        (changed("vllm/serve.yaml", "block-size:", "num-gpu-blocks-override: 1\nblock-size:"), "the cache holds"),
        (changed("sglang/serve.args", "--enable-cache-report", "--disable-radix-cache"), "KV reuse is off"),
        (
            changed("sglang/serve.args", "--page-size ", "--page-size 256 --z "),
            "a block has 256 tokens, and the longest",
        ),
        (changed("llamacpp/serve.args", "--cache-prompt", "--no-cache-prompt"), "KV reuse is off"),
    ],
)
def test_one_fault_is_one_problem(
    folder: Path, change: Callable[[Path], None], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    change(folder)
    assert main(["config", "check", str(folder)]) == 1
    problems = [line for line in capsys.readouterr().out.splitlines() if line.startswith("problem: ")]
    assert len(problems) == 1, problems
    assert message in problems[0]
    assert str(folder) in problems[0]


def test_the_plan_can_lie_elsewhere(folder: Path, tmp_path: Path) -> None:
    plan = folder / "elsewhere.json"
    needs = replace(known().plan, capacity_blocks=1000, block_size=32)
    plan.write_text(needs.to_json(), encoding="utf-8")
    changed("llmapi/serve.yaml", "enable_partial_reuse: true", "max_tokens: 9000")(folder)
    _, problems = check_config(str(folder / "config" / "local" / "llmapi"), plan)
    assert [problem.message for problem in problems] == ["the cache holds 9000 tokens, and the plan was made for 32000"]
    assert check_config(str(folder / "config"), None)[1] == (), "without a plan only what is wrong in itself"


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("serve.yaml", "a: [", "serve.yaml: is not YAML"),
        ("serve.yaml", "- 1", "serve.yaml: is not a mapping"),
        ("tensorrt_llm/config.pbtxt", "backend 3", "config.pbtxt: Triton does not read it"),
        ("other.txt", "", "holds no engine configuration that is known"),
    ],
)
def test_what_cannot_be_read(
    tmp_path: Path, name: str, text: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write_files(tmp_path, {name: text})
    assert main(["config", "check", str(tmp_path)]) == 1
    assert message in capsys.readouterr().err


def test_servers_that_do_not_answer_or_are_something_else(capsys: pytest.CaptureFixture[str]) -> None:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        assert main(["config", "check", f"http://127.0.0.1:{probe.getsockname()[1]}"]) == 1
    assert "does not answer" in capsys.readouterr().err
    with Answers({}) as url:
        assert main(["config", "check", url]) == 1
    assert "is neither Triton nor an OpenAI-compatible server" in capsys.readouterr().err
    with Answers({"/v2": "{}"}) as url:
        assert main(["config", "check", url]) == 1
    assert "Triton has no model tensorrt_llm" in capsys.readouterr().err


class Answers:
    """A stand-in for servers of which these tests need one sentence: fixed answers by path, 404 for the rest."""

    def __init__(self, answers: dict[str, str]) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                text = answers.get(self.path)
                self.send_response(404 if text is None else 200)
                self.end_headers()
                self.wfile.write((text or "").encode())

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                self.do_GET()

            def log_message(self, *arguments: object) -> None:
                """Quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    def __enter__(self) -> str:
        Thread(target=self._server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def test_vllm_is_read_by_its_metrics_and_its_tokenizer(folder: Path) -> None:
    """The lines of its metrics are as vLLM 0.32 prints them; the real server is in tests/peer."""
    metrics = 'vllm:cache_config_info{block_size="16",enable_prefix_caching="False",num_gpu_blocks="4"} 1.0\n'
    answers = {
        "/v1/models": json.dumps({"data": [{"id": "m", "max_model_len": 4096}]}),
        "/metrics": metrics,
        "/tokenize": json.dumps({"count": 3}),
    }
    with Answers(answers) as url:
        (served,), problems = check_config(url, folder)
    assert (served.reuse, served.tokens_per_block, served.capacity_tokens) == (False, 16, 64)
    messages = [problem.message for problem in problems]
    assert messages[0].startswith("KV reuse is off")
    assert any("makes 3 tokens of the prefix" in message for message in messages)
    assert any("the cache holds 64 tokens, and one shared prefix alone has" in message for message in messages)
