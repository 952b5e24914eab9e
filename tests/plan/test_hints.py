"""Hints from the graph, and the tokens of a prompt that they speak about."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from charter_compiler.analysis.prefix_analyzer import PrefixAnalyzer
from charter_compiler.dag.builder import DAGBuilder
from charter_compiler.diagnostics.errors import PlanError
from charter_compiler.parser.ast_parser import AgentASTParser
from charter_compiler.plan.codec import decode, encode
from charter_compiler.plan.derive_hints import LEAST_RETAINED, NEXT, PINNED, derive_hints, retain_priority
from charter_compiler.plan.hint_ranges import resolve_hints
from charter_compiler.plan.hints import CallHints, HintAction
from charter_compiler.tokens.tokenizer import load_tokenizer

TOKENIZER = load_tokenizer()
RULES = "You read contracts with care, quote what they say word for word, and leave out what they do not say at all. "
ABOUT = f"{RULES}Look at the contract below, which two parties have signed, and at nothing else in the world. "
THREE = f'''
SYSTEM = "{RULES}"
ABOUT = SYSTEM + "Look at the contract below, which two parties have signed, and at nothing else in the world. "

def review(client, contract):
    parties = client.generate(f"{{ABOUT}}Contract: {{contract}}\\nList the parties.", max_tokens=40)
    terms = client.generate(f"{{ABOUT}}Contract: {{contract}}\\nList the terms.", max_tokens=50)
    short = client.generate(f"{{SYSTEM}}Sum up: {{parties}}", max_tokens=60)
    return client.generate(f"{{ABOUT}}Contract: {{contract}}\\nMissing in {{terms}}, {{short}}?", max_tokens=70)
'''
CONVERSATION = f'''
def talk(client, question):
    start = "{RULES}Question: " + question
    first = client.generate(start, max_tokens=40)
    return client.generate(start + first + " Go on.", max_tokens=40)
'''
LOOP = f'''
def sweep(client, contract, clauses):
    out = []
    for clause in clauses:
        out.append(client.generate(f"{RULES}Contract: {{contract}}\\nClause: {{clause}}", max_tokens=9))
    return out
'''


def hints_of(source: str) -> tuple[CallHints, ...]:
    graph = DAGBuilder().build_from_calls(AgentASTParser().parse_source(source, "a.py").calls)
    return derive_hints(graph, PrefixAnalyzer(TOKENIZER).find_shared_prefixes(graph), TOKENIZER.chat_template)


def test_what_every_item_needs_is_pinned_and_the_items_own_part_is_kept_until_its_last_call() -> None:
    first, second, third, last = hints_of(THREE)
    assert [one.step for one in (first, second, third, last)] == [0, 1, 2, 3]
    assert [(h.action, h.priority) for h in first.hints] == [
        (HintAction.PIN, PINNED),
        (HintAction.PIN, PINNED),
        (HintAction.RETAIN, NEXT),
        (HintAction.RELEASE, 0),
    ]
    of_contract = first.futures[-1]
    assert of_contract.parameters == ("contract",)
    assert (of_contract.remaining_calls, of_contract.steps_to_next, of_contract.output_tokens) == (2, 1, 40)
    of_contract = second.futures[-1]
    assert (of_contract.remaining_calls, of_contract.steps_to_next) == (1, 2)
    assert of_contract.output_tokens == 50 + 60, "what this call and the one between generate"
    assert of_contract.next_call == last.call
    of_contract = last.futures[-1]
    assert of_contract.dead
    assert [h.action for h in last.hints][-2:] == [HintAction.RELEASE, HintAction.RELEASE]
    assert last.priority > first.priority


def test_the_next_calls_start_is_fetched_beforehand() -> None:
    _, second, third, _ = hints_of(THREE)
    contract_start = next(f.cache_id for f in second.futures if not f.parameters and f.tokens > third.futures[0].tokens)
    assert contract_start in third.prefetch, "the call between does not begin with it"


def test_ranges_are_found_in_a_prompt() -> None:
    first = hints_of(THREE)[0]
    contract = "The seller sells, and the buyer buys, one boat named Ada."
    text = f"{ABOUT}Contract: {contract}\nList the parties."
    tokens = TOKENIZER.encode(text)
    found = resolve_hints(first, text, tokens, TOKENIZER)
    assert [r.start for r in found.ranges] == [0, *(r.end for r in found.ranges[:-1])]
    assert found.ranges[-1].end == len(tokens)
    item = next(r for r in found.ranges if r.action is HintAction.RETAIN)
    assert TOKENIZER.decode(tokens[item.start : item.end]).endswith("Ada.\n")
    assert TOKENIZER.decode(tokens[item.end :]) == "List the parties."


def test_an_ambiguous_end_says_nothing_of_what_follows() -> None:
    first = hints_of(THREE)[0]
    text = f"{ABOUT}Contract: do this:\nList the parties.\nList the parties."
    found = resolve_hints(first, text, TOKENIZER.encode(text), TOKENIZER)
    assert {r.action for r in found.ranges} == {HintAction.PIN}


def test_a_conversation_keeps_what_it_goes_on_from() -> None:
    first, last = hints_of(CONVERSATION)
    assert first.output_reused
    assert not last.output_reused
    assert HintAction.RELEASE not in [h.action for h in first.hints]
    assert HintAction.RELEASE in [h.action for h in last.hints]


def test_a_loop_never_releases() -> None:
    (only,) = hints_of(LOOP)
    assert HintAction.RELEASE not in [h.action for h in only.hints]
    assert only.futures[-1].parameters == ("contract",)
    assert only.futures[-1].remaining_calls is None


@pytest.mark.parametrize(("steps", "priority"), [(1, 90), (2, 80), (5, 50), (60, 50), (None, LEAST_RETAINED)])
def test_what_is_needed_sooner_is_kept_longer(steps: int | None, priority: int) -> None:
    assert retain_priority(steps) == priority > 35


def test_no_block_is_kept_less_than_one_behind_it() -> None:
    agents = Path(__file__).parents[2] / "examples" / "agents"
    for path in sorted(agents.glob("*.py")):
        for one in hints_of(path.read_text(encoding="utf-8")):
            priorities = [hint.priority for hint in one.hints]
            assert priorities == sorted(priorities, reverse=True), path


def test_they_come_back_from_json() -> None:
    for one in hints_of(THREE):
        assert decode(CallHints, json.loads(json.dumps(encode(one)))) == one
    wrong = encode(replace(hints_of(LOOP)[0]))
    wrong["hints"][0]["action"] = "forget"
    with pytest.raises(PlanError, match=r"hints\[0\]\.action is none of retain, pin"):
        decode(CallHints, wrong)
