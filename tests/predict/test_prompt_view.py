"""A prompt laid open: its parts are the whole prompt, and repeated runs are what earlier sequences hold."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from charter_compiler.executor.entry import load_entry
from charter_compiler.executor.inputs import InputRow
from charter_compiler.executor.run.options import RunOptions
from charter_compiler.executor.scheduler.mode import Mode
from charter_compiler.predict.planning import calls_of_entry
from charter_compiler.predict.prediction import predict_run
from charter_compiler.predict.prompt_view import Fate
from charter_compiler.predict.repeats import RUN, RepeatIndex
from charter_compiler.serve.engine.interface import EngineConfig
from charter_compiler.tokens.tokenizer import default_tokenizer

SOURCE = """\
RULES = "Read the report with care and answer in one line, as a careful analyst of companies would do. " * 3


def process(text, llm):
    first = llm.generate(RULES + "Summarize: " + text)
    return llm.generate(RULES + f"Compare {first} with the report: {text}")
"""
REPORT = "Revenue of the {} company rose by eight per cent, while costs of sales fell, owing to lower freight rates. "


def test_the_text_that_comes_again_is_wasted_at_its_line(tmp_path: Path) -> None:
    path = tmp_path / "agent.py"
    path.write_text(SOURCE, encoding="utf-8")
    entry = f"{path}:process"
    texts = [REPORT.format(name) + f"Its name is {name}, and it is {name} that grew most. " * 4 for name in "ABC"]
    prediction = predict_run(
        load_entry(entry),
        [InputRow(n, n + 1, {"text": text}) for n, text in enumerate(texts)],
        default_tokenizer(),
        EngineConfig(capacity_blocks=256),
        RunOptions(mode=Mode.OPTIMIZED, max_tokens=8),
        calls=calls_of_entry(entry),
        explained=True,
    )
    assert [view.call.site.rpartition("#")[2] for view in prediction.views] == ["1", "2"]
    for view in prediction.views:
        assert [part.first for part in view.parts] == [
            sum(part.tokens for part in view.parts[:number]) for number in range(len(view.parts))
        ]
        assert sum(part.tokens for part in view.parts) == view.call.prompt
        kinds = {kind: sum(part.tokens for part in view.parts if part.fate.kind == kind) for kind in KINDS}
        call = view.call
        assert kinds["cached"] == call.cached
        assert kinds["wasted"] == call.evicted + call.in_flight + call.rounding + call.repeated
    second = prediction.views[1]
    again = max((part for part in second.parts if part.fate is Fate.REPEATED), key=lambda part: part.tokens)
    assert (again.origin.what, again.origin.line) == ("input text", 6)
    assert again.text.strip() in texts[second.call.item or 0]
    assert "".join(part.text for part in second.parts).endswith(texts[second.call.item or 0])


KINDS = ("cached", "wasted", "computed")
TOKENS = st.lists(st.integers(0, 1), max_size=80)


@given(st.lists(TOKENS, max_size=4), TOKENS, st.integers(0, 20))
def test_runs_are_disjoint_and_stand_in_an_earlier_sequence(
    stored: list[list[int]], prompt: list[int], first: int
) -> None:
    index = RepeatIndex()
    for tokens in stored:
        index.add(tokens)
    position = first
    for start, stop in index.runs(prompt, first):
        assert position <= start < stop <= len(prompt)
        position = stop
        windows = [prompt[at : at + RUN] for at in range(start, max(stop - RUN, start) + 1)]
        assert all(any(is_in(window, tokens) for tokens in stored) for window in windows)


@given(TOKENS, st.lists(st.integers(2, 3), max_size=5), st.lists(st.integers(2, 3), max_size=5))
def test_a_long_run_is_found_whole_wherever_it_stands(run: list[int], before: list[int], behind: list[int]) -> None:
    index = RepeatIndex()
    index.add([*before, *run, *behind])
    prompt = [9, *run, 8]
    found = index.runs(prompt)
    if len(run) >= 2 * RUN - 1:
        assert found[0][0] == 1
        assert found[-1][1] == 1 + len(run)
        assert sum(stop - start for start, stop in found) == len(run)


def is_in(window: list[int], tokens: list[int]) -> bool:
    return any(tokens[at : at + len(window)] == window for at in range(len(tokens) - len(window) + 1))
