"""Spans of a run: OpenTelemetry's own exporter in memory reads them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from run_doubles import write_agent

from charter_compiler.api import measured_run as module
from charter_compiler.api.measured_run import measured_run
from charter_compiler.api.run_request import PredictWhen, RunRequest
from charter_compiler.diagnostics.errors import OutputError, UsageError
from charter_compiler.executor.run.options import RunOptions
from charter_compiler.executor.tracing import exported_spans

AGENT = """
def process(text, llm):
    if text == "bad":
        raise ValueError("no")
    first = llm.generate(f"Read this: {text}", max_tokens=3)
    return llm.chat([{"role": "user", "content": f"{first} {text}"}], max_tokens=2)
"""


def test_items_and_calls_are_spans_by_the_conventions_and_lines_of_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))

    @contextmanager
    def tracer() -> Iterator[Any]:
        yield provider.get_tracer("test")

    monkeypatch.setattr(module, "exported_spans", tracer)
    (tmp_path / "in.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in ("one", "bad")))
    entry = f"{write_agent(tmp_path, AGENT)}:process"
    measured_run(
        RunRequest(
            entry, tmp_path / "in.jsonl", tmp_path / "out.jsonl", target="sim",
            options=RunOptions(concurrency=1), predict=PredictWhen.NEVER, log=tmp_path / "log.jsonl",
        )
    )  # fmt: skip
    spans = exporter.get_finished_spans()
    agents = {span.attributes["charter.item"]: span for span in spans if span.name == f"invoke_agent {entry}"}
    assert sorted(agents) == [0, 1]
    assert agents[0].status.is_ok or agents[0].status.status_code.name == "UNSET"
    assert agents[1].status.status_code.name == "ERROR"
    assert agents[1].attributes["error.type"] == "ValueError"
    calls = [span for span in spans if span.parent is not None and span.parent.span_id == agents[0].context.span_id]
    assert [span.name.split()[0] for span in calls] == ["text_completion", "chat"]
    for span, output in zip(calls, (3, 2), strict=True):
        attributes = span.attributes
        assert span.kind.name == "CLIENT"
        assert attributes["gen_ai.operation.name"] == span.name.split()[0]
        assert attributes["gen_ai.request.model"] == attributes["gen_ai.response.model"]
        assert attributes["gen_ai.usage.output_tokens"] == attributes["gen_ai.request.max_tokens"] == output
        assert attributes["gen_ai.usage.input_tokens"] > 0
        assert attributes["gen_ai.usage.cache_read.input_tokens"] >= 0
        assert "agent.py" in attributes["code.location"]
        assert agents[0].start_time <= span.start_time < span.end_time <= agents[0].end_time
        assert [event.name for event in span.events] == ["gen_ai.first_token"]
        assert "Read this" not in str(dict(attributes)), "prompts stay where they are"
    text = (tmp_path / "log.jsonl").read_text(encoding="utf-8")
    assert "Read this" not in text
    lines = [json.loads(line) for line in text.splitlines()]
    told = [(line["event"], line["item"], line.get("error")) for line in lines]
    assert [line for line in told if line[1] == 0] == [
        ("item_started", 0, None), ("call", 0, None), ("call", 0, None), ("item_finished", 0, None),
    ]  # fmt: skip
    assert ("item_finished", 1, "ValueError") in told
    assert [line["output_tokens"] for line in lines if line["event"] == "call"] == [3, 2]


FULL = Path("/dev/full")


@pytest.mark.skipif(not FULL.exists(), reason="a device of Linux that is always full")
def test_a_log_that_cannot_be_written_ends_the_run_and_loses_no_item(tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text('{"text": "one"}\n' * 3)
    request = RunRequest(
        f"{write_agent(tmp_path, AGENT)}:process", tmp_path / "in.jsonl", tmp_path / "out.jsonl", target="sim",
        options=RunOptions(concurrency=1), predict=PredictWhen.NEVER, log=FULL,
    )  # fmt: skip
    mode = FULL.stat().st_mode
    assert isinstance(measured_run(request).stopped, OutputError)
    assert FULL.stat().st_mode == mode, "a device is not made private"
    log = tmp_path / "log.jsonl"
    log.write_text("what the first part wrote\n")
    assert measured_run(replace(request, log=log, resume=True)).metrics.items == 3
    assert len(log.read_text(encoding="utf-8").splitlines()) == 1 + 3 * 4


def test_without_an_endpoint_there_are_none() -> None:
    with exported_spans({}) as tracer:
        assert tracer is None


def test_an_endpoint_without_the_extra_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    with (
        pytest.raises(UsageError, match="asks for spans, which need"),
        exported_spans({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}),
    ):
        pass
