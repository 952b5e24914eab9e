"""``charter serve`` as a program, over the real server."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

pytestmark = pytest.mark.server
CHARTER = [sys.executable, "-m", "charter_compiler.cli.main"]
FREE = ["--http-port", "0", "--grpc-port", "0", "--metrics-port", "0"]
GUARD = 120.0


def serve(*arguments: str) -> subprocess.CompletedProcess[str]:
    """A start that is expected to fail."""
    return subprocess.run([*CHARTER, "serve", *arguments], capture_output=True, text=True, timeout=GUARD, check=False)


def descendant(pid: int, name: str) -> int | None:
    """The process of that name among the children of ``pid``, and theirs."""
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split():
        if Path(f"/proc/{child}/comm").read_text(encoding="ascii").strip() == name:
            return int(child)
        if found := descendant(int(child), name):
            return found
    return None


def test_it_serves_until_ctrl_c(model_path: Path) -> None:
    command = [*CHARTER, "serve", *FREE, "--model", str(model_path), "--capacity-blocks", "16", "--max-context", "256"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line)
            if "Ctrl-C" in line:
                break
        text = "".join(lines)
        url = re.search(r"HTTP +(http://127\.0\.0\.1:\d+)$", text, re.MULTILINE)
        example = re.search(r"curl (\S+) -d '(.+)'", text)
        assert url is not None, text
        assert example is not None, text
        answer = httpx.post(example[1], content=example[2], trust_env=False, timeout=GUARD).json()
        assert json.loads(example[2])["max_tokens"] == answer["num_output_tokens"]
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=GUARD)
        assert process.returncode == 0
        assert "Traceback" not in errors
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{url[1]}/v2/health/live", trust_env=False)


def test_a_server_that_dies_is_one_line_and_a_failure(model_path: Path) -> None:
    command = [*CHARTER, "serve", *FREE, "--model", str(model_path), "--capacity-blocks", "16", "--max-context", "256"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert any("Ctrl-C" in line for line in process.stdout)
        server = descendant(process.pid, "tritonserver")
        assert server is not None
        os.kill(server, signal.SIGKILL)
        _, errors = process.communicate(timeout=GUARD)
    assert process.returncode == 1
    assert errors.splitlines()[-1].startswith("charter: error: the server died: it ended with signal 9")


def test_a_busy_port_is_one_line(model_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        result = serve(*FREE, "--http-port", port, "--model", str(model_path))
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1].startswith(f"charter: error: 127.0.0.1:{port}: something else listens")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "no/such.gguf"], r"no/such\.gguf: there is no such model file \(run: charter models fetch\)"),
        (["--model", "unheard-of"], "there is no model 'unheard-of'"),
        (["--tokens-per-block", "0"], "tokens_per_block is 0"),
        (["--http-port", "70000"], "HTTP port 70000 does not exist"),
        (["--threads", "0"], "threads is 0"),
    ],
)
def test_a_bad_option_is_one_line(model_path: Path, arguments: list[str], message: str) -> None:
    result = serve(*FREE, "--model", str(model_path), *arguments)
    assert result.returncode in {1, 2}
    assert re.search(f"^charter: error: .*{message}", result.stderr.splitlines()[-1]), result.stderr
    assert "Traceback" not in result.stderr
