"""Which item waits or runs where: endpoints that come and go lose nothing, and leave alone what has begun."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, precondition, rule

from charter_compiler.executor.fleet.queues import ItemQueues
from charter_compiler.plan.placement import Placed, Placement


def queues(*endpoints: str, groups: int = 0, each: int = 1, placement: Placement = Placement.PREFIX) -> ItemQueues:
    made = ItemQueues(placement)
    for name in endpoints:
        made.join(name)
    made.add([Placed(n, (f"{n % groups}",), 1.0) for n in range(groups * each)])
    return made


def run_out(made: ItemQueues, endpoint: str) -> list[int]:
    """The items that one endpoint starts and finishes alone, the others standing still."""
    done = []
    while (item := made.next_of(endpoint)) is not None:
        made.start(item)
        made.finish(item)
        done.append(item)
    return done


def test_one_endpoint_starts_its_items_in_their_order() -> None:
    assert run_out(queues("a", groups=3, each=4), "a") == list(range(12))


def test_an_endpoint_that_leaves_hands_on_what_waits_and_keeps_what_runs() -> None:
    made = queues("a", "b", groups=8, each=2)
    first = made.next_of("a")
    assert first is not None
    made.start(first)
    made.leave("a")
    assert made.of(first) == "a"
    assert sorted([first, *run_out(made, "b")]) == list(range(16))
    made.finish(first)


def test_a_lost_endpoints_item_moves_and_its_groups_come_back() -> None:
    made = queues("a", "b", groups=8, each=2)
    first = made.next_of("a")
    assert first is not None
    made.start(first)
    made.leave("a")
    assert made.move(first) == "b"
    assert made.loads == {"b": 16.0}
    made.join("a")
    assert made.of(first) == "b", "a running item stays where its calls are"
    assert made.loads == {"a": 8.0, "b": 8.0}
    assert (first + 8) % 16 not in run_out(made, "a"), "what the moved item shares is computed at b"


def test_nobody_else_to_move_to() -> None:
    made = queues("a", groups=1)
    made.start(0)
    assert made.move(0) == "a"


def test_an_endpoint_that_joins_takes_its_share_but_no_group_that_was_begun() -> None:
    made = queues("a", groups=8, each=2)
    made.start(0)
    made.join("b")
    assert made.loads["a"] + made.loads["b"] == 16
    assert made.loads["b"] >= 6
    assert 8 not in run_out(made, "b"), "item 8 shares what the running item 0 computes"


def test_who_runs_out_takes_whole_groups_of_the_busiest_and_none_that_was_begun() -> None:
    made = queues("a", "b", groups=8, each=2)
    assert made.loads == {"a": 8.0, "b": 8.0}
    begun = made.next_of("a")
    assert begun is not None
    made.start(begun)
    done = run_out(made, "b")
    assert len(done) == 8 + 6, "until what is left at the other is no more than one group"
    assert all((item + 8) % 16 in done for item in done), "both items of a group"
    assert {begun, (begun + 8) % 16} == set(range(16)) - set(done)


def test_items_wait_while_there_is_no_endpoint() -> None:
    made = queues(groups=2, each=2)
    assert made.waiting == 4
    made.join("a")
    assert run_out(made, "a") == [0, 1, 2, 3]


def test_a_request_of_no_row_begins_where_the_least_is_to_be_done() -> None:
    made = queues("a", "b")
    made.add([Placed(n, (), 1.0) for n in range(1)])
    busy = next(name for name, load in made.loads.items() if load)
    assert made.begin(-1) != busy
    made.finish(-1)
    assert sum(made.loads.values()) == 1


class Fleet(RuleBasedStateMachine):
    """Endpoints come and go at random while items start, move and finish."""

    started = Bundle("started")

    def __init__(self) -> None:
        super().__init__()
        self.queues = ItemQueues()
        self.added = 0
        self.running: set[int] = set()
        self.finished = 0

    @rule(groups=st.lists(st.sampled_from(["", "x", "y", "z"]), min_size=1, max_size=8))
    def add(self, groups: list[str]) -> None:
        self.queues.add([Placed(self.added + n, (g,) if g else (), 1.0 + n) for n, g in enumerate(groups)])
        self.added += len(groups)

    @rule(name=st.sampled_from("abc"))
    def join(self, name: str) -> None:
        if name not in self.queues.endpoints:
            self.queues.join(name)

    @precondition(lambda self: self.queues.endpoints)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        self.queues.leave(data.draw(st.sampled_from(self.queues.endpoints)))

    @precondition(lambda self: self.queues.endpoints)
    @rule(target=started, data=st.data())
    def start(self, data: st.DataObject) -> int | None:
        name = data.draw(st.sampled_from(self.queues.endpoints))
        item = self.queues.next_of(name)
        if item is not None:
            assert self.queues.start(item) == name
            assert item not in self.running
            self.running.add(item)
        return item

    @rule(item=started)
    def move(self, item: int | None) -> None:
        if item in self.running and item is not None:
            assert self.queues.move(item) == self.queues.of(item)

    @rule(item=consumes(started))
    def finish(self, item: int | None) -> None:
        if item in self.running and item is not None:
            self.queues.finish(item)
            self.running.discard(item)
            self.finished += 1

    @invariant()
    def nothing_is_lost(self) -> None:
        assert self.queues.waiting + len(self.running) + self.finished == self.added
        assert all(load > -1e-9 for load in self.queues.loads.values())


TestFleet = Fleet.TestCase
TestFleet.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
