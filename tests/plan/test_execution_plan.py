"""The plan and its file: the same bytes for the same plan, and nothing read that is not a plan."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from charter_compiler.analysis.pattern_detector import SequencePatternDetector
from charter_compiler.analysis.prefix_analyzer import PrefixAnalyzer
from charter_compiler.dag.builder import DAGBuilder
from charter_compiler.diagnostics.errors import PlanError, SourceError
from charter_compiler.parser.ast_parser import AgentASTParser
from charter_compiler.plan.execution_plan import (
    VERSION,
    ExecutionPlan,
    Order,
    PlannedPrefix,
    PredictedRates,
    items_in_flight,
    make_plan,
)

AGENTS = Path(__file__).parent.parent.parent / "examples" / "agents"


def compiled(folder: Path, **changes: Any) -> ExecutionPlan:
    """The plan of document_processor, copied to ``folder``."""
    source = folder / "document_processor.py"
    source.write_bytes((AGENTS / "document_processor.py").read_bytes())
    graph = DAGBuilder().build_from_calls(AgentASTParser().parse_source(source.read_text(), source.name).calls)
    options: dict[str, Any] = {
        "entry": "document_processor.py:DocumentProcessor.process",
        "target": "local",
        "model": "smollm2-135m-instruct",
        "tokenizer": "0" * 64,
        "block_size": 32,
        "capacity_blocks": 256,
        "sources": [source],
        "root": folder,
        "graph": graph,
        "opportunities": PrefixAnalyzer().find_shared_prefixes(graph),
        "patterns": SequencePatternDetector().detect(graph),
    }
    return make_plan(**{**options, **changes})


@pytest.fixture
def plan(tmp_path: Path) -> ExecutionPlan:
    return compiled(tmp_path)


def edited(plan: ExecutionPlan, **changes: Any) -> str:
    return json.dumps({**json.loads(plan.to_json()), **changes})


def test_it_says_what_was_decided(plan: ExecutionPlan) -> None:
    assert plan.order is Order.ITEM_FIRST
    assert plan.predicted is None
    assert plan.items_in_flight is None, "nobody said how large an item is"
    assert [call.id.rpartition("#")[2] for call in plan.calls] == ["1", "2", "3"]
    assert plan.calls[1].depends_on == (plan.calls[0].id,)
    assert [source.path for source in plan.sources] == ["document_processor.py"]
    assert {pattern.kind.value for pattern in plan.patterns} >= {"shared_prefix", "sequential_chain"}


def test_it_comes_back_as_it_was(plan: ExecutionPlan) -> None:
    full = replace(plan, predicted=PredictedRates(60, 1000, 0.089, 0.5, 1.0), items_in_flight=4, capacity_blocks=None)
    for one in (plan, full):
        assert ExecutionPlan.from_json(one.to_json()) == one


def test_the_same_plan_is_the_same_bytes_in_another_folder(tmp_path: Path) -> None:
    texts = set()
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        texts.add(compiled(tmp_path / name).to_json())
    assert len(texts) == 1
    text = texts.pop()
    assert text == json.dumps(json.loads(text), indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def test_warm_up_holds_what_is_constant_and_fills_a_block(plan: ExecutionPlan) -> None:
    assert len(plan.prefixes) == 4
    assert plan.warm_up == plan.prefixes[:1], "what each call site adds to the common start is left to its first call"
    short = replace(plan.prefixes[0], aligned_tokens=0)
    template = replace(plan.prefixes[0], parameters=("document",))
    assert replace(plan, prefixes=(short, template, plan.prefixes[1])).warm_up == (plan.prefixes[1],)


def test_a_changed_source_is_refused(plan: ExecutionPlan, tmp_path: Path) -> None:
    plan.check_sources(tmp_path)
    source = tmp_path / "document_processor.py"
    source.write_text(source.read_text() + "\n")
    with pytest.raises(PlanError, match=r"stale: document_processor\.py changed \(run charter compile again\)"):
        plan.check_sources(tmp_path)
    source.unlink()
    with pytest.raises(PlanError, match=r"stale: document_processor\.py is gone"):
        plan.check_sources(tmp_path)


def test_sources_outside_the_root_and_missing_ones(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    plan = compiled(tmp_path, root=tmp_path / "root")
    assert plan.sources[0].path == (tmp_path / "document_processor.py").as_posix()
    plan.check_sources(tmp_path / "root")
    with pytest.raises(SourceError, match=r"gone\.py: cannot be read"):
        compiled(tmp_path, sources=[tmp_path / "gone.py"])


@pytest.mark.parametrize("version", [None, 0, VERSION + 1, "1"])
def test_another_version_is_refused(plan: ExecutionPlan, version: object) -> None:
    with pytest.raises(PlanError, match=rf"version {version!r}; this Charter reads version {VERSION} \(run charter"):
        ExecutionPlan.from_json(edited(plan, version=version))


@pytest.mark.parametrize("text", ["", "[]", "null", "{", "7"])
def test_what_is_no_plan_is_refused(text: str) -> None:
    with pytest.raises(PlanError, match=r"DIR/plan\.json: "):
        ExecutionPlan.from_json(text, place="DIR/plan.json")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"block_size": "32"}, "plan.block_size is not of type int"),
        ({"block_size": True}, "plan.block_size is not of type int"),
        ({"block_size": None}, "plan.block_size is not of type int"),
        ({"surprise": 1}, "plan.surprise is unknown"),
        ({"order": "random"}, "plan.order has the unknown value 'random'"),
        ({"calls": {}}, "plan.calls is not a list"),
        ({"calls": [3]}, "plan.calls[0] is not an object"),
        ({"sources": [{"path": "a.py"}]}, "plan.sources[0].sha256 is missing"),
        ({"predicted": {"inputs": 1}}, "plan.predicted.prompt_tokens is missing"),
        ({"patterns": [{"kind": "x", "nodes": [], "description": ""}]}, "plan.patterns[0].kind has the unknown value"),
    ],
)
def test_an_edited_plan_names_the_key(plan: ExecutionPlan, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(PlanError) as caught:
        ExecutionPlan.from_json(edited(plan, **changes))
    assert message in str(caught.value)
    assert str(caught.value).startswith("plan.json: ")


def test_a_missing_key_is_named(plan: ExecutionPlan) -> None:
    value = json.loads(plan.to_json())
    del value["entry"]
    with pytest.raises(PlanError, match=r"plan\.entry is missing"):
        ExecutionPlan.from_json(json.dumps(value))


def test_an_edited_prefix_is_noticed(plan: ExecutionPlan) -> None:
    value = json.loads(plan.to_json())
    value["prefixes"][0]["text"] += "!"
    with pytest.raises(PlanError, match="is not that of its text"):
        ExecutionPlan.from_json(json.dumps(value))


def test_a_whole_number_is_a_rate_too(plan: ExecutionPlan) -> None:
    rates = {"inputs": 1, "prompt_tokens": 1, "as_written": 0, "planned": 1, "attainable": 1}
    assert ExecutionPlan.from_json(edited(plan, predicted=rates)).predicted == PredictedRates(1, 1, 0.0, 1.0, 1.0)


@pytest.mark.parametrize(
    ("capacity", "item", "shared", "expected"),
    [
        (256, 1024, 0, 8),
        (256, 1025, 0, 7),  # a part of a block is a block
        (256, 1024, 32, 7),
        (8, 1024, 0, 1),  # one item must run, even if it does not fit
        (256, 0, 0, 256),
        (None, 1024, 0, None),
        (256, None, 0, None),
    ],
)
def test_items_in_flight(capacity: int | None, item: int | None, shared: int, expected: int | None) -> None:
    assert items_in_flight(capacity, 32, item, shared) == expected


def test_shared_blocks_are_counted_once(tmp_path: Path) -> None:
    # 64 tokens in all three calls are 2 blocks, and each call's own prefix adds 1 of its own: 5.
    assert compiled(tmp_path, capacity_blocks=5 + 3, tokens_per_item=32).items_in_flight == 3


def test_prefixes_name_what_else_is_shared(tmp_path: Path) -> None:
    text = """
class Agent:
    def __init__(self, llm):
        self.llm = llm

    def process(self, document):
        first = self.llm.generate(f"{document} One")
        return self.llm.generate(f"{document} Two"), first
"""
    graph = DAGBuilder().build_from_calls(AgentASTParser().parse_source(text, "a.py").calls)
    plan = compiled(tmp_path, graph=graph, opportunities=PrefixAnalyzer().find_shared_prefixes(graph))
    assert [prefix.parameters for prefix in plan.prefixes] == [("document",)]
    assert isinstance(plan.prefixes[0], PlannedPrefix)
    assert plan.warm_up == ()
