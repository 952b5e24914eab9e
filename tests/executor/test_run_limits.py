"""What holds a run back: targets that turn calls away, budgets, and which of the waiting calls goes first."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from run_doubles import ScriptedTarget, facts, write_agent

from charter_compiler.diagnostics.errors import BudgetError, TargetOverloadedError, TargetUnavailableError
from charter_compiler.executor.budget import Budget, Prices
from charter_compiler.executor.entry import load_entry
from charter_compiler.executor.fleet.membership import OneEndpoint
from charter_compiler.executor.inputs import InputRow
from charter_compiler.executor.journal import Journal, JournalState
from charter_compiler.executor.journal_file import JournalFile
from charter_compiler.executor.metrics import TokenTotals
from charter_compiler.executor.results import RowWriter
from charter_compiler.executor.run.context import RunContext, RunFiles, RunOutcome
from charter_compiler.executor.run.options import RunOptions
from charter_compiler.executor.run.orchestrator import run_agent
from charter_compiler.executor.scheduler.in_flight import InFlightLimit
from charter_compiler.executor.scheduler.interface import ScheduledCall
from charter_compiler.executor.scheduler.mode import Mode, make_scheduler
from charter_compiler.executor.scheduler.prefix import AGE_BOUND, PrefixScheduler
from charter_compiler.executor.types import GenerationRequest
from charter_compiler.tokens.tokenizer import default_tokenizer

AGENT = "async def ask(text, llm):\n    return await llm.agenerate(text + ' and nothing else', max_tokens=4)\n"


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., RunOutcome]:
    """Runs ``AGENT``, or another source, over so many items; the rest is a run's options."""

    def work(
        target: ScriptedTarget,
        items: int,
        *,
        resume: bool = False,
        source: str = AGENT,
        patience: float = 0.0,
        **options: object,
    ) -> RunOutcome:
        entry = load_entry(f"{write_agent(tmp_path, source)}:ask")

        async def main() -> RunOutcome:
            path = tmp_path / "out.jsonl.journal"
            journal, state = (
                Journal.resume(JournalFile(path), {})
                if resume
                else (Journal.create(JournalFile(path), {}), JournalState())
            )
            run_options = RunOptions(**options)  # type: ignore[arg-type]
            context = RunContext(run_options, facts(), default_tokenizer(), resumed=state, patience=patience)
            rows = iter([InputRow(n, n + 1, {"text": f"number {n}"}) for n in range(items)])
            with journal, RowWriter(tmp_path / "out.jsonl") as writer:
                return await run_agent(
                    entry, rows, OneEndpoint(target, context.facts), RunFiles(writer, journal), context
                )

        return asyncio.run(main())

    return work


@pytest.mark.parametrize("mode", Mode)
def test_calls_that_are_turned_away_are_sent_again_and_none_before_the_server_says(
    run: Callable[..., RunOutcome], mode: Mode
) -> None:
    sent: list[tuple[float, bool]] = []

    def answer(request: GenerationRequest) -> str | Exception:
        refused = len(sent) == 2
        sent.append((time.monotonic(), refused))
        return TargetOverloadedError("busy", retry_after=0.2) if refused else "yes"

    target = ScriptedTarget(answer)
    outcome = run(target, 6, mode=mode, concurrency=2)
    assert (outcome.tally.items, outcome.tally.failed, outcome.tally.calls) == (6, 0, 6)
    assert len(sent) == 7
    refused_at = next(when for when, refused in sent if refused)
    # One more may have been on its way when the server refused.
    assert sum(refused_at < when < refused_at + 0.2 for when, _ in sent) <= 1


def test_a_target_that_turns_everything_away_fails_the_call(
    run: Callable[..., RunOutcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("charter_compiler.executor.fleet.lane.OVERLOADS", 1)
    target = ScriptedTarget(lambda request: TargetOverloadedError("busy", retry_after=0.0))
    outcome = run(target, 2, concurrency=1)
    assert outcome.tally.failed == 2
    assert outcome.first_error is not None
    assert outcome.first_error[1].type == "TargetOverloadedError"


IMPATIENT = AGENT.replace("max_tokens=4", "max_tokens=4, timeout=5.0")


@pytest.mark.parametrize(
    ("retry_after", "failed", "sent"), [(60.0, 1, 1), (0.05, 0, 2)], ids=["longer than it", "within it"]
)
def test_a_calls_own_timeout_holds_while_the_target_turns_it_away(
    run: Callable[..., RunOutcome], retry_after: float, failed: int, sent: int
) -> None:
    def answer(request: GenerationRequest) -> str | Exception:
        timeouts.append(request.timeout)
        return TargetOverloadedError("busy", retry_after=retry_after) if len(timeouts) == 1 else "yes"

    timeouts: list[float | None] = []
    outcome = run(ScriptedTarget(answer), 1, source=IMPATIENT)
    assert (outcome.tally.failed, len(timeouts)) == (failed, sent)
    if failed:
        assert outcome.first_error is not None
        assert outcome.first_error[1].type == "TargetOverloadedError"
        assert outcome.wall_s < 30, "it does not wait until the target would take it"
    else:
        assert timeouts[1] is not None
        assert timeouts[1] <= 4.95, "what it waited is part of it"


def test_a_call_whose_turn_comes_too_late_to_be_sent_again_is_timed_out(run: Callable[..., RunOutcome]) -> None:
    """Its own wait is short; that of another call holds the endpoint."""
    sent: list[str | None] = []

    def answer(request: GenerationRequest) -> str | Exception:
        sent.append(request.prompt)
        return TargetOverloadedError("busy", retry_after=0.0 if request.timeout else 1.3) if len(sent) <= 2 else "yes"

    source = AGENT.replace("max_tokens=4", "max_tokens=4, timeout=1.0 if text == 'number 0' else None")
    outcome = run(ScriptedTarget(answer), 2, concurrency=2, source=source)
    assert (outcome.tally.items, outcome.tally.failed, len(sent)) == (2, 1, 3)
    assert outcome.first_error is not None
    assert "not sent again within its 1 s" in outcome.first_error[1].message


@pytest.mark.parametrize("error", [TargetOverloadedError("busy", retry_after=60.0), TargetUnavailableError("gone")])
def test_a_target_is_not_waited_for_beyond_the_budget_of_time(
    run: Callable[..., RunOutcome], error: TargetOverloadedError | TargetUnavailableError
) -> None:
    answered: list[str] = []

    def answer(request: GenerationRequest) -> str | Exception:
        answered.append("yes")
        return "yes" if len(answered) == 1 else error

    outcome = run(ScriptedTarget(answer), 3, concurrency=1, budget=Budget(seconds=0.4), patience=60.0)
    assert isinstance(outcome.stopped, BudgetError)
    assert (outcome.tally.items, outcome.tally.failed) == (1, 0), "the second goes on with --resume"
    assert outcome.wall_s < 30
    assert run(ScriptedTarget(), 3, resume=True).tally.items == 3


def test_the_limit_halves_and_grows_again() -> None:
    limit = InFlightLimit()
    assert limit.allows(10_000)
    limit.on_overload(8)
    assert [limit.allows(n) for n in (0, 3, 4)] == [True, True, False]
    for _ in range(4):
        limit.on_answer()
    assert not limit.allows(4)
    for _ in range(2):
        limit.on_answer()
    assert limit.allows(4)
    assert not limit.allows(5)
    for _ in range(10):
        limit.on_overload(1)
    assert limit.allows(0), "one may always go"
    assert not limit.allows(1)
    bounded = InFlightLimit(2)
    bounded.on_answer()
    assert not bounded.allows(2)


@pytest.mark.parametrize("mode", Mode)
def test_an_overload_lowers_the_calls_in_flight(mode: Mode) -> None:
    scheduler = make_scheduler(mode, 10, None)
    for key in range(8):
        scheduler.start_item(key)
        scheduler.submit(ScheduledCall(key, key))
    assert [call.key for call in scheduler.ready()] == list(range(8))
    scheduler.on_overload(5)
    assert scheduler.ready() == [], "seven are in flight, four may be"
    for key in (0, 1, 2, 3):
        scheduler.on_done(key)
    assert [call.key for call in scheduler.ready()] == [5]


def test_a_cached_prompt_goes_before_cold_ones_but_not_for_ever() -> None:
    scheduler = PrefixScheduler(1000, capacity_blocks=1000, max_in_flight=1)

    def ask(key: int, blocks: tuple[int, ...]) -> None:
        scheduler.start_item(key)
        scheduler.submit(ScheduledCall(key, key, blocks))

    def go() -> int:
        (call,) = scheduler.ready()
        scheduler.on_first_token(call.key)
        scheduler.on_done(call.key)
        return call.key

    ask(0, (1, 2))
    assert go() == 0
    ask(1, (1, 3, 4))  # a third of it is cached: cold
    ask(2, (1, 2, 5))
    assert [go(), go()] == [2, 1]
    ask(3, (7, 8))
    for key in range(4, 200):
        ask(key, (1, 2))
    order = [go() for _ in range(197)]
    assert order.index(3) == AGE_BOUND, "it was overtaken so often, and then went next"
    assert [key for key in order if key != 3] == list(range(4, 200))


def test_a_rank_of_its_own_counts() -> None:
    scheduler = PrefixScheduler(10)
    for key, rank in ((0, 5.0), (1, 1.5), (2, 3.0)):
        scheduler.start_item(key)
        scheduler.submit(ScheduledCall(key, key, rank=rank))
    assert [call.key for call in scheduler.ready()] == [1, 2, 0]


def test_a_budget_of_tokens_ends_the_run_and_resume_goes_on(run: Callable[..., RunOutcome]) -> None:
    outcome = run(ScriptedTarget(), 10, concurrency=1, budget=Budget(tokens=20))
    done = outcome.tally.items
    assert 1 <= done < 10
    assert isinstance(outcome.stopped, BudgetError)
    assert outcome.tally.failed == 0
    target = ScriptedTarget()
    outcome = run(target, 10, concurrency=1, resume=True, budget=Budget(tokens=10_000))
    assert (outcome.tally.items, outcome.stopped) == (10, None)
    assert len(target.sent) == 10 - done


def test_a_budget_that_is_reached_with_the_last_item_ends_nothing(run: Callable[..., RunOutcome]) -> None:
    assert run(ScriptedTarget(), 3, concurrency=3, budget=Budget(tokens=1)).stopped is None


async def test_a_budget_of_time_lets_the_running_items_finish(tmp_path: Path) -> None:
    entry = load_entry(f"{write_agent(tmp_path, AGENT)}:ask")
    target = ScriptedTarget(hold=asyncio.Event())
    context = RunContext(RunOptions(concurrency=1, budget=Budget(seconds=0.05)), facts(), default_tokenizer())
    rows = iter([InputRow(n, n + 1, {"text": f"number {n}"}) for n in range(3)])
    with Journal.create(JournalFile(tmp_path / "j"), {}) as journal, RowWriter(tmp_path / "o") as writer:
        running = asyncio.ensure_future(
            run_agent(entry, rows, OneEndpoint(target, context.facts), RunFiles(writer, journal), context)
        )
        await asyncio.sleep(0.1)
        assert not running.done()
        assert target.hold is not None
        target.hold.set()
        outcome = await running
    assert (outcome.tally.items, outcome.tally.failed) == (1, 0)
    assert isinstance(outcome.stopped, BudgetError)


def test_money_is_counted_by_what_was_cached() -> None:
    totals = TokenTotals(prompt=1_000_000, cached=400_000, output=100_000)
    prices = Prices(prompt=2.0, cached=0.5, output=10.0)
    assert prices.of(totals) == pytest.approx(0.6 * 2 + 0.4 * 0.5 + 0.1 * 10)
    assert Budget(money=2.5, prices=prices).exceeded(totals, 0) is None
    assert "2.4" in str(Budget(money=2.4, prices=prices).exceeded(totals, 0))
    totals.cached = None
    assert "does not report" in str(Budget(money=9.0, prices=prices).exceeded(totals, 0))
