"""The memo store, its claims and the journal on a real redis-server."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from redis import Redis
from redis_server import PASSWORD, running_redis

from charter_compiler.cli.main import main
from charter_compiler.diagnostics.errors import MemoError, OutputError, UsageError
from charter_compiler.executor.journal import Journal, check_journal
from charter_compiler.executor.journal_redis import RedisJournal
from charter_compiler.executor.memo.keys import MemoKeys
from charter_compiler.executor.memo.memo import AnsweredElsewhereError, Memo
from charter_compiler.executor.memo.redis_claims import RedisClaims
from charter_compiler.executor.memo.redis_keys import CLAIM, ENTRY, USED, WRITTEN
from charter_compiler.executor.memo.redis_store import ENTRY_OVERHEAD, RedisMemoStore
from charter_compiler.executor.memo.store import CorruptEntryError, MemoEntry, MemoLimits
from charter_compiler.executor.redis_address import RedisAddress, parse_redis
from charter_compiler.executor.types import GenerationResult

KEYS = MemoKeys({"model": "m"}, greedy_by_default=True)
ANSWER = GenerationResult("yes", 0.1, None, 1, None, 1)
pytestmark = [pytest.mark.system, pytest.mark.timeout(120)]


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_redis(tmp_path_factory.mktemp("redis")) as address:
        yield address


@pytest.fixture
def server(url: str) -> Iterator[Redis]:
    """Empty."""
    with Redis.from_url(url) as client:
        client.flushall()
        yield client


@pytest.fixture
def address(url: str, server: Redis) -> RedisAddress:
    return parse_redis(url)


def key(number: int) -> bytes:
    return number.to_bytes(32, "big")


def entry(text: str = "yes") -> MemoEntry:
    return MemoEntry(text, "stop", 7, 1)


def test_entries_are_kept_told_and_erased(address: RedisAddress) -> None:
    odd = MemoEntry("half \ud83d of a pair, \x00 and ü", None, None, None)
    with RedisMemoStore(address) as store:
        assert store.get(key(1)) is None
        store.put(key(1), "m", odd)
        store.put(key(2), "n", entry())
        store.put(key(2), "n", entry("no"))
    with RedisMemoStore(address) as store:
        assert store.get(key(1)) == odd
        assert store.get(key(2)) == entry("no")
        stats = store.stats()
        assert (stats.place, stats.entries, stats.models) == (str(address), 2, {"m": 1, "n": 1})
        assert stats.bytes == sum(len(value.to_bytes()) + ENTRY_OVERHEAD for value in (odd, entry("no")))
        assert stats.oldest is not None
        assert time.time() - 60 < stats.oldest <= time.time() + 1
        assert (store.clear(older_than_s=3600), store.clear(), store.clear()) == (0, 2, 0)
        assert store.stats().bytes == 0


def test_what_was_used_longest_ago_goes_first_when_it_is_full(address: RedisAddress) -> None:
    size = len(entry().to_bytes()) + ENTRY_OVERHEAD
    with RedisMemoStore(address, MemoLimits(max_bytes=3 * size)) as store:
        for number in range(6):
            store.put(key(number), "m", entry())
            time.sleep(0.002)  # the server's clock counts milliseconds
            assert store.get(key(0)) is not None
        assert [number for number in range(6) if store.get(key(number)) is not None] == [0, 4, 5]
        assert store.stats().bytes == 3 * size


def test_an_old_entry_is_a_miss_expires_and_is_forgotten(address: RedisAddress, server: Redis) -> None:
    with RedisMemoStore(address, MemoLimits(max_age_s=60)) as store:
        store.put(key(1), "m", entry())
        with RedisMemoStore(address, MemoLimits(max_age_s=0.001)) as strict:
            time.sleep(0.01)
            assert strict.get(key(1)) is None, "older than this run takes"
        assert store.get(key(1)) == entry()
        assert 0 < server.pttl(ENTRY + key(1).hex()) <= 60_000
        server.pexpireat(ENTRY + key(1).hex(), 1)  # its time has come
        assert store.get(key(1)) is None
        assert store.stats().entries == 0
        server.zadd(WRITTEN, {key(1).hex(): 1})
        store.put(key(2), "m", entry())
        assert (store.stats().entries, server.zcard(USED)) == (1, 1)


def test_a_corrupt_entry_is_told_and_can_be_written_again(address: RedisAddress, server: Redis) -> None:
    with RedisMemoStore(address) as store:
        store.put(key(1), "m", entry())
        server.hset(ENTRY + key(1).hex(), "value", b"{}")
        with pytest.raises(CorruptEntryError):
            store.get(key(1))
        assert (store.verify().entries, store.verify().corrupt) == (1, 1)
        store.put(key(1), "m", entry())
        assert (store.get(key(1)), store.verify().corrupt) == (entry(), 0)


def test_the_command_line_names_the_server_and_no_password(
    url: str, address: RedisAddress, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with RedisMemoStore(address) as store:
        store.put(key(1), "m", entry())
    assert main(["cache", "--memo", url, "stats"]) == 0
    assert main(["cache", "--memo", url, "verify"]) == 0
    monkeypatch.setenv("CHARTER_REDIS_PASSWORD", PASSWORD)
    assert main(["cache", "--memo", str(address), "clear"]) == 0
    monkeypatch.setenv("CHARTER_REDIS_PASSWORD", "wrong")
    assert main(["cache", "--memo", str(address), "clear"]) == 1
    assert main(["cache", "--memo", url + "/none", "clear"]) == 2
    shown = "".join(capsys.readouterr())
    assert f"{address}\n  1 entries" in shown
    assert "1 entries, 0 corrupt\n1 entries erased\n" in shown
    assert shown.count("error: ") == 2
    assert PASSWORD not in shown + repr(address)


@pytest.fixture
async def claims(address: RedisAddress) -> AsyncIterator[tuple[RedisClaims, RedisClaims]]:
    """Of two runs."""
    both = RedisClaims(address), RedisClaims(address)
    for each in both:
        await each.open()
    yield both
    for each in both:
        await each.close()


async def test_a_claim_is_held_by_one_and_its_release_wakes_who_waits(
    claims: tuple[RedisClaims, RedisClaims], server: Redis
) -> None:
    """Waiting costs a question to the server when it begins, and none until the end."""
    first, second = claims
    claim = await first.take(key(1))
    assert claim is not None
    assert [await each.take(key(1)) for each in claims] == [None, None]
    assert not await second.wait(key(2)), "another key is free"
    server.config_resetstat()
    waiting = [asyncio.create_task(each.wait(key(1))) for each in (first, second, second)]
    await asyncio.sleep(0.5)
    commands: Any = server.info("commandstats")
    assert commands["cmdstat_evalsha"]["calls"] == 3
    assert not any(task.done() for task in waiting)
    first.release(claim)
    assert await asyncio.wait_for(asyncio.gather(*waiting), 5) == [True] * 3
    assert await second.take(key(1)) is not None
    await second.close()
    assert server.keys(CLAIM + "*") == []


async def test_a_living_holder_keeps_its_claim_and_a_dead_ones_expires(
    claims: tuple[RedisClaims, RedisClaims], server: Redis
) -> None:
    holder, other = claims
    name = CLAIM + key(1).hex()
    lost = await holder.take(key(1))
    assert lost is not None
    server.pexpire(name, 5_000)
    await holder._renew_held()
    assert server.pttl(name) > 5_000
    server.pexpireat(name, 1)  # its time has come
    assert not await other.wait(key(1))
    taken = await holder.take(key(1))
    assert taken is not None
    holder.release(lost)
    await asyncio.gather(*holder._releases)
    await holder._renew_held()
    assert await other.take(key(1)) is None, "who lost a claim lets nobody else's go"


@pytest.fixture
async def memos(address: RedisAddress) -> AsyncIterator[tuple[Memo, Memo]]:
    """Of two runs."""
    one, two = (Memo(lambda: RedisMemoStore(address), KEYS, "m", RedisClaims(address)) for _ in range(2))
    async with one, two:
        yield one, two


async def test_what_another_computes_is_awaited_but_not_for_ever(memos: tuple[Memo, Memo], server: Redis) -> None:
    ours, theirs = (memo.turn(key(1)) for memo in memos)
    assert [await turn.stored() for turn in (ours, theirs)] == [None, None]
    await theirs.claim()
    with pytest.raises(AnsweredElsewhereError):
        await ours.claim()
    coming = asyncio.create_task(ours.stored())
    while not server.hexists(CLAIM + key(1).hex(), "awaited"):
        await asyncio.sleep(0.01)
    impatient = memos[0].turn(key(1))
    impatient._patience = 0
    assert await impatient.stored() is None
    await impatient.claim()  # computed here too
    await memos[1].put(key(1), ANSWER)
    theirs.release()
    stored = await asyncio.wait_for(coming, 5)
    assert stored is not None
    assert stored.text == "yes"
    with pytest.raises(AnsweredElsewhereError):
        await ours.claim()  # it is free, but there is an answer
    assert (memos[0].hits, memos[1].hits) == (1, 0)


async def test_a_corrupt_entry_counts_once(memos: tuple[Memo, Memo], server: Redis) -> None:
    await memos[0].put(key(1), ANSWER)
    server.hset(ENTRY + key(1).hex(), "value", b"{}")
    turn = memos[0].turn(key(1))
    assert await turn.stored() is None
    await turn.claim()
    turn.release()
    assert memos[0].corrupt == 1


async def test_a_run_does_not_begin_without_the_server_that_was_asked_for(address: RedisAddress) -> None:
    nobody = parse_redis("redis://127.0.0.1:1")
    for place, claims in ((nobody, RedisClaims(address)), (address, RedisClaims(nobody))):
        memo = Memo(lambda place=place: RedisMemoStore(place), KEYS, "m", claims)  # type: ignore[misc]
        with pytest.raises(MemoError, match=r"^redis://127"):
            await memo.__aenter__()


async def test_a_store_that_goes_away_in_mid_run_is_left_alone(tmp_path: Path) -> None:
    with running_redis(tmp_path) as url:
        address = parse_redis(url)
        memo = Memo(lambda: RedisMemoStore(address), KEYS, "m", RedisClaims(address))
        await memo.__aenter__()
        turn = memo.turn(key(1))
        assert await turn.stored() is None
        await turn.claim()
        await memo.put(key(1), ANSWER)
        turn.release()
        assert await turn.stored() is not None
    lost = memo.turn(key(2))
    assert await lost.stored() is None
    await lost.claim()  # computed here
    assert memo.problem is not None
    await memo.__aexit__()


def test_without_a_server_the_store_is_an_error_that_shows_no_password(address: RedisAddress) -> None:
    with pytest.raises(MemoError, match=r"^redis://127\.0\.0\.1:1/0: .*--no-memo") as caught:
        RedisMemoStore(parse_redis(f"redis://:{PASSWORD}@127.0.0.1:1"))
    assert PASSWORD not in str(caught.value)


async def test_a_journal_is_read_on_another_machine_and_written_by_one(
    address: RedisAddress, server: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    identity = {"entry": "a.py:run", "sources": "1"}
    slept, other, kept = (RedisJournal(address, identity, lease=30) for _ in range(3))
    with pytest.raises(UsageError, match="nothing to resume"):
        check_journal(kept, identity)
    slept.open(empty=True)
    slept.append(json.dumps({"journal": 2, "run": identity}).encode() + b"\n")
    waited: list[float] = []
    monkeypatch.setattr("charter_compiler.executor.journal_redis.time", SimpleNamespace(sleep=waited.append))
    with pytest.raises(UsageError, match="another run writes this journal"):
        other.open(empty=False)
    assert 0 < waited.pop() <= 30, "its lease, in case it is dead"
    slept._closed.set()  # it renews no more, as a machine that sleeps does
    server.pexpireat(slept._keys[1], 1)
    journal, state = Journal.resume(other, identity)
    assert state.resumed
    with journal:
        await journal.warm_ups([], 1.5)
        with pytest.raises(OutputError, match="another run took this journal over"):
            slept.append(b'{"elapsed_s": 9}\n')
    slept.close()
    lines = kept.read()
    assert lines is not None
    assert [json.loads(line).get("elapsed_s") for line in lines] == [None, 1.5]
    with pytest.raises(UsageError, match="the journal is of another run: model changed"):
        check_journal(kept, identity | {"model": "other"})
    kept.close()
    with closing(RedisJournal(address, identity | {"sources": "2"})) as changed:
        assert changed.read() is None


def test_lines_that_are_sent_again_are_there_once(address: RedisAddress) -> None:
    """The client sends a command again when its connection is lost, perhaps after the server took it."""
    with closing(RedisJournal(address, {})) as journal:
        journal.open(empty=True)
        for _ in range(2):
            journal.append(b"1\n2\n")
            journal._length = 0
        with pytest.raises(OutputError, match="other lines"):
            journal.append(b"3\n4\n")  # as many as those whose answer was lost, and not the same
        assert journal.read() == [b"1", b"2"]


def test_a_server_without_a_file_of_its_own_is_told(address: RedisAddress, server: Redis) -> None:
    with closing(RedisJournal(address, {})) as journal:
        assert "keeps no append-only file" in str(journal.caution)
        server.config_set("appendonly", "yes")
        assert journal.caution is None
        server.config_set("appendonly", "no")
