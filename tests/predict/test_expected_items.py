"""What is known of items before the first of them has run, and what the scheduler makes of it."""

from __future__ import annotations

from pathlib import Path

from charter_compiler.executor.entry import load_entry
from charter_compiler.executor.inputs import InputRow
from charter_compiler.executor.prompts import PromptTokens
from charter_compiler.executor.run.options import RunOptions
from charter_compiler.executor.types import GenerationRequest
from charter_compiler.predict.control_flow import ItemTrace, trace_agent
from charter_compiler.predict.expected_items import expected_items
from charter_compiler.predict.prediction import Simulation, summarize
from charter_compiler.predict.synthetic import SyntheticOutputs
from charter_compiler.serve.engine.interface import EngineConfig
from charter_compiler.tokens.tokenizer import default_tokenizer

TOKENIZER = default_tokenizer()
TURNS = """
def process(text, llm):
    for turn in range(3):
        for speaker in ("For", "Against"):
            llm.generate(f"{speaker} the motion of {text}. " * 20 + f"Turn {turn}.", max_tokens=4)
"""
ONCE = """
def process(text, llm):
    llm.generate("The same for all, whoever asks. " * 10 + text, max_tokens=4)
"""


def traces(tmp_path: Path, source: str, items: int) -> list[ItemTrace]:
    path = tmp_path / "agent.py"
    path.write_text(source, encoding="utf-8")
    rows = [InputRow(n, n + 1, {"text": f"{n} {n * n}"}) for n in range(items)]
    return trace_agent(load_entry(f"{path}:process"), rows, SyntheticOutputs(TOKENIZER), max_tokens=4, calls=())


def test_prompts_that_take_turns_are_needed_together(tmp_path: Path) -> None:
    found = expected_items(traces(tmp_path, TURNS, 4), PromptTokens(TOKENIZER, 32), 256)
    assert found is not None
    assert found.items == found.returned == 4
    assert 1.8 < found.spread < 2.2, "a call holds one speaker's prompt, the item comes back to two"
    assert found.found == found.begun_with * 4 / 6, "of three turns the first one finds nothing"
    assert found.keep_between_calls


def test_constant_blocks_belong_to_no_item(tmp_path: Path) -> None:
    found, prompts = traces(tmp_path, ONCE, 3), PromptTokens(TOKENIZER, 16)
    prefix = GenerationRequest(prompt="The same for all, whoever asks. " * 10, max_tokens=1)
    whole, own = expected_items(found, prompts, 256), expected_items(found, prompts, 256, prompts.blocks_of([prefix]))
    assert whole is not None
    assert own is not None
    assert own.footprints < whole.footprints
    assert own.spread == whole.spread == 1.0


def test_nothing_is_expected_of_an_agent_that_made_no_call(tmp_path: Path) -> None:
    nothing = "def process(text, llm):\n    return text\n"
    assert expected_items(traces(tmp_path, nothing, 2), PromptTokens(TOKENIZER, 32), 256) is None


def test_the_first_items_too_leave_room_for_what_they_come_back_to(tmp_path: Path) -> None:
    """All eight at once would need eight times two prompts; the cache holds five."""
    found = traces(tmp_path, TURNS, 8)
    need = expected_items(found, PromptTokens(TOKENIZER, 32), 256)
    assert need is not None
    capacity = round(2.5 * need.needs / need.items)
    engine = EngineConfig(capacity_blocks=capacity)
    predicted = summarize(8, Simulation(TOKENIZER, engine, RunOptions(concurrency=8)).run(found))
    assert predicted.hit_rate is not None
    assert predicted.attainable_hit_rate is not None
    assert predicted.hit_rate > 0.95 * predicted.attainable_hit_rate
