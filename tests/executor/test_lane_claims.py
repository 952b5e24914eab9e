"""When a call is claimed among the runs that share a memo store: only while it is at the target."""

from __future__ import annotations

import time

import pytest
from run_doubles import BLOCK, ScriptedTarget

from charter_compiler.diagnostics.errors import TargetOverloadedError, TargetUnavailableError
from charter_compiler.executor.fleet.lane import Lane
from charter_compiler.executor.memo.memo import AnsweredElsewhereError, MemoTurn
from charter_compiler.executor.prompts import PromptTokens
from charter_compiler.executor.scheduler.pass_through import PassThroughScheduler
from charter_compiler.executor.types import GenerationRequest
from charter_compiler.tokens.tokenizer import default_tokenizer


class Turn(MemoTurn):
    """Notes what it is told. ``elsewhere``: another run has the claim."""

    def __init__(self, elsewhere: bool = False) -> None:
        self.told: list[str] = []
        self._elsewhere = elsewhere

    async def claim(self) -> None:
        self.told.append("claim")
        if self._elsewhere:
            raise AnsweredElsewhereError

    def release(self) -> None:
        self.told.append("release")


def lane_to(target: ScriptedTarget) -> Lane:
    def fatal(error: Exception) -> None:
        raise AssertionError(error)

    prompts = PromptTokens(default_tokenizer(), BLOCK)
    return Lane(
        None, target, PassThroughScheduler(1), prompts,
        clock=time.monotonic, on_change=lambda: None, on_fatal=fatal, patience=60.0,
    )  # fmt: skip


@pytest.mark.parametrize(
    "error", [TargetOverloadedError("busy", retry_after=0.01), TargetUnavailableError("away")], ids=["busy", "away"]
)
async def test_no_claim_is_held_while_a_call_waits_once_more(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("charter_compiler.executor.fleet.lane.OUTAGE_PROBE", 0.01)
    answers: list[str | Exception] = [error, "yes"]
    turn, target = Turn(), ScriptedTarget(lambda request: answers.pop(0))
    lane = lane_to(target)
    answer = await lane.send(lane.scheduled(0, 0, None, 4), lambda: GenerationRequest("x"), None, turn)
    assert answer.result.text == "yes"
    assert turn.told == ["claim", "release", "claim"], "the caller lets it go when the answer is stored"


async def test_a_call_that_another_run_computes_gives_its_place_to_the_next() -> None:
    target = ScriptedTarget()
    lane = lane_to(target)
    with pytest.raises(AnsweredElsewhereError):
        await lane.send(lane.scheduled(0, 0, None, 4), lambda: GenerationRequest("x"), None, Turn(elsewhere=True))
    assert target.sent == []
    answer = await lane.send(lane.scheduled(1, 0, None, 4), lambda: GenerationRequest("y"))
    assert answer.result.text == "yes"
