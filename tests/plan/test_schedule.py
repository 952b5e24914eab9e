"""The order in which items start."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from charter_compiler.diagnostics.errors import PlanError
from charter_compiler.plan import schedule
from charter_compiler.plan.schedule import Order, Schedule

ROWS: list[dict[str, Any]] = [
    {"n": 0, "document": "b", "page": 2},
    {"n": 1, "document": "a", "page": 1},
    {"n": 2, "document": "b", "page": 1},
    {"n": 3, "document": "a", "page": 1},
    {"n": 4, "document": "b", "page": 2},
]


def order(plan: Schedule, rows: list[dict[str, Any]] = ROWS) -> list[int]:
    return [row["n"] for row in plan.arrange(rows, dict)]


def test_items_start_as_they_come_unless_they_are_sorted() -> None:
    assert order(Schedule()) == [0, 1, 2, 3, 4]


def test_equal_values_go_together_in_the_order_of_their_first_item() -> None:
    assert order(Schedule(sort_by=("document",))) == [0, 2, 4, 1, 3]
    assert order(Schedule(sort_by=("document", "page"))) == [0, 4, 2, 1, 3]


def test_only_so_many_items_are_held_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedule, "WINDOW", 3)
    taken: list[int] = []

    def rows() -> Iterator[dict[str, Any]]:
        for row in ROWS:
            taken.append(row["n"])
            yield row

    started = Schedule(sort_by=("document",)).arrange(rows(), dict)
    assert next(started)["n"] == 0
    assert taken == [0, 1, 2]
    assert [row["n"] for row in started] == [2, 1, 3, 4]


def test_values_that_are_not_text_and_fields_that_are_missing() -> None:
    rows = [{"n": 0, "tags": ["x"]}, {"n": 1}, {"n": 2, "tags": ["x"]}]
    assert order(Schedule(sort_by=("tags",)), rows) == [0, 2, 1]


def test_it_is_named_by_what_it_does() -> None:
    assert str(Schedule()) == "item-first"
    plan = Schedule(Order.STAGE_FIRST, 4, ("document",))
    assert str(plan) == "stage-first, items with the same document together, 4 items in flight"


def test_a_plan_that_would_start_nothing_is_refused() -> None:
    with pytest.raises(PlanError, match="0 items in flight"):
        Schedule(group=0)
