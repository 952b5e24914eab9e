"""The order of a table's rows and fields."""

from __future__ import annotations

import itertools
import random
from collections.abc import Mapping, Sequence

import ggr
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from charter_compiler.passes.table_order import TableOrder, order_rows

ROW = st.dictionaries(st.sampled_from("abcd"), st.sampled_from(["x", "yy", "zzz", "long text"]), min_size=1)


def rate_of(order: TableOrder) -> float:
    """Whole cells that neighbours share at their beginnings, by characters, names included."""
    shared = total = 0
    for row in order.rows:
        total += sum(len(name) + len(value) + 3 for name, value in row)
    for one, other in itertools.pairwise(order.rows):
        for left, right in zip(one, other, strict=False):
            if left != right:
                break
            shared += len(left[0]) + len(left[1]) + 3
    return shared / total


def table(rows: int, seed: int = 0) -> list[dict[str, str]]:
    rng = random.Random(seed)
    products = [(f"product {n}", f"a long description of the product number {n} " * 3) for n in range(rows // 10)]
    found = []
    for number in range(rows):
        name, description = rng.choice(products)
        found.append({"id": str(number), "stars": str(rng.randint(1, 5)), "product": name, "about": description})
    return found


@settings(max_examples=60)
@given(st.lists(ROW, max_size=80))
def test_every_cell_of_every_row_is_kept(rows: list[dict[str, str]]) -> None:
    order = order_rows(rows)
    assert sorted(order.order) == list(range(len(rows)))
    assert [dict(row) for row in order.rows] == [rows[index] for index in order.order]
    assert order.restore([rows[index] for index in order.order]) == rows
    assert 0 <= order.hit_rate < 1
    if rows and order.hit_rate:
        assert order.hit_rate <= rate_of(order) + 1e-9


def test_what_repeats_comes_first_and_rows_stand_together() -> None:
    rows = table(400)
    order = order_rows(rows)
    assert order.rows[0][0][0] in ("about", "product")
    assert order.rows[0][-1][0] == "id"
    assert order.hit_rate > 0.7
    assert order.hit_rate == pytest.approx(rate_of(order), abs=1e-9)


def test_a_row_may_have_an_order_of_fields_of_its_own() -> None:
    rows = [{"a": "same text in a" * 9, "b": f"b{n}"} for n in range(40)]
    rows += [{"a": f"a{n}", "b": "same text in b" * 9} for n in range(40)]
    order = order_rows(rows)
    assert {row[0][0] for row in order.rows} == {"a", "b"}
    assert order.hit_rate > 0.9


def test_by_tokens() -> None:
    rows = [{"word": "w" * 50, "words": "a b c d e f g h i j", "n": str(n % 7)} for n in range(90)]
    rows += [{"word": f"{n}", "words": f"{n}", "n": "0"} for n in range(90)]
    order = order_rows(rows, measure=lambda text: len(text.split()))
    assert 0.5 < order.hit_rate < 1


def test_nothing_to_gain_is_left_as_it_is() -> None:
    rows = [{"a": f"a{n}", "b": f"b{n}"} for n in range(3000)]
    order = order_rows(rows)
    assert list(order.order) == list(range(3000))
    assert order.hit_rate == 0
    assert order.rows[7] == [("a", "a7"), ("b", "b7")]
    assert order_rows([]).rows == []


def test_results_come_back_in_the_order_of_the_table() -> None:
    rows = table(50)
    order = order_rows(rows)
    assert order.restore(dict(row)["id"] for row in order.rows) == [row["id"] for row in rows]
    with pytest.raises(ValueError, match="49 results for 50 rows"):
        order.restore(range(49))


def test_rows_are_a_sequence() -> None:
    rows: Sequence[Mapping[str, str]] = table(30)
    order = order_rows(rows)
    assert len(order.rows) == 30
    assert order.rows[-1] == list(order.rows)[-1]
    assert order.rows[2:4] == list(order.rows)[2:4]
    with pytest.raises(IndexError):
        order.rows[30]


def test_no_worse_than_the_published_algorithm() -> None:
    for seed in range(3):
        rows = table(600, seed)
        ours = order_rows(rows).rows
        theirs = ggr.ggr_rows(rows, 10**6, 10**6)
        for names in (True, False):
            assert ggr.hit_rate(rows, ours, names) >= ggr.hit_rate(rows, theirs, names)
