"""What makes each call of a run cheap changes nothing else."""

from __future__ import annotations

import gc
from dataclasses import fields, replace
from typing import Any

from charter_compiler.executor.collector import YOUNG, rare_collection
from charter_compiler.executor.types import GenerationRequest


def test_a_request_on_the_way_is_the_same_request() -> None:
    values: dict[str, Any] = {each.name: object() for each in fields(GenerationRequest)}
    request = GenerationRequest(**values)
    sent, expected = request.on_the_way([1, 2], "hints"), replace(request, tokens=[1, 2], kv_hints="hints")
    assert [getattr(sent, name) for name in values] == [getattr(expected, name) for name in values]


def test_the_collector_is_as_it_was_after_a_run() -> None:
    before = gc.get_threshold()
    try:
        for set_by_user, during in ((700, YOUNG), (10 * YOUNG, 10 * YOUNG), (0, 0)):
            gc.set_threshold(set_by_user, 11, 12)
            with rare_collection():
                assert gc.get_threshold() == (during, 11, 12)
            assert gc.get_threshold() == (set_by_user, 11, 12)
    finally:
        gc.set_threshold(*before)


def test_of_runs_that_overlap_the_last_puts_the_collector_back() -> None:
    before = gc.get_threshold()
    first, second = rare_collection(), rare_collection()
    first.__enter__()
    during = gc.get_threshold()
    second.__enter__()
    first.__exit__(None, None, None)
    assert gc.get_threshold() == during, "the second one goes on"
    second.__exit__(None, None, None)
    assert gc.get_threshold() == before
