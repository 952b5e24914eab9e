from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charter_compiler.executor.scheduler.ended_items import SURE_ITEMS, EndedItems
from charter_compiler.executor.scheduler.interface import ScheduledCall
from charter_compiler.executor.scheduler.live_item import LiveItem
from charter_compiler.executor.scheduler.mode import Mode, make_scheduler
from charter_compiler.executor.scheduler.prefix import PrefixScheduler
from charter_compiler.plan.schedule import Order, Schedule


def keys(calls: list[ScheduledCall]) -> list[int]:
    return [call.key for call in calls]


def test_of_calls_with_one_cold_prefix_one_goes_and_the_others_wait_for_its_first_token() -> None:
    scheduler = PrefixScheduler(concurrency=3)
    for item in range(3):
        scheduler.start_item(item)
        scheduler.submit(ScheduledCall(item, item, blocks=("shared", f"own{item}")))
    assert keys(scheduler.ready()) == [0]
    assert scheduler.ready() == []
    scheduler.on_first_token(0)
    assert keys(scheduler.ready()) == [1, 2]


def test_on_an_engine_that_finds_blocks_while_they_are_computed_nothing_waits() -> None:
    scheduler = make_scheduler(Mode.OPTIMIZED, 3, None, engine="vllm")
    for item in range(3):
        scheduler.start_item(item)
        scheduler.submit(ScheduledCall(item, item, blocks=("shared", f"own{item}")))
    assert keys(scheduler.ready()) == [0, 1, 2]


def test_a_leader_that_fails_before_its_first_token_hands_over() -> None:
    scheduler = PrefixScheduler(concurrency=2)
    for item in range(2):
        scheduler.start_item(item)
        scheduler.submit(ScheduledCall(item, item, blocks=("shared",)))
    assert keys(scheduler.ready()) == [0]
    scheduler.on_done(0)
    assert keys(scheduler.ready()) == [1]


def test_calls_that_share_nothing_do_not_wait_for_each_other() -> None:
    scheduler = PrefixScheduler(concurrency=2)
    for item in range(2):
        scheduler.start_item(item)
        scheduler.submit(ScheduledCall(item, item, blocks=(f"own{item}",)))
    assert keys(scheduler.ready()) == [0, 1]


def test_calls_without_known_blocks_go_at_once() -> None:
    scheduler = PrefixScheduler(concurrency=2, capacity_blocks=4)
    for item in range(2):
        scheduler.start_item(item)
        scheduler.submit(ScheduledCall(item, item))
    assert keys(scheduler.ready()) == [0, 1]


def test_the_item_that_started_first_goes_first() -> None:
    scheduler = PrefixScheduler(concurrency=2)
    scheduler.start_item(7)
    scheduler.start_item(3)
    scheduler.submit(ScheduledCall(0, 3, blocks=("b",)))
    scheduler.submit(ScheduledCall(1, 7, blocks=("a",)))
    scheduler.submit(ScheduledCall(2, None, blocks=("warm",)))
    assert keys(scheduler.ready()) == [2, 1, 0]


def test_calls_in_flight_stay_within_the_capacity_and_shared_blocks_count_once() -> None:
    scheduler = PrefixScheduler(concurrency=3, capacity_blocks=7)
    for item in range(3):
        scheduler.start_item(item)
    scheduler.submit(ScheduledCall(0, 0, blocks=("s",)))
    assert keys(scheduler.ready()) == [0]
    scheduler.on_first_token(0)
    scheduler.on_done(0)
    for item in range(3):
        scheduler.submit(ScheduledCall(1 + item, item, blocks=("s", f"own{item}"), tail_blocks=1))
    assert keys(scheduler.ready()) == [1, 2]  # 1 shared + 2 * (1 own + 1 tail) = 5, and 2 to spare
    scheduler.on_done(1)
    assert keys(scheduler.ready()) == [], "item 0 may make another call"
    scheduler.finish_item(0)
    assert keys(scheduler.ready()) == [3]


def test_a_call_larger_than_the_capacity_goes_alone() -> None:
    scheduler = PrefixScheduler(concurrency=2, capacity_blocks=2)
    scheduler.start_item(0)
    scheduler.submit(ScheduledCall(0, 0, blocks=("a", "b", "c"), tail_blocks=1))
    assert keys(scheduler.ready()) == [0]


def test_items_are_admitted_while_they_fit_judged_by_those_seen() -> None:
    scheduler = PrefixScheduler(concurrency=16, capacity_blocks=10)
    assert scheduler.may_start()
    scheduler.start_item(0)
    assert not scheduler.may_start(), "its size is not known before its first call"
    scheduler.submit(ScheduledCall(0, 0, blocks=("a", "b", "c"), tail_blocks=1))
    assert scheduler.may_start()
    scheduler.start_item(1)
    assert not scheduler.may_start(), "three of four blocks do not fit ten"
    scheduler.on_done(0)
    scheduler.finish_item(0)
    assert scheduler.may_start()


def test_a_call_that_no_target_could_take_does_not_make_items_look_large() -> None:
    scheduler = PrefixScheduler(concurrency=2, capacity_blocks=256)
    scheduler.start_item(0)
    scheduler.submit(ScheduledCall(0, 0, blocks=("a",), tail_blocks=31_250_000))
    scheduler.ready()
    scheduler.on_done(0)
    scheduler.finish_item(0)
    for item in range(1, 200):
        scheduler.start_item(item)
        scheduler.submit(ScheduledCall(item, item, blocks=(f"own{item}",)))
        scheduler.ready()
        scheduler.on_done(item)
        scheduler.finish_item(item)
    scheduler.start_item(200)
    assert scheduler.may_start()


def test_constant_prefixes_are_not_counted_for_each_item() -> None:
    scheduler = PrefixScheduler(concurrency=16, capacity_blocks=10)
    scheduler.submit(ScheduledCall(0, None, blocks=("c1", "c2")))
    scheduler.start_item(0)
    scheduler.submit(ScheduledCall(1, 0, blocks=("c1", "c2", "own")))
    started = 1
    while scheduler.may_start():
        scheduler.start_item(started)
        started += 1
    assert started == 8


def test_an_item_without_calls_does_not_stop_the_others_for_ever() -> None:
    scheduler = PrefixScheduler(concurrency=4, capacity_blocks=10)
    scheduler.start_item(0)
    scheduler.finish_item(0)
    assert scheduler.may_start()


def test_items_that_the_memo_store_answered_do_not_make_others_look_small() -> None:
    scheduler = PrefixScheduler(concurrency=16, capacity_blocks=10)
    for item in range(3):
        scheduler.start_item(item)
    scheduler.submit(ScheduledCall(0, 0, blocks=("a", "b", "c", "d"), tail_blocks=1))
    assert keys(scheduler.ready()) == [0]
    scheduler.on_done(0)
    for item in range(3):
        scheduler.finish_item(item)
    started = 3
    while scheduler.may_start():
        scheduler.start_item(started)
        started += 1
    assert started == 5, "five blocks each, as the one item needed that called the engine"


def test_the_baseline_sends_at_once_and_in_order() -> None:
    scheduler = make_scheduler(Mode.BASELINE, concurrency=2, capacity_blocks=1)
    for item in range(2):
        assert scheduler.may_start()
        scheduler.start_item(item)
        scheduler.submit(ScheduledCall(item, item, blocks=("shared",), tail_blocks=5))
    assert not scheduler.may_start()
    assert keys(scheduler.ready()) == [0, 1]
    scheduler.finish_item(0)
    assert scheduler.may_start()


@dataclass
class Plan:
    """Items, each a list of calls made one after the other; a call is its blocks and tail."""

    items: list[list[tuple[tuple[str, ...], int]]]
    concurrency: int
    capacity: int | None


paths = st.lists(st.sampled_from("abc"), max_size=4).map(
    lambda letters: tuple("".join(letters[: n + 1]) for n in range(len(letters)))  # a chained name holds its past
)
plans = st.builds(
    Plan,
    items=st.lists(st.lists(st.tuples(paths, st.integers(0, 3)), max_size=3), max_size=8),
    concurrency=st.integers(1, 4),
    capacity=st.none() | st.integers(1, 12),
)


@given(plan=plans, mode=st.sampled_from(Mode), data=st.data())
def test_every_call_is_sent_once_and_no_cold_block_twice_at_once(plan: Plan, mode: Mode, data: st.DataObject) -> None:
    scheduler = make_scheduler(mode, plan.concurrency, plan.capacity)
    coming = deque(enumerate(plan.items))
    left: dict[int, deque[ScheduledCall]] = {}
    sent: list[int] = []
    prefilling: dict[int, ScheduledCall] = {}
    decoding: dict[int, ScheduledCall] = {}
    blocks_of: dict[int, tuple[object, ...]] = {}
    made = 0

    def go_on(item: int) -> None:
        if left[item]:
            scheduler.submit(left[item].popleft())
        else:
            del left[item]
            scheduler.finish_item(item)

    while coming or left:
        while coming and scheduler.may_start():
            item, calls = coming.popleft()
            scheduler.start_item(item)
            left[item] = deque(ScheduledCall(made + n, item, blocks, tail) for n, (blocks, tail) in enumerate(calls))
            made += len(calls)
            go_on(item)
        assert len(left) <= plan.concurrency
        for call in scheduler.ready():
            if mode is Mode.OPTIMIZED and plan.capacity is None:
                known = {block for key in sent if key not in prefilling for block in blocks_of[key]}
                cold = set(call.blocks) - known
                assert not any(cold & set(other.blocks) for other in prefilling.values()), "single-flight"
            prefilling[call.key] = call
            sent.append(call.key)
            blocks_of[call.key] = call.blocks
        busy = [*prefilling, *decoding]
        if not busy:
            assert not left, "calls wait although nothing is in flight"
            continue
        key = data.draw(st.sampled_from(sorted(busy)))
        if key in prefilling:
            decoding[key] = prefilling.pop(key)
            scheduler.on_first_token(key)
        else:
            scheduler.on_done(key)
            item = decoding.pop(key).item
            assert item is not None
            go_on(item)
    assert sorted(sent) == list(range(made))


def test_stage_by_stage_earlier_calls_go_before_later_ones_of_items_that_started_first() -> None:
    scheduler = make_scheduler(Mode.OPTIMIZED, 3, 4, Schedule(Order.STAGE_FIRST))
    for item in range(3):
        assert scheduler.may_start(), "an item's blocks need not last until its next call"
        scheduler.start_item(item)
    assert not scheduler.may_start()
    scheduler.submit(ScheduledCall(0, 0, blocks=("two", "a"), tail_blocks=1, stage=1))
    scheduler.submit(ScheduledCall(1, 1, blocks=("one", "b"), tail_blocks=1))
    scheduler.submit(ScheduledCall(2, 2, blocks=("one", "c"), tail_blocks=1))
    assert keys(scheduler.ready()) == [1]
    scheduler.on_first_token(1)
    scheduler.on_done(1)
    assert keys(scheduler.ready()) == [2]
    scheduler.on_done(2)
    assert keys(scheduler.ready()) == [0]


def test_a_group_bounds_the_items_in_flight_within_what_the_run_allows() -> None:
    assert Schedule(group=2).items(16) == 2
    assert Schedule(group=32).items(16) == 16
    scheduler = make_scheduler(Mode.OPTIMIZED, 16, None, Schedule(group=1))
    scheduler.start_item(0)
    assert not scheduler.may_start()


def test_items_that_are_larger_than_the_first_wait_until_there_is_room_for_them() -> None:
    scheduler = PrefixScheduler(concurrency=8, capacity_blocks=30)
    scheduler.start_item(0)
    scheduler.submit(ScheduledCall(0, 0, ((0, 0), (0, 1))))
    assert keys(scheduler.ready()) == [0]
    for item in range(1, 8):
        assert scheduler.may_start(), "judged by the first item, all fit"
        scheduler.start_item(item)
    for item in range(1, 8):
        scheduler.submit(ScheduledCall(item, item, tuple((item, block) for block in range(10))))
    assert keys(scheduler.ready()) == [1, 2], "2 + 10 + 10 of 30 blocks"
    for key in (0, 1, 2):
        scheduler.on_first_token(key)
        scheduler.on_done(key)
    assert keys(scheduler.ready()) == [], "their items may go on, and find their blocks"
    scheduler.submit(ScheduledCall(8, 1, tuple((1, block) for block in range(10)), 1))
    assert keys(scheduler.ready()) == [8]
    scheduler.finish_item(0)
    assert keys(scheduler.ready()) == [], "10 more, and 10 to spare, since items make more than one call"
    scheduler.on_done(8)
    scheduler.finish_item(1)
    scheduler.finish_item(2)
    assert keys(scheduler.ready()) == [3, 4]


def test_the_first_items_leave_room_for_their_next_calls_where_it_is_known_that_they_return() -> None:
    for items_return, admitted in ((False, 3), (True, 2)):
        scheduler = PrefixScheduler(concurrency=9, capacity_blocks=12, items_return=items_return)
        for item in range(3):
            scheduler.start_item(item)
            scheduler.submit(ScheduledCall(item, item, blocks=tuple((item, n) for n in range(3)), tail_blocks=1))
        assert len(scheduler.ready()) == admitted


def run_item(scheduler: PrefixScheduler, item: int, prompts: Sequence[Sequence[str]]) -> None:
    """An item from its start to its end; each prompt is its blocks' names."""
    scheduler.start_item(item)
    for stage, prompt in enumerate(prompts):
        key = 100 * item + stage
        blocks = tuple((item, name) for name in prompt)
        scheduler.submit(ScheduledCall(key, item, stage=stage, blocks=blocks, tail_blocks=1))
        assert keys(scheduler.ready()) == [key]
        scheduler.on_first_token(key)
        scheduler.on_done(key)
    scheduler.finish_item(item)


def begun(scheduler: PrefixScheduler, blocks: Sequence[str], items: range) -> int:
    """How many of these items start and get their first call through."""
    for item in items:
        if not scheduler.may_start():
            break
        scheduler.start_item(item)
        scheduler.submit(ScheduledCall(item, item, blocks=tuple((item, name) for name in blocks), tail_blocks=1))
    return len(scheduler.ready())


@pytest.mark.parametrize(
    ("prompts", "admitted"),
    [
        (["abc", "abc"], 2),  # 4 blocks each, and room for one item more, since these return
        (["abc", "xyz", "abc"], 1),  # 7: while it is at the second, the first one's blocks are to last
        (["abc", "xyz"], 3),  # nothing to keep: as many as compute at once
        (["abc", "def", "ghi", "jkl", "mno", "a"], 3),  # one block in 16 is little
        (["abc", "def", "ghi", "jkl", "mno", "abc", "def", "ghi", "jkl", "mno"], 2),  # 15: not even one item keeps it
    ],
)
def test_items_are_admitted_by_what_former_ones_came_back_to(prompts: list[str], admitted: int) -> None:
    scheduler = PrefixScheduler(concurrency=9, capacity_blocks=12)
    for item in range(SURE_ITEMS):
        run_item(scheduler, 1000 + item, prompts)
    assert begun(scheduler, prompts[0], range(9)) == admitted


def test_an_item_needs_what_it_uses_before_and_after_a_call() -> None:
    item = LiveItem(rank=0, footprint=4)
    calls = [ScheduledCall(0, 0, blocks=tuple(blocks), tail_blocks=1) for blocks in ("sabc", "xyz", "sabcd", "w")]
    for call in calls:
        item.use(call, "s")
    assert (item.found, item.begun_with) == (len("abc"), len("abcxyzabcdw"))
    assert item.needed() == len("abcxyz") + 1, "not s, which is constant, and d only at its own call"


def test_an_item_whose_answer_another_one_waits_for_is_held_back_no_more() -> None:
    scheduler = PrefixScheduler(concurrency=3, capacity_blocks=4)
    for item in range(3):
        scheduler.start_item(item)
        scheduler.submit(ScheduledCall(item, item, blocks=tuple((item, name) for name in "abc"), tail_blocks=1))
    assert keys(scheduler.ready()) == [0]
    scheduler.on_done(0)
    assert scheduler.ready() == [], "item 0 makes a call yet"
    scheduler.hurry(2)
    assert keys(scheduler.ready()) == [2]
    scheduler.on_done(2)
    scheduler.finish_item(0)
    scheduler.finish_item(2)
    assert keys(scheduler.ready()) == [1]


def test_constant_blocks_count_once_for_all_items_warmed_or_not() -> None:
    constant = tuple(range(10))
    scheduler = PrefixScheduler(concurrency=9, capacity_blocks=20, constant=constant, found_at_once=True)
    for item in range(4):
        assert scheduler.may_start()
        scheduler.start_item(item)
        scheduler.submit(ScheduledCall(item, item, blocks=(*constant, (item, "own")), tail_blocks=1))
    assert len(scheduler.ready()) == 4


@pytest.mark.parametrize("items", [1, 3, 49, 64])
def test_what_is_expected_weighs_as_much_as_the_first_items_that_return(items: int) -> None:
    seen = EndedItems(items=2 * items, sized=2 * items, footprints=8 * items, needs=8 * items, returned=items)
    seen.begun_with = 100 * items  # and nothing found
    first = seen.as_first()
    assert first.returned == SURE_ITEMS
    assert first.spread == 1.0
    assert not first.keep_between_calls


def test_items_of_one_call_keep_nothing_between_calls() -> None:
    assert EndedItems().keep_between_calls, "nothing is known yet"
    assert not EndedItems(items=5, sized=5, footprints=20, needs=20).as_first().keep_between_calls
