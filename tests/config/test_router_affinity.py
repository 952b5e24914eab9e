"""The share of a prompt that a router must know before it follows it, and how uneven queues may become."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charter_compiler.config.engines import Evidence
from charter_compiler.config.hints.worth import HintedRequest
from charter_compiler.config.routers.affinity import LARGEST, MARGIN, best_threshold, compute_affinity
from charter_compiler.config.routers.shares import Shares, find_shares
from charter_compiler.plan.placement import Group
from charter_compiler.predict.prefix_index import common_length

COMMON, DOCUMENT, QUESTION = 20, 60, 20
PROMPT = COMMON + DOCUMENT + QUESTION


def request(item: int, *, common: int = COMMON, document: int, question: int) -> HintedRequest:
    """A prompt of three parts: what all have, what those about one document have, and the rest."""
    start = (0,) * common + (1000 + document,) * DOCUMENT
    return HintedRequest((*start, *(2000 + question,) * (PROMPT - len(start))), (), None, item)


def asked(documents: int = 3, questions: int = 4) -> tuple[tuple[HintedRequest, ...], dict[int, Group]]:
    """All documents with the first question, then with the second, an item each."""
    pairs = [(document, question) for question in range(questions) for document in range(documents)]
    requests = tuple(request(item, document=d, question=q) for item, (d, q) in enumerate(pairs))
    return requests, {item: ("run", str(d)) for item, (d, _) in enumerate(pairs)}


def test_the_share_lies_between_what_all_prompts_have_in_common_and_what_those_of_a_group_have() -> None:
    requests, groups = asked()
    found = find_shares(requests, groups)
    assert found == Shares((0.2,) * 3, (0.8,) * 9), "what is common to all is no constant of any source here"
    affinity = compute_affinity(Evidence(requests=requests, groups=groups, concurrency=2))
    assert affinity.share.value == 0.5
    assert "share 20% of them with other groups, the rest 80% with their own" in affinity.share.reason
    assert "3 of 3 of the former" in affinity.share.reason
    assert "9 of 9 of the latter" in affinity.share.reason


@pytest.mark.parametrize("groups", [{}, dict.fromkeys(range(3), ()), dict.fromkeys(range(3), ("run",))])
def test_without_several_groups_an_items_own_calls_belong_together(groups: dict[int, Group]) -> None:
    requests = [request(item, document=item, question=call) for call in range(2) for item in range(3)]
    assert find_shares(requests, groups) == Shares((0.2,) * 3, (0.8,) * 3)


def test_a_prompt_that_shares_no_more_with_its_group_than_with_others_has_no_place_to_go_back_to() -> None:
    requests = tuple(request(item, document=10 * item + call, question=0) for call in range(2) for item in range(3))
    assert find_shares(requests, {}) == Shares((0.2,) * 6, ())
    share = compute_affinity(Evidence(requests=requests)).share
    assert share.value == pytest.approx(0.2 + MARGIN)
    assert "what all share must not count" in share.reason
    alike = tuple(request(item, document=0, question=0) for item in range(3))
    assert compute_affinity(Evidence(requests=alike)).share.value == LARGEST


def test_where_the_two_overlap_most_of_both_are_told_apart() -> None:
    found = Shares((0.1, 0.1, 0.1, 0.75), (0.3, 0.7, 0.8, 0.8, 0.8, 0.8))
    assert best_threshold(found) == 0.2
    assert found.told_apart(0.2) == (3, 6)
    assert best_threshold(Shares((0.2,), (0.21,))) == 0.205


def test_queues_may_differ_by_what_chance_puts_at_a_replica() -> None:
    requests, groups = asked()
    found = [compute_affinity(Evidence(requests=requests, groups=groups, concurrency=n)) for n in (1, 2, 4, 64)]
    assert [one.queue_difference.value for one in found] == [4, 7, 10, 48]
    assert "With 64 items in flight" in found[-1].queue_difference.reason


def test_without_inputs_the_routers_own_numbers_stand() -> None:
    bare = compute_affinity(Evidence())
    assert (bare.share.value, bare.queue_difference.value) == (0.3, 64)
    assert "no inputs" in bare.share.reason
    assert "no inputs" in bare.queue_difference.reason


PROMPTS = st.lists(st.tuples(st.integers(0, 2), st.lists(st.integers(0, 1), max_size=6)), max_size=12)


@given(PROMPTS)
def test_shares_are_those_of_comparing_every_pair(drawn: list[tuple[int, list[int]]]) -> None:
    requests = [HintedRequest(tuple(prompt), (), None, item) for item, prompt in drawn]
    foreign: list[float] = []
    own: list[float] = []
    drawn = [(item, prompt) for item, prompt in drawn if prompt]
    for index, (item, prompt) in enumerate(drawn):
        elsewhere = max((common_length(prompt, other) for who, other in drawn if who != item), default=0)
        back = max((common_length(prompt, other) for who, other in drawn[:index] if who == item), default=0)
        (own if back > elsewhere else foreign).append(max(back, elsewhere) / len(prompt))
    assert find_shares(requests, {}) == Shares(tuple(sorted(foreign)), tuple(sorted(own)))
