"""The order of calls that is chosen for runs whose best one is known."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from charter_compiler.executor.entry import load_entry
from charter_compiler.executor.inputs import InputRow
from charter_compiler.executor.run.options import RunOptions
from charter_compiler.plan.schedule import DEFAULT_SCHEDULE, Order, Schedule
from charter_compiler.predict.control_flow import ItemTrace, trace_agent
from charter_compiler.predict.cost_model import Costs
from charter_compiler.predict.planning import calls_of_entry
from charter_compiler.predict.prediction import Simulation
from charter_compiler.predict.schedules import ScheduleChoice, choose_schedule, schedules
from charter_compiler.predict.synthetic import SyntheticOutputs
from charter_compiler.serve.engine.interface import EngineConfig
from charter_compiler.tokens.tokenizer import default_tokenizer

TOKENIZER = default_tokenizer()
STAGES = """
ONE = "The first handbook says that every letter is read twice before it is answered. " * 20
TWO = "A second handbook tells the clerk which letters are passed on, and to whom they go. " * 20

def process(text, llm):
    first = llm.generate(ONE + text, max_tokens=4)
    second = llm.generate(TWO + text, max_tokens=4)
    return llm.generate(TWO + text + " Say it again.", max_tokens=4)
"""
ITEMS = """
def process(text, llm):
    letter = f"Letter of customer {text}, who writes to us about an order. " * 8
    first = llm.generate(letter + "Sort it.", max_tokens=4)
    return llm.generate(letter + "Answer it.", max_tokens=4)
"""


def traces(tmp_path: Path, source: str, items: int = 6) -> list[ItemTrace]:
    path = tmp_path / "agent.py"
    path.write_text(source, encoding="utf-8")
    rows = [InputRow(n, n + 1, {"text": f"{n} {n * n}"}) for n in range(items)]
    return trace_agent(load_entry(f"{path}:process"), rows, SyntheticOutputs(TOKENIZER), max_tokens=4, calls=())


def choose(found: Sequence[ItemTrace], capacity: int, costs: Costs | None = None) -> ScheduleChoice:
    engine = EngineConfig(capacity_blocks=capacity)
    return choose_schedule(Simulation(TOKENIZER, engine, RunOptions(concurrency=4), costs), found)


def test_stage_by_stage_where_one_stage_alone_fits_the_cache(tmp_path: Path) -> None:
    choice = choose(traces(tmp_path, STAGES), capacity=14)
    assert choice.schedule == Schedule(Order.STAGE_FIRST)
    computed = {each.schedule: each.computed_tokens for each in choice.tried}
    assert computed[choice.schedule] < 0.8 * computed[DEFAULT_SCHEDULE]
    assert [each.schedule for each in choice.tried] == list(schedules()), "fewer in flight is judged by time alone"
    assert not choice.by_time


def test_the_time_decides_where_the_target_was_calibrated(tmp_path: Path) -> None:
    choice = choose(traces(tmp_path, STAGES), 14, Costs())
    assert choice.by_time
    assert choice.schedule == Schedule(Order.STAGE_FIRST)
    assert all(each.seconds for each in choice.tried)
    assert [each.schedule for each in choice.tried] == list(schedules(groups=4))
    assert {each.schedule.group for each in choice.tried} == {None, 2, 1}


def test_item_by_item_where_the_item_is_what_calls_share(tmp_path: Path) -> None:
    assert choose(traces(tmp_path, ITEMS), capacity=8).schedule.order is Order.ITEM_FIRST


def test_no_other_is_tried_where_all_fits(tmp_path: Path) -> None:
    choice = choose(traces(tmp_path, STAGES), capacity=256)
    assert choice.schedule == DEFAULT_SCHEDULE
    assert len(choice.tried) == 1


QUESTIONS = """
def process(document, question, llm):
    return llm.generate(f"Answer from the document.\\n\\n{document}\\n\\nQuestion: {question}\\nAnswer:", max_tokens=4)
"""


def questions(tmp_path: Path, documents: int, each: int) -> list[ItemTrace]:
    """Questions on documents, the documents taking turns."""
    path = tmp_path / "agent.py"
    path.write_text(QUESTIONS, encoding="utf-8")
    texts = [
        f"Report {n}. " + f"The board of company {n} met and agreed on the dividend. " * 20 for n in range(documents)
    ]
    rows = [
        InputRow(n, n + 1, {"question": f"Who met, {n}?", "document": texts[n % documents]})
        for n in range(documents * each)
    ]
    entry = load_entry(f"{path}:process")
    return trace_agent(entry, rows, SyntheticOutputs(TOKENIZER), max_tokens=4, calls=())


def test_items_with_the_same_document_go_together_where_the_cache_holds_few(tmp_path: Path) -> None:
    calls = calls_of_entry(f"{tmp_path / 'agent.py'}:process") if questions(tmp_path, 1, 1) else ()
    found = questions(tmp_path, documents=6, each=3)
    simulation = Simulation(TOKENIZER, EngineConfig(capacity_blocks=24), RunOptions(concurrency=2))
    choice = choose_schedule(simulation, found, calls)
    assert choice.schedule == Schedule(sort_by=("document",))
    computed = {each.schedule: each.computed_tokens for each in choice.tried}
    assert computed[choice.schedule] < computed[DEFAULT_SCHEDULE] / 2
    assert len(choose_schedule(simulation, questions(tmp_path, 1, 4), calls).tried) == 1
