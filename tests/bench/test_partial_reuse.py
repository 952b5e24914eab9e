"""Rates to the token, which clients of reused blocks cannot know."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from charter_compiler.bench.partial_reuse import attainable_hit_rate
from charter_compiler.bench.served import Served, read_served
from charter_compiler.bench.summary import attainable, hit_rate
from charter_compiler.tokens.tokenizer import default_tokenizer


def call(prompt: str, output: str, sent: float, done: float, memoized: bool = False) -> str:
    times = {"sent_s": sent, "done_s": done, "memoized": memoized}
    return json.dumps({"prompt": prompt, "messages": None, "max_tokens": 8, "output": output, **times}) + "\n"


def test_a_prompt_finds_every_token_that_was_sent_before(tmp_path: Path) -> None:
    encode = default_tokenizer().encode
    shared = "Read the report of the company and say in one line what it sells. Company: "
    first, second = f"{shared}Novo Nordisk", f"{shared}Siemens"
    recording = tmp_path / "calls.jsonl"
    never_sent = call(second, "", 0.0, 0.0, memoized=True)
    calls = call(second, " tools", 1.0, 2.0) + call(first, " insulin", 0.0, 3.0) + never_sent
    recording.write_text(calls, encoding="utf-8")
    common = len(encode(shared.strip()))
    assert encode(first)[:common] == encode(second)[:common]
    expected = common / (len(encode(first)) + len(encode(second)))
    assert attainable_hit_rate(recording, default_tokenizer()) == pytest.approx(expected)


def test_a_conversation_finds_its_own_outputs_but_for_their_last_token(tmp_path: Path) -> None:
    encode = default_tokenizer().encode
    prompt, output = "Name a river.", " The Rhine flows through Basel."
    follow_up = f"{prompt}{output} And a lake?"
    recording = tmp_path / "calls.jsonl"
    recording.write_text(call(prompt, output, 0.0, 1.0) + call(follow_up, " No.", 2.0, 3.0), encoding="utf-8")
    assert encode(follow_up)[: len(encode(prompt + output))] == encode(prompt + output)
    expected = (len(encode(prompt + output)) - 1) / (len(encode(prompt)) + len(encode(follow_up)))
    assert attainable_hit_rate(recording, default_tokenizer()) == pytest.approx(expected)


def test_the_server_s_own_counters_are_read() -> None:
    tokens, peak = "charter_tokens_total", 'charter_blocks_used_peak{kind="used",model="m"} 12\n'
    text = f'# HELP\n{tokens}{{kind="prompt",model="m"}} 200\n{tokens}{{kind="cached",model="m"}} 150\n{peak}other 1\n'
    served = read_served(text)
    assert served == Served(200, 150, 12)
    assert served.hit_rate == 0.75
    assert read_served(text.replace(peak, "")) is None
    assert Served(0, 0, 0).hit_rate is None


def test_a_row_with_partial_reuse_is_shown_to_the_token() -> None:
    row = {"metrics": {"hit_rate": 0.9, "attainable_hit_rate": 0.7}}
    assert (hit_rate(row), attainable(row)) == (0.9, 0.7)
    row["to_the_token"] = {"hit_rate": 0.8, "attainable_hit_rate": 0.85}
    assert (hit_rate(row), attainable(row)) == (0.8, 0.85)
