"""One worker of a cluster: an endpoint with its scheduler, which runs one shard after the other."""

from __future__ import annotations

import asyncio
import functools
import json
import os
import pickle
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

from charter_compiler.api.cluster.keeper import KeptJournal
from charter_compiler.api.measured_run import PATIENCE
from charter_compiler.api.memo import MemoOptions, memo_of
from charter_compiler.api.run_identity import target_identity
from charter_compiler.diagnostics.errors import CharterError
from charter_compiler.executor.entry import Entry, load_entry
from charter_compiler.executor.fleet.membership import OneEndpoint
from charter_compiler.executor.inputs import InputRow
from charter_compiler.executor.journal import Journal, JournalState, JournalStore
from charter_compiler.executor.journal_redis import RedisJournal
from charter_compiler.executor.layout import PromptLayouts
from charter_compiler.executor.metrics import Tally
from charter_compiler.executor.redis_address import RedisAddress
from charter_compiler.executor.results import RowWriter
from charter_compiler.executor.run.context import RunContext, RunFiles
from charter_compiler.executor.run.options import RunOptions
from charter_compiler.executor.run.orchestrator import run_agent
from charter_compiler.executor.scheduler.mode import Mode
from charter_compiler.executor.targets import OpenTarget, TargetOptions, check_plan, open_target
from charter_compiler.plan.execution_plan import ExecutionPlan
from charter_compiler.predict.planning import calls_of_entry

COUNTERS = {
    "charter_items": "items that finished",
    "charter_calls": "calls that reached the engine",
    "charter_prompt_tokens": "their prompt tokens",
    "charter_cached_tokens": "prompt tokens out of the cache",
}
"""On Ray's dashboard, for each target; a shard is counted when it is done."""


@dataclass(frozen=True, slots=True)
class ClusterJob:
    """What every worker is told. ``plan`` is JSON: it is shipped, and not made anew. ``identity`` as in
    ``run_identity``; ``journal``: the server that keeps the journals, ``None`` for the keeper."""

    entry: str
    target_options: TargetOptions
    options: RunOptions
    plan: str
    identity: Mapping[str, object]
    memo: MemoOptions | None = None
    journal: RedisAddress | None = None


def shard_table(shard: int, rows: Sequence[InputRow]) -> Any:
    """The rows of a shard as an Arrow table, for the object store."""
    import pyarrow as pa

    return pa.table(
        {
            "shard": pa.array([shard] * len(rows), pa.int64()),
            "index": pa.array([row.index for row in rows], pa.int64()),
            "line": pa.array([row.line for row in rows], pa.int64()),
            "values": pa.array([json.dumps(row.values) for row in rows], pa.large_string()),
        }
    )


def shard_journal(job: ClusterJob, keeper: Any, shard: int) -> JournalStore:
    """Where the journal of a shard lies."""
    if job.journal is not None:
        return RedisJournal(job.journal, {**job.identity, "shard": shard})
    return KeptJournal(keeper, shard)


@functools.cache
def _entry(text: str) -> Entry:
    return load_entry(text)


class ShardRunner:
    """A Ray actor of a pool of Ray Data: one endpoint, opened once. Called with the rows of shards."""

    def __init__(self, job: ClusterJob, keeper: Any) -> None:
        from ray.util.metrics import Counter

        # What can fail is done in a call, which can say why.
        self._job, self._keeper = job, keeper
        self._runner = asyncio.Runner()
        self._stack = AsyncExitStack()
        self._target: OpenTarget | None = None
        self._counters = {name: Counter(name, text, tag_keys=("target",)) for name, text in COUNTERS.items()}

    def __call__(self, table: Any) -> Any:
        """In ``line`` the journal's line of each item, as it is at the end of its shard: an item that an earlier worker
        finished has the line that that one wrote. In ``stopped`` the pickled error of ours that ends the run: Ray would
        wrap one that is raised, and lose what it was."""
        import pyarrow as pa

        lines: list[bytes | None] = []
        stopped = None
        try:
            if self._target is None:
                self._target = self._open()
            for shard, rows in groupby(table.to_pylist(), itemgetter("shard")):
                inputs = (InputRow(row["index"], row["line"], json.loads(row["values"])) for row in rows)
                lines += item_lines(self._runner.run(self._run(shard, inputs, self._target))).values()
        except CharterError as error:
            lines.append(None)
            stopped = pickle.dumps(error)
        ends = [None] * (len(lines) - 1) + [stopped]
        return pa.table({"line": pa.array(lines, pa.large_binary()), "stopped": pa.array(ends, pa.large_binary())})

    def _open(self) -> OpenTarget:
        import ray

        self._plan = ExecutionPlan.from_json(self._job.plan, place="the plan")
        self._calls = calls_of_entry(self._job.entry)
        spec = ray.get(self._keeper.target.remote(ray.get_runtime_context().get_actor_id()))
        opening = self._stack.enter_async_context(open_target(spec, self._job.target_options))
        target = self._runner.run(opening)
        check_plan(self._plan, target)
        return target

    async def _run(self, shard: int, rows: Iterator[InputRow], target: OpenTarget) -> Sequence[bytes]:
        job = self._job
        planned = self._plan.layouts if job.options.mode is Mode.OPTIMIZED else ()
        identity = {**job.identity, "shard": shard, **target_identity(target, (), planned)}
        store = await asyncio.to_thread(shard_journal, job, self._keeper, shard)
        layouts = PromptLayouts(planned, self._calls)
        context = RunContext(job.options, target.facts, target.tokenizer, (), self._calls, layouts, patience=PATIENCE)
        async with AsyncExitStack() as stack:
            journal, context.resumed = await asyncio.to_thread(_journal, store, identity)
            stack.enter_context(journal)
            rows_file = stack.enter_context(RowWriter(Path(os.devnull)))
            if job.memo is not None and job.options.mode is Mode.OPTIMIZED and not target.facts.simulated:
                context.memo = await stack.enter_async_context(memo_of(target, job.memo))
            endpoint = OneEndpoint(target.client, target.facts)
            outcome = await run_agent(_entry(job.entry), rows, endpoint, RunFiles(rows_file, journal), context)
        if outcome.stopped is not None:
            raise outcome.stopped
        self._count(target.name, outcome.tally)
        return await asyncio.to_thread(store.read) or ()

    def _count(self, target: str, tally: Tally) -> None:
        counts = (tally.items, tally.calls, tally.totals.prompt, tally.totals.cached)
        for counter, count in zip(self._counters.values(), counts, strict=True):
            if count:
                counter.inc(count, tags={"target": target})


def _journal(store: JournalStore, identity: Mapping[str, object]) -> tuple[Journal, JournalState]:
    """The shard's journal, taken up where an earlier worker left it."""
    if store.read():
        return Journal.resume(store, identity)
    return Journal.create(store, identity), JournalState()


def item_lines(lines: Sequence[bytes]) -> dict[int, bytes]:
    """The last line of each item in a journal, by the item's index."""
    found: dict[int, bytes] = {}
    for line in lines:
        if line.startswith(b'{"row"'):
            found[int(json.loads(line)["row"]["index"])] = line
    return found
