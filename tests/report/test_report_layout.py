from __future__ import annotations

import dataclasses
from itertools import pairwise

from report_sample import SYSTEM, call, call_id, calls, prefix, span

from charter_compiler.ir.nodes import CallRef, Const, Message, Param
from charter_compiler.report.graph_layout import NODE_HEIGHT, layout, stages
from charter_compiler.report.model import CallTiming, RunTimeline
from charter_compiler.report.prompt_blocks import message_blocks, nested_text, short_id, template_text, visible_space
from charter_compiler.report.timeline import LABEL_WIDTH, MAX_ITEMS, WIDTH, charts


def test_stages_follow_the_results() -> None:
    assert stages(calls()) == [0, 1, 2]
    branches = (call(1, 1), call(2, 2, depends_on=(call_id(1),)), call(3, 3, depends_on=(call_id(1),)), call(4, 4))
    assert stages(branches) == [0, 1, 1, 0]


def test_a_result_of_an_earlier_turn_holds_nothing_up() -> None:
    looping = (call(1, 1, depends_on=(call_id(1), call_id(2))), call(2, 2, depends_on=(call_id(1),)))
    assert stages(looping) == [0, 1]
    graph = layout(looping, ())
    assert [edge.carried for edge in graph.edges] == [True, True, False]


def test_a_dependence_on_a_call_of_another_file_is_no_arrow() -> None:
    graph = layout((call(1, 1, depends_on=("other.py:f#1",)),), ())
    assert graph.edges == ()


def test_calls_do_not_overlap_and_lie_in_the_picture() -> None:
    fan = (call(1, 1), *(call(number, number, depends_on=(call_id(1),)) for number in range(2, 7)))
    graph = layout(fan, ())
    places = sorted((node.x, node.y) for node in graph.nodes)
    for (x, y), (other_x, other_y) in pairwise(places):
        assert x != other_x or other_y - y > NODE_HEIGHT
    assert all(0 < node.y < graph.height - NODE_HEIGHT for node in graph.nodes)


def test_a_prompt_is_cut_where_a_shared_prefix_ends() -> None:
    second = calls()[1]
    prefixes = (
        prefix(SYSTEM, (call_id(1), call_id(2))),
        prefix(SYSTEM + "Task: ", (call_id(2),)),
        prefix(SYSTEM, (call_id(3),)),
    )
    (message,) = message_blocks(second, prefixes, lambda text: len(text.split()))
    assert [(block.text, block.groups, block.tokens) for block in message.blocks[:3]] == [
        (SYSTEM, (0, 1), 11),
        ("Task: ", (1,), 1),
        ("compare the entities with the source.\n", (), 6),
    ]
    assert [(block.kind, block.tokens) for block in message.blocks[3:]] == [
        ("call", None),
        ("const", 2),
        ("param", None),
    ]
    whole = "".join(block.text for block in message.blocks if block.kind == "const")
    assert whole == "".join(segment.text for segment in second.messages[0].segments if isinstance(segment, Const))


def test_a_prefix_that_the_first_message_does_not_begin_with_cuts_nothing() -> None:
    rendered = prefix("<|im_start|>system\n" + SYSTEM, (call_id(1),))
    (message,) = message_blocks(calls()[0], (rendered,), None)
    assert [block.groups for block in message.blocks] == [(), ()]


def test_a_shared_prefix_may_reach_past_a_parameter() -> None:
    second = calls()[1]
    text, result, more, _ = second.messages[0].segments
    assert isinstance(more, Const)
    template = (text, result, dataclasses.replace(more, text=more.text[:3]))
    (message,) = message_blocks(second, (prefix(SYSTEM, (call_id(2),), template=template),), None)
    assert [(block.kind, block.groups) for block in message.blocks] == [
        ("const", (0,)),
        ("call", (0,)),
        ("const", (0,)),
        ("const", ()),
        ("param", ()),
    ]
    other = (text, dataclasses.replace(result, id=call_id(3)))
    (unmarked,) = message_blocks(second, (prefix(SYSTEM, (call_id(2),), template=other),), None)
    assert {block.groups for block in unmarked.blocks} == {()}


def test_template_text_names_what_is_known_at_run_time() -> None:
    segments = (Const("a ", span(1)), Param("document", span(1)), CallRef(call_id(1), span(1)))
    assert template_text(prefix("a ", (), template=segments)) == "a {document}{result of process#1}"
    assert template_text(prefix("a ", ())) == "a "


def test_a_nested_prefix_is_shown_as_what_it_adds() -> None:
    prefixes = (prefix("a b", ()), prefix("a", ()), prefix("a b c", ()), prefix("x", ()), prefix("a b", ()))
    shown = [nested_text(index, prefixes) for index in range(len(prefixes))]
    assert shown == [(1, " b"), (None, "a"), (0, " c"), (None, "x"), (1, " b")]


def test_only_white_space_is_made_visible() -> None:
    assert visible_space(" \n\t") == "␣↵⇥"
    assert visible_space(" a\n") == " a\n"
    assert visible_space("") == ""


def test_later_messages_are_not_cut() -> None:
    text = Const(SYSTEM, span(1))
    chat = dataclasses.replace(call(1, 1), messages=(Message("system", (text,)), Message("user", (text,))))
    system, user = message_blocks(chat, (prefix(SYSTEM, (call_id(1),)),), None)
    assert system.blocks[0].groups == (0,)
    assert user.blocks[0].groups == ()


def test_nested_segments_are_indented() -> None:
    (message,) = message_blocks(calls()[2], (), None)
    assert [(block.kind, block.depth) for block in message.blocks] == [
        ("const", 0),
        ("param", 0),
        ("choice", 0),
        ("option", 1),
        ("const", 2),
        ("option", 1),
        ("repeat", 0),
        ("const", 1),
        ("param", 1),
        ("unknown", 0),
        ("call", 0),
    ]


def test_short_id() -> None:
    assert short_id("pkg/agent.py:DocumentProcessor.process#2") == "process#2"
    assert short_id("agent.py:main#1") == "main#1"


def test_runs_share_one_scale_and_bars_stay_inside() -> None:
    slow = RunTimeline("slow", (CallTiming(0, "a", 0.0, 0.0, 6.0, 8.0), CallTiming(1, "b", 1.0, 2.0, None, 4.0)))
    fast = RunTimeline("fast", (CallTiming(0, "a", 0.0, 0.0, 1.0, 4.0),))
    (first, second), sites = charts((slow, fast))
    assert sites == ("a", "b")
    assert first.bars[0].end == WIDTH
    assert second.bars[0].end == LABEL_WIDTH + (WIDTH - LABEL_WIDTH) / 2
    assert first.bars[1].split is None
    assert first.bars[1].queued < first.bars[1].x
    assert first.bars[1].y > first.bars[0].y
    assert first.ticks == second.ticks


def test_many_items_are_cut_and_counted() -> None:
    timings = tuple(CallTiming(item, "a", 0.0, 0.0, None, 1.0) for item in range(MAX_ITEMS + 5))
    ((chart,), _) = charts((RunTimeline("many", timings),))
    assert len(chart.items) == MAX_ITEMS
    assert len(chart.bars) == MAX_ITEMS
    assert chart.hidden_items == 5


def test_no_calls_make_no_chart() -> None:
    assert charts((RunTimeline("empty", ()),)) == ((), ())
