"""BENCHMARKS.md: its summary, its links, and that it takes every file of raw rows as it comes."""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
Row = dict[str, Any]


@pytest.fixture(scope="module", autouse=True)
def scripts() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "benchmarks" / "page"))
        yield


def module(name: str) -> ModuleType:
    return importlib.import_module(name)


def rows(name: str) -> list[Row]:
    text = (ROOT / "benchmarks" / "comparison" / f"{name}.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def test_the_summary_comes_first_and_every_link_leads_to_a_heading() -> None:
    text = (ROOT / "BENCHMARKS.md").read_text(encoding="utf-8")
    titles = re.findall(r"^#+ (.*)$", text, re.M)
    assert titles[1:5] == ["Summary", "Not timed", "Contents", "How to read"]
    anchors = [module("page").anchor(title) for title in titles]
    assert len(set(anchors)) == len(anchors)
    assert set(re.findall(r"\]\((#[^)]*)\)", text)) <= set(anchors)


def test_a_target_is_judged_by_the_median_of_its_worst_case() -> None:
    targets = module("page_targets")
    one = targets.at_least("gain", 0.9, {"": [0.95, 0.5, 0.91]})
    assert (one.wanted, one.measured, one.verdict) == ("at least 90%", "91.0% (50.0% to 95.0%)", "reached")
    worst = targets.at_least("gain", 0.9, {"a": [0.95], "b": [0.8], "c": []})
    assert worst.measured == "80.0% at worst (b); 1 of 2 cases reach it; unknown of 1 more"
    assert worst.verdict == "**missed**"
    assert targets.at_most("off", 2, {"a": [1.0], "c": []}, targets.POINTS).verdict == "reached where measured"
    assert targets.at_most("off", 2, {"a": []}, targets.POINTS).verdict == "not measured"
    assert targets.none_of("differing", "0", 0, 0).verdict == "not measured"
    assert targets.none_of("differing", "0", 1, 20).verdict == "**missed**"


def test_a_table_is_shown_without_its_empty_columns() -> None:
    shown = module("page_parts").table(("arm", "time", "blocks"), [("exact", "", "3"), ("layout", "", "2 (1 to 3)")])
    assert shown == "| arm | blocks |\n| --- | ---: |\n| exact | 3 |\n| layout | 2 (1 to 3) |"


def test_the_conditions_of_every_session_are_said_once() -> None:
    def session(name: str, cores: str, *loads: float) -> list[Row]:
        first = {"session": name, "measured": "2026-11-26T01:00:00", "commit": "abcdef0123456"}
        environment = {"processor": "AMD EPYC", "cores": cores, "Python": "3.11.7"}
        return [first | {"environment": environment}, *({"session": name, "load_average": load} for load in loads)]

    conditions = module("page_conditions").conditions
    mixed = [*session("a", "2", 4.0, 9.0), *session("b", "1", 1.5), *session("c", "2", 20.0)]
    expected = (
        "2026-11-26, AMD EPYC, Python 3.11.7, commit abcdef012; 2 cores, load average 4.0 to 20.0; "
        "1 core, load average 1.5"
    )
    assert conditions([mixed]) == expected
    assert conditions([[{"date": "2026-11-25", "machine": "x86_64", "load": 3.0}]]) == (
        "2026-11-25, x86_64, load average 3.0"
    )
    assert conditions([[{"run": "first"}]]) == "not recorded in the rows"


def test_a_comparison_without_a_text_is_shown_under_its_name() -> None:
    sections = module("comparison_sections")
    files = sections.timed_files(
        ["comparison/new.jsonl", "comparison/vllm.jsonl", "comparison/debate.jsonl", "comparison/chain.jsonl"]
    )
    assert files == ["comparison/chain.jsonl", "comparison/vllm.jsonl", "comparison/new.jsonl"]
    new = sections.section("comparison/new.jsonl")
    assert (new.title, new.why) == ("Comparison: new", "")
    chain = rows("chain")
    body = new.body(chain)
    assert "`charter bench chain" in body
    assert "| chain: 900 tokens a document | layout |" in body


def test_comparisons_on_another_engine_are_told_apart() -> None:
    sections = module("comparison_sections")
    chain = rows("chain")
    other = [row | {"engine": "vllm"} for row in chain]
    case = "chain: 900 tokens a document"
    assert list(sections.timed_cases(chain, other)) == [case, f"{case} on vllm"]
    asked = {target.what: target.verdict for target in sections.table_targets(other)}
    assert asked["Chain, 900-token documents, on vllm: less time a document than as written"] == "reached"
    assert "`python benchmarks/comparison/on_vllm.py chain" in sections.comparison(other)


def test_tables_that_were_not_timed_are_named() -> None:
    sections = module("comparison_sections")
    said = sections.not_timed({})
    assert re.search(r"^- `shapes` \(.*\): all its cases were not timed$", said, re.M)
    assert "`short`" not in said
    targets = {target.what: target.verdict for target in sections.overview_targets(["pressure"])}
    assert targets["Capacity of the cache: time, strongest plain setting = 1"] == "not measured"
