"""The memo store of several machines: one Redis or Valkey server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any

from charter_compiler.diagnostics.errors import MemoError
from charter_compiler.executor.memo.redis_keys import BYTES, ENTRY, SIZES, USED, WRITTEN
from charter_compiler.executor.memo.store import (
    CorruptEntryError,
    MemoCheck,
    MemoEntry,
    MemoLimits,
    MemoStats,
    checksum,
)
from charter_compiler.executor.redis_address import RedisAddress, redis_errors

ENTRY_OVERHEAD = 512
"""Bytes counted for an entry beside its value: key, checksum, times, and its places in the three indices."""
BATCH = 1000
"""Entries that one command looks at or drops, so that no command keeps the server from others for long."""

# Each script is atomic, and takes the time from the server: the machines' clocks may differ.
_HEAD = """
local used, written, sizes, bytes = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local function forget(prefix, id)
  local size = redis.call('HGET', sizes, id)
  if size then redis.call('DECRBY', bytes, size) end
  redis.call('HDEL', sizes, id)
  redis.call('ZREM', used, id)
  redis.call('ZREM', written, id)
  return redis.call('UNLINK', prefix .. id)
end
"""
_GET = (
    _HEAD
    + """
local prefix, id, max_age = ARGV[1], ARGV[2], tonumber(ARGV[3])
local found = redis.call('HMGET', prefix .. id, 'value', 'checksum', 'written')
if not found[3] or now - found[3] > max_age then return false end
redis.call('ZADD', used, 'XX', now, id)
return {found[1], found[2]}
"""
)
_PUT = (
    _HEAD
    + """
local prefix, id, value, sum, model, size = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], tonumber(ARGV[6])
local max_bytes, max_age, batch = tonumber(ARGV[7]), tonumber(ARGV[8]), tonumber(ARGV[9])
forget(prefix, id)
redis.call('HSET', prefix .. id, 'value', value, 'checksum', sum, 'model', model, 'written', now)
redis.call('PEXPIRE', prefix .. id, max_age)
redis.call('ZADD', used, now, id)
redis.call('ZADD', written, now, id)
redis.call('HSET', sizes, id, size)
local total = redis.call('INCRBY', bytes, size)
for _, old in ipairs(redis.call('ZRANGE', written, '-inf', now - max_age, 'BYSCORE', 'LIMIT', 0, batch)) do
  forget(prefix, old)
end
for _ = 1, batch do
  if tonumber(redis.call('GET', bytes)) <= max_bytes then break end
  local oldest = redis.call('ZRANGE', used, 0, 0)[1]
  if not oldest then break end
  forget(prefix, oldest)
end
return total
"""
)
_CLEAR = (
    _HEAD
    + """
local prefix, older_than, batch = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local erased, found = 0, redis.call('ZRANGE', written, '-inf', now - older_than, 'BYSCORE', 'LIMIT', 0, batch)
for _, id in ipairs(found) do erased = erased + forget(prefix, id) end
return {#found, erased}
"""
)


class RedisMemoStore:
    """A ``MemoStore`` on one server. An entry is as durable as the server is told to be (``appendonly``).

    Entries that a run wrote expire by themselves after its ``max_age_s``. The size is enforced at each write, by what
    was used longest ago.

    Raises:
        MemoError: the server cannot be reached, or refuses.
        UsageError: the extra ``redis`` is not installed.
    """

    def __init__(self, address: RedisAddress, limits: MemoLimits | None = None) -> None:
        self._place = str(address)
        self._limits = limits or MemoLimits()
        # The client's own types hold results of its synchronous and asynchronous face alike.
        self._redis: Any = address.connect()
        with self._errors():
            self._redis.ping()
        self._get, self._put, self._clear = (self._redis.register_script(text) for text in (_GET, _PUT, _CLEAR))

    def __enter__(self) -> RedisMemoStore:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def get(self, key: bytes) -> MemoEntry | None:
        """See ``MemoStore``."""
        found = self._run(self._get, ENTRY, key.hex(), _milliseconds(self._limits.max_age_s))
        if found is None:
            return None
        value, expected = found
        if value is None or checksum(key, value) != expected:
            raise CorruptEntryError("an entry is corrupt", place=self._place)
        return MemoEntry.from_bytes(value)

    def put(self, key: bytes, model: str, entry: MemoEntry) -> None:
        """See ``MemoStore``."""
        value, limits = entry.to_bytes(), self._limits
        self._run(
            self._put, ENTRY, key.hex(), value, checksum(key, value), model, len(value) + ENTRY_OVERHEAD,
            limits.max_bytes, _milliseconds(limits.max_age_s), BATCH,
        )  # fmt: skip

    def stats(self) -> MemoStats:
        """See ``MemoStore``."""
        entries = size = 0
        models: dict[str, int] = {}
        times: list[float] = []
        with self._errors():
            for ids, found in self._entries("model", "written"):
                sizes = self._redis.hmget(SIZES, ids)
                for (model, written), counted in zip(found, sizes, strict=True):
                    if model is None or written is None:
                        continue  # it has expired; the next write forgets it
                    entries, size = entries + 1, size + int(counted or 0)
                    models[model.decode()] = models.get(model.decode(), 0) + 1
                    times.append(int(written) / 1000)
        ordered = dict(sorted(models.items()))
        return MemoStats(self._place, entries, size, min(times, default=None), max(times, default=None), ordered)

    def clear(self, older_than_s: float = 0.0) -> int:
        """See ``MemoStore``. What the server has on its disk is its own affair."""
        erased, more = 0, True
        while more:
            looked_at, gone = self._run(self._clear, ENTRY, _milliseconds(older_than_s), BATCH)
            erased, more = erased + gone, looked_at == BATCH
        return erased

    def verify(self) -> MemoCheck:
        """See ``MemoStore``."""
        entries = corrupt = 0
        with self._errors():
            for ids, found in self._entries("value", "checksum"):
                for name, (value, expected) in zip(ids, found, strict=True):
                    if value is None and expected is None:
                        continue
                    entries += 1
                    corrupt += value is None or checksum(bytes.fromhex(name.decode()), value) != expected
        return MemoCheck(entries, corrupt)

    def close(self) -> None:
        """See ``MemoStore``."""
        self._redis.close()

    def _entries(self, *fields: str) -> Iterator[tuple[list[bytes], list[list[bytes | None]]]]:
        """Some fields of every entry, a batch at a time."""
        start = 0
        while ids := self._redis.zrange(WRITTEN, start, start + BATCH - 1):
            pipeline = self._redis.pipeline(transaction=False)
            for name in ids:
                pipeline.hmget(ENTRY + name.decode(), fields)
            yield ids, pipeline.execute()
            start += BATCH

    def _run(self, script: Any, *arguments: object) -> Any:
        with self._errors():
            return script(keys=[USED, WRITTEN, SIZES, BYTES], args=arguments)

    def _errors(self) -> AbstractContextManager[None]:
        return redis_errors(
            lambda cause: MemoError(cause, place=self._place, remedy="is the server there? --no-memo runs without it")
        )


def _milliseconds(seconds: float) -> int:
    return int(seconds * 1000)
