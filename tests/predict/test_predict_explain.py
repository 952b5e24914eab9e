"""Why tokens are computed: the parts add up, and the first token that differs is found with its source."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from charter_compiler.executor.entry import load_entry
from charter_compiler.executor.inputs import InputRow
from charter_compiler.executor.run.options import RunOptions
from charter_compiler.executor.scheduler.mode import Mode
from charter_compiler.predict.explain import CallExplanation, by_site
from charter_compiler.predict.planning import calls_of_entry
from charter_compiler.predict.prediction import predict_run
from charter_compiler.predict.prefix_index import PrefixIndex, common_length
from charter_compiler.serve.engine.interface import EngineConfig
from charter_compiler.tokens.tokenizer import default_tokenizer

LONG = "The quick brown fox jumps over the lazy dog while the cat watches from the garden wall. " * 4


def explained(
    tmp_path: Path,
    source: str,
    texts: list[str],
    *,
    mode: Mode = Mode.OPTIMIZED,
    capacity: int = 256,
    concurrency: int = 16,
) -> tuple[CallExplanation, ...]:
    path = tmp_path / "agent.py"
    path.write_text(source, encoding="utf-8")
    entry = f"{path}:process"
    prediction = predict_run(
        load_entry(entry),
        [InputRow(n, n + 1, {"text": text}) for n, text in enumerate(texts)],
        default_tokenizer(),
        EngineConfig(capacity_blocks=capacity),
        RunOptions(mode=mode, max_tokens=8, concurrency=concurrency),
        calls=calls_of_entry(entry),
        explained=True,
    )
    assert prediction.problem is None
    for call in prediction.explained:
        assert call.cached + call.evicted + call.in_flight + call.rounding + call.new == call.prompt
    return prediction.explained


def place(call: CallExplanation) -> tuple[str, str, int | None]:
    assert call.difference is not None
    origin = call.difference.origin
    return origin.what, Path(origin.file or "").name, origin.line


def test_the_input_that_differs_is_named_with_its_line(tmp_path: Path) -> None:
    source = f"def process(text, llm):\n    p = {LONG!r}\n    p += f'Now: {{text}} end'\n    return llm.generate(p)\n"
    first, second = explained(tmp_path, source, ["one", "two"])
    assert first.difference is not None
    assert first.difference.cause == "no earlier prompt begins like it"
    assert second.difference is not None
    assert place(second) == ("input text", "agent.py", 3)
    assert (second.difference.text[:4], second.difference.other, second.difference.with_item) == (" two", " one", 0)
    assert second.new == second.prompt - second.difference.token
    assert 0 < second.rounding < 32


def test_an_output_and_a_constant_are_named(tmp_path: Path) -> None:
    source = (
        f"BASE = {LONG!r}\n"
        "def process(text, llm):\n"
        "    a = llm.generate(BASE + 'First.')\n"
        "    b = llm.generate(BASE + 'Second.')\n"
        "    return llm.generate(BASE + 'First.' + b + 'x')\n"
    )
    _, second, third = explained(tmp_path, source, ["x"])
    assert second.difference is not None
    assert second.difference.origin.what == "constant text"
    assert second.difference.text.startswith(" Second.")
    assert third.difference is not None
    assert place(third) == ("the output of agent.py:process#2", "agent.py", 5)


def test_what_is_evicted_is_told_from_what_is_in_flight(tmp_path: Path) -> None:
    source = "def process(text, llm):\n    return llm.generate(text)\n"
    again = [LONG + "a", "something else " * 75, LONG + "b"]
    (_, _, third) = explained(tmp_path, source, again, capacity=6, concurrency=1)
    assert third.evicted > 0
    assert third.in_flight == 0
    together = ["something else " * 50, *(f"{LONG}{n}" for n in range(3))]
    calls = explained(tmp_path, source, together, mode=Mode.BASELINE)
    assert sum(call.in_flight for call in calls) > 0
    assert sum(call.evicted for call in calls) == 0


def test_sites_sum_their_calls(tmp_path: Path) -> None:
    source = f"def process(text, llm):\n    return llm.generate({LONG!r} + text)\n"
    calls = explained(tmp_path, source, ["one", "two", "three"])
    (site,) = by_site(calls)
    assert (site.calls, site.prompt) == (3, sum(call.prompt for call in calls))
    assert sum(calls for _, calls, _ in site.causes) == 3


TOKENS = st.lists(st.integers(0, 2), max_size=14)


@given(st.lists(TOKENS, max_size=6), TOKENS)
def test_the_longest_shared_prefix_is_found_to_the_token(stored: list[list[int]], prompt: list[int]) -> None:
    index = PrefixIndex(4)
    for number, tokens in enumerate(stored):
        index.add(number, tokens)
    shared = index.match(prompt)
    assert shared.length == max((common_length(tokens, prompt) for tokens in stored), default=0)
    if shared.nearest is not None and shared.length:
        assert common_length(stored[shared.nearest], prompt) >= shared.length
    for block, request in enumerate(shared.providers):
        assert stored[request][: 4 * block + 4] == prompt[: 4 * block + 4]
