"""Two runs that share a memo store on a real redis-server, before engines in memory with little room: a call that waits
for its turn in one run keeps nobody waiting in the other."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from redis_server import running_redis
from run_doubles import ScriptedTarget, facts, write_agent

from charter_compiler.executor.entry import load_entry
from charter_compiler.executor.fleet.membership import OneEndpoint
from charter_compiler.executor.inputs import InputRow
from charter_compiler.executor.journal import Journal
from charter_compiler.executor.journal_file import JournalFile
from charter_compiler.executor.memo.keys import MemoKeys
from charter_compiler.executor.memo.memo import Memo
from charter_compiler.executor.memo.redis_claims import RedisClaims
from charter_compiler.executor.memo.redis_store import RedisMemoStore
from charter_compiler.executor.redis_address import RedisAddress, parse_redis
from charter_compiler.executor.results import RowWriter
from charter_compiler.executor.run.context import RunContext, RunFiles, RunOutcome
from charter_compiler.executor.run.options import RunOptions
from charter_compiler.executor.run.orchestrator import run_agent
from charter_compiler.tokens.tokenizer import default_tokenizer

AGENT = """
import asyncio

async def ask(document, pause, llm):
    first = await llm.agenerate(f"{document} First:", max_tokens=4, temperature=0)
    await asyncio.sleep(pause)  # a tool
    return await llm.agenerate(f"{document} Then: {first}", max_tokens=4, temperature=0)
"""
DOCUMENTS = [f"Document {number}. " * 40 for number in range(2)]
CAPACITY = 28
"""Blocks: two items of 11, and not the one more that is kept free between an item's calls."""
GUARD = 30.0

pytestmark = [pytest.mark.system, pytest.mark.timeout(60)]


async def run(folder: Path, address: RedisAddress, target: ScriptedTarget, rows: list[dict[str, Any]]) -> RunOutcome:
    folder.mkdir()
    entry = load_entry(f"{write_agent(folder, AGENT)}:ask")
    keys = MemoKeys({"model": "m"}, greedy_by_default=True)
    inputs = iter([InputRow(number, number + 1, row) for number, row in enumerate(rows)])
    async with Memo(lambda: RedisMemoStore(address), keys, "m", RedisClaims(address)) as memo:
        context = RunContext(RunOptions(concurrency=2), facts(CAPACITY), default_tokenizer(), memo=memo, calls=())
        with Journal.create(JournalFile(folder / "journal"), {}) as journal, RowWriter(folder / "out") as writer:
            return await run_agent(
                entry, inputs, OneEndpoint(target, context.facts), RunFiles(writer, journal), context
            )


async def test_calls_that_wait_for_room_in_two_runs_do_not_wait_for_each_other(tmp_path: Path) -> None:
    """Each run's first item, which pauses, makes its second call when the other run's call for the same document waits
    for room."""
    rows = [{"document": DOCUMENTS[0], "pause": 0.5}, {"document": DOCUMENTS[1], "pause": 0}]
    others = [{"document": DOCUMENTS[1], "pause": 0.5}, {"document": DOCUMENTS[0], "pause": 0}]
    targets = [ScriptedTarget(), ScriptedTarget()]
    with running_redis(tmp_path) as url:
        runs = [
            run(tmp_path / str(number), parse_redis(url), target, mine)
            for number, (target, mine) in enumerate(zip(targets, (rows, others), strict=True))
        ]
        outcomes = await asyncio.wait_for(asyncio.gather(*runs), GUARD)
    assert [(outcome.tally.items, outcome.tally.failed) for outcome in outcomes] == [(2, 0), (2, 0)]
    assert sum(len(target.sent) for target in targets) == 4, "each call once"
    assert sum(outcome.tally.memoized for outcome in outcomes) == 4
