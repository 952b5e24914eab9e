"""Shared prefixes: which calls share what, counted in real tokens, and nothing that is not certain."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from charter_compiler.analysis.patterns import PatternKind
from charter_compiler.analysis.prefix_analyzer import PrefixAnalyzer, PrefixOpportunity
from charter_compiler.analysis.prompt_text import prompt_pieces
from charter_compiler.dag.builder import CallGraph, DAGBuilder
from charter_compiler.diagnostics.errors import TokenizerError
from charter_compiler.diagnostics.span import Span
from charter_compiler.ir.nodes import Call, CallRef, Choice, Const, Message, Param, Role, Segment, Unknown
from charter_compiler.parser.ast_parser import AgentASTParser
from charter_compiler.tokens.blocks import cache_id
from charter_compiler.tokens.chat import ChatTemplate
from charter_compiler.tokens.tokenizer import default_tokenizer

EXAMPLES = Path(__file__).parent.parent.parent / "examples"
RULES = "You are a careful analyst. Answer in one sentence, name your source, and never invent a fact or a figure."
"""23 tokens and more, so that it counts by itself."""


def span(line: int) -> Span:
    return Span("agent.py", line, 1, line, 2)


def call(
    line: int, *parts: str | Segment, role: Role = "raw", function: str = "Agent.run", loop: int | None = None
) -> Call:
    """A call whose one message is made of constant texts and segments."""
    segments = tuple(Const(part, span(line)) if isinstance(part, str) else part for part in parts)
    return Call(
        id=f"agent.py:{function}#{line}",
        span=span(line),
        function=function,
        kind="root",
        api="injected",
        callee="self.llm.generate",
        messages=(Message(role, segments),),
        loop_depth=0 if loop is None else 1,
        loops=() if loop is None else (span(loop),),
        depends_on=tuple(part.id for part in parts if isinstance(part, CallRef)),
    )


def param(name: str, scope: str = "item") -> Param:
    return Param(name, span(1), scope)  # type: ignore[arg-type]  # the tests pass the four scopes


def find(*calls: Call, **options: int) -> list[PrefixOpportunity]:
    return PrefixAnalyzer(**options).find_shared_prefixes(CallGraph(calls))


@cache
def example(name: str) -> CallGraph:
    return DAGBuilder().build_from_calls(AgentASTParser().parse_file(EXAMPLES / "agents" / name).calls)


def filled(one: Call, values: Mapping[str, str]) -> str:
    """The prompt of a call, its holes filled by name."""
    pieces = prompt_pieces(one, default_tokenizer().chat_template)
    texts = [
        piece if isinstance(piece, str) else values[getattr(piece, "name", getattr(piece, "id", ""))]
        for piece in pieces
    ]
    return "".join(texts)


def test_document_processor_shares_its_system_prompt() -> None:
    first, *others = PrefixAnalyzer().find_shared_prefixes(example("document_processor.py"))
    assert first.pattern is PatternKind.SHARED_PREFIX
    assert first.prefix.startswith("You are a careful document analyst.")
    assert first.prefix.endswith("before or after it.\n\nTask:")
    assert [node.rpartition("#")[2] for node in first.nodes] == ["1", "2", "3"]
    assert (first.shared_prefix_length, first.aligned_length, first.saved_tokens) == (65, 64, 192)
    assert first.priority == round(100 * 192 / (192 + 32)) == 86
    assert first.cache_id == cache_id(first.prefix)
    assert first.template is None
    assert {o.pattern for o in others} == {PatternKind.DELTA_MATCHING}
    assert [o.priority > 80 for o in others] == [False] * 3


def test_the_block_size_decides_what_is_saved() -> None:
    graph = example("delta_processor.py")
    by_size = {size: PrefixAnalyzer(block_size=size).find_shared_prefixes(graph)[0] for size in (16, 32)}
    assert {o.shared_prefix_length for o in by_size.values()} == {30}
    assert [by_size[size].aligned_length for size in (16, 32)] == [16, 0]
    assert (by_size[32].saved_tokens, by_size[32].priority) == (0, 0)


@pytest.mark.parametrize("name", ["document_processor.py", "delta_processor.py", "report_analyst.py"])
def test_every_prompt_begins_with_the_tokens_of_its_prefixes(name: str) -> None:
    """On the real documents, with outputs that begin in ways that tempt the tokenizer to merge."""
    graph, tokenizer = example(name), default_tokenizer()
    found = PrefixAnalyzer(min_tokens=1).find_shared_prefixes(graph)
    assert found
    lines = (EXAMPLES / "data" / "documents.jsonl").read_text(encoding="utf-8").splitlines()
    for text in [*(json.loads(line)["document"] for line in lines[:10]), "", "\n\n", "s", " ", "'s", ":", "  \n"]:
        values = dict.fromkeys(["document", "company", "revenue", "employees", "industry", "founded"], text)
        values |= dict.fromkeys(["figures", "notes", *graph.calls], text)
        for opportunity in found:
            assert tokenizer.encode(opportunity.prefix) == list(opportunity.tokens)
            for node in opportunity.nodes:
                prompt = tokenizer.encode(filled(graph.calls[node], values))
                assert prompt[: len(opportunity.tokens)] == list(opportunity.tokens)


@settings(max_examples=60)
@given(st.text("ab \n.1'é", max_size=8), st.text("ab \n.1'é", max_size=8), st.text("ab \n.1'é", max_size=8))
def test_cuts_anywhere_are_token_cuts(common: str, left: str, right: str) -> None:
    tokenizer = default_tokenizer()
    calls = (call(1, RULES + common + left, param("x")), call(2, RULES + common + right, Unknown("why", span(2))))
    for opportunity in find(*calls, min_tokens=1):
        for one in calls:
            if one.id in opportunity.nodes:
                for value in ("", "a", " ", "\n", "'s", "1"):
                    text = "".join(piece if isinstance(piece, str) else value for piece in prompt_pieces(one, None))
                    assert tokenizer.encode(text)[: len(opportunity.tokens)] == list(opportunity.tokens)


def test_groups_inside_groups() -> None:
    longer = f"{RULES} Use the tables of the annex as well, with their notes, and say which of the tables you used."
    calls = (
        call(1, longer, " First task: ", param("a")),
        call(2, longer, " Second task: ", param("a")),
        call(3, RULES, "\n\nThird task: ", param("a")),
    )
    found = {o.nodes: o for o in find(*calls) if o.pattern is PatternKind.SHARED_PREFIX}
    outer, inner = found[tuple(one.id for one in calls)], found[tuple(one.id for one in calls[:2])]
    assert inner.prefix.startswith(outer.prefix)
    assert inner.prefix == longer
    assert RULES.startswith(outer.prefix)


def test_what_extends_a_prefix_by_little_is_not_reported() -> None:
    calls = (call(1, RULES, "\n\nOne: ", param("a")), call(2, RULES, "\n\nTwo: ", param("a")))
    assert [o.nodes for o in find(*calls)] == [(calls[0].id, calls[1].id)]
    assert len(find(*calls, min_tokens=1)) == 3


def test_a_shared_parameter_makes_a_template() -> None:
    calls = tuple(call(n, RULES, "\n\nDocument:\n", param("doc"), f"\n\nTask {n}: sum up", param("x")) for n in (1, 2))
    constant, template = sorted(find(*calls), key=lambda o: o.template is not None)
    assert constant.template is None
    assert constant.prefix == template.prefix == f"{RULES}\n\nDocument:"
    assert template.template == (
        Const(f"{RULES}\n\nDocument:\n", span(1)),
        param("doc"),
        Const("\n\nTask ", span(1)),
    )
    assert template.cache_id == cache_id(template.prefix)
    # "\n\n" may merge with the end of the document; "Task" and the space before the number are certain.
    assert template.shared_prefix_length == constant.shared_prefix_length + 2


def test_the_first_use_of_a_value_computes_it() -> None:
    calls = tuple(call(n, RULES, RULES, param("doc"), f" Task {n}", param("x")) for n in (1, 2, 3))
    constant, template = sorted(find(*calls), key=lambda o: o.template is not None)
    assert constant.aligned_length == template.aligned_length == 32
    assert (constant.saved_tokens, template.saved_tokens) == (3 * 32, 2 * 32)


def test_a_prefix_does_not_end_inside_a_character() -> None:
    one, other = default_tokenizer().encode(" 😀"), default_tokenizer().encode(" 😁")
    assert one[:-1] == other[:-1], "the two begin with the same bytes"
    (found,) = find(call(1, RULES, " 😀 well", param("a")), call(2, RULES, " 😁 well", param("a")))
    assert found.prefix == RULES


@pytest.mark.parametrize(
    ("one", "other", "shared"),
    [
        (param("doc"), param("doc"), True),
        (param("doc"), param("text"), False),
        (param("doc", "agent"), param("doc", "agent"), True),
        (param("doc", "call"), param("doc", "call"), False),
        (Unknown("why", span(1)), Unknown("why", span(1)), False),
        (Choice(((), ()), span(1)), Choice(((), ()), span(1)), False),
        (CallRef("agent.py:Agent.run#9", span(1)), CallRef("agent.py:Agent.run#9", span(1)), True),
        (CallRef("agent.py:Agent.run#9", span(1), True), CallRef("agent.py:Agent.run#9", span(1), True), False),
    ],
)
def test_which_holes_hold_the_same_text(one: Segment, other: Segment, shared: bool) -> None:
    calls = (call(9, "go"), call(11, RULES, one, " A"), call(12, RULES, other, " B"))
    assert any(o.template for o in find(*calls) if len(o.nodes) > 1) == shared


def test_names_of_different_functions_are_different_values() -> None:
    calls = (call(1, RULES, param("doc"), " A"), call(2, RULES, param("doc"), " B", function="Agent.other"))
    assert not any(o.template for o in find(*calls))
    held = (param("doc", "agent"), " B")
    calls = (call(1, RULES, param("doc", "agent"), " A"), call(2, RULES, *held, function="Agent.other"))
    assert any(o.template for o in find(*calls) if len(o.nodes) > 1), (
        "what the agent was built with is the same in both"
    )
    calls = (call(1, RULES, param("doc", "agent"), " A"), call(2, RULES, *held, function="Critic.other"))
    assert not any(o.template for o in find(*calls) if len(o.nodes) > 1)


@pytest.mark.parametrize(("second_loop", "shared"), [(5, True), (6, False)])
def test_a_loops_item_is_shared_in_the_same_loop_only(second_loop: int, shared: bool) -> None:
    item = param("row", "loop")
    calls = (call(7, RULES, item, " A", loop=5), call(8, RULES, item, " B", loop=second_loop))
    assert any(o.template for o in find(*calls) if len(o.nodes) > 1) == shared


def test_a_result_of_the_turn_before_is_not_that_of_this_turn() -> None:
    later = CallRef("agent.py:Agent.run#9", span(1))
    calls = (call(7, RULES, later, " A", loop=5), call(8, RULES, later, " B", loop=5), call(9, "go", loop=5))
    assert not any(o.template for o in find(*calls))
    calls = (call(9, "go", loop=5), call(10, RULES, later, " A", loop=5), call(11, RULES, later, " B", loop=5))
    assert any(o.template for o in find(*calls) if len(o.nodes) > 1)


def test_what_a_loop_does_not_change() -> None:
    only = call(7, RULES, "\n\n", param("doc"), "\n\nQuestion: ", param("question", "loop"), loop=5)
    assert {o.pattern for o in find(only)} == {PatternKind.LOOP_INVARIANT}
    template = next(o for o in find(only) if o.template)
    assert [part for part in template.template or () if isinstance(part, Param)] == [param("doc")]
    assert template.nodes == (only.id,)


def test_one_call_from_item_to_item() -> None:
    only = call(7, RULES, "\n\n", param("guide", "agent"), "\n\nDocument: ", param("doc"))
    constant, template = sorted(find(only), key=lambda o: o.template is not None)
    assert {constant.pattern, template.pattern} == {PatternKind.DELTA_MATCHING}
    assert [part for part in template.template or () if isinstance(part, Param)] == [param("guide", "agent")]


def test_the_last_token_of_a_prompt_is_always_computed() -> None:
    text = " ".join(["one"] * 32)
    assert len(default_tokenizer().encode(text)) == 32
    (only,) = find(call(1, text))
    assert (only.shared_prefix_length, only.aligned_length) == (32, 0)
    (longer,) = find(call(1, text + " one"))
    assert (longer.shared_prefix_length, longer.aligned_length) == (33, 32)


def test_chat_messages_are_counted_with_their_template() -> None:
    calls = (call(1, RULES, param("a"), role="system"), call(2, RULES, param("b"), role="system"))
    (found,) = find(*calls)
    assert found.prefix == f"<|im_start|>system\n{RULES[:-1]}", "the last full stop may merge with what follows"
    other = PrefixAnalyzer(chat_template=ChatTemplate("[{{ messages[0].content }}]"))
    (found,) = other.find_shared_prefixes(CallGraph(calls))
    assert found.prefix == f"[{RULES[:-1]}"


def test_chat_without_a_template_is_an_error_at_the_call() -> None:
    with pytest.raises(TokenizerError, match=r"agent\.py:4:1: .*no chat template"):
        prompt_pieces(call(4, RULES, role="user"), None)


def test_what_follows_a_message_of_unknown_role_is_not_known() -> None:
    messages = (Message("system", (Const(RULES, span(1)),)), Message("unknown", (Const("x", span(1)),)))
    first = call(1, "")
    pieces = prompt_pieces(
        Call(first.id, first.span, first.function, "root", "injected", "llm", messages),
        default_tokenizer().chat_template,
    )
    assert pieces[0] == f"<|im_start|>system\n{RULES}<|im_end|>\n"
    assert isinstance(pieces[1], Unknown)
    assert len(pieces) == 2


def test_a_prompt_counts_where_its_text_stands() -> None:
    """`ask` only forwards, so that the prompts of its callers are what the model gets; `wrap` adds text of its own."""
    asked = [replace(call(n, RULES, f" Task {n}: ", param("x")), kind="wrapper", callee="self.ask") for n in (1, 2)]
    wrapped = replace(call(3, RULES, " Task 3: ", param("x")), kind="wrapper", callee="self.wrap")
    forwarding = replace(call(4, param("prompt"), function="Agent.ask"), forward=True)
    wrapping = call(5, f"Think twice. {RULES} ", param("prompt"), function="Agent.wrap")
    found = find(*asked, wrapped, forwarding, wrapping)
    assert {o.nodes for o in found} == {tuple(one.id for one in asked), (wrapping.id,)}


def test_no_calls_and_nothing_shared() -> None:
    assert find() == []
    assert find(call(1, param("a")), call(2, param("b"))) == []


def test_the_result_does_not_depend_on_chance() -> None:
    graph = example("document_processor.py")
    assert PrefixAnalyzer().find_shared_prefixes(graph) == PrefixAnalyzer().find_shared_prefixes(graph)
