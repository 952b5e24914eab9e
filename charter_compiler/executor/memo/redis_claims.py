"""Claims in Redis: a key with a token, which expires unless its living holder renews it, and a channel of releases."""

from __future__ import annotations

import asyncio
import uuid
from collections import defaultdict
from contextlib import AbstractContextManager, suppress
from typing import Any

from charter_compiler.diagnostics.errors import MemoError
from charter_compiler.executor.memo.redis_keys import CLAIM, RELEASED
from charter_compiler.executor.redis_address import RedisAddress, redis_errors

LEASE = 10.0
"""Seconds that a claim outlives the process that held it. It is renewed three times in that time."""

_TAKE = """
local holder = redis.call('HGET', KEYS[1], 'holder')
if holder and holder ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'holder', ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1
"""
_WAIT = """
if redis.call('EXISTS', KEYS[1]) == 0 then return -1 end
redis.call('HSET', KEYS[1], 'awaited', 1)
return redis.call('PTTL', KEYS[1])
"""
_RENEW = """
for place, token in ipairs(ARGV) do
  if place > 1 and redis.call('HGET', KEYS[place - 1], 'holder') == token then
    redis.call('PEXPIRE', KEYS[place - 1], ARGV[1])
  end
end
"""
_RELEASE = """
if redis.call('HGET', KEYS[1], 'holder') ~= ARGV[1] then return 0 end
local awaited = redis.call('HGET', KEYS[1], 'awaited')
redis.call('DEL', KEYS[1])
if awaited then redis.call('PUBLISH', ARGV[2], ARGV[3]) end
return 1
"""


class RedisClaims:
    """See ``Claims``. ``lease``: seconds that a claim outlives its holder.

    Who waits sleeps until the holder's release is published, or until the claim would have expired: then it looks
    again. So a lost message, or a dead holder, costs one lease.
    """

    def __init__(self, address: RedisAddress, lease: float = LEASE) -> None:
        self._address = address
        self._lease = lease
        self._held: dict[str, bytes] = {}  # tokens and their keys
        self._waiting: defaultdict[bytes, set[asyncio.Future[None]]] = defaultdict(set)
        self._background: tuple[asyncio.Task[None], ...] = ()
        self._releases: set[asyncio.Task[None]] = set()
        self._redis: Any = None
        self._listener: Any = None
        self._channel: Any = None

    async def open(self) -> None:
        """See ``Claims``."""
        self._redis, self._listener = self._address.connect_async(), self._address.connect_async(waits=True)
        self._take, self._wait, self._renew, self._release = (
            self._redis.register_script(text) for text in (_TAKE, _WAIT, _RENEW, _RELEASE)
        )
        self._channel = self._listener.pubsub(ignore_subscribe_messages=True)
        with self._errors():
            await self._channel.subscribe(RELEASED)
        self._background = (asyncio.create_task(self._listen()), asyncio.create_task(self._keep_alive()))

    async def take(self, key: bytes) -> str | None:
        """See ``Claims``."""
        token = uuid.uuid4().hex
        with self._errors():
            if not await self._take(keys=[CLAIM + key.hex()], args=[token, int(self._lease * 1000)]):
                return None
        self._held[token] = key
        return token

    async def wait(self, key: bytes) -> bool:
        """See ``Claims``."""
        told = asyncio.get_running_loop().create_future()
        self._waiting[key].add(told)  # before the question, so that no release falls between the two
        try:
            with self._errors():
                left = await self._wait(keys=[CLAIM + key.hex()])
            if left < 0:
                return False
            with suppress(TimeoutError):
                await asyncio.wait_for(told, left / 1000)
            return True
        finally:
            self._waiting[key].discard(told)
            if not self._waiting[key]:
                del self._waiting[key]

    def release(self, claim: str) -> None:
        """See ``Claims``."""
        key = self._held.pop(claim, None)
        if key is None:
            return  # let go by ``close``
        releasing = asyncio.create_task(self._let_go(key, claim))
        self._releases.add(releasing)
        releasing.add_done_callback(self._releases.discard)

    async def close(self) -> None:
        """See ``Claims``."""
        if self._redis is None:
            return
        for claim in list(self._held):
            self.release(claim)
        await asyncio.gather(*self._releases)
        for task in self._background:
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)
        for connection in (self._channel, self._listener, self._redis):
            await connection.aclose()
        self._redis = None

    async def _let_go(self, key: bytes, token: str) -> None:
        with suppress(MemoError), self._errors():  # else it expires
            await self._release(keys=[CLAIM + key.hex()], args=[token, RELEASED, key.hex()])

    async def _keep_alive(self) -> None:
        while True:
            await asyncio.sleep(self._lease / 3)
            await self._renew_held()

    async def _renew_held(self) -> None:
        if self._held:
            keys = [CLAIM + key.hex() for key in self._held.values()]
            with suppress(MemoError), self._errors():  # the next turn may reach it
                await self._renew(keys=keys, args=[int(self._lease * 1000), *self._held])

    async def _listen(self) -> None:
        while True:
            with suppress(MemoError), self._errors():
                async for message in self._channel.listen():
                    for told in self._waiting.get(bytes.fromhex(message["data"].decode()), ()):
                        if not told.done():
                            told.set_result(None)
            await asyncio.sleep(self._lease / 3)  # the connection is lost; meanwhile the leases wake who waits

    def _errors(self) -> AbstractContextManager[None]:
        return redis_errors(lambda cause: MemoError(cause, place=str(self._address), remedy="is the server there?"))
