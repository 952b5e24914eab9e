"""OpenTelemetry spans of items and calls, by the GenAI semantic conventions (1.37). Without the extra ``[otel]``, or an
endpoint to send them to, there are none."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

from charter_compiler.diagnostics.errors import UsageError
from charter_compiler.executor.calls import CallRecord
from charter_compiler.executor.results import RowError

ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
"""Variables of OpenTelemetry's own: one of them set asks for spans."""
NANO = 1_000_000_000


class RunSpans(Protocol):
    """What a run tells of itself. Times are seconds since the run began."""

    def item_started(self, item: int, at: float) -> None:
        """The agent of an item begins."""

    def item_finished(self, item: int, at: float, error: RowError | None) -> None:
        """It has returned or failed."""

    def call(self, record: CallRecord) -> None:
        """A call was answered."""


class NoSpans:
    """Tells nobody."""

    def item_started(self, item: int, at: float) -> None:
        """See ``RunSpans``."""

    def item_finished(self, item: int, at: float, error: RowError | None) -> None:
        """See ``RunSpans``."""

    def call(self, record: CallRecord) -> None:
        """See ``RunSpans``."""


class TracedRun:
    """Spans of one run: ``invoke_agent`` for each item, and below it one for each call. No prompt and no output is in
    them.

    Args:
        tracer: OpenTelemetry's.
        entry: the agent's name.
        model: the one that answers.
        system: the engine, where it says; ``gen_ai.provider.name``.
        began: when the run began, in nanoseconds of the wall clock.
    """

    def __init__(self, tracer: Any, entry: str, model: str, system: str, began: int) -> None:
        from opentelemetry import trace

        self._trace = trace
        self._tracer = tracer
        self._entry = entry
        self._base = {"gen_ai.request.model": model, "gen_ai.response.model": model, "gen_ai.provider.name": system}
        self._began = began
        self._items: dict[int, Any] = {}

    def item_started(self, item: int, at: float) -> None:
        """See ``RunSpans``."""
        attributes = {
            "gen_ai.operation.name": "invoke_agent",
            "gen_ai.agent.name": self._entry,
            "gen_ai.provider.name": self._base["gen_ai.provider.name"],
            "charter.item": item,
        }
        name = f"invoke_agent {self._entry}"
        self._items[item] = self._tracer.start_span(name, start_time=self._time(at), attributes=attributes)

    def item_finished(self, item: int, at: float, error: RowError | None) -> None:
        """See ``RunSpans``."""
        span = self._items.pop(item)
        if error is not None:
            span.set_attribute("error.type", error.type)
            span.set_status(self._trace.Status(self._trace.StatusCode.ERROR, error.type))
        span.end(end_time=self._time(at))

    def call(self, record: CallRecord) -> None:
        """See ``RunSpans``."""
        parent = None if record.item is None else self._items.get(record.item)
        context = None if parent is None else self._trace.set_span_in_context(parent)
        operation = "text_completion" if record.request.prompt is not None else "chat"
        span = self._tracer.start_span(
            f"{operation} {self._base['gen_ai.request.model']}",
            context=context,
            kind=self._trace.SpanKind.CLIENT,
            start_time=self._time(record.submitted),
            attributes={**self._base, "gen_ai.operation.name": operation, **_attributes(record)},
        )
        if record.first_token is not None:
            span.add_event("gen_ai.first_token", timestamp=self._time(record.first_token))
        span.end(end_time=self._time(record.done))

    def _time(self, seconds: float) -> int:
        return self._began + round(seconds * NANO)


def _attributes(record: CallRecord) -> dict[str, Any]:
    request, result = record.request, record.result
    given = {
        "gen_ai.request.max_tokens": request.max_tokens,
        "gen_ai.request.temperature": request.temperature,
        "gen_ai.request.top_p": request.top_p,
        "gen_ai.request.top_k": request.top_k,
        "gen_ai.request.seed": request.seed,
        "gen_ai.usage.input_tokens": result.prompt_tokens,
        "gen_ai.usage.cache_read.input_tokens": result.cached_tokens,
        "gen_ai.usage.output_tokens": result.output_tokens,
        "gen_ai.response.finish_reasons": None if result.finish_reason is None else [result.finish_reason],
        "code.location": None if record.site is None else record.site.label,
        "charter.warm_up": record.item is None,
        "charter.memoized": record.memoized,
        "charter.queue_seconds": round(record.sent - record.submitted, 6),
        "charter.attainable_tokens": record.attainable_tokens,
    }
    return {name: value for name, value in given.items() if value is not None}


@contextmanager
def exported_spans(environment: Mapping[str, str] = os.environ) -> Iterator[Any]:
    """A tracer whose spans go to the collector that OpenTelemetry's variables name; ``None`` where they name none.
    What is left is sent at the end.

    Raises:
        UsageError: spans are asked for, and the extra is not installed.
    """
    if not any(environment.get(name) for name in ENDPOINTS):
        yield None
        return
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        raise UsageError(
            f"{ENDPOINTS[0]} asks for spans, which need {error.name}",
            remedy="install Charter with its extra [otel], or unset it",
        ) from error
    name = environment.get("OTEL_SERVICE_NAME", "charter")
    provider = TracerProvider(resource=Resource.create({"service.name": name}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    try:
        yield provider.get_tracer("charter_compiler")
    finally:
        provider.shutdown()
