"""Who may join a run that goes on: what is opened, what is refused and closed, and what is kept of its answers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import pytest
from run_doubles import ScriptedTarget, facts, write_agent

from charter_compiler.api.measured_run import measured_run
from charter_compiler.api.memo import MemoOptions
from charter_compiler.api.run_request import PredictWhen, RunRequest
from charter_compiler.diagnostics.errors import PlanError, TargetUnavailableError, UnknownModelError
from charter_compiler.executor.fleet import opening
from charter_compiler.executor.fleet.fleet import Endpoint
from charter_compiler.executor.fleet.opening import OpenEndpoints, open_endpoints
from charter_compiler.executor.run.options import RunOptions
from charter_compiler.executor.targets import OpenTarget
from charter_compiler.tokens.tokenizer import default_tokenizer

A, B, C = (f"triton://{name}:1/m" for name in "abc")


@dataclass
class Servers:
    """Targets in memory by their address; an error is what opening raises, ``None`` never answers."""

    there: dict[str, OpenTarget | Exception | None] = field(default_factory=dict)
    tried: list[str] = field(default_factory=list)
    closed: list[str] = field(default_factory=list)
    on_open: Callable[[str], None] = lambda spec: None

    @asynccontextmanager
    async def open(self, spec: str, options: object = None) -> AsyncIterator[OpenTarget]:
        self.tried.append(spec)
        found = self.there[spec]
        if found is None:
            await asyncio.Event().wait()
        if not isinstance(found, OpenTarget):
            raise found or AssertionError
        self.on_open(spec)
        try:
            yield found
        finally:
            self.closed.append(spec)


@pytest.fixture
def servers(monkeypatch: pytest.MonkeyPatch) -> Servers:
    """``A`` answers, ``B`` and ``C`` are away; tries are quick."""
    away = TargetUnavailableError("away")
    made = Servers({A: server("a"), B: away, C: away})
    monkeypatch.setattr(opening, "open_target", made.open)
    monkeypatch.setattr(opening, "PROBE", 0.005)
    return made


def server(weights: str, **stated: object) -> OpenTarget:
    known = replace(facts(), **stated)  # type: ignore[arg-type]
    return OpenTarget(weights, ScriptedTarget(), known, default_tokenizer(), None, identity={"weights": weights})


@contextmanager
def watched(endpoints: OpenEndpoints, joined: list[str | None]) -> Iterator[None]:
    def join(endpoint: Endpoint) -> None:
        joined.append(endpoint.name)

    watching = asyncio.ensure_future(endpoints.watch(join, lambda name: True))
    try:
        yield
        assert not watching.done(), "it goes on whatever one of them does"
    finally:
        watching.cancel()


async def until(what: Callable[[], object]) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(10):
            while not what():
                await asyncio.sleep(0.005)
    assert what()


@pytest.mark.parametrize(
    ("begins", "joins", "says"),
    [
        ({}, {"tokens_per_block": 32}, "blocks of 32 tokens"),
        ({}, {"embedded": True}, "samples by default"),
        ({"kv_hint_actions": ("retain",)}, {"kv_hint_actions": ("evict",)}, "takes no hints to retain"),
        ({}, {"model": "other"}, "serves the model other"),
    ],
)
async def test_an_endpoint_that_differs_is_refused_and_closed(
    servers: Servers, begins: dict[str, object], joins: dict[str, object], says: str
) -> None:
    servers.there[A] = server("a", **begins)
    joined: list[str | None] = []
    async with open_endpoints(f"{A},{B}") as endpoints:
        servers.there[B] = server("b", **joins)
        with watched(endpoints, joined):
            await until(lambda: servers.closed)
        assert servers.closed == [B]
        assert (joined, endpoints.targets) == ([], (servers.there[A],))
        assert any(note.startswith(f"endpoint {B} cannot be used") and says in note for note in endpoints.notes)


async def test_neither_a_slow_nor_a_broken_endpoint_holds_up_another(servers: Servers) -> None:
    async with open_endpoints(f"{A},{B},{C}") as endpoints:
        servers.there[B] = None
        with watched(endpoints, []):
            await until(lambda: servers.tried.count(B) == 2)
            servers.there[C] = PlanError("odd")
            await until(lambda: f"endpoint {C} cannot be used: odd" in endpoints.notes)
            assert servers.tried.count(B) == 2, "it is under way still"


async def test_an_opening_that_takes_too_long_is_tried_again(servers: Servers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "OPENING", 0.01)
    joined: list[str | None] = []
    async with open_endpoints(f"{A},{B}") as endpoints:
        servers.there[B] = None
        with watched(endpoints, joined):
            await until(lambda: servers.tried.count(B) >= 3)
            servers.there[B] = server("b")
            await until(lambda: joined == [B])
    assert sorted(servers.closed) == [A, B]


async def test_an_endpoint_of_no_use_is_not_tried_again(servers: Servers) -> None:
    servers.there[B] = server("b")
    async with open_endpoints(f"{A},{B}") as endpoints:
        with watched(endpoints, []):
            endpoints.lost(B, UnknownModelError("unloaded"))
            await asyncio.sleep(0.05)
        assert servers.tried == [A, B]
        assert endpoints.notes == [f"endpoint {B} cannot be used any more: unloaded; its items moved to the others"]


def test_of_one_that_joins_with_other_weights_nothing_is_kept_for_the_others(servers: Servers, tmp_path: Path) -> None:
    """The memo's keys hold what the run began with: answers given before it joined are kept, later ones are not."""
    agent = "def ask(text, llm):\n    return llm.generate(text, max_tokens=4, temperature=0)\n"
    (tmp_path / "in.jsonl").write_text("".join(json.dumps({"text": f"text {n}"}) + "\n" for n in range(8)))
    request = RunRequest(
        f"{write_agent(tmp_path, agent)}:ask", tmp_path / "in.jsonl", tmp_path / "out.jsonl", f"{A},{B}",
        options=RunOptions(concurrency=1), predict=PredictWhen.NEVER, memo=MemoOptions(),
    )  # fmt: skip
    first = servers.there[A]
    assert isinstance(first, OpenTarget)
    assert isinstance(first.client, ScriptedTarget)
    client = first.client

    class UntilBIsThere(asyncio.Event):
        async def wait(self) -> Literal[True]:
            if len(client.sent) < 3:
                return True
            servers.there[B] = server("b")
            return await super().wait()

    client.hold = held = UntilBIsThere()
    servers.on_open = lambda spec: held.set() if spec == B else None
    report = measured_run(request)
    assert (report.metrics.items, report.metrics.calls) == (8, 8)
    assert all(each.items for each in report.metrics.endpoints)
    assert any(f"not used to the end: endpoint {B} joined" in note for note in report.notes)
    client.hold = None
    assert measured_run(replace(request, target=A)).metrics.memoized_calls == 2
