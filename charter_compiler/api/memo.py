"""The memo store of a run: chosen, opened for a target, and what the user is told of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from charter_compiler.diagnostics.errors import MemoError
from charter_compiler.executor.memo.keys import MemoKeys
from charter_compiler.executor.memo.memo import Memo
from charter_compiler.executor.memo.redis_claims import RedisClaims
from charter_compiler.executor.memo.redis_store import RedisMemoStore
from charter_compiler.executor.memo.sqlite_store import SQLiteMemoStore
from charter_compiler.executor.memo.store import MemoLimits, MemoStore
from charter_compiler.executor.redis_address import RedisAddress, is_redis, parse_redis
from charter_compiler.executor.targets import OpenTarget


@dataclass(frozen=True, slots=True)
class MemoOptions:
    """``sampled``: calls that are neither greedy nor seeded are kept too. ``place``: a folder of this machine, by
    default ``memo_dir()``, or a server that several machines share."""

    sampled: bool = False
    limits: MemoLimits = field(default_factory=MemoLimits)
    place: Path | RedisAddress | None = None


def memo_place(text: str | None) -> Path | RedisAddress | None:
    """What ``--memo`` says. Raises UsageError where it is a server's address that cannot be read."""
    if text is None:
        return None
    return parse_redis(text) if is_redis(text) else Path(text).expanduser()


def open_store(place: Path | RedisAddress | None, limits: MemoLimits | None = None) -> MemoStore:
    """The store itself. Raises MemoError where it cannot be opened."""
    if isinstance(place, RedisAddress):
        return RedisMemoStore(place, limits)
    return SQLiteMemoStore(place, limits)


def memo_of(target: OpenTarget, options: MemoOptions) -> Memo:
    """The memo of a run on this target; entered as a context, it opens the store."""
    keys = MemoKeys(target.identity, greedy_by_default=target.facts.greedy_by_default, sampled=options.sampled)
    claims = RedisClaims(options.place) if isinstance(options.place, RedisAddress) else None
    return Memo(lambda: open_store(options.place, options.limits), keys, target.facts.model, claims)


def keep_no_more(memo: Memo, endpoint: str) -> None:
    """The run is joined by an endpoint that is not known to be what the memo's keys say: nothing of it is kept."""
    memo.problem = memo.problem or MemoError(
        "it may answer otherwise than the endpoints that the run began with", place=f"endpoint {endpoint} joined"
    )


def memo_notes(memo: Memo) -> list[str]:
    """Lines for the user, after a run."""
    notes = []
    if memo.problem is not None:
        notes.append(f"the memo store was not used to the end: {memo.problem}")
    if memo.corrupt:
        notes.append(f"corrupt entries of the memo store, computed again: {memo.corrupt} (charter cache verify)")
    if memo.hits:
        notes.append(
            f"calls answered from the memo store: {memo.hits}; hit rates, tokens and times are of the others, the "
            "prediction is of all (--no-memo)"
        )
    if memo.unrepeatable:
        notes.append(
            f"calls not kept, being neither greedy nor seeded: {memo.unrepeatable} (set temperature=0 or a seed, or "
            "give --memo-sampled)"
        )
    return notes
