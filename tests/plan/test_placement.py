"""Items on endpoints: groups stay whole, loads stay bounded, and few items move when endpoints come and go."""

from __future__ import annotations

from collections import Counter, defaultdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from charter_compiler.plan.placement import SLACK, Placed, group_of, order_of, place

ENDPOINTS = [f"triton://gpu{n}:8001/ensemble" for n in range(5)]
EMPTY = dict.fromkeys(ENDPOINTS, 0.0)

placed = st.lists(
    st.tuples(
        st.lists(st.sampled_from("abcdefg"), max_size=2).map(tuple),
        st.integers(1, 50).map(float),
    ),
    max_size=60,
).map(lambda drawn: [Placed(n, group, weight) for n, (group, weight) in enumerate(drawn)])
loads = st.dictionaries(st.sampled_from(ENDPOINTS), st.integers(0, 200).map(float), min_size=1)


def even(groups: int, each: int) -> list[Placed]:
    return [Placed(n, (f"document {n % groups}",), 10.0) for n in range(groups * each)]


@given(placed, loads)
def test_every_item_gets_an_endpoint_and_no_load_is_above_its_bound(
    items: list[Placed], loads: dict[str, float]
) -> None:
    given_to = place(items, loads)
    assert given_to.keys() == {each.item for each in items}
    mean_before = sum(loads.values()) / len(loads)
    mean = mean_before + sum(each.weight for each in items) / len(loads)
    heaviest = max((each.weight for each in items), default=0.0)
    for name in set(given_to.values()):
        load = loads[name] + sum(each.weight for each in items if given_to[each.item] == name)
        assert load <= max((1 + SLACK) * mean, mean + heaviest) + 1e-6


@given(placed, st.sets(st.sampled_from(ENDPOINTS), min_size=1, max_size=4))
def test_without_a_bound_only_items_of_the_endpoint_that_joins_move(items: list[Placed], some: set[str]) -> None:
    joining = next(name for name in ENDPOINTS if name not in some)
    grouped = [each for each in items if each.group]
    before = place(grouped, dict.fromkeys(some, 0.0), slack=1e9)
    after = place(grouped, dict.fromkeys([*some, joining], 0.0), slack=1e9)
    assert all(after[item] in (before[item], joining) for item in before)


@settings(max_examples=20)
@given(st.integers(0, 10_000))
def test_with_the_bound_about_one_share_moves_when_an_endpoint_joins(seed: int) -> None:
    items = [Placed(n, (f"{seed}/{n // 4}",), 10.0) for n in range(400)]
    before = place(items, dict.fromkeys(ENDPOINTS[:4], 0.0))
    after = place(items, EMPTY)
    moved = sum(before[item] != after[item] for item in before)
    assert moved <= 0.45 * len(items), "a fifth has to move; full endpoints hand on some more"


@given(placed)
def test_where_a_group_goes_depends_on_neither_the_order_of_endpoints_nor_the_run(items: list[Placed]) -> None:
    assert place(items, EMPTY) == place(items, dict(reversed(EMPTY.items())))
    assert order_of(("a",), ENDPOINTS) == order_of(("a",), reversed(ENDPOINTS))


def test_a_known_order_so_that_two_versions_place_alike() -> None:
    assert order_of(("document 1",), ["a", "b", "c"]) == ["a", "c", "b"]


def test_groups_stay_whole_while_they_fit() -> None:
    items = even(20, 4)
    homes = defaultdict(set)
    for item, name in place(items, EMPTY).items():
        homes[items[item].group].add(name)
    assert all(len(names) == 1 for names in homes.values())
    counts = Counter(place(items, EMPTY).values())
    assert max(counts.values()) <= (1 + SLACK) * len(items) / len(ENDPOINTS)


def test_one_group_for_all_is_parted_among_as_few_as_can_take_it() -> None:
    items = [Placed(n, ("the only document",), 1.0) for n in range(100)]
    counts = Counter(place(items, EMPTY).values())
    assert sorted(counts.values()) == [12, 22, 22, 22, 22]


def test_a_group_too_large_for_one_is_parted_where_less_is_shared() -> None:
    items = [Placed(n, ("tenant", f"document {n // 5}"), 1.0) for n in range(100)]
    homes = defaultdict(set)
    for item, name in place(items, EMPTY).items():
        homes[items[item].group].add(name)
    assert all(len(names) == 1 for names in homes.values())
    assert len(set().union(*homes.values())) == len(ENDPOINTS)


def test_items_that_share_nothing_even_out_what_the_groups_leave() -> None:
    items = [Placed(n, (), float(1 + n % 7)) for n in range(50)]
    loads = dict(zip(ENDPOINTS, (0.0, 10.0, 20.0, 30.0, 40.0), strict=True))
    for item, name in place(items, loads).items():
        loads[name] += items[item].weight
    assert max(loads.values()) - min(loads.values()) <= 7
    assert place(even(3, 4), EMPTY, by_group=False) == place([Placed(n, (), 10.0) for n in range(12)], EMPTY)


def test_a_full_endpoint_hands_its_groups_on() -> None:
    items = even(8, 1)
    home = place(items[:1], EMPTY, slack=1e9)[0]
    assert home not in place(items, EMPTY | {home: 1000.0}).values()


def test_the_group_of_a_row_is_its_values_of_the_plans_fields() -> None:
    row = {"document": "a text " * 1000, "page": 2, "tags": {"b": 1, "a": 2}}
    group = group_of(row, ("document", "tags", "none"))
    assert group == group_of({"tags": {"a": 2, "b": 1}, "document": row["document"]}, ("document", "tags", "none"))
    assert len(set(group)) == 3
    assert all(len(part) == 16 for part in group)
    assert group_of(row, ()) == ()


def test_somebody_has_to_take_the_items() -> None:
    with pytest.raises(ValueError, match="no endpoint"):
        place(even(1, 1), {})
