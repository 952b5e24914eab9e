"""The Python snippet of the README (it is the design's) runs as written against the embedded server."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path
from typing import Any

import pytest

from charter_compiler.serve.server import ServerHandle

ROOT = Path(__file__).resolve().parents[2]
DEFAULT_URL = "localhost:8001"


def python_blocks(markdown: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", markdown, re.DOTALL)


@pytest.mark.server
def test_the_snippet_runs(embedded_server: ServerHandle, monkeypatch: pytest.MonkeyPatch) -> None:
    (snippet,) = python_blocks((ROOT / "README.md").read_text(encoding="utf-8"))
    assert DEFAULT_URL in snippet
    # The test's server has a port of its own; nothing else is changed.
    snippet = snippet.replace(DEFAULT_URL, embedded_server.grpc_url)
    monkeypatch.chdir(ROOT)
    names: dict[str, Any] = {}
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(compile(snippet, "README.md", "exec"), names)
    try:
        opportunity = names["opportunities"][0]
        assert opportunity.priority > 80
        assert set(opportunity.nodes) == {call.id for call in names["parsed"].calls}
        result = names["result"]
        assert result.cache_id == opportunity.cache_id
        assert result.cached_tokens == opportunity.aligned_length > 0
        assert result.hit_rate == result.cached_tokens / result.prompt_tokens
        assert result.output_tokens > 0
        assert result.text.strip()
        assert 0 < result.ttft <= result.latency
        assert printed.getvalue().startswith(result.text)
        assert {str(pattern.kind) for pattern in names["patterns"]} == {"shared_prefix", "sequential_chain"}
    finally:
        names["client"].close()
