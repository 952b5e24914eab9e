"""The plan and its file: the same bytes for the same plan, and nothing read that is not a plan."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from charter_compiler.analysis.prefix_analyzer import PrefixAnalyzer
from charter_compiler.dag.builder import DAGBuilder
from charter_compiler.diagnostics.errors import PlanError, SourceError
from charter_compiler.parser.ast_parser import AgentASTParser
from charter_compiler.plan.execution_plan import (
    VERSION,
    ExecutionPlan,
    PlannedPrefix,
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
        "opportunities": PrefixAnalyzer().find_shared_prefixes(graph),
    }
    return make_plan(**{**options, **changes})


@pytest.fixture
def plan(tmp_path: Path) -> ExecutionPlan:
    return compiled(tmp_path)


def edited(plan: ExecutionPlan, **changes: Any) -> str:
    return json.dumps({**json.loads(plan.to_json()), **changes})


def test_it_says_what_was_decided(plan: ExecutionPlan) -> None:
    assert plan.warms
    assert [source.path for source in plan.sources] == ["document_processor.py"]
    assert {node.rpartition("#")[2] for prefix in plan.prefixes for node in prefix.nodes} == {"1", "2", "3"}


def test_it_comes_back_as_it_was(plan: ExecutionPlan) -> None:
    for one in (plan, replace(plan, warms=False, capacity_blocks=None)):
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
    assert replace(plan, warms=False).warm_up == ()


def test_nothing_is_warmed_where_calls_find_blocks_while_they_are_computed(tmp_path: Path) -> None:
    assert not compiled(tmp_path, engine="vllm").warms
    assert compiled(tmp_path, engine="trtllm").warms


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
        ({"warms": 1}, "plan.warms is not of type bool"),
        ({"prefixes": {}}, "plan.prefixes is not a list"),
        ({"prefixes": [3]}, "plan.prefixes[0] is not an object"),
        ({"sources": [{"path": "a.py"}]}, "plan.sources[0].sha256 is missing"),
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
    plan = compiled(tmp_path, opportunities=PrefixAnalyzer().find_shared_prefixes(graph))
    assert [prefix.parameters for prefix in plan.prefixes] == [("document",)]
    assert isinstance(plan.prefixes[0], PlannedPrefix)
    assert plan.warm_up == ()
