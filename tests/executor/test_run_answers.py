"""Equal requests of one run are answered once; sampling ones are not."""

from __future__ import annotations

import asyncio

import pytest

from charter_compiler.executor.answers import RunAnswers, merge_key
from charter_compiler.executor.types import GenerationRequest, GenerationResult

GREEDY = GenerationRequest(prompt="Hello", max_tokens=4)


def answer(text: str) -> GenerationResult:
    return GenerationResult(text, 0.1, None, 1, 0, 1)


@pytest.mark.parametrize(
    "other",
    [
        GenerationRequest(prompt="Hello!", max_tokens=4),
        GenerationRequest(prompt="Hello", max_tokens=5),
        GenerationRequest(prompt="Hello", max_tokens=4, stop=(".",)),
        GenerationRequest(prompt="Hello", max_tokens=4, temperature=0.7, seed=1),
        GenerationRequest(messages=({"role": "user", "content": "Hello"},), max_tokens=4),
        GenerationRequest(prompt="Hello", max_tokens=4, response_format={"type": "json_object"}),
    ],
)
def test_other_requests_have_other_keys(other: GenerationRequest) -> None:
    assert merge_key(other) not in (None, merge_key(GREEDY))


def test_what_samples_has_no_key() -> None:
    assert merge_key(GREEDY) == merge_key(GenerationRequest(prompt="Hello", max_tokens=4, timeout=9))
    assert merge_key(GREEDY, greedy_by_default=False) is None
    assert merge_key(GenerationRequest(prompt="Hello", max_tokens=4, temperature=0.0), greedy_by_default=False)
    assert merge_key(GenerationRequest(prompt="Hello", max_tokens=4, top_p=0.9)) is None
    sampling = GenerationRequest(prompt="Hello", max_tokens=4, temperature=0.7)
    assert merge_key(sampling) is None
    assert merge_key(sampling, sampling=True) is not None


async def test_calls_that_meet_wait_for_the_first() -> None:
    answers, sent, go = RunAnswers(), [], asyncio.Event()

    async def send() -> GenerationResult:
        sent.append(1)
        await go.wait()
        return answer("yes")

    calls = [asyncio.create_task(answers.get(GREEDY, send)) for _ in range(3)]
    await asyncio.sleep(0)
    go.set()
    found = [await call for call in calls]
    assert [text.text for text, _ in found] == ["yes"] * 3
    assert [merged for _, merged in found] == [False, True, True]
    assert (await answers.get(GREEDY, send))[1]
    assert len(sent) == 1


async def test_if_the_first_fails_the_next_is_sent() -> None:
    answers, sent = RunAnswers(), []

    async def send() -> GenerationResult:
        sent.append(1)
        await asyncio.sleep(0)
        if len(sent) == 1:
            raise ValueError("lost")
        return answer("yes")

    calls = [asyncio.create_task(answers.get(GREEDY, send)) for _ in range(3)]
    found = await asyncio.gather(*calls, return_exceptions=True)
    assert isinstance(found[0], ValueError)
    assert [each[1] for each in found[1:]] == [False, True]  # type: ignore[index]
    assert len(sent) == 2


async def test_a_waiting_call_can_be_cancelled_alone() -> None:
    answers, go = RunAnswers(), asyncio.Event()

    async def send() -> GenerationResult:
        await go.wait()
        return answer("yes")

    first, second = (asyncio.create_task(answers.get(GREEDY, send)) for _ in range(2))
    await asyncio.sleep(0)
    second.cancel()
    with pytest.raises(asyncio.CancelledError):
        await second
    go.set()
    assert (await first)[0].text == "yes"
