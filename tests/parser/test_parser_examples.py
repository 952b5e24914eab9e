"""The example agents, as the parser reads them: golden files in the text form of the IR.

After a wanted change, write them anew: ``python -m pytest tests/parser/test_parser_examples.py --update-golden``.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from charter_compiler.ir.nodes import Call, CallRef, Param
from charter_compiler.ir.prompts import leading_text, segments_of
from charter_compiler.ir.text import print_agent
from charter_compiler.ir.verify import verify
from charter_compiler.parser.ast_parser import AgentASTParser, ParsedAgent

ROOT = Path(__file__).parent.parent.parent
GOLDEN = ROOT / "tests" / "fixtures" / "ir"
AGENTS = ("delta_processor", "document_processor", "report_analyst")


def parsed(name: str) -> ParsedAgent:
    source = (ROOT / "examples" / "agents" / f"{name}.py").read_text(encoding="utf-8")
    return AgentASTParser().parse_source(source, f"{name}.py")


@pytest.mark.parametrize("name", AGENTS)
def test_golden(name: str, request: pytest.FixtureRequest) -> None:
    agent = parsed(name).agent
    verify(agent)
    path = GOLDEN / f"{name}.ir"
    if request.config.getoption("--update-golden"):
        path.write_text(print_agent(agent), encoding="utf-8")
    assert print_agent(agent) == path.read_text(encoding="utf-8")


def names(call: Call) -> list[str]:
    return [segment.name for segment in segments_of(call) if isinstance(segment, Param)]


def test_document_processor_is_a_chain_of_three() -> None:
    one, two, three = parsed("document_processor").calls
    assert (one.depends_on, two.depends_on, three.depends_on) == ((), (one.id,), (two.id,))
    for call in (one, two, three):
        assert leading_text(call).startswith("You are a careful document analyst.\n")
        assert names(call) == ["document"]
        assert (call.api, call.callee, call.messages[0].role) == ("injected", "self.llm.generate", "raw")
    assert [call.max_tokens for call in (one, two, three)] == [200, 200, 120]
    kinds = [type(segment) for segment in segments_of(three)]
    assert kinds.index(Param) < kinds.index(CallRef)


def test_delta_processor_has_two_calls_one_in_a_loop() -> None:
    one, two = parsed("delta_processor").calls
    assert [call.loop_depth for call in (one, two)] == [0, 1]
    for call, scope in ((one, "item"), (two, "loop")):
        assert leading_text(call).endswith("Analyse the following company.\n\nCompany: ")
        assert names(call) == ["company", "revenue", "employees", "industry", "founded"]
        assert {segment.scope for segment in segments_of(call) if isinstance(segment, Param)} == {scope}
